package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	o := echo()
	o.Limits.Conns = 2
	s := start(t, o)
	first, second := s.dial(), s.dial()
	eventually(t, "two connections are open", func() bool { return s.Stats().Open == 2 })

	r := one(t, s.send(get), "GET")
	if r.StatusCode != 503 || r.Header.Get("Connection") != "" && r.Close != true || r.Header.Get("Retry-After") == "" {
		t.Errorf("the third got %d %v", r.StatusCode, r.Header)
	}
	_ = first.Close()
	eventually(t, "one connection is open", func() bool { return s.Stats().Open == 1 })
	if r := one(t, s.send("GET /o/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "GET"); r.StatusCode != 200 {
		t.Errorf("a connection in the free place got %d", r.StatusCode)
	}
	_ = second.Close()
	if st := s.Stats(); st.RefusedOverload != 1 || st.RefusedAddress != 0 {
		t.Errorf("counted %+v", st)
	}
}

func TestTooManyConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		o := echo()
		o.Limits.ConnsPerAddress = 1
		o.Trusted = func(a netip.Addr) bool { return trusted && a.IsLoopback() }
		s := start(t, o)
		s.dial()
		eventually(t, "a connection is open", func() bool { return s.Stats().Open == 1 })
		want := 429
		if trusted {
			want = 200
		}
		output := s.send("GET /o/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if r := one(t, output, "GET"); r.StatusCode != want {
			t.Errorf("trusted %v: the second connection got %d, want %d", trusted, r.StatusCode, want)
		}
	}
}

func TestLimitKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::",
		"2001:db8:1:3::1":      "2001:db8:1:3::",
		"fe80::1%eth0":         "fe80::",
		"::1":                  "::",
	} {
		if got := limitKey(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("limitKey(%s) = %s, want %s", in, got, want)
		}
	}
}

// brokenListener fails to accept with each of its errors in turn, and then waits to be closed.
type brokenListener struct {
	errs   chan error
	closed chan struct{}
	once   sync.Once
}

func (l *brokenListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *brokenListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *brokenListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestLackOfFileDescriptorsIsLivedThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lack := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		ln := &brokenListener{errs: make(chan error, 20), closed: make(chan struct{})}
		for range 10 {
			ln.errs <- lack
		}
		var st stats
		g := newGuard(ln, &Options{Limits: Limits{}.withDefaults(), Trusted: func(netip.Addr) bool { return false }, Logger: discard}, nil, &st)
		result := make(chan error, 1)
		begin := time.Now()
		go func() { _, err := g.Accept(); result <- err }()
		time.Sleep(time.Minute)
		if n := st.acceptErrors.Load(); n != 10 {
			t.Errorf("met %d errors in %v, want all 10", n, time.Since(begin))
		}
		ln.errs <- errors.New("broken for good")
		if err := <-result; err == nil || err.Error() != "broken for good" {
			t.Errorf("got %v, want the lasting error", err)
		}

		ln.errs <- lack
		go func() { _, err := g.Accept(); result <- err }()
		synctest.Wait()
		_ = g.Close()
		if err := <-result; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed while waiting: got %v", err)
		}
	})
}

func TestShutdownAnswersWhatWasBegun(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}), make(chan struct{})
	o := echo()
	o.Pixel = image(func(ctx *fasthttp.RequestCtx, _ []byte) {
		close(entered)
		<-proceed
		ctx.SetBodyString("done")
		ctx.Response.Header.SetContentType("image/gif")
	})
	s, served := serveOn(t, o)
	silent, idle, busy := s.dial(), s.dial(), s.dial()
	_, _ = io.WriteString(idle, "GET /c/x HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, err := idle.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(busy, get+get)
	<-entered

	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	for name, c := range map[string]net.Conn{"silent": silent, "idle": idle} {
		// fasthttp alone would give the silent one five seconds.
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the %s connection got %d bytes and %v, want its end", name, n, err)
		}
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if c, err := net.Dial("tcp4", s.addr); err == nil {
		_ = c.Close()
		t.Error("a new connection was taken during the stop")
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	default:
	}
	close(proceed)
	output, _ := io.ReadAll(busy)
	if r := one(t, output, "GET"); bodyOf(r) != "done" || !r.Close {
		t.Errorf("the request under way got %q", output)
	}
	if err := <-stopped; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := s.Serve(&brokenListener{closed: make(chan struct{})}); !errors.Is(err, ErrStopped) {
		t.Errorf("serving again: %v", err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	o := echo()
	o.Pixel = image(func(*fasthttp.RequestCtx, []byte) {
		close(entered)
		<-proceed
		left.Store(true)
	})
	s, served := serveOn(t, o)
	s.grace = 10 * time.Second
	c := s.dial()
	_, _ = io.WriteString(c, get)
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }()
	if output, _ := io.ReadAll(c); len(output) > 0 {
		t.Errorf("the connection was not cut off: %q", output)
	}
	close(proceed)
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if !left.Load() {
		t.Error("the handler was still running when the stop returned")
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	t.Parallel()
	s, err := New(echo())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	ln := &brokenListener{closed: make(chan struct{})}
	if err := s.Serve(ln); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ln.closed:
	default:
		t.Error("the listener was left open")
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*Options){
		"pixel":       func(o *Options) { o.Pixel = nil },
		"redirect":    func(o *Options) { o.Redirect = nil },
		"preferences": func(o *Options) { o.Preferences = nil },
		"not found":   func(o *Options) { o.NotFound = nil },
	} {
		o := echo()
		cut(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
