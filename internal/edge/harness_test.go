package edge

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"mailbeacon/internal/preferences"
)

// TestMain checks that no test leaves a goroutine behind, apart from the two that fasthttp has
// for itself: its clock, and each worker pool's cleaner, which notices a stop at its next turn.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// image, page: handlers that say what they were asked for.
type image func(ctx *fasthttp.RequestCtx, name []byte)

func (f image) Serve(ctx *fasthttp.RequestCtx, name []byte) { f(ctx, name) }

type page func(ctx *fasthttp.RequestCtx, name []byte) bool

func (f page) Serve(ctx *fasthttp.RequestCtx, name []byte) bool { return f(ctx, name) }

// echo is a set of handlers that answer with their letter and the name they were given; a page
// named "missing" is not found.
func echo() Options {
	return Options{
		Pixel: image(func(ctx *fasthttp.RequestCtx, name []byte) { ctx.SetBodyString("o:" + string(name)) }),
		Redirect: page(func(ctx *fasthttp.RequestCtx, name []byte) bool {
			ctx.SetBodyString("c:" + string(name))
			return string(name) != "missing"
		}),
		Preferences: page(func(ctx *fasthttp.RequestCtx, name []byte) bool {
			ctx.SetBodyString("u:" + string(name) + ":" + string(ctx.PostBody()))
			return string(name) != "missing"
		}),
		NotFound: builtinPages().NotFound,
	}
}

// builtinPages are those that come with the program.
var builtinPages = sync.OnceValue(func() *preferences.Pages {
	pages, err := preferences.LoadPages("")
	if err != nil {
		panic(err)
	}
	return pages
})

// running is a server on a port of this machine. It is stopped at the end of the test.
type running struct {
	*Server
	t    testing.TB
	addr string
}

func start(t testing.TB, o Options) *running {
	t.Helper()
	s, served := serveOn(t, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// serveOn is start without the stop; the channel gets what Serve returned.
func serveOn(t testing.TB, o Options) (*running, <-chan error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	return &running{s, t, ln.Addr().String()}, served
}

var discard = slog.New(slog.DiscardHandler)

func (r *running) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp4", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// send writes raw on a new connection, half-closes it, and returns all that comes back.
func (r *running) send(raw string) []byte {
	r.t.Helper()
	c := r.dial()
	go func() {
		_, _ = io.WriteString(c, raw) // the server may have had enough before the end
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	all, err := io.ReadAll(c)
	if err != nil && len(all) == 0 {
		r.t.Fatalf("no answer to %.80q: %v", raw, err)
	}
	return all
}

// answers parses a connection's whole output as answers to requests of the given methods.
func answers(t testing.TB, output []byte, methods ...string) []*http.Response {
	t.Helper()
	var all []*http.Response
	for r := bufio.NewReader(bytes.NewReader(output)); ; {
		if _, err := r.Peek(1); err == io.EOF {
			return all
		}
		method := "GET"
		if len(all) < len(methods) {
			method = methods[len(all)]
		}
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("answer %d of %.200q: %v", len(all)+1, output, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("body of answer %d: %v", len(all)+1, err)
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		all = append(all, response)
	}
}

func one(t testing.TB, output []byte, method string) *http.Response {
	t.Helper()
	all := answers(t, output, method)
	if len(all) != 1 {
		t.Fatalf("got %d answers, want 1: %.300q", len(all), output)
	}
	return all[0]
}

func bodyOf(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// withoutDate cuts the one line that may differ between two equal answers.
func withoutDate(output []byte) string {
	lines := strings.SplitAfter(string(output), "\r\n")
	kept := lines[:0]
	for _, line := range lines {
		if !strings.HasPrefix(line, "Date: ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 5 s in vain: %s", what)
		}
	}
}
