// Package clickhouse gives tests, and whoever wants a first look, a real ClickHouse on loopback. In
// this order: the one that MAILBEACON_TEST_CLICKHOUSE names, a binary that is installed, or the
// engine itself as a library from npm, behind a small front of ours (see front).
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The environment that is looked at.
const (
	EnvNative = "MAILBEACON_TEST_CLICKHOUSE"      // host:port of the native protocol of a running server
	EnvHTTP   = "MAILBEACON_TEST_CLICKHOUSE_HTTP" // host:port of its HTTP
	EnvCache  = "MAILBEACON_ENGINES"              // folder for what is downloaded, instead of the user's cache
)

// Options are what can be chosen of a server.
type Options struct {
	// Dir is the folder of the data. It is made where it is missing, and stays.
	Dir string
	// Native and HTTP are the addresses to listen on; empty: a free port of 127.0.0.1.
	Native, HTTP string
	// Password is that of the users default and reader; the latter may not write.
	Password string
	// Version is what the front announces instead of the engine's version.
	Version string
	// Detached: the server goes on when this process ends, and is stopped by StopDetached.
	Detached bool
}

// Server is a running ClickHouse.
type Server struct {
	// Native and HTTP are its addresses, host:port.
	Native, HTTP string
	// Options are what it was started with, its addresses filled in: starting with them again is a
	// restart. The zero Options are of a server that is not ours.
	Options Options

	cmd    *exec.Cmd
	orphan func() // lets the front know that nobody wants it any more
	ended  chan struct{}
}

// Running is the server that the environment names; nil if it names none.
func Running() *Server {
	native := os.Getenv(EnvNative)
	if native == "" {
		return nil
	}
	return &Server{Native: native, HTTP: os.Getenv(EnvHTTP)}
}

// Start starts a server of one's own on a folder, and returns when it answers. The first call on a
// machine downloads some 170 MB.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("start ClickHouse: no folder is given")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start ClickHouse: %w", err)
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start ClickHouse: %w", err)
	}
	if binary := installed(ctx); binary != "" && o.Version == "" {
		return startInstalled(ctx, binary, o)
	}
	return startFront(ctx, o)
}

// PID is the number of the server's process, 0 where it is not ours.
func (s *Server) PID() int {
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Kill ends the server as kill -9 does, and waits until it is gone. What it acknowledged must be
// there after the next start.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Stop ends the server; of one that is not ours it does nothing.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	return s.end(syscall.SIGTERM)
}

func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil {
		return errors.New("the ClickHouse server is not ours to kill")
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end ClickHouse: %w", err)
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill() // it is gone if this fails
		<-s.ended
	}
	s.orphan()
	return nil
}

func pidFile(dir string) string { return filepath.Join(dir, "server.pid") }

// StopDetached stops the server that was started on a folder with Options.Detached, and waits for
// it. It is no error if none runs.
func StopDetached(dir string) error {
	b, err := os.ReadFile(pidFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop ClickHouse: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("stop ClickHouse: %s: %w", pidFile(dir), err)
	}
	// The number may be another process's by now: ours has the folder on its command line.
	for range 300 {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !strings.Contains(string(line), dir) {
			return os.Remove(pidFile(dir))
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop ClickHouse: %w", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("stop ClickHouse: process %d does not end", pid)
}
