// Package mint decides what goes into whose mail: the pixel, the links, the way out. It is the
// first of the three gates that consent stands at. Mail to people who refused, or who asked for
// plain text, measures nothing and carries no subject in anything that could; mail to people who
// said nothing follows the basis. The unsubscribe address is in all mail and always names its
// person: it is how somebody who refused changes their mind, or leaves.
package mint

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/subject"
	"mailbeacon/internal/token"
)

// Ring makes tokens, and subject numbers of normalised addresses. It may be called concurrently
// and keeps nothing of its arguments.
type Ring interface {
	Append(dst []byte, kind token.Kind, c token.Claims) []byte
	Subject(normalised []byte) uint64
}

// Consent says how mail to a person is to be made: event.Counted (measured, with the subject),
// event.AggregateOnly (measured without), event.DateOnly (with it, for the date) or why not. It may be called concurrently.
type Consent interface {
	Plan(subject uint64) (opens, clicks event.Reason)
}

// Campaigns are what is registered. They may be asked concurrently.
type Campaigns interface {
	ByName(name string) (campaign.Campaign, bool)
	Links(number uint32) []campaign.Link
	HashKey(number uint32) ([16]byte, bool)
}

// Links registers links, or finds them, and returns each with its number, in their order. With
// campaign.ErrFull, those for which no number is left come back with number 0.
type Links interface {
	AddLinks(ctx context.Context, campaign string, wanted []campaign.Link) ([]campaign.Link, error)
}

// Population notes who was sent a campaign.
type Population interface {
	AddPopulation(ctx context.Context, p []aggregate.Population) error
}

// Options are what a Minter is made of. All are needed.
type Options struct {
	Ring       Ring
	Consent    Consent
	Campaigns  Campaigns
	Links      Links
	Population Population
	Mails      Mails
	// PublicURL is the scheme and host that the mail carries, without a slash at its end.
	PublicURL string
}

// Minter mints. All methods may be called concurrently.
type Minter struct {
	o Options
}

// New returns a Minter, or an error that names the missing option.
func New(o Options) (*Minter, error) {
	switch {
	case o.Ring == nil:
		return nil, errors.New("mint: no key ring")
	case o.Consent == nil:
		return nil, errors.New("mint: no consent")
	case o.Campaigns == nil:
		return nil, errors.New("mint: no campaigns")
	case o.Links == nil:
		return nil, errors.New("mint: nothing that registers links")
	case o.Population == nil:
		return nil, errors.New("mint: no store of the population")
	case o.Mails == nil:
		return nil, errors.New("mint: no store of the campaigns' mails")
	case o.PublicURL == "":
		return nil, errors.New("mint: no public URL")
	}
	return &Minter{o: o}, nil
}

// Tracking says what a mail measures and, where it does not measure everything about a person, why.
type Tracking struct {
	Opens  bool   `json:"opens" doc:"the mail carries a pixel"`
	Clicks bool   `json:"clicks" doc:"the mail carries links that are counted"`
	Reason string `json:"reason,omitempty" doc:"why not both, or not with the person: opted_out, plain_text, no_basis, aggregate_only, date_only"`
}

// plan is how mail to one person is made.
type plan struct {
	subject       uint64
	opens, clicks event.Reason
}

func (p *plan) measured(r event.Reason) bool {
	return r == event.Counted || r == event.AggregateOnly || r == event.DateOnly
}

// tracking names the reason of what is not measured at all before that of what is not attributed.
func (p *plan) tracking() Tracking {
	t := Tracking{Opens: p.measured(p.opens), Clicks: p.measured(p.clicks)}
	switch {
	case !t.Opens:
		t.Reason = p.opens.String()
	case !t.Clicks:
		t.Reason = p.clicks.String()
	case p.opens != event.Counted:
		t.Reason = p.opens.String()
	case p.clicks != event.Counted:
		t.Reason = p.clicks.String()
	}
	return t
}

// named says whether anything in the mail that measures carries the subject.
func (p *plan) named() bool { return p.carried(p.opens) != 0 || p.carried(p.clicks) != 0 }

// carried is the subject for a token of a kind that is measured: nobody, where it only counts.
func (p *plan) carried(r event.Reason) uint64 {
	if r == event.Counted || r == event.DateOnly {
		return p.subject
	}
	return 0
}

func (p *plan) member() aggregate.Member { return aggregate.Member{Opens: p.opens, Clicks: p.clicks} }

// within is how a kind is measured in a campaign of which only dates are kept: mail that names nobody has none.
func within(dateOnly bool, r event.Reason) event.Reason {
	switch {
	case dateOnly && r == event.Counted:
		return event.DateOnly
	case dateOnly && r == event.AggregateOnly:
		return event.NoBasis
	}
	return r
}

// person looks up how a campaign's mail to an address is made. The error never holds the address.
func (m *Minter) person(address string, dateOnly bool) (plan, error) {
	normal, err := subject.Normalise(address)
	if err != nil {
		return plan{}, err
	}
	p := plan{subject: m.o.Ring.Subject(unsafe.Slice(unsafe.StringData(normal), len(normal)))}
	p.opens, p.clicks = m.o.Consent.Plan(p.subject)
	p.opens, p.clicks = within(dateOnly, p.opens), within(dateOnly, p.clicks)
	return p, nil
}

// campaign finds what is minted for, and a hasher of its people for the one goroutine that mints.
func (m *Minter) campaign(name string) (campaign.Campaign, *aggregate.Hasher, error) {
	c, ok := m.o.Campaigns.ByName(name)
	hash := aggregate.NewHasher(m.o.Campaigns.HashKey, 1)
	if !ok || !hash.Known(c.Number) {
		return campaign.Campaign{}, nil, fmt.Errorf("mint for a campaign: %w", campaign.ErrNotFound)
	}
	return c, hash, nil
}

func (m *Minter) url(dst []byte, kind token.Kind, c token.Claims, end string) []byte {
	dst = append(dst, m.o.PublicURL...)
	dst = append(dst, '/', byte(kind), '/')
	dst = m.o.Ring.Append(dst, kind, c)
	return append(dst, end...)
}

// unsubscribe appends the address of a person's preferences and of the one-click way out (RFC 8058).
func (m *Minter) unsubscribe(dst []byte, number uint32, subject uint64) []byte {
	return m.url(dst, token.Preferences, token.Claims{Campaign: number, Subject: subject}, "")
}

// Subject is the number of the person with an address. The error is a *subject.InvalidError.
func (m *Minter) Subject(address string) (uint64, error) {
	p, err := m.person(address, false)
	return p.subject, err
}
