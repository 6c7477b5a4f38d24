package preferences

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/token"
)

// form is what was posted.
type form struct {
	oneClick bool // List-Unsubscribe=One-Click and nothing else (RFC 8058)
	opens    consent.State
	clicks   consent.State
	format   consent.Format
	mail     subscription
	shown    consent.Choice // what the page showed of the three when it was read; the zero Choice where it did not say
}

type subscription int

const (
	unsaid subscription = iota
	subscribed
	unsubscribed
)

func (f form) empty() bool { return f == form{} }

// since is the form without the grants that it only repeats of what it showed, where something else was chosen
// meanwhile: a page that is left open comes with marks that nobody made on it.
func (f form) since(now consent.Choice) form {
	if f.opens == consent.Granted && f.shown.Opens == f.opens && now.Opens != f.opens {
		f.opens = consent.Unset
	}
	if f.clicks == consent.Granted && f.shown.Clicks == f.clicks && now.Clicks != f.clicks {
		f.clicks = consent.Unset
	}
	if f.format == consent.HTML && f.shown.Format == f.format && now.Format != f.format {
		f.format = consent.FormatUnset
	}
	f.shown = consent.Choice{}
	return f
}

// change is what to record of a form that is not empty; version tells the text that was read.
func (f form) change(claims token.Claims, version string) consent.Change {
	c := consent.Change{
		Subject: claims.Subject, Campaign: claims.Campaign, Opens: f.opens, Clicks: f.clicks, Format: f.format,
		Source: "preferences", TextVersion: version,
	}
	if f.oneClick {
		// Nobody read the page; the words were the mail program's.
		c.Source, c.TextVersion = "one-click", ""
	}
	if f.oneClick || f.mail != unsaid {
		gone := f.mail != subscribed
		c.Unsubscribed = &gone
	}
	return c
}

const (
	oneClickName  = "List-Unsubscribe"
	oneClickValue = "One-Click"

	mostFields = 5  // all there are
	mostValue  = 64 // bytes of a value
)

var errForm = errors.New("not the page's form")

// parseForm reads a form in either encoding. Unknown fields, unknown values, repeated fields and
// files are errors; an empty value is a choice not made. A one-click body is known in a request
// without a type too: there are mail programs that send it so. Where the body is a one-click
// request, the form says so even beside an error.
func parseForm(contentType, body []byte) (form, error) {
	if bytes.Equal(bytes.TrimSpace(body), []byte(oneClickName+"="+oneClickValue)) {
		return form{oneClick: true}, nil
	}
	kind, parameters, err := mime.ParseMediaType(string(contentType))
	if err != nil {
		return form{}, errForm
	}
	var f form
	seen := map[string]bool{}
	set := func(name, value string) error {
		if seen[name] || len(seen) == mostFields {
			return errForm
		}
		seen[name] = true
		return f.set(name, value)
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		err = eachPair(body, set)
	case "multipart/form-data":
		err = eachPart(body, parameters["boundary"], set)
	default:
		err = errForm
	}
	if err == nil && f.oneClick && len(seen) > 1 {
		err = errForm
	}
	return f, err
}

// set takes one field in.
func (f *form) set(name, value string) error {
	var err error
	switch name {
	case "opens":
		f.opens, err = consent.ParseState(value)
	case "clicks":
		f.clicks, err = consent.ParseState(value)
	case "format":
		f.format, err = consent.ParseFormat(value)
	case "mail":
		switch value {
		case "":
		case "subscribed":
			f.mail = subscribed
		case "unsubscribed":
			f.mail = unsubscribed
		default:
			err = errForm
		}
	case "shown":
		f.shown, err = parseShown(value)
	case oneClickName:
		f.oneClick = true
		if value != oneClickValue {
			err = errForm
		}
	default:
		err = errForm
	}
	return err
}

// Shown is what a page shows of opens, clicks and format, for its form to say.
func (s state) Shown() string {
	return s.Opens.String() + " " + s.Clicks.String() + " " + s.Format.String()
}

func parseShown(value string) (c consent.Choice, err error) {
	words := strings.Fields(value)
	if len(words) != 3 {
		return c, errForm
	}
	for i, word := range words {
		if word == consent.Unset.String() {
			words[i] = ""
		}
	}
	var errs [3]error
	c.Opens, errs[0] = consent.ParseState(words[0])
	c.Clicks, errs[1] = consent.ParseState(words[1])
	c.Format, errs[2] = consent.ParseFormat(words[2])
	return c, errors.Join(errs[:]...)
}

func eachPair(body []byte, set func(name, value string) error) error {
	for pair := range bytes.SplitSeq(bytes.TrimSpace(body), []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		before, after, _ := bytes.Cut(pair, []byte("="))
		name, err := url.QueryUnescape(string(before))
		if err != nil {
			return errForm
		}
		value, err := url.QueryUnescape(string(after))
		if err != nil {
			return errForm
		}
		if err := set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func eachPart(body []byte, boundary string, set func(name, value string) error) error {
	// A reader of parts takes a body that is cut off between two of them, or that has none of the boundary, for a whole
	// one: choices would be lost, and a mail program be told that it did what it did not.
	if boundary == "" || !bytes.Contains(body, []byte("--"+boundary+"--")) {
		return errForm
	}
	for r := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errForm, err)
		}
		if part.FileName() != "" {
			return errForm
		}
		value, err := io.ReadAll(io.LimitReader(part, mostValue+1))
		if err != nil || len(value) > mostValue {
			return errForm
		}
		if err := set(part.FormName(), string(value)); err != nil {
			return err
		}
	}
}
