package rewrite

import (
	"fmt"
	"strings"
)

// Header is a field of a mail's header.
type Header struct{ Name, Value string }

// foldAt is where a header line is folded if it can be: RFC 5322 wants 78 characters at most and
// allows 998.
const foldAt = 78

// SetHeaders appends a mail with the given fields in its header: each takes the place of the first
// field of its name, further ones of that name go; one that is not there yet is added at the end of
// the header. All else stays byte for byte, the line breaks are those of the mail. Values are
// printable ASCII; one that is too long for a line is folded at its spaces. What can't be set is
// refused with ErrHeader.
func SetHeaders(dst, eml []byte, headers []Header) ([]byte, error) {
	if len(eml) > MaxSize {
		return dst, fmt.Errorf("setting headers: %d bytes: %w of %d", len(eml), ErrTooLarge, MaxSize)
	}
	eol := lineBreak(eml)
	if eol == "" {
		eol = "\r\n"
	}
	pending := make(map[string]string, len(headers)) // by name in lower case: the lines
	for _, h := range headers {
		lines, err := fold(h, eol)
		if err != nil {
			return dst, fmt.Errorf("setting headers: %w", err)
		}
		name := strings.ToLower(h.Name)
		if _, twice := pending[name]; twice {
			return dst, fmt.Errorf("setting headers: %s twice: %w", h.Name, ErrHeader)
		}
		pending[name] = lines
	}
	behind, _ := headerEnd(eml, span{0, len(eml)})
	block := span{0, behind}
	var edits []edit
	end := 0 // behind the last field
	placed := make(map[string]bool, len(headers))
	for f := range fields(eml, block) {
		end = f.whole.end
		name := strings.ToLower(string(eml[f.name.start:f.name.end]))
		lines, ok := pending[name]
		if !ok {
			continue
		}
		if placed[name] {
			lines = ""
		} else if end == len(eml) && eml[end-1] != '\n' {
			lines = strings.TrimSuffix(lines, eol)
		}
		placed[name] = true
		edits = append(edits, edit{span: f.whole, text: []byte(lines)})
	}
	if end == 0 && len(trimBreaks(eml[:block.end])) > 0 {
		return dst, fmt.Errorf("setting headers: the mail does not begin with a header: %w", ErrHeader)
	}
	var added strings.Builder
	for _, h := range headers {
		if name := strings.ToLower(h.Name); !placed[name] {
			added.WriteString(pending[name])
		}
	}
	if added.Len() > 0 {
		text := added.String()
		if end == len(eml) && end > 0 && eml[end-1] != '\n' {
			text = eol + strings.TrimSuffix(text, eol)
		}
		edits = append(edits, edit{span: span{end, end}, text: []byte(text)})
	}
	return apply(dst, eml, edits), nil
}

func trimBreaks(b []byte) string { return strings.Trim(string(b), "\r\n") }

// fold writes a field as the lines of a header, line breaks included.
func fold(h Header, eol string) (string, error) {
	if !isFieldName([]byte(h.Name)) {
		return "", fmt.Errorf("a name that is empty or not printable ASCII: %w", ErrHeader)
	}
	for i := range len(h.Value) {
		if c := h.Value[i]; c < ' ' || c >= 0x7f {
			return "", fmt.Errorf("%s: a value that is not printable ASCII: %w", h.Name, ErrHeader)
		}
	}
	words := strings.Fields(h.Value)
	if len(words) == 0 {
		return "", fmt.Errorf("%s: an empty value: %w", h.Name, ErrHeader)
	}
	var b strings.Builder
	b.WriteString(h.Name + ":")
	column := len(h.Name) + 1
	for i, word := range words {
		if i > 0 && column+1+len(word) > foldAt {
			b.WriteString(eol)
			column = 0
		}
		b.WriteString(" " + word)
		if column += 1 + len(word); column > maxLine {
			return "", fmt.Errorf("%s: a word longer than a line: %w", h.Name, ErrHeader)
		}
	}
	b.WriteString(eol)
	return b.String(), nil
}
