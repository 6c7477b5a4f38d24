package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/plain"
	"mailbeacon/internal/token"
)

// quick is a Plain that says so, and lets its caller wait where it is told to.
type quick func(name []byte, last bool) []byte

func (f quick) ServePlain(_ *plain.Request, name []byte, last bool) []byte { return f(name, last) }

func raw(body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// lanes are the echo handlers with a lane that answers "q:" and the name.
func lanes() Options {
	o := echo()
	o.Plain = quick(func(name []byte, _ bool) []byte { return raw("q:" + string(name)) })
	return o
}

// say writes to a connection and returns the bodies of so many answers.
func say(t testing.TB, c net.Conn, text string, n int) (bodies []string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	all, buf := "", make([]byte, 4096)
	for strings.Count(all, "\r\n\r\n") < n {
		m, err := c.Read(buf)
		all += string(buf[:m])
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
	}
	for _, r := range answers(t, []byte(all)) {
		bodies = append(bodies, bodyOf(r))
	}
	return bodies
}

func TestLane(t *testing.T) {
	t.Parallel()
	s := start(t, lanes())
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }
	for _, tc := range []struct {
		name  string
		steps []string // what is sent at once; all of it is answered before the next
		want  string
	}{
		{"each in one piece", []string{get("/o/a"), get("/o/b/"), get("/o/")}, "q:a q:b q:"},
		{"another address", []string{get("/o/a"), get("/c/b")}, "q:a c:b"},
		{"the lane ends there", []string{get("/o/a"), get("/c/b"), get("/o/c")}, "q:a c:b o:c"},
		{"not plain", []string{get("/o/a?x"), get("/o/b")}, "o:a o:b"},
		{"two at once", []string{get("/o/a"), get("/o/b") + get("/o/c")}, "q:a o:b o:c"},
		{"no token, no difference", []string{get("/o/../c/x")}, "q:../c/x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := s.dial()
			var got []string
			for _, step := range tc.steps {
				got = append(got, say(t, c, step, strings.Count(step, "\r\n\r\n"))...)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// What looks like a request and is a part of another is no request, wherever the pieces are cut.
func TestLaneTakesNoPartOfARequest(t *testing.T) {
	t.Parallel()
	s := start(t, lanes())
	inner := "GET /o/inner HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, whole := range map[string]string{
		"within a header": "GET /c/outer HTTP/1.1\r\nA: b\r\nX: " + inner,
		"within a body":   fmt.Sprintf("POST /u/outer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"after a cut":     inner,
	} {
		for cut := 1; cut < len(whole); cut += 7 {
			if at := strings.Index(whole, inner); at > 0 && cut == 1 {
				cut = at // the second piece is a whole request by itself
			}
			c := s.dial()
			if _, err := io.WriteString(c, whole[:cut]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // so that they are most likely read apart; in one piece it must do as well
			want := map[string]string{"within a header": "c:outer", "within a body": "u:outer:" + inner, "after a cut": ":inner"}[name]
			if got := say(t, c, whole[cut:], 1); len(got) != 1 || !strings.HasSuffix(got[0], want) {
				t.Errorf("%s, cut at %d: %q, want %q", name, cut, got, want)
			}
			_ = c.Close()
		}
	}
}

// lane is a server whose Plain waits to be let go.
func heldLane(t *testing.T) (s *running, served <-chan error, entered chan struct{}, let chan struct{}) {
	entered, let = make(chan struct{}, 1), make(chan struct{})
	o := echo()
	o.Plain = quick(func([]byte, bool) []byte {
		entered <- struct{}{}
		<-let
		return raw("q")
	})
	s, served = serveOn(t, o)
	return s, served, entered, let
}

func TestStopAnswersWhatIsInTheLane(t *testing.T) {
	t.Parallel()
	s, served, entered, let := heldLane(t)
	busy, resting := s.dial(), s.dial()
	go func() { <-entered; let <- struct{}{} }()
	if got := say(t, resting, get, 1); got[0] != "q" {
		t.Fatalf("got %q", got)
	}
	if _, err := io.WriteString(busy, get); err != nil {
		t.Fatal(err)
	}
	<-entered
	stopped := make(chan error)
	begin := time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- s.Shutdown(ctx)
	}()
	if rest, err := io.ReadAll(resting); len(rest) != 0 || err != nil {
		t.Errorf("the resting connection got %q, %v", rest, err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	case <-time.After(300 * time.Millisecond): // fasthttp looks for idle connections meanwhile
	}
	close(let)
	if all, err := io.ReadAll(busy); !strings.HasSuffix(string(all), "\r\n\r\nq") || err != nil {
		t.Errorf("the busy connection got %q, %v", all, err)
	}
	if err := errors.Join(<-stopped, <-served); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestStopCutsWhatHangsInTheLane(t *testing.T) {
	t.Parallel()
	s, served, entered, let := heldLane(t)
	c := s.dial()
	if _, err := io.WriteString(c, get); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if all, _ := io.ReadAll(c); len(all) != 0 {
		t.Errorf("got %q", all)
	}
	close(let)
	if err := <-served; err != nil {
		t.Error(err)
	}
	eventually(t, "the connection is let go", func() bool { return s.Stats().Open == 0 })
}

// A close from outside never ends a request that was begun without its answer, and always ends the
// connection.
func TestLaneStates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		state, after int32
		postponed    bool
	}{
		{laneOut, laneOut, false}, {laneIdle, laneOut, false}, {laneBusy, laneClosing, true}, {laneClosing, laneClosing, true},
	} {
		var l lane
		l.state.Store(tc.state)
		if got := l.close(); got != tc.postponed || l.state.Load() != tc.after {
			t.Errorf("state %d: postponed %v, then %d", tc.state, got, l.state.Load())
		}
	}
}

func TestLaneCountsRequests(t *testing.T) {
	t.Parallel()
	o := echo()
	o.Limits.RequestsPerConn = 3
	var mu sync.Mutex
	var lasts []bool
	o.Plain = quick(func(_ []byte, last bool) []byte {
		mu.Lock()
		defer mu.Unlock()
		lasts = append(lasts, last)
		return raw("q")
	})
	s := start(t, o)
	c := s.dial()
	for range 3 {
		say(t, c, get, 1)
	}
	if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
		t.Errorf("after the last answer: %q, %v", rest, err)
	}
	if fmt.Sprint(lasts) != "[false false true]" {
		t.Errorf("last: %v", lasts)
	}
}

func TestPanicInTheLane(t *testing.T) {
	t.Parallel()
	o := echo()
	o.Plain = quick(func([]byte, bool) []byte { panic("of all things") })
	s := start(t, o)
	if r := one(t, s.send(get), "GET"); r.StatusCode != 500 || !r.Close {
		t.Errorf("status %d, closing %v", r.StatusCode, r.Close)
	}
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

// newLane is one connection in a lane, without a server.
func newLane(near net.Conn, handler Plain) *conn {
	g := &guard{limits: Limits{}.withDefaults(), open: map[*conn]struct{}{}}
	c := &conn{Conn: near, guard: g}
	c.lane.handler = handler
	c.lane.state.Store(laneIdle)
	return c
}

func TestLaneKeepsTheTimeouts(t *testing.T) {
	t.Parallel()
	answered := quick(func([]byte, bool) []byte { return raw("q") })
	for _, tc := range []struct {
		name   string
		before int    // plain requests first
		then   string // and then this, and silence
		wants  error
		after  time.Duration
	}{
		{"silence at first is fasthttp's to judge", 0, "", context.DeadlineExceeded, 10 * time.Second},
		{"a rest is no error", 2, "", io.EOF, 60 * time.Second},
		{"half a request after a rest has the time of a request", 2, "GET /o/", context.DeadlineExceeded, 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				defer near.Close()
				c := newLane(near, answered)
				_ = c.SetReadDeadline(time.Now().Add(c.guard.limits.ReadTimeout)) // as fasthttp does
				var last atomic.Pointer[time.Time]
				mark := func() { now := time.Now(); last.Store(&now) }
				mark()
				go func() {
					for range tc.before {
						time.Sleep(7 * time.Second)
						_, _ = io.WriteString(far, get)
						_, _ = io.ReadFull(far, make([]byte, len(raw("q"))))
					}
					time.Sleep(time.Duration(min(1, len(tc.then))) * 5 * time.Second)
					mark()
					if tc.then != "" {
						_, _ = io.WriteString(far, tc.then)
					}
				}()
				buf := make([]byte, 4096)
				n, err := c.Read(buf)
				if string(buf[:n]) != tc.then {
					t.Fatalf("read %q", buf[:n])
				}
				if n > 0 {
					n, err = c.Read(buf)
				}
				var timeout net.Error
				timedOut := errors.As(err, &timeout) && timeout.Timeout()
				if n != 0 || timedOut != errors.Is(tc.wants, context.DeadlineExceeded) || !timedOut && !errors.Is(err, tc.wants) {
					t.Errorf("got %d, %v, want %v", n, err, tc.wants)
				}
				if took := time.Since(*last.Load()); took != tc.after {
					t.Errorf("after %v, want %v", took, tc.after)
				}
			})
		})
	}
}

// remembering is a spool that keeps what it is given, but for the time.
type remembering struct{ events []event.Event }

func (s *remembering) Append(ev *event.Event) error {
	e := *ev
	e.Time = 0
	s.events = append(s.events, e)
	return nil
}

// TestLaneIsNoDifference sends one request through the lane and through fasthttp: events and
// answers are the same.
func TestLaneIsNoDifference(t *testing.T) {
	t.Parallel()
	disk := &remembering{}
	w := newWhole(t, disk)
	s, err := New(w.options)
	must(t, err)
	forged := []byte(w.path(token.Open, counted, 0))
	forged[10] ^= 1
	paths := []string{w.path(token.Open, counted, 0), w.path(token.Open, refused, 0), w.path(token.Open, plainText, 0), w.path(token.Open, 0, 0),
		string(forged), "/o/", "/o/x.gif", w.path(token.Open, counted, 0) + "/", strings.Replace(w.path(token.Click, counted, 1), "/c/", "/o/", 1) + ".gif"}
	lines := []string{"User-Agent: Mozilla/5.0", "user-agent: curl/8.1", "User-Agent:  Firefox/140.0 (via ggpht.com GoogleImageProxy) ", "User-Agent:",
		"Sec-GPC: 1", "sec-gpc:0", "Sec-Purpose: prefetch;prerender", "Purpose:prefetch", "X-Moz: prefetch", "X-Purpose: preview", "X-Forwarded-For: 192.0.2.7",
		"Accept: */*", "Referer: https://a.example/", "Connection: keep-alive", "Cookie: a=b"}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		text := "GET " + rapid.SampledFrom(paths).Draw(t, "path") + " HTTP/1.1\r\nHost: h\r\n"
		for _, line := range rapid.SliceOfN(rapid.SampledFrom(lines), 0, 6).Draw(t, "lines") {
			text += line + "\r\n"
		}
		text += "\r\n"
		disk.events = nil
		slow := &wire{replay: replay{request: []byte(text), n: 1}}
		must(t, s.http.ServeConn(slow))
		viaServer := disk.events

		disk.events = nil
		fast := &wire{replay: replay{request: []byte(text), n: 1}}
		c := newLane(fast, w.options.Plain)
		c.lane.peer = peerAddr(fast)
		if n, err := c.Read(make([]byte, 4096)); n > 0 {
			return // not plain
		} else if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		taken++
		if fmt.Sprint(disk.events) != fmt.Sprint(viaServer) {
			t.Fatalf("%q\nleaves %+v in the lane,\n%+v else", text, disk.events, viaServer)
		}
		if got, want := withoutDate(fast.written.Bytes()), withoutDate(slow.written.Bytes()); got != want {
			t.Fatalf("%q\nis answered %q in the lane,\n%q else", text, got, want)
		}
	})
	if taken == 0 {
		t.Error("nothing went through the lane")
	}
}

// TestLaneDoesNotAllocate holds the budget of a whole request in the lane.
func TestLaneDoesNotAllocate(t *testing.T) {
	if raced {
		t.Skip("pools do not hold under the race detector")
	}
	disk := &instant{}
	w := newWhole(t, disk)
	text, buf := []byte("GET "+w.path(token.Open, counted, 0)+" HTTP/1.1\r\n"+browser), make([]byte, 4096)
	const requests = 2000
	n := testing.AllocsPerRun(3, func() {
		c := newLane(&replay{request: text, n: requests}, w.options.Plain)
		c.heard.Store(true)
		if n, err := c.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	})
	if disk.n != 4*requests {
		t.Fatalf("%d events of %d requests", disk.n, 4*requests)
	}
	if n/requests > 0.01 { // what a connection and a second cost, spread over the requests
		t.Errorf("%v allocations in %d requests", n, requests)
	}
}

// BenchmarkLane is BenchmarkServer's open in the lane.
func BenchmarkLane(b *testing.B) {
	w := newWhole(b, &instant{})
	text, buf := []byte("GET "+w.path(token.Open, counted, 0)+" HTTP/1.1\r\n"+browser), make([]byte, 4096)
	c := newLane(&replay{request: text, n: b.N}, w.options.Plain)
	c.guard.limits.RequestsPerConn = b.N + 1
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := c.Read(buf); !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
}
