package plain

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const head = "GET /o/x.gif HTTP/1.1\r\nHost: h\r\n"

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		plain    bool
	}{
		{"least", head + "\r\n", true},
		{"browser", head + "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: image/*,*/*;q=0.8\r\nConnection: Keep-Alive\r\n\r\n", true},
		{"no blank behind the colon", head + "A:b\r\n\r\n", true},
		{"blanks around a value", head + "A: \t b \t \r\n\r\n", true},
		{"tab within a value", head + "Accept-Language: en;\tq=1, de;q=0.8\r\n\r\n", true},
		{"no value", head + "A:\r\n\r\n", true},
		{"names in capitals", "GET /o/x HTTP/1.1\r\nHOST: h\r\nUSER-AGENT: A\r\n\r\n", true},
		{"host with a port", "GET /o/x HTTP/1.1\r\nHost: t.example.com:8080\r\n\r\n", true},
		{"cookie of a parent domain", head + "Cookie: a=b; c=d\r\n\r\n", true},

		{"empty", "", false},
		{"cut in the method", "GE", false},
		{"cut in the target", "GET /o/x", false},
		{"cut in a header", head + "A: b\r", false},
		{"cut before the end", head, false},
		{"cut in the end", head + "\r", false},
		{"another request behind it", head + "\r\n" + head + "\r\n", false},
		{"a byte behind it", head + "\r\nx", false},
		{"HEAD", "HEAD /o/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"small letters", "get /o/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"HTTP/1.0", "GET /o/x HTTP/1.0\r\nHost: h\r\n\r\n", false},
		{"no version", "GET /o/x\r\nHost: h\r\n\r\n", false},
		{"two blanks", "GET  /o/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"query", "GET /o/x?y HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"fragment", "GET /o/x#y HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"percent", "GET /o/%41 HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"absolute form", "GET http://h/o/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"no slash", "GET o/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"no host", "GET /o/x HTTP/1.1\r\nA: b\r\n\r\n", false},
		{"empty host", "GET /o/x HTTP/1.1\r\nHost:\r\n\r\n", false},
		{"two hosts", head + "Host: h\r\n\r\n", false},
		{"host of odd letters", "GET /o/x HTTP/1.1\r\nHost: a b\r\n\r\n", false},
		{"host with half a port", "GET /o/x HTTP/1.1\r\nHost: h:\r\n\r\n", false},
		{"host that is a port", "GET /o/x HTTP/1.1\r\nHost: :80\r\n\r\n", false},
		{"host with a long port", "GET /o/x HTTP/1.1\r\nHost: h:123456\r\n\r\n", false},
		{"host with a path", "GET /o/x HTTP/1.1\r\nHost: h/o\r\n\r\n", false},
		{"bare line feed", "GET /o/x HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", false},
		{"bare carriage return", head + "A: b\rc\r\n\r\n", false},
		{"line feeds alone", "GET /o/x HTTP/1.1\nHost: h\n\n", false},
		{"empty line first", "\r\n" + head + "\r\n", false},
		{"folded", head + "A: b\r\n c\r\n\r\n", false},
		{"blank before the colon", head + "A : b\r\n\r\n", false},
		{"no colon", head + "whatever\r\n\r\n", false},
		{"no name", head + ": b\r\n\r\n", false},
		{"zero byte in a value", head + "A: b\x00c\r\n\r\n", false},
		{"zero byte in a long value", head + "A: 01234567\x0089abcdef\r\n\r\n", false},
		{"delete in a long value", head + "A: 0123456789\x7fbcdef\r\n\r\n", false},
		{"beyond ASCII", head + "A: 01234567\xc3\xa9\r\n\r\n", false},
		{"beyond ASCII in a name", head + "\xc3\xa9: b\r\n\r\n", false},
		{"two agents", head + "User-Agent: A\r\nUser-Agent: B\r\n\r\n", false},
		{"an empty agent and another", head + "User-Agent:\r\nUser-Agent: B\r\n\r\n", false},
		{"two of a proxy's", head + "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 1.2.3.5\r\n\r\n", false},
		{"connection to be closed", head + "Connection: close\r\n\r\n", false},
		{"connection of several words", head + "Connection: keep-alive, x\r\n\r\n", false},
		{"length", head + "Content-Length: 0\r\n\r\n", false},
		{"coding", head + "Transfer-Encoding: chunked\r\n\r\n", false},
		{"expectation", head + "Expect: 100-continue\r\n\r\n", false},
		{"upgrade", head + "Upgrade: h2c\r\n\r\n", false},
		{"trailer", head + "Trailer: A\r\n\r\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r Request
			if got := Parse([]byte(tc.in), &r); got != tc.plain {
				t.Errorf("%q: plain %v, want %v", tc.in, got, tc.plain)
			}
			sameAsServer(t, []byte(tc.in))
		})
	}
}

// kept are the headers that are kept, by their name.
func kept(r *Request) map[string][]byte {
	return map[string][]byte{
		"User-Agent": r.UserAgent, "Sec-Gpc": r.SecGPC, "Sec-Purpose": r.SecPurpose, "Purpose": r.Purpose, "X-Moz": r.XMoz,
		"X-Purpose": r.XPurpose, "X-Forwarded-For": r.ForwardedFor, "Forwarded": r.Forwarded,
	}
}

func TestParseKeepsEachHeaderUnderItsName(t *testing.T) {
	t.Parallel()
	var names []string
	for name := range kept(&Request{}) {
		names = append(names, name)
	}
	text := head
	for _, name := range names {
		text += strings.ToLower(name) + ": of " + name + "\r\n"
	}
	r := Request{Peer: netip.MustParseAddr("192.0.2.1"), Time: time.Unix(7, 0), XMoz: []byte("left over")}
	if !Parse([]byte(text+"\r\n"), &r) {
		t.Fatal("not plain")
	}
	for name, value := range kept(&r) {
		if string(value) != "of "+name {
			t.Errorf("%s is %q", name, value)
		}
	}
	if string(r.Target) != "/o/x.gif" || r.Peer != netip.MustParseAddr("192.0.2.1") || !r.Time.Equal(time.Unix(7, 0)) {
		t.Errorf("target %q, peer %v, time %v", r.Target, r.Peer, r.Time)
	}
	if !Parse([]byte(head+"\r\n"), &r) {
		t.Fatal("not plain")
	}
	for name, value := range kept(&r) {
		if value != nil {
			t.Errorf("%s is left over: %q", name, value)
		}
	}
}

// sameAsServer checks that what is plain is the same request to fasthttp, whole and nothing more.
func sameAsServer(t *testing.T, in []byte) {
	t.Helper()
	var r Request
	if !Parse(in, &r) {
		return
	}
	var server fasthttp.Request
	rest := bufio.NewReaderSize(bytes.NewReader(in), len(in)+16)
	if err := server.Header.Read(rest); err != nil {
		t.Fatalf("%q is plain here, and an error there: %v", in, err)
	}
	h := &server.Header
	if rest.Buffered() != 0 || !h.IsGet() || h.ConnectionClose() || !h.IsHTTP11() || h.ContentLength() > 0 || server.MayContinue() {
		t.Fatalf("%q is more than plain: %d bytes left, %q", in, rest.Buffered(), h)
	}
	if !bytes.Equal(h.RequestURI(), r.Target) {
		t.Fatalf("%q: target %q here, %q there", in, r.Target, h.RequestURI())
	}
	for name, value := range kept(&r) {
		if all := h.PeekAll(name); len(all) > 1 || !bytes.Equal(h.Peek(name), value) {
			t.Fatalf("%q: %s is %q here, %q there", in, name, value, all)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "\r\n"))
	f.Add([]byte(head + "User-Agent: A\r\nSec-GPC: 1\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nPurpose: prefetch\r\n\r\n"))
	f.Add([]byte("GET /o/x HTTP/1.1\r\nhost:h:80\r\nForwarded: for=\"[::1]\"\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"))
	f.Add([]byte("GET /o//../x HTTP/1.1\r\nHost: a_b\r\nX-Moz:prefetch\r\nX-Purpose :preview\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) { sameAsServer(t, in) })
}

func TestParseDoesNotAllocate(t *testing.T) {
	text, r := []byte(head+"User-Agent: A\r\nAccept: b\r\n\r\n"), new(Request)
	if n := testing.AllocsPerRun(100, func() { Parse(text, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, headers := range []int{2, 10} {
		text := []byte(head + strings.Repeat("Accept-Language: en-GB,en;q=0.5\r\n", headers) + "\r\n")
		b.Run(fmt.Sprint(headers, " headers"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if !Parse(text, new(Request)) {
					b.Fatal("not plain")
				}
			}
		})
	}
}
