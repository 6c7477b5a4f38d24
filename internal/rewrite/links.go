package rewrite

import (
	"html"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// address is what became of a link's address: a URL to ask for, or why it is kept.
type address struct {
	url  string
	kept Kept // "" to ask for it
}

// resolve judges an address in UTF-8, character references decoded. base is nil without a <base>.
func resolve(raw string, base *url.URL, charset *text) address {
	s := strip(raw)
	switch {
	case s == "":
		return address{kept: KeptEmpty}
	case placeholder(s):
		return address{kept: KeptPlaceholder}
	case s[0] == '#':
		return address{kept: KeptFragment}
	}
	if rest, ok := httpURL(s); ok {
		return encode(s, rest, charset)
	}
	if scheme := schemeOf(s); scheme != "" {
		if strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
			return address{kept: KeptInvalid}
		}
		return address{kept: KeptScheme}
	}
	if base == nil {
		return address{kept: KeptRelative}
	}
	ref, err := url.Parse(s)
	if err != nil {
		return address{kept: KeptInvalid}
	}
	s = base.ResolveReference(ref).String()
	rest, ok := httpURL(s)
	if !ok {
		return address{kept: KeptInvalid}
	}
	return encode(s, rest, charset)
}

// parseBase returns what relative addresses refer to, nil for a <base> that does not help. One longer
// than any URL may be is none: each of its links would repeat it.
func parseBase(raw string) *url.URL {
	s := strip(raw)
	rest, ok := httpURL(s)
	if !ok || rest == "" || len(s) > MaxURL || placeholder(s) {
		return nil
	}
	base, err := url.Parse(s)
	if err != nil || base.Host == "" {
		return nil
	}
	return base
}

// strip does to an address what a browser does first: white space and controls around it and
// line breaks and tabs in it do not count.
func strip(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	if strings.ContainsAny(s, "\t\n\r") {
		s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	}
	return s
}

// schemeOf is what stands before the ":", "" if that is no scheme.
func schemeOf(s string) string {
	for i := range len(s) {
		switch c := lower(s[i]); {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return s[:i]
		default:
			return ""
		}
	}
	return ""
}

// maxHost is what the longest host can take up in UTF-8: 253 characters of at most four bytes. It
// bounds punycode, whose time grows with the square of the length.
const maxHost = 4 * 253

// encode makes an http address ASCII, the way a browser does before it asks for it, and leaves
// one that is ASCII already as it is. rest is s without its scheme.
func encode(s, rest string, charset *text) address {
	end := strings.IndexAny(rest, "/?#\\")
	if end < 0 {
		end = len(rest)
	}
	host, tail := rest[:end], rest[end:]
	if host == "" || host[0] == ':' || strings.HasSuffix(host, "@") || strings.ContainsAny(host, " <>\"`^|{}") {
		return address{kept: KeptInvalid}
	}
	if plain(s) {
		return address{url: s}
	}
	if !plain(host) {
		if len(host) > maxHost {
			return address{kept: KeptInvalid}
		}
		name, port, hasPort := strings.Cut(host, ":")
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil || ascii == "" {
			return address{kept: KeptInvalid}
		}
		if host = ascii; hasPort {
			host += ":" + port
		}
		if !plain(host) {
			return address{kept: KeptInvalid}
		}
	}
	var b strings.Builder
	b.WriteString(s[:len(s)-len(rest)])
	b.WriteString(host)
	path, query, fragment := tail, "", ""
	if i := strings.IndexByte(path, '#'); i >= 0 {
		path, fragment = path[:i], path[i:]
	}
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i:]
	}
	percent(&b, path)
	percent(&b, charset.encodeQuery(query))
	percent(&b, fragment)
	return address{url: b.String()}
}

// plain says whether s is printable ASCII without a space.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// percent writes s with all bytes encoded that a URL can't hold.
func percent(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
}

// unescapeAttr decodes the character references of an attribute's value. It differs from text:
// a reference without ";" counts only if neither "=" nor a letter or digit follows, so that
// "?a=1&copy=2" keeps its parameter (13.2.5.73).
func unescapeAttr(s string) string {
	i := strings.IndexByte(s, '&')
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i >= 0 {
		b.WriteString(s[:i])
		s = s[i:]
		decoded, n := reference(s)
		b.WriteString(decoded)
		s = s[n:]
		i = strings.IndexByte(s, '&')
	}
	b.WriteString(s)
	return b.String()
}

// reference decodes the reference that s, which begins with "&", begins with, and says how many
// bytes it takes up. What is no reference stands for itself.
func reference(s string) (decoded string, n int) {
	n = 1
	if n < len(s) && s[n] == '#' {
		n++
		digit := decimal
		if n < len(s) && lower(s[n]) == 'x' {
			n, digit = n+1, hexadecimal
		}
		first := n
		for n < len(s) && digit(s[n]) {
			n++
		}
		if n == first {
			return "&", 1
		}
		if n < len(s) && s[n] == ';' {
			n++
		}
		return numeric(s[:n]), n
	}
	for n < len(s) && alphanumeric(s[n]) {
		n++
	}
	if n == 1 {
		return "&", 1
	}
	named := s[:n]
	whole := html.UnescapeString(named + ";")
	if n < len(s) && s[n] == ';' {
		// A name of which only the beginning is known comes back with its ";".
		if strings.HasSuffix(whole, ";") && named != "&semi" {
			return named, n
		}
		return whole, n + 1
	}
	if n < len(s) && s[n] == '=' || html.UnescapeString(named) != whole {
		return named, n
	}
	return whole, n
}

// numeric decodes "&#...". The digits are shortened first: however many, more than eight that
// count are no character.
func numeric(s string) string {
	body := strings.TrimSuffix(s[2:], ";")
	prefix := "&#"
	if lower(body[0]) == 'x' {
		prefix, body = "&#x", body[1:]
	}
	if body = strings.TrimLeft(body, "0"); body == "" {
		return "\ufffd"
	}
	if len(body) > 8 {
		return "\ufffd"
	}
	return html.UnescapeString(prefix + body + ";")
}

func decimal(c byte) bool      { return '0' <= c && c <= '9' }
func hexadecimal(c byte) bool  { return decimal(c) || 'a' <= lower(c) && lower(c) <= 'f' }
func alphanumeric(c byte) bool { return decimal(c) || 'a' <= lower(c) && lower(c) <= 'z' }

// label reads a label from its pieces.
func label(pieces []piece, t *text) string {
	var b strings.Builder
	for _, p := range pieces {
		switch p.kind {
		case textPiece:
			b.WriteString(html.UnescapeString(t.string(p.span)))
		case attrPiece:
			b.WriteString(unescapeAttr(t.string(p.span)))
		case spacePiece:
			b.WriteByte(' ')
		}
	}
	return tidy(b.String())
}

// tidy collapses white space, drops what does not show, and shortens to maxLabel characters.
func tidy(s string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case unicode.IsSpace(r):
			space = true
			continue
		case unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			continue
		}
		if space && n > 0 {
			if n++; n >= maxLabel {
				break
			}
			b.WriteByte(' ')
		}
		space = false
		if n++; n > maxLabel {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
