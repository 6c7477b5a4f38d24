package mint

import (
	"crypto/md5"  //nolint:gosec // mailers do put such hashes into links
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailbeacon/internal/campaign"
)

// names says whether a URL holds the address that the mail is for: plain, percent-encoded once or twice over, in
// base64 or hex, or as a hash without a key, which names its person as well.
func (j *letter) names(raw string) bool {
	if j.marks == nil {
		j.marks = marksOf(strings.TrimSpace(j.request.To))
	}
	for range 3 {
		if j.marks.in(raw) {
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

// marks are the forms of an address that are looked for in URLs.
type marks struct {
	exact  []string
	folded []string // lower case, and found in any
}

func marksOf(address string) *marks {
	lower := strings.ToLower(address)
	m := &marks{folded: []string{lower}}
	for _, a := range slices.Compact([]string{address, lower}) {
		m.folded = append(m.folded, hex.EncodeToString([]byte(a)))
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for before := range 3 {
				m.exact = append(m.exact, inBase64(enc, a, before))
			}
		}
	}
	m5, s1, s2 := md5.Sum([]byte(lower)), sha1.Sum([]byte(lower)), sha256.Sum256([]byte(lower)) //nolint:gosec // to be found
	for _, sum := range [][]byte{m5[:], s1[:], s2[:]} {
		m.folded = append(m.folded, hex.EncodeToString(sum))
		m.exact = append(m.exact, inBase64(base64.RawStdEncoding, string(sum), 0), inBase64(base64.RawURLEncoding, string(sum), 0))
	}
	return m
}

// inBase64 is what a text has in common in the base64 of whatever holds it behind so many bytes, or three more.
func inBase64(enc *base64.Encoding, text string, before int) string {
	whole := enc.EncodeToString(append(make([]byte, before), text...))
	return whole[(8*before+5)/6 : 8*(before+len(text))/6]
}

func (m *marks) in(s string) bool {
	holds := func(mark string) bool { return strings.Contains(s, mark) }
	if slices.ContainsFunc(m.exact, holds) {
		return true
	}
	s = strings.ToLower(s)
	return slices.ContainsFunc(m.folded, holds)
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
