package edge

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const get = "GET /o/x.gif HTTP/1.1\r\nHost: h\r\n\r\n"

func TestBrokenRequestsGetOneAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	big := strings.Repeat("x", 20<<10)
	for _, tc := range []struct {
		name, raw string
		want      []int // the statuses of all answers, in order; the connection ends after them
	}{
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}},
		{"no method", " / HTTP/1.1\r\nHost: h\r\n\r\n", []int{400}},
		{"no target", "GET  HTTP/1.1\r\nHost: h\r\n\r\n", []int{400}},
		{"no version", "GET /o/x\r\n\r\n", []int{400}},
		{"no number for a version", "GET /o/x HTTP/x\r\nHost: h\r\n\r\n", []int{400}},
		{"another version is taken for 1.0", "GET /o/x HTTP/3.7\r\nHost: h\r\n\r\n" + get, []int{200}},
		{"no host", "GET /o/x HTTP/1.1\r\n\r\n", []int{400}},
		{"two hosts", "GET /o/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", []int{400}},
		{"bad host", "GET /o/x HTTP/1.1\r\nHost: a b<>\r\n\r\n", []int{400}},
		{"control byte in target", "GET /o/\x01x HTTP/1.1\r\nHost: h\r\n\r\n", []int{400}},
		{"blank in target", "GET /o/x y HTTP/1.1\r\nHost: h\r\n\r\n", []int{400}},
		{"blank before colon", "GET /o/x HTTP/1.1\r\nHost : h\r\n\r\n", []int{400}},
		{"control byte in header", "GET /o/x HTTP/1.1\r\nHost: h\r\nA: b\x00c\r\n\r\n", []int{400}},
		{"line without colon", "GET /o/x HTTP/1.1\r\nHost: h\r\nwhatever\r\n\r\n", []int{400}},
		{"oversized header", "GET /o/x HTTP/1.1\r\nHost: h\r\nA: " + big + "\r\n\r\n", []int{431}},
		{"oversized target", "GET /o/" + big + " HTTP/1.1\r\nHost: h\r\n\r\n", []int{431}},
		{"many headers", "GET /o/x HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A: b\r\n", 5000) + "\r\n", []int{431}},
		{"oversized body", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n" + strings.Repeat("x", 65537), []int{413}},
		{"oversized body, chunked", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"10001\r\n" + strings.Repeat("x", 0x10001) + "\r\n0\r\n\r\n", []int{413}},
		{"body that ends early", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", []int{400}},
		{"head that ends early", "GET /o/x HTTP/1.1\r\nHost:", []int{400}},
		{"huge length", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", []int{400}},
		{"negative length", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", []int{400}},
		{"signed length", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", []int{400}},
		{"good, then garbage", get + "garbage\r\n\r\n" + get, []int{200, 400}},
		{"empty lines first", "\r\n\r\n" + get, []int{200}},
		{"HTTP/1.0", "GET /o/x HTTP/1.0\r\n\r\n" + get, []int{200}},
		{"HTTP/1.0, kept alive", "GET /o/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get, []int{200, 200}},
		{"pipelined", strings.Repeat(get, 50) + "GET /c/missing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + get,
			append(slices(200, 50), 404)},
		{"body on GET is not a request", "GET /o/x HTTP/1.1\r\nHost: h\r\nContent-Length: " + fmt.Sprint(len(get)) + "\r\n\r\n" + get, []int{200}},
		{"body on POST is not a request", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: " + fmt.Sprint(len(get)) + "\r\n\r\n" + get, []int{200}},

		// Shapes that two servers in a row may read differently: one answer, then the end.
		{"two lengths", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + get, []int{400}},
		{"two equal lengths", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + get, []int{400}},
		{"list of lengths", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc" + get, []int{400}},
		{"length and chunked", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get, []int{200}},
		{"chunked and length", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + get, []int{200}},
		{"two codings", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + get, []int{400}},
		{"odd coding", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + get, []int{400}},
		{"coding in a list", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + get, []int{400}},
		{"chunked in HTTP/1.0", "POST /u/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get, []int{400}},
		{"coding, blank before colon", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + get, []int{400}},
		{"newline in chunk extension", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0;\nx\r\n\r\n" + get, []int{400}},
		{"bare line feed after chunk", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n" + get, []int{400}},
		{"negative chunk", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + get, []int{400}},
		{"header starts folded", "GET /o/x HTTP/1.1\r\n Host: h\r\n\r\n" + get, []int{400}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			output := s.send(tc.raw)
			var got []int
			for _, r := range answers(t, output) {
				got = append(got, r.StatusCode)
			}
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got answers %v, want %v: %.300q", got, tc.want, output)
			}
			if strings.Contains(string(output), "xxxx") || strings.Contains(string(output), "garbage") {
				t.Errorf("the answer repeats the request: %.200q", output)
			}
		})
	}
}

func slices(value, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = value
	}
	return s
}

// TestFoldedHeader: obs-fold is read as one value (RFC 9112, section 5.2 allows it), so that a
// folded line can never be taken for a header of its own.
func TestFoldedHeader(t *testing.T) {
	t.Parallel()
	o := echo()
	o.Pixel = image(func(ctx *fasthttp.RequestCtx, _ []byte) {
		ctx.SetBody(ctx.Request.Header.Peek("A"))
		ctx.Response.Header.SetContentType("text/plain")
		if ctx.Request.Header.ContentLength() > 0 {
			ctx.SetStatusCode(599)
		}
	})
	s := start(t, o)
	output := s.send("GET /o/x HTTP/1.1\r\nHost: h\r\nA: b\r\n Content-Length: 5\r\nConnection: close\r\n\r\nhello")
	r := one(t, output, "GET")
	if got := bodyOf(r); r.StatusCode != 200 || !strings.Contains(got, "Content-Length: 5") {
		t.Errorf("got %d, %q", r.StatusCode, got)
	}
}

// TestRefusalArrives: a peer that is told that it sent too much gets the whole answer and an
// orderly end. A reset would make some systems drop the answer unread.
func TestRefusalArrives(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	c := s.dial()
	if _, err := io.WriteString(c, "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 200_000)); err != nil {
		t.Fatal(err)
	}
	output, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("the connection ended with %v", err)
	}
	if r := one(t, output, "POST"); r.StatusCode != 413 {
		t.Errorf("got %d", r.StatusCode)
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	output := s.send("POST /u/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
	rest, found := strings.CutPrefix(string(output), "HTTP/1.1 100 Continue\r\n\r\n")
	if !found {
		t.Fatalf("no interim answer: %q", output)
	}
	if r := one(t, []byte(rest), "POST"); r.StatusCode != 200 || bodyOf(r) != "u:x:hi" {
		t.Errorf("got %q", rest)
	}
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	t.Parallel()
	o := echo()
	o.Limits = Limits{ReadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond}
	s := start(t, o)
	for _, tc := range []struct {
		name, first, drip string
		want              string // how the output starts
	}{
		{"nothing at all", "", "", ""},
		{"slow first line", "GE", "T", "HTTP/1.1 408 "},
		{"slow headers", "GET /o/x HTTP/1.1\r\nHost: h\r\n", "A: b\r\n", "HTTP/1.1 408 "},
		{"slow body", "POST /u/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n", "x", "HTTP/1.1 408 "},
		{"slow chunks", "POST /u/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "HTTP/1.1 408 "},
		{"idle after one", get, "", "HTTP/1.1 200 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := s.dial()
			begin := time.Now()
			_, _ = io.WriteString(c, tc.first)
			stop := make(chan struct{})
			var dripping sync.WaitGroup
			dripping.Go(func() {
				for tc.drip != "" {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						if _, err := io.WriteString(c, tc.drip); err != nil {
							return
						}
					}
				}
			})
			output, _ := io.ReadAll(c)
			took := time.Since(begin)
			close(stop)
			dripping.Wait()
			if took > 3*time.Second {
				t.Errorf("cut off after %v", took)
			}
			if !strings.HasPrefix(string(output), tc.want) || (tc.want == "" && len(output) > 0) {
				t.Errorf("got %q, want %q", output, tc.want)
			}
		})
	}
}

func TestPeerThatReadsNothingIsCutOff(t *testing.T) {
	t.Parallel()
	o := echo()
	large := make([]byte, 4<<20)
	o.Pixel = image(func(ctx *fasthttp.RequestCtx, _ []byte) {
		ctx.Response.Header.SetContentType("image/gif")
		ctx.Response.SetBodyRaw(large)
	})
	o.Limits.WriteTimeout = 200 * time.Millisecond
	s := start(t, o)
	c := s.dial()
	_, _ = io.WriteString(c, strings.Repeat(get, 20))
	eventually(t, "the connection is given up", func() bool { return s.Stats().Accepted == 1 && s.Stats().Open == 0 })
}

// TestGarbage sends ten thousand requests of noise, and a good one after each hundred.
func TestGarbage(t *testing.T) {
	t.Parallel()
	requests, workers := 10_000, 8
	if testing.Short() {
		requests = 800
	}
	s := start(t, echo())
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(worker)))
			for i := range requests / workers {
				raw := noise(rnd)
				output := s.trySend(raw)
				for rest := output; len(rest) > 0; {
					if !strings.HasPrefix(rest, "HTTP/1.1 ") || len(rest) < 12 || rest[9] == '5' {
						t.Errorf("%.200q got %.200q", raw, rest)
						return
					}
					_, next, found := strings.Cut(rest[1:], "HTTP/1.1 ")
					if !found {
						break
					}
					rest = "HTTP/1.1 " + next
				}
				if i%100 == 99 {
					if r := one(t, s.send("GET /o/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "GET"); r.StatusCode != 200 {
						t.Errorf("a good request got %d", r.StatusCode)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if st := s.Stats(); st.Panics != 0 {
		t.Errorf("%d panics", st.Panics)
	}
	eventually(t, "all connections are closed", func() bool { return s.Stats().Open == 0 })
}

// trySend is send for input after which the server may owe no answer.
func (r *running) trySend(raw string) string {
	c, err := net.Dial("tcp4", r.addr)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, raw)
	_ = c.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(c)
	return string(all)
}

// noise is a request with something wrong in it, or no request at all.
func noise(rnd *rand.Rand) string {
	whole := "GET /c/" + strings.Repeat("Az09-_", 7) + " HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
	b := []byte(whole)
	switch rnd.IntN(4) {
	case 0:
		b = make([]byte, rnd.IntN(300))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
	case 1:
		b = b[:rnd.IntN(len(b))]
	default:
		for range 1 + rnd.IntN(4) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
	}
	return string(b)
}

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	var mu sync.Mutex
	o := echo()
	o.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	o.Pixel = image(func(ctx *fasthttp.RequestCtx, name []byte) {
		ctx.SetBodyString("half an answer")
		ctx.Response.Header.Set("X-Secret", string(name))
		panic("holds " + string(name))
	})
	s := start(t, o)
	output := s.send("GET /o/private.gif HTTP/1.1\r\nHost: h\r\nUser-Agent: private\r\n\r\n" + get)
	r := one(t, output, "GET")
	if r.StatusCode != 500 || strings.Contains(string(output), "private") || strings.Contains(string(output), "half") {
		t.Errorf("got %q", output)
	}
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("counted %d panics, want 1", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "panicked") || !strings.Contains(log.String(), "attack_test.go") && !strings.Contains(log.String(), "TestPanicIsAnAnswer") {
		t.Errorf("the log does not say where: %s", log.String())
	}
	for _, leak := range []string{"private", "127.0.0.1"} {
		if strings.Contains(log.String(), leak) {
			t.Errorf("the log holds %q: %s", leak, log.String())
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}
