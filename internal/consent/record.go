package consent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mailbeacon/internal/control"
)

// Limits of a Change, in bytes.
const (
	MaxSource      = 64
	MaxTextVersion = 64
	MaxBy          = 80
)

// Change is one decision of a person. Fields that are unset or nil stay as they are.
type Change struct {
	Subject      uint64
	Opens        State
	Clicks       State
	Format       Format
	Unsubscribed *bool
	Tracking     Tracking
	// Source is how the decision came ("preferences", "one-click", "import", ...) and TextVersion
	// which text the person was shown: printable, at most 64 bytes each, without "@".
	Source      string
	TextVersion string
	// By is who brought it: "page", or "key:" and the API key's name. It never is a key itself.
	By string
	// Campaign is the number of the campaign whose message led to the page, 0 where there was none. No receipt has it.
	Campaign uint32
}

// Check says with a *control.InvalidError what is wrong with c.
func (c *Change) Check() error {
	switch {
	case c.Subject == 0:
		return &control.InvalidError{Field: "subject", Reason: "is missing"}
	case c.Opens > Refused:
		return &control.InvalidError{Field: "opens", Reason: "is not granted or refused"}
	case c.Clicks > Refused:
		return &control.InvalidError{Field: "clicks", Reason: "is not granted or refused"}
	case c.Format > Plain:
		return &control.InvalidError{Field: "format", Reason: "is not html or plain"}
	case c.Tracking > DateOnly:
		return &control.InvalidError{Field: "tracking", Reason: "is not full or date-only"}
	case c.Opens == Unset && c.Clicks == Unset && c.Format == FormatUnset && c.Unsubscribed == nil && c.Tracking == TrackingUnset:
		return &control.InvalidError{Field: "change", Reason: "changes nothing: give opens, clicks, format, unsubscribed or tracking"}
	}
	if err := checkWord("source", c.Source, MaxSource); err != nil {
		return err
	}
	if err := checkWord("by", c.By, MaxBy); err != nil {
		return err
	}
	return checkWord("text_version", c.TextVersion, MaxTextVersion)
}

// checkWord keeps addresses and what could disturb a table out of the ledger.
func checkWord(field, s string, limit int) error {
	switch {
	case len(s) > limit:
		return &control.InvalidError{Field: field, Reason: fmt.Sprintf("is longer than %d bytes", limit)}
	case !utf8.ValidString(s):
		return &control.InvalidError{Field: field, Reason: "is not UTF-8"}
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return &control.InvalidError{Field: field, Reason: "holds a character that can't be printed"}
	case strings.Contains(s, "@"):
		return &control.InvalidError{Field: field, Reason: `holds "@": it must not be an address`}
	}
	return nil
}

// field is one of the things that a person can choose. Each has a key of its own in the log, so
// that the last record per field holds whoever wrote it, in a compacted log too.
type field string

const (
	fieldOpens    field = "opens"
	fieldClicks   field = "clicks"
	fieldFormat   field = "format"
	fieldMail     field = "mail"
	fieldTracking field = "tracking"
)

var fields = [...]field{fieldOpens, fieldClicks, fieldFormat, fieldMail, fieldTracking}

const (
	subscribed   = "subscribed"
	unsubscribed = "unsubscribed"
)

// body is a record's content. The key says whose and which field.
type body struct {
	Value       string `json:"value"`
	Source      string `json:"source,omitempty"`
	TextVersion string `json:"text_version,omitempty"`
	By          string `json:"by,omitempty"`
	Campaign    uint32 `json:"campaign,omitempty"`
}

func keyOf(subject uint64, f field) string { return fmt.Sprintf("%016x/%s", subject, f) }

func parseKey(key string) (subject uint64, f field, err error) {
	number, name, _ := strings.Cut(key, "/")
	subject, err = strconv.ParseUint(number, 16, 64)
	f = field(name)
	if err != nil || subject == 0 || keyOf(subject, f) != key {
		return 0, "", errors.New("consent record's key names no subject")
	}
	switch f {
	case fieldOpens, fieldClicks, fieldFormat, fieldMail, fieldTracking:
		return subject, f, nil
	}
	return 0, "", errors.New("consent record's key names no field known here")
}

// parse reads an entry as the change of one field. Where the key makes sense and the body does not,
// it returns an error and the refusal of that field: somebody decided something, and the only
// reading that can't wrong them is no. Members that it does not know are passed over: a newer
// version may say more. The errors hold nothing of the content.
func parse(e *control.Entry) (Change, error) {
	subject, f, err := parseKey(e.Key)
	if err != nil {
		return Change{}, err
	}
	var b body
	if json.Unmarshal(e.Body, &b) != nil {
		return refusal(subject, f), errors.New("consent record taken as a refusal: its body is not of the right form")
	}
	c := Change{Subject: subject, Source: b.Source, TextVersion: b.TextVersion, By: b.By, Campaign: b.Campaign}
	switch f {
	case fieldOpens:
		c.Opens, err = ParseState(b.Value)
	case fieldClicks:
		c.Clicks, err = ParseState(b.Value)
	case fieldFormat:
		c.Format, err = ParseFormat(b.Value)
	case fieldTracking:
		c.Tracking, err = ParseTracking(b.Value)
	case fieldMail:
		c.Unsubscribed = new(b.Value == unsubscribed)
		if b.Value != subscribed && b.Value != unsubscribed {
			err = errors.New("is neither subscribed nor unsubscribed")
		}
	}
	if err != nil || b.Value == "" {
		return refusal(subject, f), errors.New("consent record taken as a refusal: its value is not one known here")
	}
	return c, nil
}

// refusal is the strictest change of a field.
func refusal(subject uint64, f field) Change {
	c := Change{Subject: subject}
	switch f {
	case fieldOpens:
		c.Opens = Refused
	case fieldClicks:
		c.Clicks = Refused
	case fieldFormat:
		c.Format = Plain
	case fieldMail:
		c.Unsubscribed = new(true)
	case fieldTracking:
		c.Tracking = DateOnly
	}
	return c
}

// after is what holds once c was decided on top of an earlier choice.
func (c *Change) after(before Choice) Choice {
	if c.Opens != Unset {
		before.Opens = c.Opens
	}
	if c.Clicks != Unset {
		before.Clicks = c.Clicks
	}
	if c.Format != FormatUnset {
		before.Format = c.Format
	}
	if c.Unsubscribed != nil {
		before.Unsubscribed = *c.Unsubscribed
	}
	if c.Tracking != TrackingUnset {
		before.DateOnly = c.Tracking == DateOnly
	}
	return before
}

// records are what is appended for a change: one per field.
func (c *Change) records(now time.Time) ([]control.Record, error) {
	var rs []control.Record
	for _, f := range fields {
		value, ok := c.value(f)
		if !ok {
			continue
		}
		b, err := json.Marshal(body{Value: value, Source: c.Source, TextVersion: c.TextVersion, By: c.By, Campaign: c.Campaign})
		if err != nil {
			return nil, fmt.Errorf("encode a consent record: %w", err)
		}
		rs = append(rs, control.Record{Kind: control.KindConsent, Key: keyOf(c.Subject, f), Time: now, Body: b})
	}
	return rs, nil
}

// value is the word for a field, false where the change leaves it alone.
func (c *Change) value(f field) (string, bool) {
	switch {
	case f == fieldOpens && c.Opens != Unset:
		return c.Opens.String(), true
	case f == fieldClicks && c.Clicks != Unset:
		return c.Clicks.String(), true
	case f == fieldFormat && c.Format != FormatUnset:
		return c.Format.String(), true
	case f == fieldMail && c.Unsubscribed != nil && *c.Unsubscribed:
		return unsubscribed, true
	case f == fieldMail && c.Unsubscribed != nil:
		return subscribed, true
	case f == fieldTracking && c.Tracking != TrackingUnset:
		return c.Tracking.String(), true
	}
	return "", false
}
