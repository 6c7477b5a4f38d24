package clickhouse

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"mailbeacon/internal/engines"
)

// The engine as a library: the npm package of chDB, ClickHouse 26.5.
const (
	engineVersion = "26.5.3"
	enginePackage = "@chdb/lib-linux-x64-gnu@" + engineVersion
	engineFile    = "package/libchdb.so" // in the package
)

// provision returns the path of the engine's library, and downloads it once. Two processes may call
// it at the same time.
func provision(ctx context.Context) (string, error) {
	if platform := runtime.GOOS + "/" + runtime.GOARCH; platform != "linux/amd64" {
		return "", fmt.Errorf("there is no package of it for %s", platform)
	}
	cache, err := engines.Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "clickhouse-"+engineVersion)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lib := filepath.Join(dir, "libchdb.so")
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	unlock, err := engines.Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(lib); err == nil {
		return lib, nil // somebody else downloaded it meanwhile
	}
	return lib, download(ctx, dir, lib)
}

// download fetches the package and puts the library in place when it is whole.
func download(ctx context.Context, dir, lib string) error {
	work, err := os.MkdirTemp(dir, "download-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // it is a cache
	npm := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", work, enginePackage)
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w: %s", enginePackage, err, out)
	}
	packed, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return fmt.Errorf("npm pack %s left %q", enginePackage, packed)
	}
	fresh := filepath.Join(work, "libchdb.so")
	if err := unpack(packed[0], engineFile, fresh); err != nil {
		return fmt.Errorf("unpack %s: %w", enginePackage, err)
	}
	return os.Rename(fresh, lib)
}

// unpack writes one file of a packed folder.
func unpack(archive, name, to string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s is not in it", name)
		}
		if err != nil {
			return err
		}
		if h.Name == name {
			break
		}
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
