package redirect

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/token"
)

// registry is a map of links; a late link comes when it is waited for, after delay.
type registry struct {
	urls   map[uint16]string
	late   map[uint16]string
	delay  time.Duration
	hidden uint16
}

func (r *registry) Destination(_ uint32, link uint16) ([]byte, bool) {
	url, ok := r.urls[link]
	return []byte(url), ok
}

func (r *registry) WaitDestination(ctx context.Context, _ uint32, link uint16) ([]byte, bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case <-time.After(r.delay):
		url, ok := r.late[link]
		return []byte(url), ok
	}
}

func (r *registry) Hidden(_ uint32, link uint16) bool { return link == r.hidden }

// witness opens "N" as a token of link N and remembers what it was told.
type witness struct {
	log []string
}

func (w *witness) Claims(kind event.Kind, sort token.Kind, text []byte) (token.Claims, bool) {
	var link uint16
	if _, err := fmt.Sscan(string(text), &link); err != nil || sort != token.Click {
		w.log = append(w.log, "no token, "+kind.String())
		return token.Claims{}, false
	}
	return token.Claims{Campaign: 7, Link: link, Subject: 9}, true
}

func (w *witness) Refuse(kind event.Kind, reason event.Reason) {
	w.log = append(w.log, "refuse "+kind.String()+" "+reason.String())
}

func (w *witness) Record(_ *fasthttp.RequestCtx, kind event.Kind, claims token.Claims, more event.Signals) {
	w.log = append(w.log, fmt.Sprintf("record %s %d/%d/%d %d", kind, claims.Campaign, claims.Link, claims.Subject, more))
}

func request(method string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	ctx.Request.Header.SetMethod(method)
	return ctx
}

// destinations are valid URLs that somebody's library would write otherwise.
var destinations = []string{
	"https://example.com/",
	"https://example.com",
	"HTTPS://EXAMPLE.COM/Path",
	"http://example.com:80/a/../b/./c//d",
	"https://example.com/a%2fb%2Fc%20d%7e",
	"https://example.com/?",
	"https://example.com?",
	"https://example.com/?a=1;b=2&a=3&&=",
	"https://example.com/#",
	"https://example.com/p?q#frag?ment#again",
	"https://example.com/a;v=1/b,c!$&'()*+:@",
	"https://example.com/\xe4\xb8\xad\xe6\x96\x87?\xc3\xa9=\xc3\xbc",
	"https://example.com/\xff\xfe", // bytes that are no UTF-8
	"https://b\xc3\xbccher.example/",
	"https://[2001:DB8::1]:8443/x",
	"https://example.com/trailing.",
	"https://example.com/%",
	"https://example.com/a|b\\c^d`e{f}[g]\"<h>",
	"https://example.com/" + strings.Repeat("long/", 1600),
}

func TestLocationIsByteForByte(t *testing.T) {
	t.Parallel()
	for _, url := range destinations {
		ctx := request("GET")
		w := &witness{}
		h := New(w, &registry{urls: map[uint16]string{3: url}}, 0)
		if !h.Serve(ctx, []byte("3")) {
			t.Fatalf("%.60q: not found", url)
		}
		var wire bytes.Buffer
		out := bufio.NewWriter(&wire)
		if err := ctx.Response.Write(out); err != nil {
			t.Fatal(err)
		}
		_ = out.Flush()
		if !strings.HasPrefix(wire.String(), "HTTP/1.1 302 ") || !strings.Contains(wire.String(), "\r\nLocation: "+url+"\r\n") {
			t.Errorf("%.60q went out as %.300q", url, wire.String())
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	links := &registry{urls: map[uint16]string{3: "https://example.com/3", 4: "https://example.com/4"}, hidden: 4}
	for _, tc := range []struct {
		method, text string
		found        bool
		log          string
	}{
		{"GET", "3", true, "record click 7/3/9 0"},
		{"HEAD", "3", true, "record probe 7/3/9 0"},
		{"GET", "4", true, fmt.Sprintf("record click 7/4/9 %d", event.HiddenLink)},
		{"GET", "5", false, "refuse click unknown_link"},
		{"HEAD", "5", false, "refuse probe unknown_link"},
		{"GET", "forged", false, "no token, click"},
		{"HEAD", "forged", false, "no token, probe"},
		{"GET", "", false, "no token, click"},
	} {
		t.Run(tc.method+" "+tc.text, func(t *testing.T) {
			t.Parallel()
			w, ctx := &witness{}, request(tc.method)
			if found := New(w, links, 0).Serve(ctx, []byte(tc.text)); found != tc.found {
				t.Fatalf("found %v, want %v", found, tc.found)
			}
			if len(w.log) != 1 || w.log[0] != tc.log {
				t.Errorf("told %q, want %q", w.log, tc.log)
			}
			if !tc.found {
				if n := ctx.Response.Header.Peek("Location"); ctx.Response.StatusCode() != 200 || len(n) > 0 || len(ctx.Response.Body()) > 0 {
					t.Error("something was written")
				}
				return
			}
			header := &ctx.Response.Header
			if ctx.Response.StatusCode() != 302 || string(header.Peek("Referrer-Policy")) != "no-referrer" ||
				!strings.Contains(string(header.Peek("Cache-Control")), "no-store") {
				t.Errorf("answered %d %s", ctx.Response.StatusCode(), header)
			}
			for _, name := range []string{"Set-Cookie", "Etag"} {
				if len(header.Peek(name)) > 0 {
					t.Errorf("the answer carries %s", name)
				}
			}
		})
	}
}

func TestLateLink(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		delay time.Duration
		link  string
		found bool
		took  time.Duration
	}{
		{300 * time.Millisecond, "3", true, 300 * time.Millisecond},
		{300 * time.Millisecond, "4", false, 300 * time.Millisecond},
		{time.Hour, "3", false, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, ctx := &witness{}, request("GET")
			h := New(w, &registry{late: map[uint16]string{3: "https://example.com/3"}, delay: tc.delay}, 2*time.Second)
			begin := time.Now()
			if found := h.Serve(ctx, []byte(tc.link)); found != tc.found {
				t.Errorf("after %v: found %v, want %v", tc.delay, found, tc.found)
			}
			if took := time.Since(begin); took != tc.took {
				t.Errorf("took %v, want %v", took, tc.took)
			}
		})
	}
}
