package rewrite

import (
	"html"
	"strings"
	"testing"
	"time"

	xhtml "golang.org/x/net/html"
)

// maxTime is far above what any input of a fuzz target's size takes in linear time.
const maxTime = 2 * time.Second

func FuzzHTML(f *testing.F) {
	for _, s := range corpus(f, ".html") {
		f.Add(s.data)
	}
	for _, s := range []string{
		`<!--[if mso]><a href=https://e.org/--><![endif]-->`, `<!-->--!><a href=http://e.org/><body>`, `<a href='https://e.org/'href=x/><b/><body>`,
		`<title></title/><a =href=x href=https://e.org/>`, `<a href=https://e.org/&amp;&copy=1&notit;&#x80;&#0;>`, `<p off><![if !x]><body><![endif]>`, "<a href=\xff>\x00",
		`<base href=https://e.org><a href=?q>`, `<table><td data-mailbeacon=off><tr><a href=https://e.org>`, `<svg><title/><![CDATA[]]><p></svg>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<16 {
			return
		}
		start := time.Now()
		checkHTML(t, src)
		if took := time.Since(start); took > maxTime {
			t.Errorf("%d bytes took %v", len(src), took)
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, s := range corpus(f, ".eml") {
		f.Add(s.data)
	}
	for _, s := range []string{
		"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + htmlPart + "\n--b--\n", "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<a href=3D=\n\"https://e.org/=\n=3D\"> =\n",
		"Content-Type: text/html\nContent-Transfer-Encoding: base64\nContent-Length: 8\n\nPGJvZHk+", "Content-Type: text/html; charset=utf-16\n\n<\x00a\x00 \x00h\x00",
		"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n--b\r\n\r\nhttps://e.org/",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, eml []byte) {
		if len(eml) > 1<<16 {
			return
		}
		start := time.Now()
		checkMail(t, eml)
		if took := time.Since(start); took > maxTime {
			t.Errorf("%d bytes took %v", len(eml), took)
		}
	})
}

// checkMail rewrites any bytes as a mail and holds the result against what must be true of it.
func checkMail(t reporter, eml []byte) {
	t.Helper()
	j := job{o: everything}
	edits, err := j.message(eml)
	if err != nil {
		return // a limit
	}
	out := apply(nil, eml, edits)
	if diff := restored(eml, out, edits); diff != "" {
		t.Errorf("%q: %s", eml, diff)
	}
	if len(out) > 4*len(eml)+1600*len(edits)+1600*j.result.Rewritten {
		t.Errorf("%d bytes became %d", len(eml), len(out))
	}
	untouched(t, eml, edits)
	again := job{o: everything}
	if _, err := again.message(out); err != nil || again.result.Rewritten != j.result.Rewritten || again.result.Pixel != j.result.Pixel {
		t.Errorf("%q\nbecame %q\n%+v, then %+v, %v", eml, out, j.result, again.result, err)
	}
}

// untouched says that edits lie in the bodies of text parts alone, or exchange digits.
func untouched(t reporter, eml []byte, edits []edit) {
	var bodies []span
	var find func(e entity, depth int)
	find = func(e entity, depth int) {
		boundary := strings.TrimRight(e.params["boundary"], " \t")
		if !strings.HasPrefix(e.mediaType, "multipart/") || boundary == "" || depth > MaxDepth {
			bodies = append(bodies, e.body)
			return
		}
		for _, s := range split(eml, e.body, boundary, MaxParts) {
			find(parseEntity(eml, s), depth+1)
		}
	}
	find(parseEntity(eml, span{0, len(eml)}), 0)
	for _, e := range edits {
		inside := len(strings.Trim(string(e.text)+string(eml[e.start:e.end]), "0123456789")) == 0
		for _, b := range bodies {
			inside = inside || b.start <= e.start && e.end <= b.end
		}
		if !inside {
			t.Errorf("%q: edit [%d,%d) is in no part's body", eml, e.start, e.end)
		}
	}
}

// Character references in addresses mean what another reader takes them for.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"&amp;", "&copy=", "&notit;", "&not", "&#38", "&#x26;", "&#;", "&#x;", "&semi;", "&#128;", "&#xD800;", "&#99999999999;", "&#0;", "&amp", "&ampx", "&&amp;;", "&NotEqualTilde;", "&#0038;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\"\r\x00") || len(s) > 1000 {
			return
		}
		z := xhtml.NewTokenizer(strings.NewReader(`<a b="` + s + `">`))
		z.Next()
		want := z.Token().Attr[0].Val
		if got := unescapeAttr(s); got != want && !strings.Contains(s, "&#") {
			t.Errorf("%q is %q, want %q", s, got, want)
		} else if got != want && html.UnescapeString(s) != got && !strings.ContainsRune(got, '\ufffd') {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	})
}
