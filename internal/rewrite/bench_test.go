package rewrite

import (
	"bytes"
	"testing"
)

// nestedTables is a document of tables within tables, n bytes or more.
func nestedTables(n int) []byte {
	const open = "<table width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\"><tr><td align=\"center\" style=\"padding:0 20px;font-family:Arial,sans-serif\">\n"
	const in = "<p style=\"margin:0\">Lorem ipsum dolor sit amet, <a href=\"https://example.org/article?id=1&amp;utm_source=mail\" style=\"color:#06c\">consectetur</a> adipiscing elit.</p>\n"
	const shut = "</td></tr></table>\n"
	depth := n / (len(open) + len(in) + len(shut))
	var b bytes.Buffer
	b.WriteString("<!doctype html><html><head><title>x</title></head><body>\n")
	for range depth {
		b.WriteString(open + in)
	}
	for range depth {
		b.WriteString(shut)
	}
	b.WriteString("</body></html>\n")
	return b.Bytes()
}

func BenchmarkHTML(b *testing.B) {
	for name, src := range map[string][]byte{
		"newsletter": corpusFile(b, "mjml.html"), "1MB-of-tables": nestedTables(1 << 20),
	} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			o := Options{Pixel: testPixel, Href: func(Link) (string, bool, error) { return "https://t.example/c/0123456789", true, nil }}
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, _, err = HTML(dst[:0], src, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	src := nestedTables(1 << 20)
	for _, encoding := range []string{"8bit", "quoted-printable", "base64"} {
		b.Run(encoding, func(b *testing.B) {
			eml := append([]byte("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: "+encoding+"\n\n"), encodeCTE(src, encoding)...)
			var dst []byte
			b.SetBytes(int64(len(eml)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, _, err = Message(dst[:0], eml, everything); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestNestedTables(t *testing.T) {
	t.Parallel()
	src := nestedTables(1 << 20)
	out, res, err := HTML(nil, src, everything)
	if err != nil || res.Rewritten != bytes.Count(src, []byte("<a ")) || !res.Pixel || res.Warnings[0] != WarnClipped {
		t.Fatalf("%+v, %v", res, err)
	}
	if diff := sameTokens(src, out, true); diff != "" {
		t.Error(diff)
	}
}
