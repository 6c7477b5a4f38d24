// Package rewrite puts the pixel into a mail and exchanges its links, and leaves every byte alone
// that need not change. It knows two forms: a document (HTML, Text) and a whole mail with its MIME
// parts (Message). README.md beside this file lists the rules and why they are so.
//
// All functions append to dst and return it, as append does; src is only read and must not
// overlap dst's capacity. With an error dst comes back as it was given. Everything here may be called concurrently.
package rewrite

import (
	"errors"
	"fmt"
	"strings"
)

// Limits. What exceeds them is refused with the error beside it.
const (
	MaxSize  = 32 << 20 // bytes of a document or a mail; ErrTooLarge
	MaxDepth = 32       // multiparts in multiparts; ErrTooDeep
	MaxParts = 1000     // parts of a mail; ErrTooManyParts
	MaxURL   = 8192     // bytes of a URL that is put in; ErrURL
)

// clipSize is the length of HTML, in bytes, beyond which Gmail clips a mail.
const clipSize = 102 << 10

var (
	// ErrTooLarge is wrapped where a document or a mail exceeds MaxSize.
	ErrTooLarge = errors.New("larger than the limit")
	// ErrTooDeep is wrapped where multiparts are nested deeper than MaxDepth.
	ErrTooDeep = errors.New("parts nested too deeply")
	// ErrTooManyParts is wrapped where a mail has more than MaxParts parts.
	ErrTooManyParts = errors.New("too many parts")
	// ErrURL is wrapped where the pixel's URL or a new link is none that can stand in a mail.
	ErrURL = errors.New("not an absolute http or https URL of at most 8192 printable ASCII characters")
	// ErrHeader is wrapped where a header field can't be set.
	ErrHeader = errors.New("not a header field that a mail may carry")
)

// Link is a link as it was met.
type Link struct {
	// URL is the address as a browser understands it: character references decoded, white space
	// around it and line breaks in it removed, relative to <base> made absolute, what is not ASCII
	// percent-encoded (in the host: punycode). Other than that it is byte for byte what stands there.
	URL string
	// Label is data-mailbeacon-label, or the text of the link (an image's alt), its white space
	// collapsed, at most 100 characters. May be empty.
	Label string
	// Position counts the links that are asked for, from 1, in the order of the source; in a mail
	// over all its parts.
	Position int
}

// Options say what to do. The zero value changes nothing.
type Options struct {
	// Pixel is the absolute URL of the pixel, "" for none.
	Pixel string
	// Href returns the new address of a link. ok false leaves the link; an error ends the rewriting
	// and is returned, wrapped. nil leaves all links.
	Href func(Link) (newURL string, ok bool, err error)
	// Keep says which addresses are never rewritten, such as the unsubscribe URL; it is asked before
	// Href, with Link.URL. nil is none.
	Keep func(url string) bool
	// TextLinks has the addresses in plain text rewritten too.
	TextLinks bool
}

// Kept says why a link was left as it is: a closed set of words.
type Kept string

const (
	KeptOff         Kept = "off"         // data-mailbeacon="off" on it or around it
	KeptExcluded    Kept = "excluded"    // Options.Keep named it
	KeptDeclined    Kept = "declined"    // Options.Href said no
	KeptUnasked     Kept = "unasked"     // Options.Href is nil
	KeptPlaceholder Kept = "placeholder" // holds a merge tag: the address is not known yet
	KeptFragment    Kept = "fragment"    // "#...": a place in the mail
	KeptRelative    Kept = "relative"    // not absolute, and no <base> to make it so
	KeptScheme      Kept = "scheme"      // mailto:, tel:, cid:, javascript: and all but http and https
	KeptEmpty       Kept = "empty"       // nothing in it
	KeptInvalid     Kept = "invalid"     // http or https, but not a URL with a host
)

// Warning is something the sender should know: a closed set of words.
type Warning string

const (
	WarnClipped   Warning = "clipped"
	WarnNoHTML    Warning = "no_html"
	WarnNoPlace   Warning = "no_place"
	WarnAMP       Warning = "amp"
	WarnSigned    Warning = "signed"
	WarnEncrypted Warning = "encrypted"
	WarnCharset   Warning = "charset"
	WarnEncoding  Warning = "encoding"
	WarnBroken    Warning = "broken"
	WarnAmbiguous Warning = "ambiguous"
	WarnDKIM      Warning = "dkim"
	WarnDigest    Warning = "digest"
	WarnLongLine  Warning = "long_line"
)

var explanations = map[Warning]string{
	WarnClipped:   "the HTML is longer than 102 KB: Gmail cuts it off there, links and footer too",
	WarnNoHTML:    "no HTML part: there is no place for a pixel",
	WarnNoPlace:   "the HTML has no place where a pixel would load",
	WarnAMP:       "AMP was left alone: it allows no pixel, and what is opened there is not seen",
	WarnSigned:    "a signed part was left alone: any change breaks its signature",
	WarnEncrypted: "an encrypted part was left alone",
	WarnCharset:   "a part was left alone: its charset is not supported",
	WarnEncoding:  "a part was left alone: its Content-Transfer-Encoding is not supported",
	WarnBroken:    "a part was left alone: its MIME structure or encoding is damaged",
	WarnAmbiguous: "a part was left alone: its headers contradict each other",
	WarnDKIM:      "the mail carries a DKIM signature that no longer holds: rewrite before signing",
	WarnDigest:    "a part carries a Content-MD5 that no longer holds",
	WarnLongLine:  "a line is longer than the 998 bytes that SMTP allows",
}

// Explain is the warning as a sentence.
func (w Warning) Explain() string { return explanations[w] }

// Result says what was done.
type Result struct {
	// Rewritten is how many links were exchanged.
	Rewritten int
	// Kept is how many were left, by reason; nil if none was.
	Kept map[Kept]int
	// Pixel says whether the pixel was placed.
	Pixel bool
	// Warnings holds each warning once, in the order met; nil if there is none.
	Warnings []Warning
}

func (r *Result) keep(why Kept) {
	if r.Kept == nil {
		r.Kept = make(map[Kept]int)
	}
	r.Kept[why]++
}

func (r *Result) warn(w Warning) {
	for _, have := range r.Warnings {
		if have == w {
			return
		}
	}
	r.Warnings = append(r.Warnings, w)
}

// HTML appends a document, which is UTF-8 or another charset that agrees with ASCII, with its links
// exchanged and the pixel placed. An AMP document is left alone.
func HTML(dst, src []byte, o Options) ([]byte, Result, error) {
	var j job
	if err := j.start(o, len(src)); err != nil {
		return dst, Result{}, fmt.Errorf("rewriting HTML: %w", err)
	}
	edits, err := j.html(plainText(src))
	if err != nil {
		return dst, Result{}, fmt.Errorf("rewriting HTML: %w", err)
	}
	return apply(dst, src, edits), j.result, nil
}

// Text appends a plain text, with the addresses in it exchanged if o.TextLinks asks for it.
func Text(dst, src []byte, o Options) ([]byte, Result, error) {
	var j job
	if err := j.start(o, len(src)); err != nil {
		return dst, Result{}, fmt.Errorf("rewriting text: %w", err)
	}
	edits, err := j.plain(plainText(src))
	if err != nil {
		return dst, Result{}, fmt.Errorf("rewriting text: %w", err)
	}
	return apply(dst, src, edits), j.result, nil
}

// Message appends a mail (RFC 5322, MIME), with the HTML parts that are shown as its body rewritten
// as HTML does, and the plain text ones if o.TextLinks asks for it. Attachments, enclosed messages,
// signed, encrypted and AMP parts are left alone.
func Message(dst, eml []byte, o Options) ([]byte, Result, error) {
	var j job
	if err := j.start(o, len(eml)); err != nil {
		return dst, Result{}, fmt.Errorf("rewriting a message: %w", err)
	}
	edits, err := j.message(eml)
	if err != nil {
		return dst, Result{}, fmt.Errorf("rewriting a message: %w", err)
	}
	return apply(dst, eml, edits), j.result, nil
}

// Links returns the links that HTML would ask for, in order.
func Links(src []byte) []Link {
	var links []Link
	_, _, err := HTML(nil, src, Options{Href: func(l Link) (string, bool, error) {
		links = append(links, l)
		return "", false, nil
	}})
	if err != nil { // too large: HTML would ask for none
		return nil
	}
	return links
}

// job is one call.
type job struct {
	o        Options
	result   Result
	position int
}

func (j *job) start(o Options, size int) error {
	if size > MaxSize {
		return fmt.Errorf("%d bytes: %w of %d", size, ErrTooLarge, MaxSize)
	}
	if o.Pixel != "" {
		if err := checkURL(o.Pixel); err != nil {
			return fmt.Errorf("pixel: %w", err)
		}
	}
	j.o = o
	return nil
}

// checkURL says with ErrURL why a URL can't be put into a mail. It does not repeat it.
func checkURL(url string) error {
	rest, ok := httpURL(url)
	if !ok || rest == "" || len(url) > MaxURL {
		return ErrURL
	}
	for i := range len(url) {
		if url[i] <= ' ' || url[i] >= 0x7f {
			return ErrURL
		}
	}
	return nil
}

// httpURL returns what follows "http://" or "https://".
func httpURL(url string) (rest string, ok bool) {
	for _, scheme := range []string{"https://", "http://"} {
		if len(url) >= len(scheme) && strings.EqualFold(url[:len(scheme)], scheme) {
			return url[len(scheme):], true
		}
	}
	return "", false
}
