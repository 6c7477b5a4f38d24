package mint

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailbeacon/internal/campaign"
)

// names says whether a URL holds the address that the mail is for, plain or percent-encoded, once
// or twice over.
func (j *letter) names(raw string) bool {
	address := strings.ToLower(strings.TrimSpace(j.request.To))
	for range 3 {
		if strings.Contains(strings.ToLower(raw), address) {
			return true
		}
		decoded := decode(raw)
		if decoded == raw {
			return false
		}
		raw = decoded
	}
	return false
}

// decode undoes percent-encoding where it is valid, and leaves the rest.
func decode(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if plain, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(plain)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// label is a link's text as it may be registered: nothing that could be an address, no control
// characters, and not too long.
func label(text string) string {
	if strings.Contains(text, "@") {
		return ""
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
	for len(text) > campaign.MaxLabel {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
