package edge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	for _, tc := range []struct {
		method, target string
		status         int
		body           string // exact, or "" for whatever the status brings
	}{
		{"GET", "/o/x.gif", 200, "o:x.gif"},
		{"GET", "/o/", 200, "o:"},
		{"GET", "/o/x.gif/", 200, "o:x.gif"},
		{"GET", "/o/x.gif?a=b", 200, "o:x.gif"},
		{"GET", "/o/x.gif#y?z", 200, "o:x.gif"},
		{"GET", "/o/a/../b", 200, "o:a/../b"},
		{"GET", "/o//x", 200, "o:/x"},
		{"GET", "/o/%41%2d%5F%7e%2egif", 200, "o:A-_~.gif"},
		{"GET", "/o/%2F%00%zz%4", 200, "o:%2F%00%zz%4"},
		{"GET", "/o/%", 200, "o:%"},
		{"GET", "/%6F/x", 200, "o:x"},
		{"GET", "http://host.example/o/x", 200, "o:x"},
		{"GET", "HTTP://other.example:81/c/x?q", 200, "c:x"},
		{"GET", "http://host.example", 404, ""},
		{"GET", "http://host.example?/o/x", 404, ""},
		{"GET", "/c/x", 200, "c:x"},
		{"GET", "/c/x//", 200, "c:x/"},
		{"GET", "/c/missing", 404, ""},
		{"GET", "/u/x", 200, "u:x:"},
		{"GET", "/u/missing", 404, ""},
		{"GET", "/o", 404, ""},
		{"GET", "/O/x", 404, ""},
		{"GET", "//o/x", 404, ""},
		{"GET", "/x/../o/x", 404, ""},
		{"GET", "/", 404, ""},
		{"GET", "/favicon.ico", 404, ""},
		{"POST", "/nowhere", 404, ""},
		{"GET", "/robots.txt", 200, "User-agent: *\nDisallow: /\n"},
		{"GET", "/robots.txt?x", 200, "User-agent: *\nDisallow: /\n"},
		{"GET", "/robots.txt/", 404, ""},
		{"GET", "/o/" + strings.Repeat("A", 9000), 200, ""},
		{"GET", "/c/" + strings.Repeat("%41", 3000), 200, ""},
		{"POST", "/o/x.gif", 405, ""},
		{"PUT", "/c/x", 405, ""},
		{"OPTIONS", "/c/x", 405, ""},
		{"PROPFIND", "/u/x", 405, ""},
		{"TRACE", "/o/x", 405, ""},
		{"DELETE", "/robots.txt", 405, ""},
		{"OPTIONS", "*", 404, ""},
		{"CONNECT", "host.example:443", 404, ""},
	} {
		t.Run(fmt.Sprintf("%s %.40s", tc.method, tc.target), func(t *testing.T) {
			t.Parallel()
			raw := s.send(tc.method + " " + tc.target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			r := one(t, raw, tc.method)
			if r.StatusCode != tc.status {
				t.Fatalf("got %d, want %d", r.StatusCode, tc.status)
			}
			if body := bodyOf(r); tc.body != "" && body != tc.body {
				t.Errorf("got %q, want %q", body, tc.body)
			}
			for _, name := range []string{"Server", "Set-Cookie", "Etag"} {
				if v := r.Header.Get(name); v != "" {
					t.Errorf("the answer carries %s: %s", name, v)
				}
			}
			if r.Header.Get("Date") == "" {
				t.Error("the answer carries no Date")
			}
			if tc.status != 200 && r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("a %d may be cached: %q", tc.status, r.Header.Get("Cache-Control"))
			}
		})
	}
}

func TestWrongMethodTellsTheRightOnes(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	for target, allow := range map[string]string{
		"/o/x.gif": "GET, HEAD", "/c/x": "GET, HEAD", "/u/x": "GET, HEAD, POST",
		"/robots.txt": "GET, HEAD", "/.well-known/gpc.json": "GET, HEAD",
	} {
		r := one(t, s.send("DELETE "+target+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "DELETE")
		if r.StatusCode != 405 || r.Header.Get("Allow") != allow {
			t.Errorf("DELETE %s: got %d, Allow %q; want 405, %q", target, r.StatusCode, r.Header.Get("Allow"), allow)
		}
		var problem struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal([]byte(bodyOf(r)), &problem); err != nil || problem.Status != 405 || problem.Title == "" {
			t.Errorf("DELETE %s: body is no problem document: %+v, %v", target, problem, err)
		}
		if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("DELETE %s: Content-Type %q", target, ct)
		}
	}
}

func TestHeadHasTheHeadersOfGet(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	for _, target := range []string{"/o/x", "/c/x", "/c/missing", "/u/x", "/robots.txt", "/.well-known/gpc.json", "/"} {
		request := " " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
		get, _, _ := strings.Cut(withoutDate(s.send("GET"+request)), "\r\n\r\n")
		head := withoutDate(s.send("HEAD" + request))
		if head != get+"\r\n\r\n" {
			t.Errorf("%s: HEAD answered\n%q\nGET answered\n%q", target, head, get)
		}
	}
}

func TestGPCSupport(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	r := one(t, s.send("GET /.well-known/gpc.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "GET")
	var support struct {
		GPC        bool   `json:"gpc"`
		LastUpdate string `json:"lastUpdate"`
	}
	if err := json.Unmarshal([]byte(bodyOf(r)), &support); err != nil || !support.GPC || len(support.LastUpdate) != len("2006-01-02") {
		t.Errorf("got %+v, %v", support, err)
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
}

func TestNotFoundIsOnePageForAllCauses(t *testing.T) {
	t.Parallel()
	s := start(t, echo())
	for accept, want := range map[string]string{"de-AT, en;q=0.5": "de", "en": "en", "fr": "en"} {
		r := one(t, s.send("GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept-Language: "+accept+"\r\n\r\n"), "GET")
		if body := bodyOf(r); r.StatusCode != 404 || r.Header.Get("Content-Language") != want || !strings.Contains(body, `<html lang="`+want+`"`) {
			t.Errorf("who reads %s is answered %d in %s: %.60q", accept, r.StatusCode, r.Header.Get("Content-Language"), body)
		}
	}
	var first string
	for _, target := range []string{"/c/missing", "/u/missing", "/", "/x?secret=1", "/c"} {
		got := withoutDate(s.send("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%s answers otherwise than /c/missing:\n%s\n%s", target, got, first)
		}
	}
	if !strings.Contains(first, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("no strict policy in %q", first)
	}
	for _, leak := range []string{"http://", "https://", "<script", "src=", "href="} {
		if strings.Contains(first, leak) {
			t.Errorf("the page is not self-contained: it holds %q", leak)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/o/x", "http://h/o/x", "/%6f/x?y#z", "%", "/%4", "*", "h:443", "://", "a://b/c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, uri []byte) {
		before := string(uri)
		path := target(uri)
		if string(uri) != before {
			t.Fatalf("target changed its argument: %q became %q", before, uri)
		}
		if len(path) > len(uri) || (len(path) > 0 && path[0] != '/') {
			t.Fatalf("target of %q is %q", uri, path)
		}
		again := unescape(path)
		if strings.Contains(before, "%25") {
			return // an encoded percent sign stays, so nothing may be decoded twice
		}
		if string(unescape(again)) != string(again) && !strings.Contains(string(path), "%") {
			t.Fatalf("unescape of %q is not stable", path)
		}
	})
}
