package clickhouse

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailbeacon/internal/engines"
)

// The folder of the server that outlives the command that started it, and the files in it.
const (
	engineDir   = "clickhouse-running"
	pidFile     = "pid"
	addressFile = "address" // native and HTTP
)

// Up starts a server that runs until Down, or finds the one that runs already, and returns its
// address. Its data is below the folder, which may be an earlier server's; an empty name is the
// engines' cache. The environment's server is used where there is one.
func Up(ctx context.Context, folder string) (addr string, err error) {
	s, err := up(ctx, folder)
	if err != nil {
		return "", err
	}
	return s.Native, nil
}

// Settings are the lines of the environment that tell mailbeacon and its tests of the server that
// Up returned for the same folder.
func Settings(addr, folder string) []string {
	lines := []string{"MAILBEACON_CLICKHOUSE=clickhouse://" + addr + "/mailbeacon", AddressVariable + "=" + addr}
	if s, err := running(folder); err == nil && s != nil && s.Native == addr {
		lines = append(lines, HTTPVariable+"="+s.HTTP)
	}
	return lines
}

func up(ctx context.Context, folder string) (*Server, error) {
	if s := Named(); s != nil {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", s.Native)
		if err != nil {
			return nil, fmt.Errorf("%s names %s, which does not answer: %w", AddressVariable, s.Native, err)
		}
		return s, conn.Close()
	}
	dir, err := engines.Place(folder, engineDir)
	if err != nil {
		return nil, err
	}
	unlock, err := engines.Lock(ctx, dir+".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s, err := running(folder); s != nil || err != nil {
		return s, err
	}
	s, err := Start(ctx, Options{Dir: dir, Detached: true})
	if err != nil {
		return nil, err
	}
	err = os.WriteFile(filepath.Join(dir, addressFile), []byte(s.Native+" "+s.HTTP+"\n"), 0o600)
	if err == nil {
		err = s.process.WritePID(filepath.Join(dir, pidFile))
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("note ClickHouse's address: %w", err)
	}
	return s, nil
}

// running is the server that Up started, nil if it does not run.
func running(folder string) (*Server, error) {
	dir, err := engines.Place(folder, engineDir)
	if err != nil {
		return nil, err
	}
	if engines.Noted(filepath.Join(dir, pidFile)) == 0 {
		return nil, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err != nil {
		return nil, fmt.Errorf("the running ClickHouse's address: %w", err)
	}
	native, web, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	return &Server{Native: native, HTTP: web}, nil
}

// Down ends the server that Up started in the same folder, if it runs. In the engines' cache its data
// goes with it; a folder with a name is the caller's.
func Down(folder string) error {
	dir, err := engines.Place(folder, engineDir)
	if err != nil {
		return err
	}
	if err := engines.EndNoted(filepath.Join(dir, pidFile), stopTimeout); err != nil || folder != "" {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove ClickHouse's folder: %w", err)
	}
	return nil
}
