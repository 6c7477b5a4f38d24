package rewrite

import (
	"mime"
	"strings"
)

// ListURIs returns the URIs of a field of a mail's header that holds a list of them (RFC 2369), such
// as List-Unsubscribe, in their order: of each field of the name, folds and white space taken out,
// comments passed over. It forgives what mail programs get wrong: encoded words, and URIs that stand
// without angle brackets. What it returns may hold anything but control characters, space and ">".
func ListURIs(eml []byte, name string) []string {
	if len(eml) > MaxSize {
		return nil
	}
	var uris []string
	end, _ := headerEnd(eml, span{0, len(eml)})
	for f := range fields(eml, span{0, end}) {
		if strings.EqualFold(string(eml[f.name.start:f.name.end]), name) {
			uris = appendURIs(uris, unfold(eml, f.value))
		}
	}
	return uris
}

func appendURIs(uris []string, value string) []string {
	if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		value = decoded
	}
	add := func(uri string) {
		uri = strings.Map(func(r rune) rune {
			if r <= ' ' || r == 0x7f {
				return -1
			}
			return r
		}, uri)
		if schemeOf(uri) != "" {
			uris = append(uris, uri)
		}
	}
	depth := 0 // of comments
	bracketed := false
	for at := 0; at < len(value); at++ {
		switch c := value[at]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '<' && depth == 0:
			n := strings.IndexByte(value[at:], '>')
			if n < 0 {
				n = len(value) - at
			}
			add(value[at+1 : at+n])
			at, bracketed = at+n, true
		}
	}
	if !bracketed {
		for uri := range strings.SplitSeq(value, ",") {
			add(uri)
		}
	}
	return uris
}
