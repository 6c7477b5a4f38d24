package subject

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Limits of an address in bytes (RFC 5321, 4.5.3.1), before and after it is normalised.
const (
	MaxAddress = 320
	maxLocal   = 64
	maxDomain  = 255
	maxLabel   = 63
)

// InvalidError says why an address can't be used. It never holds any part of the address.
type InvalidError struct {
	Reason string // to be read after the field's name: "has no @"
}

func (e *InvalidError) Error() string { return "address " + e.Reason }

// The refusals, ready made: refusing costs no allocation, and there is no place for the address.
var (
	errEmpty     = &InvalidError{"is empty"}
	errLong      = &InvalidError{"is longer than 320 bytes"}
	errEncoding  = &InvalidError{"is not UTF-8"}
	errNoAt      = &InvalidError{"has no @"}
	errTwoAt     = &InvalidError{"has more than one @"}
	errNoLocal   = &InvalidError{"has nothing before the @"}
	errNoDomain  = &InvalidError{"has nothing after the @"}
	errLocalLong = &InvalidError{"has more than 64 bytes before the @"}
	errName      = &InvalidError{"comes with a display name or angle brackets; give the bare address"}
	errQuoted    = &InvalidError{"has a quoted part before the @, which is not supported"}
	errLocal     = &InvalidError{"has a character before the @ that addresses can't have"}
	errSpace     = &InvalidError{"has a blank, control or invisible character in it"}
	errLiteral   = &InvalidError{"has an IP address after the @; give a domain name"}
	errDomain    = &InvalidError{"has no valid domain name after the @"}
)

// Normalise brings an address into the one form under which its person is known: NFC, lower-case,
// the domain in ASCII (IDNA 2008, UTS 46). Blanks around it are cut off; a +tag stays, since not
// every provider ignores it. Normalising again changes nothing. The local part is lower-cased
// though RFC 5321 calls it case-sensitive: no provider of note takes it so, and one person in two
// spellings would have two answers to one question.
//
// Errors are *InvalidError. For an address of ASCII letters that is in form already nothing is
// allocated.
func Normalise(address string) (string, error) {
	address = strings.Trim(address, " ")
	switch {
	case address == "":
		return "", errEmpty
	case len(address) > MaxAddress:
		return "", errLong
	}
	for i := 0; i < len(address); i++ {
		if address[i] >= utf8.RuneSelf {
			return normaliseUnicode(address)
		}
	}
	return normaliseASCII(address)
}

// normaliseASCII is the way of nearly all addresses.
func normaliseASCII(address string) (string, error) {
	local, domain, err := split(address)
	if err != nil {
		return "", err
	}
	address = strings.ToLower(address)
	local, domain = address[:len(local)], address[len(address)-len(domain):]
	if err := checkLocal(local); err != nil {
		return "", err
	}
	if strings.Contains(domain, "xn--") {
		ascii, err := toASCII(domain)
		if err != nil {
			return "", err
		}
		return local + "@" + ascii, nil
	}
	if err := checkDomain(domain); err != nil {
		return "", err
	}
	return address, nil
}

func normaliseUnicode(address string) (string, error) {
	if !utf8.ValidString(address) {
		return "", errEncoding
	}
	local, domain, err := split(address)
	if err != nil {
		return "", err
	}
	local = fold(local)
	if err := checkLocal(local); err != nil {
		return "", err
	}
	if domain, err = toASCII(domain); err != nil {
		return "", err
	}
	return local + "@" + domain, nil
}

// fold lower-cases and composes until nothing changes: a letter that was lower-cased may compose
// with the mark behind it into one that has another lower case.
func fold(s string) string {
	const enough = 4 // two rounds do for all of Unicode today
	for range enough {
		next := norm.NFC.String(strings.Map(lower, s))
		if next == s {
			break
		}
		s = next
	}
	return s
}

// lower is the one lower case of a letter, also where there are several: the sigma at a word's end becomes the other one,
// whose upper case it shares.
func lower(r rune) rune {
	r = unicode.ToLower(r)
	if unicode.Is(unicode.M, r) { // the iota below a letter is no letter of its own
		return r
	}
	one := unicode.ToLower(unicode.ToUpper(r))
	for same := unicode.SimpleFold(r); same != r; same = unicode.SimpleFold(same) {
		if same == one {
			return one
		}
	}
	return r
}

// split cuts an address at its only @.
func split(address string) (local, domain string, err error) {
	if strings.ContainsAny(address, "<>") {
		return "", "", errName
	}
	if strings.IndexByte(address, '"') >= 0 {
		return "", "", errQuoted
	}
	local, domain, found := strings.Cut(address, "@")
	switch {
	case !found:
		return "", "", errNoAt
	case strings.IndexByte(domain, '@') >= 0:
		return "", "", errTwoAt
	case local == "":
		return "", "", errNoLocal
	case domain == "":
		return "", "", errNoDomain
	case domain[0] == '[':
		return "", "", errLiteral
	}
	return local, domain, nil
}

// checkLocal accepts the characters of an unquoted local part (RFC 5322 atext, RFC 6532 beyond
// ASCII) and dots wherever they are: addresses with two in a row, or one at the end, exist.
func checkLocal(local string) error {
	if len(local) > maxLocal {
		return errLocalLong
	}
	for _, r := range local {
		switch {
		case r == ' ' || r < ' ' || r == 0x7f:
			return errSpace
		case r < utf8.RuneSelf:
			if strings.IndexByte(`(),:;[\]`, byte(r)) >= 0 {
				return errLocal
			}
		case unicode.IsSpace(r) || !unicode.IsGraphic(r):
			return errSpace
		}
	}
	return nil
}

// checkDomain accepts a lower-case ASCII name of labels of letters, digits and inner hyphens.
func checkDomain(domain string) error {
	if len(domain) > maxDomain-2 { // as the DNS counts, with a length byte before and a root behind
		return errDomain
	}
	start := 0
	for i := 0; i <= len(domain); i++ {
		if i < len(domain) && domain[i] != '.' {
			c := domain[i]
			switch {
			case c <= ' ' || c == 0x7f:
				return errSpace
			case (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-':
				return errDomain
			}
			continue
		}
		label := domain[start:i]
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return errDomain
		}
		start = i + 1
	}
	return nil
}

var profile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.BidiRule(),
	idna.CheckHyphens(true),
	idna.CheckJoiners(true),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
	idna.VerifyDNSLength(true),
)

func toASCII(domain string) (string, error) {
	ascii, err := profile.ToASCII(domain)
	if err != nil {
		return "", errDomain // its own error quotes the domain
	}
	if err := checkDomain(ascii); err != nil {
		return "", err
	}
	return ascii, nil
}
