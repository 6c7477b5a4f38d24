// Package engines is what the test engines share: the folder in which they are kept, its lock, and
// processes that do not outlive whoever started them. The engines themselves are in the folders below.
package engines

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CacheVariable names the folder to keep the engines in, instead of the user's cache folder.
const CacheVariable = "MAILBEACON_ENGINES"

// Cache returns the folder that holds what is downloaded and made once, and makes it.
func Cache() (string, error) {
	dir := os.Getenv(CacheVariable)
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for the engines: %w; name one in %s", err, CacheVariable)
		}
		dir = filepath.Join(user, "mailbeacon-engines")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("folder for the engines: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("folder for the engines (%s): %w", CacheVariable, err)
	}
	return dir, nil
}

// Place is where an engine of that name keeps its data below a folder, which it makes; an empty folder
// is the cache.
func Place(folder, name string) (dir string, err error) {
	if folder == "" {
		if folder, err = Cache(); err != nil {
			return "", err
		}
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", fmt.Errorf("folder for the engines' data: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("folder for the engines' data: %w", err)
	}
	return filepath.Join(folder, name), nil
}

// Lock takes the lock file at path, which it makes, and waits for whoever holds it as long as ctx
// lets it. The kernel drops the lock with the process.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// FreePorts returns n different ports of the loopback address that nobody listens on at the moment.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all at once, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
