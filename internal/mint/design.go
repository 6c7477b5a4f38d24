package mint

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/control"
)

// Mails keeps the mail of campaigns as it was designed.
type Mails interface {
	PutMail(ctx context.Context, campaign uint32, html []byte) error
}

// Designed is what came of a campaign's mail.
type Designed struct {
	Links    int // in it that are counted, each once
	Warnings []Warning
}

// Design keeps a campaign's mail as it was designed, before it is made for anybody, and registers its links as Message does. An
// empty one takes away what was kept. Mail that was made for somebody already is refused, as far as its addresses tell.
// Errors: ErrNotFound of package campaign, *control.InvalidError, what rewriting, the registry or the store said, and ctx's.
func (m *Minter) Design(ctx context.Context, name string, html []byte) (*Designed, error) {
	c, _, err := m.campaign(name)
	if err != nil {
		return nil, err
	}
	switch {
	case len(html) > aggregate.MaxMail:
		return nil, &control.InvalidError{Field: "html", Reason: fmt.Sprintf("is longer than %d bytes", aggregate.MaxMail)}
	case !utf8.Valid(html):
		return nil, &control.InvalidError{Field: "html", Reason: "is not UTF-8"}
	}
	for _, way := range []string{"/o/", "/c/", "/u/"} {
		if strings.Contains(string(html), m.o.PublicURL+way) {
			return nil, &control.InvalidError{Field: "html", Reason: "was made for somebody already: it holds " + m.o.PublicURL + way + "...; right would be the mail before that"}
		}
	}
	j := &letter{
		m: m, name: name, campaign: c, plan: plan{opens: event.Counted, clicks: event.Counted}, request: Request{HTML: string(html)},
		marks: &marks{}, // nobody's address is looked for
	}
	var out Message
	if err := j.register(ctx, &out); err != nil {
		return nil, err
	}
	d := &Designed{Warnings: out.Warnings}
	for _, number := range j.numbers {
		if number > 0 {
			d.Links++
		}
	}
	if err := m.o.Mails.PutMail(ctx, c.Number, html); err != nil {
		return nil, fmt.Errorf("keep the mail of campaign %s: %w", name, err)
	}
	return d, nil
}
