package rewrite

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

// text is a document in its charset, and what of it the scanner may look at. Nothing is converted:
// scan holds one byte for each width bytes of raw, the character if it is ASCII and a stand-in that
// means nothing otherwise, so that a place in one is a place in the other.
type text struct {
	raw, scan []byte
	width     int               // 1, or 2 for UTF-16
	big       bool              // UTF-16BE
	charset   encoding.Encoding // nil: UTF-8
}

// standIn stands for a character that is not ASCII.
const standIn = 0x80

// plainText is a document in UTF-8, or in what agrees with ASCII and is not known better.
func plainText(src []byte) *text { return &text{raw: src, scan: src, width: 1} }

// newText reads a document whose header names a charset ("" for none). ok is false where the bytes
// can't be told.
func newText(raw []byte, label string, html bool) (t *text, ok bool) {
	label = strings.ToLower(strings.TrimSpace(label))
	switch {
	case bytes.HasPrefix(raw, []byte("\xff\xfe")):
		return wideText(raw, false), true
	case bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return wideText(raw, true), true
	case strings.HasPrefix(label, "utf-16"), strings.HasPrefix(label, "utf16"), label == "unicode", label == "ucs-2",
		label == "iso-10646-ucs-2":
		return wideText(raw, bigEndian(raw, label)), true
	case unreadable(label):
		return nil, false
	}
	t = plainText(raw)
	switch {
	case label == "" && html:
		t.charset, _, _ = charset.DetermineEncoding(raw, "text/html")
	case label == "":
		if !utf8.Valid(raw) {
			t.charset, _ = charset.Lookup("windows-1252")
		}
	default:
		t.charset, _ = charset.Lookup(label)
	}
	japanese := (label == "" || label == "us-ascii") && bytes.Contains(raw, []byte("\x1b$"))
	if japanese || strings.HasPrefix(label, "iso-2022-jp") || label == "csiso2022jp" {
		t.scan = maskShifted(raw)
		t.charset, _ = charset.Lookup("iso-2022-jp")
	}
	if t.charset == unicode.UTF8 {
		t.charset = nil
	}
	return t, true
}

// unreadable says which charsets do not agree with ASCII and are not understood here.
func unreadable(label string) bool {
	for _, prefix := range []string{"utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "utf-32", "utf32", "ucs-4",
		"iso-10646-ucs-4", "hz-gb", "iso-2022-kr", "iso-2022-cn", "csiso2022kr", "ebcdic", "cp037", "ibm037", "cp500",
		"ibm500", "cp1047", "ibm1047", "cp1140", "ibm1140", "scsu", "bocu"} {
		if strings.HasPrefix(label, prefix) {
			return true
		}
	}
	return false
}

// bigEndian tells the byte order of UTF-16 without a byte order mark: by its label, or by where
// the zeros of the ASCII characters stand.
func bigEndian(raw []byte, label string) bool {
	switch {
	case strings.HasSuffix(label, "le"):
		return false
	case strings.HasSuffix(label, "be"):
		return true
	}
	even, odd := 0, 0
	for i := 0; i+1 < len(raw) && i < 512; i += 2 {
		if raw[i] == 0 {
			even++
		}
		if raw[i+1] == 0 {
			odd++
		}
	}
	return even > odd
}

func wideText(raw []byte, big bool) *text {
	t := &text{raw: raw, scan: make([]byte, len(raw)/2), width: 2, big: big}
	t.charset = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	lo, hi := 0, 1
	if big {
		t.charset = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
		lo, hi = 1, 0
	}
	for i := range t.scan {
		if c := raw[2*i+lo]; raw[2*i+hi] == 0 && c < 0x80 {
			t.scan[i] = c
		} else {
			t.scan[i] = standIn
		}
	}
	if len(t.scan) > 0 && isMark(raw) {
		t.scan[0] = ' ' // a byte order mark is no content
	}
	return t
}

func isMark(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff"))
}

// maskShifted hides what ISO-2022-JP writes with the bytes of ASCII characters that it does not
// mean: everything between an escape sequence and the one that returns to ASCII.
func maskShifted(raw []byte) []byte {
	scan := bytes.Clone(raw)
	shifted := false
	for i := 0; i < len(scan); {
		if raw[i] == 0x1b {
			n := 1
			for i+n < len(raw) && 0x20 <= raw[i+n] && raw[i+n] <= 0x2f {
				n++
			}
			if i+n < len(raw) {
				n++
			}
			esc := string(raw[i+1 : i+n])
			shifted = esc != "(B" && esc != "(J"
			for range n {
				scan[i] = standIn
				i++
			}
			continue
		}
		if raw[i] == '\n' || raw[i] == '\r' {
			shifted = false // a line ends in ASCII (RFC 1468)
		} else if shifted {
			scan[i] = standIn
		}
		i++
	}
	return scan
}

// string decodes a span of scan to UTF-8. What is not a character of the charset becomes U+FFFD,
// but bytes that are no UTF-8 in a UTF-8 document stay.
func (t *text) string(s span) string {
	raw := t.raw[s.start*t.width : s.end*t.width]
	if t.charset == nil || ascii(raw) && t.width == 1 && len(t.scan) > 0 && &t.scan[0] == &t.raw[0] {
		return string(raw)
	}
	out, err := t.charset.NewDecoder().Bytes(raw)
	if err != nil {
		return strings.ToValidUTF8(string(raw), "\ufffd")
	}
	return string(out)
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// bytes encodes ASCII characters, to be put into raw.
func (t *text) bytes(s string) []byte {
	if t.width == 1 {
		return []byte(s)
	}
	out := make([]byte, 2*len(s))
	lo := 0
	if t.big {
		lo = 1
	}
	for i := range len(s) {
		out[2*i+lo] = s[i]
	}
	return out
}

// encodeQuery returns the bytes of a URL's query as a browser sends them: in the document's
// charset, if that is a single- or multi-byte one and has all of the characters.
func (t *text) encodeQuery(query string) string {
	if t == nil || t.charset == nil || t.width != 1 || ascii([]byte(query)) {
		return query
	}
	out, err := t.charset.NewEncoder().String(query)
	if err != nil {
		return query
	}
	return out
}
