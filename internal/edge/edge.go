// Package edge is the public side: a fasthttp server with every bound set on purpose, a route for
// each address, and a stop that loses nothing that was begun. It knows nothing of mail; what it
// serves are the handlers that it is given.
package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Pixel answers GET and HEAD below /o/. It answers whatever it is asked for. It may be called
// concurrently and keeps nothing of ctx or name.
type Pixel interface {
	Serve(ctx *fasthttp.RequestCtx, name []byte)
}

// Page answers below a prefix, or writes nothing and returns false where there is no such page.
// It may be called concurrently and keeps nothing of ctx or name.
type Page interface {
	Serve(ctx *fasthttp.RequestCtx, name []byte) (found bool)
}

// Options are what a Server is made of. Pixel, Redirect, Preferences and NotFound are needed.
type Options struct {
	Pixel       Pixel // GET, HEAD /o/
	Redirect    Page  // GET, HEAD /c/
	Preferences Page  // GET, HEAD, POST /u/
	// NotFound answers everything that leads nowhere, with 404, and the same for every reason. It may be called
	// concurrently and keeps nothing of ctx.
	NotFound func(ctx *fasthttp.RequestCtx)
	// Plain may answer for Pixel what nearly all requests are. nil: Pixel answers them all.
	Plain Plain
	// Limits bound connections and requests.
	Limits Limits
	// Trusted tells the addresses whose connections are not counted per address: reverse proxies.
	// nil is nobody. It may be called concurrently.
	Trusted func(netip.Addr) bool
	// Logger gets what concerns the server, never what concerns a request. nil is silence.
	Logger *slog.Logger
}

// Server serves the public side. All methods may be called concurrently.
type Server struct {
	o     Options
	http  *fasthttp.Server
	stats stats
	grace time.Duration // for handlers whose connection was cut off

	mu      sync.Mutex
	guard   *guard
	stopped bool
}

// ErrStopped is returned by Serve when the server was shut down before.
var ErrStopped = errors.New("edge: the server was stopped")

// New returns a server, or an error that names the missing option.
func New(o Options) (*Server, error) {
	switch {
	case o.Pixel == nil:
		return nil, errors.New("edge: no pixel")
	case o.Redirect == nil:
		return nil, errors.New("edge: no redirect")
	case o.Preferences == nil:
		return nil, errors.New("edge: no preferences")
	case o.NotFound == nil:
		return nil, errors.New("edge: no page for what is not found")
	}
	o.Limits = o.Limits.withDefaults()
	if o.Trusted == nil {
		o.Trusted = func(netip.Addr) bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, grace: time.Second}
	s.http = newFasthttp(o.Limits, s.route, s.failed, silence{&s.stats.unlogged})
	return s, nil
}

// Serve accepts from ln until Shutdown, which makes it return nil, or until ln fails. It takes ln
// over and closes it. A server serves once.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.stopped || s.guard != nil {
		s.mu.Unlock()
		_ = ln.Close()
		return ErrStopped
	}
	g := newGuard(ln, &s.o, s.panicked, &s.stats)
	s.guard = g
	s.mu.Unlock()

	err := s.http.Serve(g)
	_ = g.Close()
	if err != nil {
		return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting, lets every request that was begun have its answer, and closes the
// connections. Where ctx ends first the rest is cut off: the error is ctx's, and after a last
// short wait for the handlers nothing of the server's runs any more, unless one of them hangs.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	g := s.guard
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	err := g.Close()
	g.closeConns(true)
	if stopErr := s.http.ShutdownWithContext(ctx); stopErr != nil {
		g.closeConns(false)
		s.awaitHandlers()
		return fmt.Errorf("stop serving: %w", stopErr)
	}
	if err != nil {
		return fmt.Errorf("stop accepting: %w", err)
	}
	return nil
}

// awaitHandlers waits until every connection was let go of, for so long at most.
func (s *Server) awaitHandlers() {
	// fasthttp takes one off its count for the listener, which is gone already.
	for deadline := time.Now().Add(s.grace); s.http.GetOpenConnectionsCount() >= 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

// failed answers a request that fasthttp could not read. The connection is closed afterwards.
func (s *Server) failed(ctx *fasthttp.RequestCtx, err error) {
	var answer problem
	var tooBig *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &tooBig):
		answer = headersTooBig
		s.stats.oversized.Add(1)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		answer = bodyTooLarge
		s.stats.oversized.Add(1)
	case errors.As(err, &network) && network.Timeout():
		answer = tooSlow
		s.stats.timeouts.Add(1)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		answer = badRequest
		s.stats.aborted.Add(1)
	default:
		answer = badRequest
		s.stats.malformed.Add(1)
	}
	answer.write(ctx)
	if ctx.IsHead() {
		ctx.Response.SkipBody = true
	}
	// fasthttp sets no new deadline for this answer; the last request's may have passed.
	if c, ok := ctx.Conn().(*conn); ok && c.heard.Load() {
		_ = c.SetWriteDeadline(time.Now().Add(s.o.Limits.WriteTimeout))
		c.lingering.Store(true)
	}
}

// rescue turns a panic in a handler into an answer. The panic's value may hold what was requested,
// so only its type and where it came from are logged.
func (s *Server) rescue(ctx *fasthttp.RequestCtx) {
	cause := recover()
	if cause == nil {
		return
	}
	s.panicked(cause)
	ctx.Response.Reset()
	internalError.write(ctx)
	ctx.SetConnectionClose()
}

func (s *Server) panicked(cause any) {
	s.stats.panics.Add(1)
	s.o.Logger.Error("a request handler panicked", "type", fmt.Sprintf("%T", cause), "stack", callers())
}

// callers are the functions and lines on the stack, without their arguments.
func callers() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	var b strings.Builder
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&b, "%s:%d; ", frame.Function, frame.Line)
		if !more {
			return b.String()
		}
	}
}

// silence is fasthttp's logger: what it would say is counted and dropped.
type silence struct{ n *atomic.Uint64 }

func (s silence) Printf(string, ...any) { s.n.Add(1) }

// stats is the live form of Stats.
type stats struct {
	accepted, refusedOverload, refusedAddress, acceptErrors   atomic.Uint64
	malformed, oversized, timeouts, aborted, panics, unlogged atomic.Uint64
}

// Stats is what became of connections and requests that no handler answered, since the start.
type Stats struct {
	Open            int    // connections now
	Accepted        uint64 // connections let in
	RefusedOverload uint64 // connections refused because too many are open
	RefusedAddress  uint64 // connections refused because too many are open from one address
	AcceptErrors    uint64 // times that a connection could not be taken, as for lack of file descriptors
	Malformed       uint64 // requests answered 400
	Oversized       uint64 // requests answered 413 or 431
	Timeouts        uint64 // requests answered 408, and connections that never sent one
	Aborted         uint64 // requests that broke off
	Panics          uint64 // requests answered 500
	Unlogged        uint64 // lines that fasthttp would have logged
}

// Stats is a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	g := s.guard
	s.mu.Unlock()
	snapshot := Stats{
		Accepted:        s.stats.accepted.Load(),
		RefusedOverload: s.stats.refusedOverload.Load(),
		RefusedAddress:  s.stats.refusedAddress.Load(),
		AcceptErrors:    s.stats.acceptErrors.Load(),
		Malformed:       s.stats.malformed.Load(),
		Oversized:       s.stats.oversized.Load(),
		Timeouts:        s.stats.timeouts.Load(),
		Aborted:         s.stats.aborted.Load(),
		Panics:          s.stats.panics.Load(),
		Unlogged:        s.stats.unlogged.Load(),
	}
	if g != nil {
		snapshot.Open = g.conns()
	}
	return snapshot
}
