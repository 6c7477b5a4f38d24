package rewrite

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// leaf is a part of a mail as another reader of MIME sees it.
type leaf struct {
	path, header, mediaType string
	body                    []byte
}

// leaves reads a mail with another reader of MIME. Charsets are not converted.
func leaves(t testing.TB, eml []byte) []leaf {
	t.Helper()
	e, err := message.Read(bytes.NewReader(eml))
	if err != nil && !message.IsUnknownCharset(err) {
		t.Fatalf("%v\n%s", err, eml)
	}
	var all []leaf
	err = e.Walk(func(path []int, e *message.Entity, err error) error {
		if err != nil && !message.IsUnknownCharset(err) {
			return err
		}
		var header strings.Builder
		for f := e.Header.Fields(); f.Next(); {
			if f.Key() == "Content-Length" { // may change
				continue
			}
			raw, err := f.Raw()
			if err != nil {
				return err
			}
			header.Write(raw)
		}
		l := leaf{path: fmt.Sprint(path), header: header.String()}
		l.mediaType, _, _ = e.Header.ContentType()
		if !strings.HasPrefix(l.mediaType, "multipart/") {
			if l.body, err = io.ReadAll(e.Body); err != nil {
				return err
			}
		}
		all = append(all, l)
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, eml)
	}
	return all
}

// checkMessage rewrites a mail and holds it against what must be true of all. Names of parts that
// are to change come as their path; all other parts must be the same.
func checkMessage(t testing.TB, eml []byte, o Options) ([]byte, Result) {
	t.Helper()
	j := job{o: o}
	edits, err := j.message(eml)
	if err != nil {
		t.Fatal(err)
	}
	out, res, err := Message(nil, eml, o)
	if err != nil || !bytes.Equal(out, apply(nil, eml, edits)) {
		t.Fatalf("%v", err)
	}
	if diff := restored(eml, out, edits); diff != "" {
		t.Errorf("%s\nbecame %s\n%s", eml, out, diff)
	}
	if len(edits) == 0 && !bytes.Equal(eml, out) {
		t.Error("changed without an edit")
	}
	return out, res
}

// sameParts compares a mail with what became of it, part by part, as another reader sees them.
func sameParts(t testing.TB, eml, out []byte) {
	t.Helper()
	was, is := leaves(t, eml), leaves(t, out)
	if len(was) != len(is) {
		t.Fatalf("%d parts became %d\n%s", len(was), len(is), out)
	}
	for i, a := range was {
		b := is[i]
		if a.path != b.path || a.header != b.header {
			t.Errorf("part %s: header %q became %q", a.path, a.header, b.header)
		}
		if bytes.Equal(a.body, b.body) {
			continue
		}
		if a.mediaType != "text/html" {
			t.Errorf("part %s, %s, changed: %q", a.path, a.mediaType, b.body)
			continue
		}
		in, got := bytes.ReplaceAll(a.body, []byte("\r"), nil), bytes.ReplaceAll(b.body, []byte("\r"), nil)
		if beyondOracle(in) {
			continue
		}
		if diff := sameTokens(in, got, bytes.Contains(got, []byte(testPixel))); diff != "" {
			t.Errorf("part %s: %q\nbecame %q\n%s", a.path, a.body, b.body, diff)
		}
	}
}

const (
	htmlBody = `<body><a href="https://e.org/">x</a>`
	htmlPart = "Content-Type: text/html; charset=utf-8\n\n" + htmlBody
)

// want is htmlBody rewritten.
func want(pixel bool) string {
	to, _, _ := hashed(Link{URL: "https://e.org/"})
	out := strings.Replace(htmlBody, "https://e.org/", to, 1)
	if pixel {
		out = strings.Replace(out, "<body>", "<body>"+pixelHTML, 1)
	}
	return out
}

// In the mails, @ stands for htmlBody: as it must be rewritten with the pixel; # without it; and ~
// as it must stay.
func TestMessage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, eml string
		warnings  string
	}{
		{"bare", "Content-Type: text/html\n\n@", ""},
		{"no version, CRLF", "Subject: x\r\nContent-Type: TEXT/HTML; Charset=\"UTF-8\"\r\n\r\n@\r\n", ""},
		{"comment and folding", "Content-Type: text/html (rich;\n text) ; charset\n =\"utf-8\" (c)\n\n@", ""},
		{"trailing semicolon", "Content-Type: text/html; charset=utf-8; ;\nContent-Transfer-Encoding: 8BIT (x)\n\n@", ""},
		{"same header twice", "Content-Type: text/html\nContent-Type: text/html\n\n@", ""},
		{"headers contradict", "Content-Type: text/html\nContent-Type: text/plain\n\n~", "ambiguous no_html"},
		{"encodings contradict", "Content-Type: text/html\nContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\n~", "ambiguous no_html"},
		{"plain", "Content-Type: text/plain\n\n~", "no_html"},
		{"no type", "Subject: x\n\n~", "no_html"},
		{"no header", "\n~", "no_html"},
		{"no body", "Subject: x\n", "no_html"},
		{"nothing", "", "no_html"},
		{"mbox line", "From me Mon Jan  1 00:00:00 2026\nContent-Type: text/html\n\n@", ""},
		{"alternative", "Content-Type: multipart/alternative; boundary=b\n\npre ~~\n--b\n\n~\n--b\nContent-Type: text/html\n\n@\n--b--\nepilogue ~\n", ""},
		{"two alternatives", "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n@\n--b\nContent-Type: text/html\n\n@\n--b--\n", ""},
		{"mixed", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n@\n--b\nContent-Type: text/html\n\n#\n--b--\n", ""},
		{"related", "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n@\n--b\nContent-Type: text/html\n\n~\n--b--\n", ""},
		{"related with start", "Content-Type: multipart/related; boundary=b; start=\"<r.x>\"\n\n--b\nContent-Type: text/html\n\n~\n--b\nContent-Type: text/html\nContent-ID: <r.x>\n\n@\n--b--\n", ""},
		{"related, image first", "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: image/gif\n\n~\n--b\nContent-Type: text/html\n\n@\n--b--\n", ""},
		{"mixed, related, alternative", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: multipart/alternative;\n boundary=c\n\n" +
			"--c\n\n~\n--c\nContent-Type: text/html\n\n@\n--c--\n--b\nContent-Type: image/gif\n\n~\n--b--\n\n--a\nContent-Type: text/html\nContent-Disposition: attachment; filename=x.html\n\n~\n--a--\n", ""},
		{"inline with a name", "Content-Type: text/html; name=x.html\nContent-Disposition: inline; filename=x.html\n\n@", ""},
		{"enclosed mail", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nContent-Type: text/html\n\n~\n--b--\n", "no_html"},
		{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Type: text/html\n\n~\n--b--\n", "no_html"},
		{"signed", "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/html\n\n~\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n", "signed no_html"},
		{"signed within", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/html\n\n~\n--b--\n--a\nContent-Type: text/html\n\n@\n--a--\n", "signed"},
		{"pgp", "Content-Type: multipart/encrypted; boundary=b\n\n--b\n\n~\n--b--\n", "encrypted no_html"},
		{"smime", "Content-Type: application/pkcs7-mime; smime-type=signed-data\n\n~", "signed no_html"},
		{"smime, encrypted", "Content-Type: application/x-pkcs7-mime\n\n~", "encrypted no_html"},
		{"pgp inline", "Content-Type: text/html\n\n-----BEGIN PGP SIGNED MESSAGE-----\n~", "signed"},
		{"amp", "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/x-amp-html\n\n~\n--b\nContent-Type: text/html\n\n@\n--b--\n", "amp"},
		{"quoted boundary", "Content-Type: multipart/mixed; boundary=\"a b;=(c\"\n\n--a b;=(c  \t\nContent-Type: text/html\n\n@\n--a b;=(c-- \n", ""},
		{"boundary with a space behind", "Content-Type: multipart/mixed; boundary=\"b \"\n\n--b\nContent-Type: text/html\n\n@\n--b--\n", ""},
		{"boundary in two pieces", "Content-Type: multipart/mixed;\n boundary*0=ab;\n boundary*1=cd\n\n--abcd\nContent-Type: text/html\n\n@\n--abcd--\n", ""},
		{"boundary begins like another", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bc\n\n--bc\nContent-Type: text/html\n\n@\n--bc--\n--b\nContent-Type: text/html\n\n#\n--bcd\n--b--\n", ""},
		{"boundary within a line", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\nx --b\n@\n--b--\n", ""},
		{"not closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n@\n", ""},
		{"inner not closed", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n@\n--a\n\n~\n--a--\n", ""},
		{"no boundary", "Content-Type: multipart/mixed\n\n--b\nContent-Type: text/html\n\n~\n--b--\n", "broken no_html"},
		{"boundary nowhere", "Content-Type: multipart/mixed; boundary=q\n\n--b\nContent-Type: text/html\n\n~\n--b--\n", "broken no_html"},
		{"multipart in base64", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\nContent-Type: text/html\n\n~\n--b--\n", "broken no_html"},
		{"uuencode", "Content-Type: text/html\nContent-Transfer-Encoding: x-uuencode\n\n~", "encoding"},
		{"utf-7", "Content-Type: text/html; charset=utf-7\n\n~", "charset"},
		{"broken base64", "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n~=a", "broken"},
		{"dkim", "DKIM-Signature: v=1\nContent-Type: text/html\n\n@", "dkim"},
		{"md5", "Content-MD5: x\nContent-Type: text/html\n\n@", "digest"},
		{"html without a body", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n--b\nContent-Type: text/html\n\n@\n--b--\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			eml := strings.NewReplacer("@", htmlBody, "#", htmlBody, "~", htmlBody).Replace(tt.eml)
			expected := strings.NewReplacer("@", want(true), "#", want(false), "~", htmlBody).Replace(tt.eml)
			o := everything
			o.TextLinks = false
			out, res := checkMessage(t, []byte(eml), o)
			if string(out) != expected {
				t.Errorf("got  %q\nwant %q", out, expected)
			}
			if got := strings.Trim(fmt.Sprint(res.Warnings), "[]"); got != tt.warnings {
				t.Errorf("warnings %q, want %q", got, tt.warnings)
			}
			if res.Pixel != strings.Contains(expected, testPixel) {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestMessageText(t *testing.T) {
	t.Parallel()
	eml := []byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSee https://e.org/.\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" +
		"https://e.org/?a=3D=\n1 =E4\n--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nhttps://e.org/\n--b--\n")
	out, res := checkMessage(t, eml, Options{Href: numbered, TextLinks: true})
	expected := strings.Replace(strings.Replace(string(eml), "See https://e.org/", "See https://t.example/c/1", 1), "https://e.org/?a=3D=\n1", "https://t.example/c/2", 1)
	if string(out) != expected || res.Rewritten != 2 {
		t.Errorf("%q, %+v", out, res)
	}
	out, _ = checkMessage(t, eml, Options{Href: numbered})
	if !bytes.Equal(out, eml) {
		t.Errorf("%q", out)
	}
}

// Content-Length tells the truth afterwards if it did before.
func TestContentLength(t *testing.T) {
	t.Parallel()
	for digits, after := range map[string]int{fmt.Sprint(len(htmlBody)): len(want(true)), "7": 7} {
		eml := "Content-Length: " + digits + "\nContent-Type: text/html\n\n" + htmlBody
		out, _ := checkMessage(t, []byte(eml), everything)
		if got := fmt.Sprintf("Content-Length: %d\nContent-Type: text/html\n\n%s", after, want(true)); string(out) != got {
			t.Errorf("%q", out)
		}
	}
}

// The same document in every charset and encoding: the links are the same, the text stays.
func TestCharsets(t *testing.T) {
	t.Parallel()
	documents := map[string]string{
		"utf-8": "Grüße ✓ 日本", "iso-8859-1": "Grüße", "iso-8859-15": "Grüße €", "windows-1251": "Привет", "windows-1252": "“Grüße”", "koi8-r": "Привет",
		"iso-2022-jp": "日本語<テスト>ソ", "shift_jis": "表示ソ能", "euc-jp": "日本語", "gb18030": "中文測試", "gbk": "中文", "big5": "中文許功蓋", "euc-kr": "한국어",
		"utf-16le": "Grüße 日本 <", "utf-16be": "Grüße 日本 <", "utf-16": "Grüße",
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		text := documents[name]
		body := "<html><body>" + text + "<a href=\"https://e.org/\">" + strings.ReplaceAll(text, "<", "&lt;") + "</a>" + text + "</body></html>\n"
		enc, err := htmlindex.Get(name)
		if name == "utf-16" {
			enc, err = unicode.UTF16(unicode.BigEndian, unicode.UseBOM), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := enc.NewEncoder().Bytes([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, encoding := range []string{"8bit", "base64", "quoted-printable"} {
			t.Run(name+" "+encoding, func(t *testing.T) {
				var asked []Link
				o := Options{Pixel: testPixel, Href: func(l Link) (string, bool, error) {
					asked = append(asked, l)
					return hashed(l)
				}}
				eml := []byte("MIME-Version: 1.0\nContent-Type: text/html; charset=" + name + "\nContent-Transfer-Encoding: " + encoding + "\n\n")
				header := len(eml)
				eml = append(eml, encodeCTE(raw, encoding)...)
				out, res, err := Message(nil, eml, o)
				if err != nil || res.Rewritten != 1 || !res.Pixel || len(res.Warnings) > 0 || !bytes.Equal(out[:header], eml[:header]) {
					t.Fatalf("%+v, %v", res, err)
				}
				if want := (Link{"https://e.org/", text, 1}); asked[0] != want {
					t.Errorf("asked %+v, want %+v", asked[0], want)
				}
				got, err := enc.NewDecoder().Bytes(decodeCTE(out[header:], encoding))
				to, _, _ := hashed(asked[0])
				expected := strings.Replace(strings.Replace(body, "https://e.org/", to, 1), "<body>", "<body>"+pixelHTML, 1)
				if err != nil || string(got) != expected {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
}

// encodeCTE encodes as common mail programs do.
func encodeCTE(b []byte, encoding string) []byte {
	switch encoding {
	case "base64":
		return append(wrap([]byte(base64.StdEncoding.EncodeToString(b)), 76), '\n')
	case "quoted-printable":
		var out bytes.Buffer
		column := 0
		for i, c := range b {
			code := string(rune(c))
			if c == '\n' && (len(b)%2 == 1 || i == len(b)-1) {
				out.WriteByte('\n')
				column = 0
				continue
			}
			if c == '=' || c < ' ' || c >= 0x7f {
				code = fmt.Sprintf("=%02X", c)
			}
			if column+len(code) > 75 {
				out.WriteString("=\n")
				column = 0
			}
			out.WriteString(code)
			column += len(code)
		}
		return out.Bytes()
	}
	return b
}

func wrap(b []byte, width int) []byte {
	var out []byte
	for len(b) > width {
		out = append(append(out, b[:width]...), '\n')
		b = b[width:]
	}
	return append(out, b...)
}

// The query of a link is sent in the document's charset, the path in UTF-8.
func TestCharsetOfQuery(t *testing.T) {
	t.Parallel()
	eml := "Content-Type: text/html; charset=iso-8859-1\n\n<a href=\"https://e.org/\xe4?q=\xf6\">\xfc</a>"
	var asked Link
	_, _, err := Message(nil, []byte(eml), Options{Href: func(l Link) (string, bool, error) { asked = l; return "", false, nil }})
	if want := (Link{"https://e.org/%C3%A4?q=%F6", "ü", 1}); err != nil || asked != want {
		t.Errorf("%+v, want %+v (%v)", asked, want, err)
	}
}

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	nested := func(depth int) []byte {
		var b strings.Builder
		for i := range depth {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d.\n\n--b%d.\n", i, i)
		}
		b.WriteString("Content-Type: text/html\n\n" + htmlBody)
		return []byte(b.String())
	}
	if _, res, err := Message(nil, nested(MaxDepth), everything); err != nil || res.Rewritten != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, _, err := Message(nil, nested(MaxDepth+1), everything); !errors.Is(err, ErrTooDeep) {
		t.Error(err)
	}
	many := func(parts int) []byte {
		return []byte("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n"+htmlPart+"\n", parts) + "--b--\n")
	}
	if _, res, err := Message(nil, many(MaxParts-1), everything); err != nil || res.Rewritten != MaxParts-1 {
		t.Errorf("%d, %v", res.Rewritten, err)
	}
	if _, _, err := Message(nil, many(MaxParts), everything); !errors.Is(err, ErrTooManyParts) {
		t.Error(err)
	}
	if _, _, err := Message(nil, bytes.Replace(many(MaxParts+5), []byte("mixed"), []byte("related"), 1), everything); !errors.Is(err, ErrTooManyParts) {
		t.Error(err)
	}
}

func TestSetHeaders(t *testing.T) {
	t.Parallel()
	const url = "<https://t.example/u/AbC>"
	set := []Header{{"List-Unsubscribe", url}, {"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"}}
	lines := "List-Unsubscribe: " + url + "\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n"
	for in, want := range map[string]string{
		"Subject: x\n\nbody":     "Subject: x\n" + lines + "\nbody",
		"Subject: x\n y\n\nbody": "Subject: x\n y\n" + lines + "\nbody",
		"Subject: x":             "Subject: x\r\n" + strings.TrimSuffix(strings.ReplaceAll(lines, "\n", "\r\n"), "\r\n"),
		"Subject: x\n":           "Subject: x\n" + lines,
		"":                       strings.ReplaceAll(lines, "\n", "\r\n"),
		"\nbody":                 lines + "\nbody",
		"LIST-UNSUBSCRIBE: <a>,\n <b>\nSubject: x\n\n":                                                            "List-Unsubscribe: " + url + "\nSubject: x\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n\n",
		"A: 1\nList-Unsubscribe: a\nB: 2\nList-Unsubscribe-Post: c\nlist-unsubscribe: b\n\nList-Unsubscribe: x\n": "A: 1\nList-Unsubscribe: " + url + "\nB: 2\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n\nList-Unsubscribe: x\n",
		"From me Mon Jan 1 1:2:3 2026\nA: b\n\n":                                                                  "From me Mon Jan 1 1:2:3 2026\nA: b\n" + lines + "\n",
	} {
		got, err := SetHeaders([]byte("0"), []byte(in), set)
		if err != nil || string(got) != "0"+want {
			t.Errorf("%q\ngot  %q\nwant %q, %v", in, got, want, err)
		}
	}
	got, err := SetHeaders(nil, []byte("A: b\r\n\r\n"), []Header{{"List-Unsubscribe", "<https://t.example/u/" + strings.Repeat("x", 60) + ">, <mailto:u@t.example?subject=" + strings.Repeat("y", 30) + ">"}})
	if want := "A: b\r\nList-Unsubscribe: <https://t.example/u/" + strings.Repeat("x", 60) + ">,\r\n <mailto:u@t.example?subject=" + strings.Repeat("y", 30) + ">\r\n\r\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []Header{{"", "x"}, {"A b", "x"}, {"A:", "x"}, {"A", ""}, {"A", " "}, {"A", "x\r\nBcc: y"}, {"A", "ä"}, {"A", strings.Repeat("x", 997)}} {
		if got, err := SetHeaders([]byte("0"), []byte("B: c\n\n"), []Header{bad}); !errors.Is(err, ErrHeader) || string(got) != "0" {
			t.Errorf("%.20q: %q, %v", bad, got, err)
		}
	}
	if _, err := SetHeaders(nil, []byte("hello\nworld\n\n"), set); !errors.Is(err, ErrHeader) {
		t.Error(err)
	}
	if _, err := SetHeaders(nil, []byte("A: b\n\n"), []Header{{"X", "1"}, {"x", "2"}}); !errors.Is(err, ErrHeader) {
		t.Error(err)
	}
}
