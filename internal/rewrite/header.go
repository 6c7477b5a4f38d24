package rewrite

import (
	"bytes"
	"fmt"
	"mime"
	"strings"
)

// entity is a mail or a part of one: where its header and its body stand, and what the header says.
type entity struct {
	body    span
	hasBody bool // false if the header does not even end
	// Content-Type: the media type in lower case, "" without one, and its parameters.
	mediaType string
	params    map[string]string
	encoding  string // Content-Transfer-Encoding in lower case, "" without one
	attached  bool   // Content-Disposition: attachment
	id        string // Content-ID, without its angle brackets
	length    span   // the digits of a Content-Length that tells the body's size, else empty
	digest    bool   // has a Content-MD5
	dkim      bool   // has a DKIM-Signature
	ambiguous bool   // the same field twice with different values
}

// parseEntity reads the header of what stands in s.
func parseEntity(eml []byte, s span) entity {
	var e entity
	end, hasBody := headerEnd(eml, s)
	e.body, e.hasBody = span{end, s.end}, hasBody
	var seen [4]string // the fields that must be unique, as met first
	once := func(i int, v string) bool {
		if seen[i] != "" {
			e.ambiguous = e.ambiguous || seen[i] != v
			return false
		}
		seen[i] = v
		return true
	}
	var length span
	for f := range fields(eml, span{s.start, end}) {
		switch strings.ToLower(string(eml[f.name.start:f.name.end])) {
		case "content-type":
			if v := unfold(eml, f.value); v != "" && once(0, v) {
				e.mediaType, e.params = parseMediaType(v)
			}
		case "content-transfer-encoding":
			if v := unfold(eml, f.value); v != "" && once(1, v) {
				e.encoding = strings.ToLower(strings.TrimSpace(uncomment(v)))
			}
		case "content-disposition":
			if v := unfold(eml, f.value); v != "" && once(2, v) {
				d, _ := parseMediaType(v)
				e.attached = d == "attachment"
			}
		case "content-id":
			if v := unfold(eml, f.value); once(3, v) {
				e.id = strings.Trim(v, "<> \t")
			}
		case "content-length":
			length = trim(eml, f.value)
		case "content-md5":
			e.digest = true
		case "dkim-signature":
			e.dkim = true
		}
	}
	if string(eml[length.start:length.end]) == fmt.Sprint(e.body.end-e.body.start) {
		e.length = length
	}
	return e
}

// headerEnd returns where the body begins: behind the first empty line. Without one there is no body.
func headerEnd(eml []byte, s span) (end int, hasBody bool) {
	for at := s.start; at < s.end; {
		end := lineEnd(eml, at, s.end)
		if len(bytes.TrimRight(eml[at:end], "\r\n")) == 0 {
			return end, true
		}
		at = end
	}
	return s.end, false
}

// lineEnd returns where the line at at ends, its line break included, at the latest at limit.
func lineEnd(b []byte, at, limit int) int {
	if i := bytes.IndexByte(b[at:limit], '\n'); i >= 0 {
		return at + i + 1
	}
	return limit
}

// field is a header field: its name, what stands behind the colon without the last line break,
// and the whole with it.
type field struct{ name, value, whole span }

// fields goes through the fields of a header block, folded lines joined to the field they
// belong to. Lines that are no field are passed over.
func fields(eml []byte, block span) func(yield func(field) bool) {
	return func(yield func(field) bool) {
		for at := block.start; at < block.end; {
			end := lineEnd(eml, at, block.end)
			for end < block.end && (eml[end] == ' ' || eml[end] == '\t') {
				end = lineEnd(eml, end, block.end)
			}
			f := field{whole: span{at, end}}
			if i := bytes.IndexByte(eml[at:end], ':'); i > 0 {
				f.name = span{at, at + len(bytes.TrimRight(eml[at:at+i], " \t"))}
				f.value = span{at + i + 1, at + i + 1 + len(bytes.TrimRight(eml[at+i+1:end], "\r\n"))}
				if isFieldName(eml[f.name.start:f.name.end]) && !yield(f) {
					return
				}
			}
			at = end
		}
	}
}

// isFieldName says whether b is a name as RFC 5322 has it: printable, without a colon.
func isFieldName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(b) > 0
}

// unfold is a field's value on one line.
func unfold(eml []byte, s span) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(string(eml[s.start:s.end])))
}

// uncomment takes away the comments of RFC 5322: what stands in brackets outside of quotes.
func uncomment(s string) string {
	if strings.IndexByte(s, '(') < 0 {
		return s
	}
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) && (quoted || depth > 0) {
			if i++; depth == 0 {
				b.WriteByte(c)
				b.WriteByte(s[i])
			}
			continue
		}
		switch {
		case quoted:
			quoted = c != '"'
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
			continue
		case c == '"' && depth == 0:
			quoted = true
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parseMediaType reads "type/subtype; name=value ..." and forgives what mail programs get wrong:
// comments, missing quotes, empty or repeated parameters (the first counts).
func parseMediaType(v string) (mediaType string, params map[string]string) {
	v = uncomment(v)
	mediaType, rest, _ := strings.Cut(v, ";")
	mediaType = strings.ToLower(strings.Join(strings.Fields(mediaType), ""))
	if strings.Contains(rest, "*") { // RFC 2231
		if _, params, err := mime.ParseMediaType(v); err == nil {
			return mediaType, params
		}
	}
	params = make(map[string]string)
	for rest != "" {
		var name, value string
		eq := strings.IndexAny(rest, "=;")
		if eq < 0 {
			break
		}
		name = strings.ToLower(strings.TrimSpace(rest[:eq]))
		if rest[eq] == ';' {
			rest = rest[eq+1:]
			continue
		}
		value, rest = paramValue(strings.TrimLeft(rest[eq+1:], " \t"))
		if _, have := params[name]; !have && name != "" {
			params[name] = value
		}
	}
	return mediaType, params
}

// paramValue reads a token or a quoted string, and passes the ";" behind it.
func paramValue(s string) (value, rest string) {
	if s == "" || s[0] != '"' {
		value, rest, _ = strings.Cut(s, ";")
		return strings.TrimSpace(value), rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c == '"':
			_, rest, _ = strings.Cut(s[i:], ";")
			return b.String(), rest
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
