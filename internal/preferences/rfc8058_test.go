package preferences

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"mailbeacon/internal/consent"
)

// oneClickCases are what RFC 8058 asks of the address in a List-Unsubscribe header, each with the
// section that it follows from.
var oneClickCases = []struct {
	section, says string
	method        string
	contentType   string
	body          string
	status        int
	gone          bool // unsubscribed afterwards
}{
	{"1", "software that scans mail fetches every address in it: a GET must not unsubscribe", "GET", "", "", 200, false},
	{"1", "nor what a GET carries along", "GET", urlencoded, "List-Unsubscribe=One-Click", 200, false},
	{"1", "nor a HEAD", "HEAD", urlencoded, "List-Unsubscribe=One-Click", 200, false},
	{"3.1", "a POST of the one pair is all that it takes: no page, no confirmation", "POST", urlencoded, "List-Unsubscribe=One-Click", 200, true},
	{"3.2", "the pair may come as multipart/form-data, which is the better form", "POST", "multipart/form-data; boundary=b",
		"--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n", 200, true},
	{"3.2", "in multipart with types of its own, a preamble and an epilogue", "POST", "multipart/form-data; boundary=\"b c\"",
		"this is\r\n--b c\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b c--\r\nover\r\n", 200, true},
	{"3.2", "or as application/x-www-form-urlencoded", "POST", "application/x-www-form-urlencoded; charset=UTF-8", "List-Unsubscribe=One-Click", 200, true},
	{"3.2", "types are compared without regard to case", "POST", "Application/X-WWW-Form-Urlencoded", "List-Unsubscribe=One-Click", 200, true},
	{"3.2", "no other pair is the mail program's: another value is not one click", "POST", urlencoded, "List-Unsubscribe=Two-Click", 400, false},
	{"3.2", "nor another name", "POST", urlencoded, "List-Subscribe=One-Click", 400, false},
	{"3.2", "nor another case", "POST", urlencoded, "list-unsubscribe=one-click", 400, false},
	{"3.2", "nor half of it", "POST", urlencoded, "List-Unsubscribe", 400, false},
	{"3.2", "nor a body of multipart that breaks off", "POST", "multipart/form-data; boundary=b",
		"--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Cl", 400, false},
	{"3.2", "nor the pair in a file", "POST", "multipart/form-data; boundary=b",
		"--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"; filename=\"x\"\r\n\r\nOne-Click\r\n--b--\r\n", 400, false},
	{"3.2", "nor JSON", "POST", "application/json", `{"List-Unsubscribe":"One-Click"}`, 400, false},
	{"3.2", "nor the pair beside another", "POST", urlencoded, "List-Unsubscribe=One-Click&list=spring", 400, false},
	{"3.2", "nor twice", "POST", urlencoded, "List-Unsubscribe=One-Click&List-Unsubscribe=One-Click", 400, false},
	{"3.2", "nor in multipart without a boundary", "POST", "multipart/form-data", "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n", 400, false},
	{"3.2", "nor in a part of another name", "POST", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nList-Unsubscribe=One-Click\r\n--b--\r\n", 400, false},
	{"3.1", "a POST without the pair is not one click", "POST", urlencoded, "", 200, false},
	{"8.1", "the first example's body, with the line end that some programs add", "POST", urlencoded, "List-Unsubscribe=One-Click\r\n", 200, true},
	{"8.2", "the second example's", "POST", "multipart/form-data; boundary=---FormBoundaryjWmhtjORrn",
		"-----FormBoundaryjWmhtjORrn\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n-----FormBoundaryjWmhtjORrn--\r\n", 200, true},
}

// TestRFC8058 posts each case three times: no answer redirects or sets a cookie (section 3.1), none
// needs one, and what was said once is in the ledger once.
func TestRFC8058(t *testing.T) {
	t.Parallel()
	for _, tc := range oneClickCases {
		t.Run(fmt.Sprintf("section %s, %s", tc.section, tc.says), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, consent.BasisSubject)
			var before []byte
			for i := range 3 {
				ctx, found := ask(s.Handler, tc.method, "person", tc.contentType, tc.body)
				header := &ctx.Response.Header
				if !found || ctx.Response.StatusCode() != tc.status {
					t.Fatalf("found %v, answered %d, want %d", found, ctx.Response.StatusCode(), tc.status)
				}
				for _, name := range []string{"Location", "Set-Cookie", "Refresh", "Www-Authenticate"} {
					if got := header.Peek(name); len(got) > 0 {
						t.Errorf("%s: %s", name, got)
					}
				}
				if i > 0 && !bytes.Equal(before, ctx.Response.Body()) {
					t.Error("the answer to a repetition differs")
				}
				before = bytes.Clone(ctx.Response.Body())
			}
			want := map[bool]int{true: 1}[tc.gone]
			if got := s.entries(t); s.table.Look(9).Unsubscribed != tc.gone || got != want {
				t.Errorf("unsubscribed %v with %d entries in the ledger, want %v with %d", s.table.Look(9).Unsubscribed, got, tc.gone, want)
			}
			if tc.gone && !strings.HasPrefix(string(before), english.Notices[OneClick]) {
				t.Errorf("answered %q", before)
			}
		})
	}
}

// TestOneClickNeedsNoContext is section 3.2: the request carries no cookie, no authorization and nothing else that tells who
// sends it. So none is needed, and one that comes along all the same changes neither what is done nor what is answered.
func TestOneClickNeedsNoContext(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{
		"nothing": nil, "a cookie": {"Cookie", "session=somebody-else"}, "a login": {"Authorization", "Basic eDp5"},
		"another site": {"Origin", "https://mail.example", "Referer", "https://mail.example/inbox", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"},
		"no origin":    {"Origin", "null"}, "no tracking": {"Sec-GPC", "1", "DNT", "1"}, "a script": {"X-Requested-With", "XMLHttpRequest", "Accept", "application/json"},
		"another method": {"X-HTTP-Method-Override", "GET"},
	} {
		s := newSite(t, consent.BasisSubject)
		ctx, found := ask(s.Handler, "POST", "person", urlencoded, "List-Unsubscribe=One-Click", headers...)
		body := string(ctx.Response.Body())
		if !found || ctx.Response.StatusCode() != 200 || !s.table.Look(9).Unsubscribed || !strings.HasPrefix(body, english.Notices[OneClick]+"\n\n") {
			t.Errorf("with %s: %d, unsubscribed %v: %s", name, ctx.Response.StatusCode(), s.table.Look(9).Unsubscribed, body)
		}
		for _, key := range []string{"Set-Cookie", "Location", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
			if got := ctx.Response.Header.Peek(key); len(got) > 0 {
				t.Errorf("with %s: %s: %s", name, key, got)
			}
		}
	}
}

// TestOneClickOfNobody is section 3.1's "hard to forge": without an authentic token there is no person,
// and the router answers as for any address that leads nowhere.
func TestOneClickOfNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	for _, text := range []string{"forged", "", "person ", "PERSON"} {
		if _, found := ask(s.Handler, "POST", text, urlencoded, "List-Unsubscribe=One-Click"); found {
			t.Errorf("%q was found", text)
		}
	}
	if n := s.entries(t); n != 0 {
		t.Errorf("%d entries were written", n)
	}
}
