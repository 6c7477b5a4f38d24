package rewrite

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawEdits draws edits as rewriting makes them: apart, of printable text.
func drawEdits(t *rapid.T, content []byte) []edit {
	cuts := rapid.SliceOfN(rapid.IntRange(0, len(content)), 0, 8).Draw(t, "cuts")
	slices.Sort(cuts)
	var edits []edit
	for i := 0; i+1 < len(cuts); i += 2 {
		if len(edits) > 0 && cuts[i] <= edits[len(edits)-1].end {
			continue
		}
		if s := content[cuts[i]:cuts[i+1]]; len(s) > 0 && (s[0] <= ' ' || s[len(s)-1] <= ' ') || cuts[i] > 0 && content[cuts[i]-1] == '\r' {
			continue // no address begins or ends so, and no pixel goes there
		}
		text := rapid.StringMatching(`h[ -~]{0,200}`).Draw(t, "text")
		edits = append(edits, edit{span: span{cuts[i], cuts[i+1]}, text: []byte(text), name: -1, close: -1})
	}
	return edits
}

var drawEOL = rapid.SampledFrom([]string{"\n", "\r\n"})

// encodeQP writes quoted-printable in one of the ways that are around.
func encodeQP(t *rapid.T, content []byte, eol string) []byte {
	width := rapid.SampledFrom([]int{20, 76, 200}).Draw(t, "width")
	lowerCase := rapid.Bool().Draw(t, "lower")
	all := rapid.Bool().Draw(t, "all")
	padding := rapid.SampledFrom([]string{"", "", " ", "\t "}).Draw(t, "padding")
	var b strings.Builder
	column := 0
	for i := 0; i < len(content); i++ {
		if bytes.HasPrefix(content[i:], []byte(eol)) {
			b.WriteString(padding + eol)
			i += len(eol) - 1
			column = 0
			continue
		}
		c := content[i]
		code := string(c)
		if c == '=' || c >= 0x7f || c < ' ' || c == ' ' || all && c == '.' {
			code = fmt.Sprintf("=%02X", c)
			if lowerCase {
				code = strings.ToLower(code)
			}
		}
		if column+len(code) >= width {
			b.WriteString("=" + padding + eol)
			column = 0
		}
		b.WriteString(code)
		column += len(code)
	}
	return []byte(b.String())
}

func TestQuotedPrintable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		eol := drawEOL.Draw(t, "eol")
		content := []byte(strings.Join(rapid.SliceOfN(rapid.StringMatching(`[ -~äöü=.]{0,120}`), 0, 8).Draw(t, "lines"), eol))
		raw := encodeQP(t, content, eol)
		q := newQuotedPrintable(raw, eol)
		if !bytes.Equal(q.decoded(), content) {
			t.Fatalf("%q decoded to %q", raw, q.decoded())
		}
		edits := drawEdits(t, content)
		want := apply(nil, content, edits)
		encoded, _ := q.encode(edits)
		out := apply(nil, raw, encoded)
		if diff := restored(raw, out, encoded); diff != "" {
			t.Fatal(diff)
		}
		got, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(out)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q\nbecame %q\ndecoded %q\nwant    %q (%v)", raw, out, got, want, err)
		}
		for _, e := range encoded {
			for line := range strings.SplitSeq(string(e.text), eol) {
				if len(line) > qpLineLimit {
					t.Fatalf("a line of %d: %q", len(line), line)
				}
			}
			if e.start > 0 && raw[e.start-1] != '\n' {
				t.Fatalf("edit at %d begins within a line", e.start)
			}
		}
		if len(edits) == 0 && len(encoded) != 0 {
			t.Fatal("edits out of nothing")
		}
	})
}

// What is no quoted-printable is read as others read it, and stays where nothing changes.
func TestQuotedPrintableBroken(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"a=ZZb": "a=ZZb", "a=": "a", "a=\nb": "ab", "a= \t\r\nb": "ab", "a \nb": "a\nb", "=3d=3D": "==", "a=3": "a=3", "": "", "\n": "\n", "=\n=\n": "",
		"x==\ny": "x=y", "é=C3=A9": "éé",
	} {
		if got := newQuotedPrintable([]byte(raw), "\n").decoded(); string(got) != want {
			t.Errorf("%q decoded to %q, want %q", raw, got, want)
		}
	}
	q := newQuotedPrintable([]byte("<p>=\r\n.ab\r\n"), "\n")
	for at, want := range []string{"X<p>", "<X", "<pX", "<p>X", "<p>=\r\n.X", "<p>=\r\n.aX", "<p>=\r\n.abX", "<p>=\r\n.ab\rX", "<p>=\r\n.ab\r\nX"} {
		edits, _ := q.encode([]edit{{span: span{at, at}, text: []byte("X")}})
		if got := string(apply(nil, q.raw, edits)); !strings.HasPrefix(got, want) {
			t.Errorf("at %d: %q, want %q", at, got, want)
		}
	}
}

// A line that is broken does not begin with what means something to mail programs.
func TestQuotedPrintableLineStart(t *testing.T) {
	t.Parallel()
	for _, c := range []string{".", "-", "F"} {
		raw := []byte("x\n" + strings.Repeat("a", 60) + strings.Repeat(c, 100))
		q := newQuotedPrintable(raw, "\n")
		edits, _ := q.encode([]edit{{span: span{2, 3}, text: []byte("hh")}})
		out := apply(nil, raw, edits)
		if bytes.Contains(out, []byte("=\n"+c)) || !bytes.Contains(out, []byte(fmt.Sprintf("=\n=%02X", c[0]))) {
			t.Errorf("%q", out)
		}
	}
}

func TestBase64(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		eol := drawEOL.Draw(t, "eol")
		content := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "content")
		width := rapid.SampledFrom([]int{0, 4, 60, 76, 75}).Draw(t, "width")
		digits := base64.StdEncoding.EncodeToString(content)
		if rapid.Bool().Draw(t, "unpadded") {
			digits = strings.TrimRight(digits, "=")
		}
		var b strings.Builder
		for i, c := range digits {
			if width > 0 && i > 0 && i%width == 0 {
				b.WriteString(eol)
			}
			b.WriteRune(c)
		}
		b.WriteString(rapid.SampledFrom([]string{"", eol, eol + eol, "  " + eol}).Draw(t, "tail"))
		raw := []byte(b.String())
		c, ok := newBase64(raw, eol)
		if !ok || !bytes.Equal(c.decoded(), content) {
			t.Fatalf("%q: %q, want %q", raw, c.decoded(), content)
		}
		edits := drawEdits(t, content)
		encoded, _ := c.encode(edits)
		out := apply(nil, raw, encoded)
		again, ok := newBase64(out, "\n")
		if !ok || !bytes.Equal(again.decoded(), apply(nil, content, edits)) {
			t.Fatalf("%q\nbecame %q", raw, out)
		}
		longest := 0
		for line := range strings.SplitSeq(string(raw), eol) {
			longest = max(longest, len(line))
		}
		for line := range strings.SplitSeq(string(out), eol) {
			if len(line) > max(longest, 76) {
				t.Fatalf("a line of %d", len(line))
			}
		}
		if len(edits) > 0 && !bytes.Equal(out[:encoded[0].start], raw[:encoded[0].start]) {
			t.Fatal("the beginning changed")
		}
	})
	for _, bad := range []string{"YQ==\nYWJj", "A", "YWJjA"} {
		if _, ok := newBase64([]byte(bad), "\n"); ok {
			t.Errorf("%q is taken for base64", bad)
		}
	}
}

// No line that is written is longer than SMTP allows, if there is a place to break it.
func TestLongLines(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		eol := drawEOL.Draw(t, "eol")
		var b strings.Builder
		line := 0
		add := func(s string) {
			b.WriteString(s)
			line += len(s)
		}
		add("<body>")
		for range rapid.IntRange(1, 20).Draw(t, "links") {
			text := strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "text"))
			link := rapid.SampledFrom([]string{`<a href="https://e.org/">`, `<a href=https://e.org/ class='y'>`, "<a" + eol + `href="https://e.org/" /` + ">", `<v:rect id=x href='https://e.org/'/>`}).Draw(t, "link")
			if line+len(text)+len(link) > maxLine {
				add(eol)
				line = 0
			}
			add(text + link)
		}
		src := []byte(b.String())
		o := everything
		o.Href = func(Link) (string, bool, error) { return "https://t.example/c/" + strings.Repeat("y", 200), true, nil }
		c := &identityCodec{raw: src, eol: eol}
		edits, err := (&job{o: o}).html(plainText(src))
		if err != nil {
			t.Fatal(err)
		}
		plain := apply(nil, src, edits)
		broken, long := c.encode(edits)
		out := apply(nil, src, broken)
		if long {
			t.Fatalf("too long: %q", out)
		}
		for l := range strings.SplitSeq(string(out), eol) {
			if len(l) > maxLine {
				t.Fatalf("a line of %d: %q", len(l), l)
			}
		}
		strip := func(b []byte) string { return strings.ReplaceAll(string(b), eol, "") }
		if strip(out) != strip(plain) {
			t.Fatalf("%q\nbecame %q\nnot %q", src, out, plain)
		}
		if was, is := bareTokens(plain), bareTokens(out); !slices.Equal(was, is) {
			t.Fatalf("%q\nbecame %q", was, is)
		}
	})
	src := []byte("<p " + strings.Repeat("x", 990) + "><a href='https://e.org/'>")
	_, long := (&identityCodec{raw: src}).encode([]edit{{span: span{5, 6}, text: bytes.Repeat([]byte("y"), 50), name: -1, close: -1}})
	if !long {
		t.Error("a line too long goes unnoticed")
	}
}

// bareTokens is a document's tokens without the white space between them.
func bareTokens(src []byte) []string {
	var all []string
	for _, tok := range tokens(src) {
		if s := strings.TrimSpace(tok.String()); s != "" {
			all = append(all, s)
		}
	}
	return all
}
