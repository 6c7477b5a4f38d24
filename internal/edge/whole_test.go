package edge

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/intake"
	"mailbeacon/internal/preferences"
	"mailbeacon/internal/token"
	"mailbeacon/pixel"
	"mailbeacon/redirect"
)

// People of the tests, and what they chose.
const (
	counted uint64 = iota + 1
	refused
	plainText
)

const destination = "https://shop.example/a%2fb?c=%20d;e#F"

// whole is everything behind the edge, as it runs.
type whole struct {
	keys     *token.Ring
	keyring  string // their file
	spool    intake.Spool
	real     *spool.Spool
	intake   *intake.Intake
	options  Options
	campaign uint32
	table    *consent.Table
}

// newKeys are the keys as a server has them: in a file that may be exchanged under it.
func newKeys(t testing.TB) (ring *token.Ring, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keyring.json")
	_, err := token.CreateKeyring(path)
	must(t, err)
	ring, err = token.OpenRing(path)
	must(t, err)
	return ring, path
}

func newWhole(t testing.TB, sp intake.Spool) *whole {
	t.Helper()
	keys, path := newKeys(t)
	w := &whole{keys: keys, keyring: path, spool: sp, table: consent.NewTable(consent.BasisSubject)}
	if sp == nil {
		s, _, err := spool.Open(spool.Options{Dir: t.TempDir()})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		w.spool, w.real = s, s
	}
	log, registry := control.NewMemory(), campaign.NewRegistry()
	follower, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{w.table, registry}})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = follower.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; _ = follower.Close(); _ = log.Close() })

	campaigns, choices := campaign.NewWriter(log, follower, registry), consent.NewWriter(log, follower, w.table)
	c, err := campaigns.Create(ctx, "spring", "Spring")
	must(t, err)
	w.campaign = c.Number
	_, err = campaigns.AddLink(ctx, "spring", campaign.Link{URL: destination})
	must(t, err)
	_, effective, err := choices.Change(ctx,
		consent.Change{Subject: refused, Opens: consent.Refused, Clicks: consent.Refused, Source: "test"},
		consent.Change{Subject: plainText, Format: consent.Plain, Source: "test"})
	must(t, err)
	if !effective {
		t.Fatal("choices are not effective")
	}

	w.intake, err = intake.New(intake.Options{Tokens: w.keys, Consent: w.table, Campaigns: registry, Classifier: &classify.Edge{}, Spool: w.spool})
	must(t, err)
	page, err := preferences.New(preferences.Options{Tokens: w.keys, Choices: w.table, Writer: choices, Receipts: w.keys.Keyring().ReceiptSigner})
	must(t, err)
	beacon := pixel.New(w.intake)
	w.options = Options{Pixel: beacon, Plain: beacon, Redirect: redirect.New(w.intake, registry, time.Second), Preferences: page, NotFound: builtinPages().NotFound}
	return w
}

func must(t interface {
	Helper()
	Fatal(args ...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// path is the address that a person's mail carries.
func (w *whole) path(kind token.Kind, subject uint64, link uint16) string {
	text := w.keys.Append(nil, kind, token.Claims{Campaign: w.campaign, Link: link, Subject: subject})
	suffix := ""
	if kind == token.Open {
		suffix = ".gif"
	}
	return "/" + string(rune(kind)) + "/" + string(text) + suffix
}

func (w *whole) counter(kind event.Kind, reason event.Reason) uint64 {
	c := w.intake.Counters()
	return c.Get(kind, reason)
}

// TestConsentNeverShows compares whole answers: to a person who is counted, to others who are not,
// and to tokens that are nobody's.
func TestConsentNeverShows(t *testing.T) {
	t.Parallel()
	w := newWhole(t, nil)
	s := start(t, w.options)
	forged := []byte(w.path(token.Open, counted, 0))
	forged[10] ^= 1
	opens := map[string]string{
		"counted": w.path(token.Open, counted, 0), "refused": w.path(token.Open, refused, 0), "plain": w.path(token.Open, plainText, 0),
		"nobody": w.path(token.Open, 0, 0), "forged": string(forged), "a click's": strings.Replace(w.path(token.Click, counted, 1), "/c/", "/o/", 1) + ".gif",
		"malformed": "/o/x.gif", "empty": "/o/", "no extension": strings.TrimSuffix(w.path(token.Open, counted, 0), ".gif"),
	}
	clicks := map[string]string{
		"counted": w.path(token.Click, counted, 1), "refused": w.path(token.Click, refused, 1),
		"plain": w.path(token.Click, plainText, 1), "nobody": w.path(token.Click, 0, 1),
	}
	for _, gpc := range []string{"", "Sec-GPC: 1\r\n"} {
		for _, method := range []string{"GET", "HEAD"} {
			for name, paths := range map[string]map[string]string{"open": opens, "click": clicks} {
				want := ""
				for who, path := range paths {
					got := withoutDate(s.send(method + " " + path + " HTTP/1.1\r\nHost: h\r\n" + gpc + "\r\n"))
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("%s %s of %s answers\n%q\nothers get\n%q", method, name, who, got, want)
					}
				}
				if name == "click" && !strings.Contains(want, "\r\nLocation: "+destination+"\r\n") {
					t.Errorf("%s: %q", method, want)
				}
				if name == "open" && (!strings.HasPrefix(want, "HTTP/1.1 200 ") || (method == "GET") != strings.HasSuffix(want, pixel.GIF)) {
					t.Errorf("%s: %q", method, want)
				}
			}
		}
	}
}

// TestEveryRequestIsCountedOnce reads back what the disk has of a mix of requests.
func TestEveryRequestIsCountedOnce(t *testing.T) {
	t.Parallel()
	w := newWhole(t, nil)
	s := start(t, w.options)
	for _, request := range []string{
		"GET " + w.path(token.Open, counted, 0), "GET " + w.path(token.Open, refused, 0), "GET " + w.path(token.Open, plainText, 0),
		"HEAD " + w.path(token.Open, counted, 0), "GET " + w.path(token.Click, counted, 1), "GET " + w.path(token.Click, refused, 1),
		"HEAD " + w.path(token.Click, counted, 1), "GET " + w.path(token.Click, counted, 99), "GET /c/forged", "GET /o/forged.gif",
		"GET " + w.path(token.Open, 0, 0) + "?x",
	} {
		s.send(request + " HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\n\r\n")
	}
	reader, err := w.real.Reader(0)
	must(t, err)
	defer func() { _ = reader.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got := map[string]int{}
	for n, buf := 0, make([]event.Event, 16); n < 8; {
		_, m, _, err := reader.Next(ctx, buf)
		must(t, err)
		for _, ev := range buf[:m] {
			got[fmt.Sprintf("%v %v subject %d link %d", ev.Kind, ev.Reason, ev.Subject, ev.Link)]++
		}
		n += m
	}
	want := map[string]int{
		"open counted subject 1 link 0": 1, "open opted_out subject 0 link 0": 1, "open plain_text subject 0 link 0": 1,
		"probe counted subject 1 link 0": 1, "click counted subject 1 link 1": 1, "click opted_out subject 0 link 0": 1,
		"probe counted subject 1 link 1": 1, "open counted subject 0 link 0": 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the disk has\n%v, want\n%v", got, want)
	}
	if w.counter(event.Click, event.UnknownLink) != 1 || w.counter(event.Click, event.Malformed) != 1 || w.counter(event.Open, event.Malformed) != 1 {
		t.Error("what left no event was not counted")
	}
}

// full is a disk that takes nothing.
type full struct{}

func (full) Append(*event.Event) error { return io.ErrShortWrite }

func TestMailAndLinksWorkWithAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWhole(t, full{})
	s := start(t, w.options)
	open := one(t, s.send("GET "+w.path(token.Open, counted, 0)+" HTTP/1.1\r\nHost: h\r\n\r\n"), "GET")
	click := one(t, s.send("GET "+w.path(token.Click, counted, 1)+" HTTP/1.1\r\nHost: h\r\n\r\n"), "GET")
	if open.StatusCode != 200 || bodyOf(open) != pixel.GIF || click.StatusCode != 302 || click.Header.Get("Location") != destination {
		t.Errorf("got %v and %v", open, click)
	}
	if w.counter(event.Open, event.SpoolFailed) != 1 || w.counter(event.Click, event.SpoolFailed) != 1 {
		t.Error("the losses were not counted")
	}
}

func TestOneClickOverTheWire(t *testing.T) {
	t.Parallel()
	w := newWhole(t, nil)
	s := start(t, w.options)
	path, body := w.path(token.Preferences, counted, 0), "List-Unsubscribe=One-Click"
	for range 2 {
		raw := s.send("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
		if r := one(t, raw, "POST"); r.StatusCode != 200 || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("got %q", raw)
		}
	}
	if !w.table.Look(counted).Unsubscribed {
		t.Error("not unsubscribed")
	}
	// However HTTP brings the body; and what is in the address instead of it is no body (RFC 8058, section 3.1).
	const head = " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	for name, tc := range map[string]struct {
		raw  string
		gone bool
	}{
		"in chunks":        {head + "Transfer-Encoding: chunked\r\n\r\n10\r\nList-Unsubscribe\r\na\r\n=One-Click\r\n0\r\n\r\n", true},
		"after a question": {head + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body), true},
		"by HTTP/1.0":      {fmt.Sprintf(" HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body), true},
		"in the address":   {"?" + body + head + "Content-Length: 0\r\n\r\n", false},
		"as a fragment":    {"#" + body + head + "Content-Length: 0\r\n\r\n", false},
	} {
		w := newWhole(t, nil)
		s := start(t, w.options)
		raw := string(s.send("POST " + w.path(token.Preferences, counted, 0) + tc.raw))
		if !strings.Contains(raw, " 200 OK\r\n") || w.table.Look(counted).Unsubscribed != tc.gone {
			t.Errorf("%s: unsubscribed %v, want %v: %.200q", name, w.table.Look(counted).Unsubscribed, tc.gone, raw)
		}
	}
	for _, text := range []string{"x", path[3:] + "x", w.path(token.Open, counted, 0)[3:45]} {
		raw := s.send("GET /u/" + text + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if withoutDate(raw) != withoutDate(s.send("GET /c/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")) {
			t.Errorf("/u/%s is another 404: %q", text, raw)
		}
	}
}

// TestTokensThatOpenNoPage: whatever is wrong with a token, nobody learns more than that there is no page, and
// nothing changes.
func TestTokensThatOpenNoPage(t *testing.T) {
	t.Parallel()
	w := newWhole(t, nil)
	s := start(t, w.options)
	good, open, click := w.path(token.Preferences, counted, 0)[3:], w.path(token.Open, counted, 0)[3:], w.path(token.Click, counted, 1)[3:]
	expired := good
	id, err := token.Rotate(w.keyring, time.Now())
	must(t, err)
	must(t, token.Retire(w.keyring, id-1))
	must(t, w.keys.Reload())
	good = w.path(token.Preferences, counted, 0)[3:]
	texts := map[string]string{
		"expired key": expired, "pixel's": open, "pixel's without its ending": strings.TrimSuffix(open, ".gif"), "link's": click,
		"cut off": good[:len(good)-1], "with more": good + "A", "twice": good + good, "nothing": "", "upper case": strings.ToUpper(good), "not text": "%00%ff",
	}
	for i := range good {
		text := []byte(good)
		if text[i] == 'A' {
			text[i] = 'B'
		} else {
			text[i] = 'A'
		}
		texts[fmt.Sprintf("forged at %d", i)] = string(text)
	}
	const body = "List-Unsubscribe=One-Click"
	for _, method := range []string{"GET", "HEAD", "POST"} {
		want := ""
		for name, text := range texts {
			raw := withoutDate(s.send(fmt.Sprintf("%s /u/%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
				method, text, len(body), body)))
			if want == "" {
				want = raw
			}
			if raw != want || !strings.HasPrefix(raw, "HTTP/1.1 404 ") || !strings.Contains(raw, "\r\nX-Robots-Tag: noindex, nofollow\r\n") {
				t.Errorf("%s with a token that is %s is answered\n%q\nothers\n%q", method, name, raw, want)
			}
		}
	}
	if w.table.Look(counted) != (consent.Choice{}) {
		t.Errorf("recorded %+v", w.table.Look(counted))
	}
	if raw := s.send("GET /u/" + good + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(string(raw), "HTTP/1.1 200 ") {
		t.Errorf("the right token is answered %q", raw)
	}
}

// instant is a disk without latency, for what is measured around it.
type instant struct{ n int }

func (s *instant) Append(*event.Event) error { s.n++; return nil }

const browser = "Host: t.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: image/avif,image/webp,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Referer: https://webmail.example/\r\nConnection: keep-alive\r\nSec-Fetch-Dest: image\r\nSec-Fetch-Mode: no-cors\r\n\r\n"

// prepared is a RequestCtx as the server hands it to the handler.
func prepared(t testing.TB, method, path string) *fasthttp.RequestCtx {
	t.Helper()
	ctx := &fasthttp.RequestCtx{}
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	ctx.Init2(tcpPipe{server}, silence{&new(stats).unlogged}, false)
	must(t, ctx.Request.Header.Read(bufio.NewReader(strings.NewReader(method+" "+path+" HTTP/1.1\r\n"+browser))))
	return ctx
}

// tcpPipe is a pipe that says it comes from somewhere.
type tcpPipe struct{ net.Conn }

var somewhere = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}

func (tcpPipe) RemoteAddr() net.Addr { return somewhere }

// TestHandlersDoNotAllocate holds the budget of the hot path: from the request as it was parsed to
// the answer as it will be written, with real keys, consent, registry and rules.
func TestHandlersDoNotAllocate(t *testing.T) {
	for _, durable := range []bool{false, true} {
		var sp intake.Spool
		if !durable {
			sp = &instant{}
		}
		w := newWhole(t, sp)
		s, err := New(w.options)
		must(t, err)
		for name, ctx := range map[string]*fasthttp.RequestCtx{
			"open":         prepared(t, "GET", w.path(token.Open, counted, 0)),
			"refused open": prepared(t, "GET", w.path(token.Open, refused, 0)),
			"forged open":  prepared(t, "GET", "/o/"+strings.Repeat("A", 42)+".gif"),
			"garbage":      prepared(t, "GET", "/o/x"),
			"probe":        prepared(t, "HEAD", w.path(token.Open, counted, 0)),
			"click":        prepared(t, "GET", w.path(token.Click, counted, 1)),
			"forged click": prepared(t, "GET", "/c/"+strings.Repeat("A", 42)),
		} {
			n := testing.AllocsPerRun(200, func() {
				ctx.Response.Reset()
				s.route(ctx)
			})
			if n != 0 {
				t.Errorf("%s, durable %v: %v allocations", name, durable, n)
			}
		}
	}
}

// replay is a connection that brings the same request n times and drops the answers.
type replay struct {
	net.Conn
	request []byte
	n       int
	rest    []byte
}

func (r *replay) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.request
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
func (r *replay) Write(b []byte) (int, error)      { return len(b), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) RemoteAddr() net.Addr             { return somewhere }
func (r *replay) LocalAddr() net.Addr              { return somewhere }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

// TestServerDoesNotAllocate holds the same budget with fasthttp around it: reading, parsing, writing.
func TestServerDoesNotAllocate(t *testing.T) {
	if raced {
		t.Skip("fasthttp's pools do not hold under the race detector")
	}
	disk := &instant{}
	w := newWhole(t, disk)
	s, err := New(w.options)
	must(t, err)
	const requests = 2000
	for _, path := range []string{w.path(token.Open, counted, 0), w.path(token.Click, counted, 1)} {
		disk.n = 0
		n := testing.AllocsPerRun(3, func() {
			must(t, s.http.ServeConn(&replay{request: []byte("GET " + path + " HTTP/1.1\r\n" + browser), n: requests}))
		})
		if disk.n != 4*requests {
			t.Fatalf("%.12s: %d events of %d requests", path, disk.n, 4*requests)
		}
		if n/requests > 0.05 { // what a connection costs, spread over its requests
			t.Errorf("%.12s: %v allocations in %d requests", path, n, requests)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	w := newWhole(b, &instant{})
	s, err := New(w.options)
	must(b, err)
	for _, kind := range []struct {
		name, path string
	}{
		{"open", w.path(token.Open, counted, 0)}, {"open-refused", w.path(token.Open, refused, 0)},
		{"open-forged", "/o/" + strings.Repeat("A", 42) + ".gif"}, {"click", w.path(token.Click, counted, 1)},
	} {
		b.Run(kind.name, func(b *testing.B) {
			ctx := prepared(b, "GET", kind.path)
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				s.route(ctx)
			}
		})
	}
}

// BenchmarkServer is the whole of a request but the kernel's part and the disk's.
func BenchmarkServer(b *testing.B) {
	w := newWhole(b, &instant{})
	s, err := New(w.options)
	must(b, err)
	for _, kind := range []struct {
		name, path string
	}{{"open", w.path(token.Open, counted, 0)}, {"click", w.path(token.Click, counted, 1)}} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for left := b.N; left > 0; left -= s.o.Limits.RequestsPerConn {
				must(b, s.http.ServeConn(&replay{request: []byte("GET " + kind.path + " HTTP/1.1\r\n" + browser), n: left}))
			}
		})
	}
}

// wire is a connection that brings what it is given and keeps what is written.
type wire struct {
	replay
	written bytes.Buffer
}

func (w *wire) Write(b []byte) (int, error) { return w.written.Write(b) }

// FuzzConnection feeds any bytes to the whole edge as one connection: it may neither panic nor
// answer 5xx, and each answer must be readable.
func FuzzConnection(f *testing.F) {
	w := newWhole(f, &instant{})
	s, err := New(w.options)
	must(f, err)
	open, click, page := w.path(token.Open, counted, 0), w.path(token.Click, counted, 1), w.path(token.Preferences, counted, 0)
	for _, seed := range []string{
		"GET " + open + " HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD " + click + "?x HTTP/1.0\r\n\r\n",
		"GET " + click + " HTTP/1.1\r\nHost: h\r\nSec-GPC: 1\r\n\r\nGET /robots.txt HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST " + page + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\n\r\nopens=refused",
		"POST " + page + " HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"5\r\n--b--\r\n0\r\n\r\n",
		"GET http://h" + page + " HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "GET /%6f/%41.gif#x HTTP/1.1\r\nHost: h\r\n A: b\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		c := &wire{replay: replay{request: input, n: 1}}
		_ = s.http.ServeConn(c) // an error is a connection that ended badly, as it should
		if n := s.stats.panics.Load(); n != 0 {
			t.Fatalf("a handler panicked on %q", input)
		}
		out := c.written.Bytes()
		for _, line := range bytes.Split(out, []byte("\r\n")) {
			if rest, found := bytes.CutPrefix(line, []byte("HTTP/1.1 ")); found && len(rest) > 0 && rest[0] == '5' {
				t.Fatalf("%q got %q", input, line)
			}
		}
		if len(out) > 0 && !bytes.HasPrefix(out, []byte("HTTP/1.1 ")) {
			t.Fatalf("%q got %q", input, out)
		}
	})
}
