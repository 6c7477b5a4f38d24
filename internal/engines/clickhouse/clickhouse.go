// Package clickhouse runs a real ClickHouse on loopback, for tests and for a first look: an installed
// one, or the engine itself as a library that is fetched once from npm, behind a small front of ours
// (see front).
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"mailbeacon/internal/engines"
)

const (
	// AddressVariable names a server that runs already, host:port of its native protocol, for tests
	// to use; HTTPVariable is host:port of its HTTP.
	AddressVariable = "MAILBEACON_TEST_CLICKHOUSE"
	HTTPVariable    = "MAILBEACON_TEST_CLICKHOUSE_HTTP"

	startTimeout = time.Minute
	stopTimeout  = 15 * time.Second
)

// Options say how a server is run.
type Options struct {
	// Dir is where its data and its log are. It is made where it is missing, and is the caller's to
	// remove.
	Dir string
	// Native and HTTP are the addresses to listen on; empty: a free port of 127.0.0.1.
	Native, HTTP string
	// Password is that of the users default, reader, who may not write, and hostile, whose settings are bad for an insert.
	Password string
	// Version is what the front announces instead of the engine's version.
	Version string
	// Detached: the server outlives this process.
	Detached bool
}

// Server is a server that answers. Its methods are for one goroutine at a time.
type Server struct {
	// Native and HTTP are its addresses, host:port.
	Native, HTTP string
	// Password is that of its user default.
	Password string

	o       Options
	process *engines.Process // nil: it is not ours
}

// Named is the server that the environment names; nil if it names none.
func Named() *Server {
	native := os.Getenv(AddressVariable)
	if native == "" {
		return nil
	}
	return &Server{Native: native, HTTP: os.Getenv(HTTPVariable)}
}

// Start starts a server on a folder, and returns when it answers. The first call on a machine
// downloads some 170 MB.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{Password: o.Password, o: o}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("start ClickHouse: %w", err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	dir, err := filepath.Abs(s.o.Dir)
	if err != nil {
		return err
	}
	s.o.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// An installed one announces what it is.
	if binary := installed(ctx); binary != "" && s.o.Version == "" {
		err = s.startInstalled(ctx, binary)
	} else {
		err = s.startFront(ctx)
	}
	if err != nil {
		return err
	}
	s.o.Native, s.o.HTTP = s.Native, s.HTTP // also after the next start
	return nil
}

// PID is the number of the server's process, 0 where it is not ours.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.PID()
}

// Kill ends the server as kill -9 does, and returns when it is gone. What it acknowledged must be
// there after the next start.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.Kill()
	}
}

// Stop ends the server.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop(stopTimeout)
	}
}

// Restart kills the server and starts it again, on the same folder and addresses.
func (s *Server) Restart(ctx context.Context) error {
	if s.process == nil {
		return errors.New("restart ClickHouse: the server is not ours")
	}
	s.Kill()
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("restart ClickHouse: %w", err)
	}
	return nil
}

// Pause stops the server as if it had no processor, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if s.process != nil {
		s.process.Signal(sig)
	}
}
