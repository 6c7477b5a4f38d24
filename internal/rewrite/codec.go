package rewrite

import (
	"bytes"
	"encoding/base64"
)

// codec is a part's Content-Transfer-Encoding.
type codec interface {
	// decoded is the part's content.
	decoded() []byte
	// encode turns edits of the content into edits of the encoded part that touch as little as can
	// be. long says that a line got longer than SMTP allows.
	encode([]edit) (edits []edit, long bool)
}

// newCodec returns nil for an encoding that is not known, ok false for a body that can't be decoded.
// mailEOL is the line break of the mail that raw is a part of.
func newCodec(encoding string, raw []byte, mailEOL string) (c codec, ok bool) {
	eol := lineBreak(raw)
	if eol == "" {
		eol = mailEOL
	}
	if eol == "" {
		eol = "\r\n"
	}
	switch {
	case identity(encoding):
		return &identityCodec{raw: raw, eol: eol, binary: encoding == "binary"}, true
	case encoding == "quoted-printable":
		return newQuotedPrintable(raw, eol), true
	case encoding == "base64":
		return newBase64(raw, eol)
	}
	return nil, false
}

// maxLine is the longest line that SMTP allows, in bytes without the line break (RFC 5321).
const maxLine = 998

// lineBreak is the line break that b uses, "" if it has none.
func lineBreak(b []byte) string {
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0:
		return ""
	case i > 0 && b[i-1] == '\r':
		return "\r\n"
	}
	return "\n"
}

// identityCodec is 7bit, 8bit and binary: the content as it is.
type identityCodec struct {
	raw    []byte
	eol    string
	binary bool
}

func (c *identityCodec) decoded() []byte { return c.raw }

// encode breaks a line that an edit made too long, where white space means nothing: around the
// pixel, behind the name of a link's tag, and before the tag's end.
func (c *identityCodec) encode(edits []edit) ([]edit, bool) {
	if c.binary {
		return edits, false
	}
	eol := []byte(c.eol)
	out := make([]edit, 0, len(edits)+8)
	long := false
	for i := 0; i < len(edits); {
		// The edits whose lines touch are looked at together.
		start := bytes.LastIndexByte(c.raw[:edits[i].start], '\n') + 1
		end := lineEnd(c.raw, edits[i].end, len(c.raw))
		n := i + 1
		for n < len(edits) && edits[n].start < end {
			if edits[n].end >= end { // else it was looked for already: a line may hold all edits
				end = lineEnd(c.raw, edits[n].end, len(c.raw))
			}
			n++
		}
		line := span{start, start + len(bytes.TrimRight(c.raw[start:end], "\r\n"))}
		if grown(line.end-line.start, edits[i:n]) <= maxLine {
			out = append(out, edits[i:n]...)
		} else {
			var tooLong bool
			out, tooLong = breakLine(out, line, edits[i:n], eol)
			long = long || tooLong
		}
		i = n
	}
	return out, long
}

// breakLine adds the edits of a line that is too long with them, with line breaks between them
// where the line would pass its limit. long says that this did not help everywhere.
func breakLine(out []edit, line span, edits []edit, eol []byte) (all []edit, long bool) {
	column, at := 0, line.start // column is that of the output where the source is at
	for i, e := range edits {
		next := line.end
		if i+1 < len(edits) {
			next = max(e.end, edits[i+1].name)
		}
		reach := e.start - at + len(e.text) // up to the next place for a break
		if e.close > e.end {
			reach += min(e.close, line.end) - e.end
		}
		if column+reach > maxLine && e.name >= at && e.start > line.start {
			out = append(out, edit{span: span{e.name, e.name}, text: eol})
			column, at = 0, e.name
		}
		out = append(out, e)
		column += e.start - at + len(e.text)
		at = e.end
		if column+next-at > maxLine && at <= e.close && e.close < line.end {
			long = long || column+e.close-at > maxLine
			out = append(out, edit{span: span{e.close, e.close}, text: eol})
			column, at = 0, e.close
		}
		long = long || column > maxLine
	}
	return out, long || column+line.end-at > maxLine
}

// base64Codec re-encodes a part from the first byte that changes on, in lines as long as they were.
type base64Codec struct {
	raw     []byte
	eol     string
	content []byte
	line    int  // characters in a line, 0 for a single one
	chars   span // from the first character of base64 to behind the last
}

func newBase64(raw []byte, eol string) (codec, bool) {
	c := &base64Codec{raw: raw, eol: eol}
	c.chars.start = len(raw)
	digits := make([]byte, 0, len(raw))
	padded := false
	first, lines := 0, 0
	for at := 0; at < len(raw); {
		end := lineEnd(raw, at, len(raw))
		before := len(digits)
		for i := at; i < end; i++ {
			switch b := raw[i]; {
			case isBase64(b):
				if padded {
					return c, false // something behind the end
				}
				digits = append(digits, b)
			case b == '=':
				padded = true
			default:
				continue
			}
			c.chars.start = min(c.chars.start, i)
			c.chars.end = i + 1
		}
		if n := len(digits) - before; n > 0 {
			if lines++; lines == 1 {
				first = n
			}
		}
		at = end
	}
	if lines > 1 || first <= 76 {
		if c.line = first; lines <= 1 {
			c.line = 76
		}
	}
	c.chars.start = min(c.chars.start, c.chars.end)
	content, err := base64.RawStdEncoding.DecodeString(string(digits))
	c.content = content
	return c, err == nil
}

func isBase64(b byte) bool { return alphanumeric(b) || b == '+' || b == '/' }

func (c *base64Codec) decoded() []byte { return c.content }

func (c *base64Codec) encode(edits []edit) ([]edit, bool) {
	content := apply(nil, c.content, edits)
	digits := base64.StdEncoding.AppendEncode(nil, content)
	var out []byte
	if c.line == 0 {
		out = digits
	} else {
		out = make([]byte, 0, len(digits)+(len(digits)/c.line+1)*len(c.eol))
		for len(digits) > c.line {
			out = append(append(out, digits[:c.line]...), c.eol...)
			digits = digits[c.line:]
		}
		out = append(out, digits...)
	}
	was := c.raw[c.chars.start:c.chars.end]
	same := 0
	for same < len(out) && same < len(was) && out[same] == was[same] {
		same++
	}
	return []edit{{span: span{c.chars.start + same, c.chars.end}, text: out[same:], name: -1, close: -1}},
		c.line == 0 && len(out) > maxLine
}
