package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Server serves an API. Its methods may be called concurrently.
type Server struct {
	http *http.Server
	stop context.CancelFunc
}

// NewServer wraps a handler in a server with every bound set on purpose. Reading and writing have
// no time-out here: each request sets its own, since a stream may take long.
func NewServer(handler http.Handler) *Server {
	ctx, stop := context.WithCancel(context.Background())
	return &Server{
		stop: stop,
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			// What net/http logs names the addresses of clients.
			ErrorLog:    log.New(io.Discard, "", 0),
			BaseContext: func(net.Listener) context.Context { return ctx },
		},
	}
}

// Serve accepts from ln until Shutdown, which makes it return nil. It takes ln over.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting and lets requests that were begun come to their end. Where ctx ends
// first, streams and whatever else still runs are cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.stop()
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	s.stop()
	if cerr := s.http.Close(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return fmt.Errorf("stop the admin server: %w", err)
}
