// Package consent is who refused what, and the one rule that follows from it. Table answers at wire
// speed, at minting, at the edge and in the fold; Writer puts changes into the control log, which
// is the ledger: who, when, what text, how. A person is a subject number here, never an address.
package consent

import (
	"errors"
	"slices"

	"mailbeacon/ingest/event"
)

// State is what a person said about one kind of measurement. The numbers are stored.
type State uint8

const (
	// Unset: nothing was said; the basis decides. In a Change: leave it as it is.
	Unset State = iota
	Granted
	Refused
)

// Format is the form of mail a person asked for. The numbers are stored.
type Format uint8

const (
	// FormatUnset: nothing was said. In a Change: leave it as it is.
	FormatUnset Format = iota
	HTML
	// Plain: plain text, which means no pixel and no rewritten link, ever.
	Plain
)

// Tracking is how much of what is measured may be kept. The numbers are stored.
type Tracking uint8

const (
	// TrackingUnset: nothing was said, which is the same as Full. In a Change: leave it as it is.
	TrackingUnset Tracking = iota
	Full
	// DateOnly: nothing but the date of the last activity.
	DateOnly
)

// Choice is all that is known of a person. The zero Choice is that of somebody unknown.
type Choice struct {
	Opens  State
	Clicks State
	Format Format
	// Unsubscribed: the person wants no more mail. It also refuses opens and clicks: who leaves a
	// list expects to have left it, measured reading of old mail is no part of leaving, and one
	// click (RFC 8058) must be enough. Granting afterwards does not undo it; subscribing again does.
	Unsubscribed bool
	// DateOnly: of what is not refused, nothing is kept but the date of the last activity. It grants nothing.
	DateOnly bool
}

// Basis is what holds for people of whom nothing is known.
type Basis uint8

const (
	// BasisSubject: measured, person by person.
	BasisSubject Basis = iota
	// BasisAggregate: counted without a person; the mail carries none.
	BasisAggregate
	// BasisNone: not measured.
	BasisNone
)

var (
	trackingNames = [...]string{TrackingUnset: "unset", Full: "full", DateOnly: "date-only"}
	stateNames    = [...]string{Unset: "unset", Granted: "granted", Refused: "refused"}
	formatNames   = [...]string{FormatUnset: "unset", HTML: "html", Plain: "plain"}
	basisNames    = [...]string{BasisSubject: "subject", BasisAggregate: "aggregate", BasisNone: "none"}
)

// String is the state's word in the API and the log, "invalid" outside the set.
func (s State) String() string { return nameOf(stateNames[:], int(s)) }

// String is the format's word in the API and the log, "invalid" outside the set.
func (f Format) String() string { return nameOf(formatNames[:], int(f)) }

// String is the word in the API and the log, "invalid" outside the set.
func (t Tracking) String() string { return nameOf(trackingNames[:], int(t)) }

// Tracking is how much may be kept of what is measured: Full or DateOnly.
func (c Choice) Tracking() Tracking {
	if c.DateOnly {
		return DateOnly
	}
	return Full
}

// String is the basis's word in the configuration, "invalid" outside the set.
func (b Basis) String() string { return nameOf(basisNames[:], int(b)) }

func nameOf(names []string, i int) string {
	if i >= len(names) {
		return "invalid"
	}
	return names[i]
}

// ParseState reads "granted" or "refused"; nothing at all is Unset.
func ParseState(s string) (State, error) {
	i, err := parseName(stateNames[:], s, "granted or refused")
	return State(i), err
}

// ParseFormat reads "html" or "plain"; nothing at all is FormatUnset.
func ParseFormat(s string) (Format, error) {
	i, err := parseName(formatNames[:], s, "html or plain")
	return Format(i), err
}

// ParseTracking reads "full" or "date-only"; nothing at all is TrackingUnset.
func ParseTracking(s string) (Tracking, error) {
	i, err := parseName(trackingNames[:], s, "full or date-only")
	return Tracking(i), err
}

// ParseBasis reads "subject", "aggregate" or "none"; nothing at all is BasisSubject.
func ParseBasis(s string) (Basis, error) {
	if s == basisNames[BasisSubject] {
		return BasisSubject, nil
	}
	i, err := parseName(basisNames[:], s, "subject, aggregate or none")
	return Basis(i), err
}

// parseName finds s among the names after the first, which stands for nothing said.
func parseName(names []string, s, expected string) (int, error) {
	if s == "" {
		return 0, nil
	}
	if i := slices.Index(names[1:], s); i >= 0 {
		return i + 1, nil
	}
	return 0, errors.New("is not " + expected)
}

// Verdict is the one rule: whether something that a person with this choice did may be counted,
// and if not why. It is event.Counted, PlainText, OptedOut, NoBasis or DateOnly: the wish for plain text covers
// everything else, and with DateOnly alone the date may be kept.
//
// A probe says something of the whole message, so it may be kept only where opens and clicks may.
// Under BasisAggregate what is unset is counted, but without its person (see Attributed); there is no date of nobody, so
// with Choice.DateOnly it has no basis.
func (b Basis) Verdict(kind event.Kind, c Choice) event.Reason {
	if c.Format == Plain {
		return event.PlainText
	}
	s := c.of(kind)
	switch {
	case c.Unsubscribed || s == Refused:
		return event.OptedOut
	case s == Unset && (b == BasisNone || b == BasisAggregate && c.DateOnly):
		return event.NoBasis
	case c.DateOnly:
		return event.DateOnly
	}
	return event.Counted
}

// Attributed says whether what Verdict counts, or its date, may be kept with the person's subject number.
func (b Basis) Attributed(kind event.Kind, c Choice) bool {
	r := b.Verdict(kind, c)
	return (r == event.Counted || r == event.DateOnly) && (b != BasisAggregate || c.of(kind) == Granted)
}

// of is the state that decides on a kind.
func (c Choice) of(kind event.Kind) State {
	switch kind {
	case event.Open:
		return c.Opens
	case event.Click:
		return c.Clicks
	}
	switch {
	case c.Opens == Refused || c.Clicks == Refused:
		return Refused
	case c.Opens == Unset || c.Clicks == Unset:
		return Unset
	}
	return Granted
}

// A choice is packed into seven bits: two for each of opens, clicks and format, and one for unsubscribed. No pair of bits
// is 3; the numbers in which one is stand, in ascending order, for the same choices with DateOnly.
var (
	choiceOf [choices]Choice
	isChoice [choices]bool
	dateOnly [choices]byte // of a packed choice: the same with DateOnly
)

func init() {
	var plain, odd []byte
	for b := range byte(choices) {
		if b&3 == 3 || b>>2&3 == 3 || b>>4&3 == 3 {
			odd = append(odd, b)
		} else {
			plain = append(plain, b)
		}
	}
	for i, b := range plain {
		c := Choice{Opens: State(b & 3), Clicks: State(b >> 2 & 3), Format: Format(b >> 4 & 3), Unsubscribed: b&(1<<6) != 0}
		choiceOf[b], isChoice[b], dateOnly[b] = c, true, odd[i]
		c.DateOnly = true
		choiceOf[odd[i]], isChoice[odd[i]] = c, true
	}
}

// pack writes a choice into seven bits.
func (c Choice) pack() byte {
	b := byte(c.Opens) | byte(c.Clicks)<<2 | byte(c.Format)<<4
	if c.Unsubscribed {
		b |= 1 << 6
	}
	if c.DateOnly {
		return dateOnly[b]
	}
	return b
}

// unpack is the inverse of pack; bit 7 is ignored.
func unpack(b byte) Choice { return choiceOf[b%choices] }

// packed says whether b is something that pack writes.
func packed(b byte) bool { return b < choices && isChoice[b] }

const (
	choices = 1 << 7 // that can be packed
	kinds   = 4      // of events, and none
)

// rules are what a basis says of every kind and packed choice, worked out beforehand: who asks for each event has no time
// for the rule itself.
type rules struct {
	verdict    [kinds][choices]event.Reason
	attributed [kinds][choices]bool
}

func rulesOf(b Basis) (r rules) {
	for k := range event.Kind(kinds) {
		for i, c := range choiceOf {
			r.verdict[k][i], r.attributed[k][i] = b.Verdict(k, c), b.Attributed(k, c)
		}
	}
	return r
}
