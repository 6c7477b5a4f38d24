package campaign

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// CheckName says with an *InvalidError why a campaign can't have this name: 1 to 64 of a-z, 0-9,
// ".", "_", "-", beginning with a letter or digit.
func CheckName(name string) error {
	switch {
	case name == "":
		return invalid("name", "is missing")
	case len(name) > MaxName:
		return tooLong("name", MaxName)
	case strings.ContainsRune("._-", rune(name[0])):
		return invalid("name", "does not begin with a letter or digit")
	case strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }):
		return invalid("name", `holds something else than a-z, 0-9, ".", "_" and "-"`)
	}
	return nil
}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-'
}

func invalid(field, reason string) error { return &InvalidError{Field: field, Reason: reason} }

func tooLong(field string, limit int) error {
	return invalid(field, fmt.Sprintf("is longer than %d bytes", limit))
}

// checkText holds for titles, labels and advertisers: UTF-8 that stays on its line.
func checkText(field, s string, limit int) error {
	switch {
	case len(s) > limit:
		return tooLong(field, limit)
	case !utf8.ValidString(s):
		return invalid(field, "is not UTF-8")
	case strings.ContainsFunc(s, breaksLine):
		return invalid(field, "holds a control character or a line break")
	}
	return nil
}

func breaksLine(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// checkAdvertiser: any text that can be a part of a path and is not mistaken for another at its
// ends. Advertisers are compared byte for byte.
func checkAdvertiser(s string) error {
	if err := checkText("advertiser", s, MaxAdvertiser); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(s) != s:
		return invalid("advertiser", "begins or ends with a space")
	case strings.Contains(s, "/") || s == "." || s == "..":
		return invalid("advertiser", `holds "/" or is "." or ".."`)
	}
	return nil
}

// CheckAdvertiser says with an *InvalidError why no link can have an advertiser of this name.
func CheckAdvertiser(name string) error {
	if name == "" {
		return invalid("advertiser", "is missing")
	}
	return checkAdvertiser(name)
}

func (l *Link) check() error {
	if err := CheckURL(l.URL); err != nil {
		return err
	}
	if err := checkText("label", l.Label, MaxLabel); err != nil {
		return err
	}
	return checkAdvertiser(l.Advertiser)
}

func (d *Delivery) check() error {
	switch {
	case d.ID == "":
		return invalid("id", "is missing")
	case len(d.ID) > MaxDelivery:
		return tooLong("id", MaxDelivery)
	case strings.ContainsFunc(d.ID, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return invalid("id", "holds something else than printable ASCII without spaces")
	case strings.Contains(d.ID, "@"):
		return invalid("id", `holds "@": it must not be an address`)
	case d.Delivered > MaxCount:
		return invalid("delivered", fmt.Sprintf("is more than %d", uint64(MaxCount)))
	case d.Bounced > MaxCount:
		return invalid("bounced", fmt.Sprintf("is more than %d", uint64(MaxCount)))
	}
	return nil
}

// placeholder is what mailers replace while they send: {{x}}, *|X|*, %%X%%. A URL that holds one is
// another one for everybody.
var placeholder = regexp.MustCompile(`\{\{|\*\||\|\*|%%[A-Za-z0-9_. -]+%%`)

// CheckURL says with an *InvalidError why a URL can't be a link's destination. It must be http or
// https, with a host, without a user, at most 8192 bytes of UTF-8 without space or control
// character, and hold no placeholder. Beyond the host it may be anything: it is handed out byte for
// byte, and what a browser makes of "100%" is the browser's business.
func CheckURL(raw string) error {
	switch {
	case raw == "":
		return badURL("is missing")
	case len(raw) > MaxURL:
		return tooLong("url", MaxURL)
	case !utf8.ValidString(raw):
		return badURL("is not UTF-8")
	case strings.ContainsFunc(raw, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return badURL("holds a space or a control character")
	case placeholder.MatchString(raw):
		return badURL("holds a placeholder")
	}
	rest, ok := cutScheme(raw)
	if !ok {
		return badURL("does not begin with http:// or https://")
	}
	// A backslash ends the host too: browsers take it for a slash.
	host := rest
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		if host = rest[:i]; rest[i] == '\\' {
			return badURL("has a backslash after its host")
		}
	}
	if strings.Contains(host, "@") {
		return badURL("holds a user before its host")
	}
	return checkHost(host)
}

func badURL(reason string) error { return invalid("url", reason) }

// cutScheme removes http:// or https://, in any case.
func cutScheme(raw string) (rest string, ok bool) {
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(raw) >= len(scheme) && strings.EqualFold(raw[:len(scheme)], scheme) {
			return raw[len(scheme):], true
		}
	}
	return "", false
}

// hosts turns an international host name into its ASCII form, in order to know that it has one.
var hosts = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false))

// checkHost checks host[:port] of a URL.
func checkHost(hostport string) error {
	host, port := hostport, ""
	if end := strings.LastIndexByte(hostport, ']'); strings.HasPrefix(hostport, "[") {
		if end < 0 {
			return badURL("has a bad IPv6 address")
		}
		a, err := netip.ParseAddr(hostport[1:end])
		if err != nil || !a.Is6() || a.Zone() != "" {
			return badURL("has a bad IPv6 address")
		}
		if host, port = "", hostport[end+1:]; port != "" && port[0] != ':' {
			return badURL("has a bad port")
		}
	} else if i := strings.IndexByte(hostport, ':'); i >= 0 {
		host, port = hostport[:i], hostport[i:]
		if host == "" {
			return badURL("has no host")
		}
	} else if host == "" {
		return badURL("has no host")
	}
	// An empty port is one (RFC 3986, 3.2.3).
	if len(port) > 1 {
		if n, err := strconv.ParseUint(port[1:], 10, 16); err != nil || n == 0 {
			return badURL("has a bad port")
		}
	}
	if host == "" {
		return nil
	}
	return checkHostName(host)
}

func checkHostName(host string) error {
	if strings.ContainsAny(host, "\"%&'()*+,;<=>[]^`{|}!$~") {
		return badURL("has a character in its host that no host has")
	}
	ascii := host
	if strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		var err error
		if ascii, err = hosts.ToASCII(host); err != nil {
			return badURL("has a host that is no name")
		}
	}
	ascii = strings.TrimSuffix(ascii, ".")
	if len(ascii) == 0 || len(ascii) > 253 {
		return badURL("has a host of no possible length")
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if len(label) == 0 || len(label) > 63 {
			return badURL("has a host with a part of no possible length")
		}
	}
	return nil
}
