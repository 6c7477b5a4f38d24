package consent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"mailbeacon/internal/control"
)

// Recorded is a decision as it stands in the ledger.
type Recorded struct {
	Position control.Position // of its last record
	Time     time.Time
	Change
}

// Person is all that the ledger holds of somebody.
type Person struct {
	Subject uint64
	Choice  Choice
	History []Recorded // oldest first
}

// Lookup reads the ledger of one person. The choice is the one that the history leads to.
func (w *Writer) Lookup(ctx context.Context, subject uint64) (Person, error) {
	if subject == 0 {
		return Person{}, &control.InvalidError{Field: "subject", Reason: "is missing"}
	}
	var entries []control.Entry
	for _, f := range fields {
		es, err := w.log.History(ctx, control.KindConsent, keyOf(subject, f))
		if err != nil {
			return Person{}, fmt.Errorf("read the consent ledger: %w", err)
		}
		entries = append(entries, es...)
	}
	slices.SortFunc(entries, func(a, b control.Entry) int { return cmp.Compare(a.Position, b.Position) })
	p := Person{Subject: subject}
	g := gather{emit: func(r Recorded) error {
		p.History = append(p.History, r)
		return nil
	}}
	for i := range entries {
		if err := g.add(&entries[i]); err != nil {
			return Person{}, err
		}
	}
	if err := g.flush(); err != nil {
		return Person{}, err
	}
	for i := range p.History {
		p.Choice = p.History[i].after(p.Choice)
	}
	return p, nil
}

// Changes calls fn with every decision recorded after a position and up to the log's present end,
// in order, and returns the position to go on from; fn's error ends it and is returned. It holds a
// bounded part of the log, however long that is.
func (w *Writer) Changes(ctx context.Context, after control.Position, fn func(Recorded) error) (control.Position, error) {
	head, err := w.log.Head(ctx)
	if err != nil {
		return after, fmt.Errorf("read the consent ledger: %w", err)
	}
	done := after
	g := gather{emit: func(r Recorded) error {
		if err := fn(r); err != nil {
			return err
		}
		done = r.Position
		return nil
	}}
	for at := after; at < head; {
		entries, err := w.log.Read(ctx, at, feedBatch)
		if err != nil {
			return done, fmt.Errorf("read the consent ledger: %w", err)
		}
		if len(entries) == 0 {
			break
		}
		for i := range entries {
			e := &entries[i]
			at = e.Position
			if at > head {
				break
			}
			if e.Kind != control.KindConsent {
				continue
			}
			if err := g.add(e); err != nil {
				return done, err
			}
		}
	}
	if err := g.flush(); err != nil {
		return done, err
	}
	return max(after, head), nil
}

// gather puts the records of one decision, one per field and side by side, together again.
type gather struct {
	emit func(Recorded) error
	held Recorded // Subject 0: none
}

func (g *gather) add(e *control.Entry) error {
	c, _ := parse(e) // what can't be read is a refusal, and was reported by the fold
	if c.Subject == 0 {
		return nil
	}
	if g.held.joins(&c, e) {
		g.held.Position = e.Position
		g.held.merge(&c)
		return nil
	}
	if err := g.flush(); err != nil {
		return err
	}
	g.held = Recorded{Position: e.Position, Time: e.Time, Change: c}
	return nil
}

func (g *gather) flush() error {
	if g.held.Subject == 0 {
		return nil
	}
	r := g.held
	g.held = Recorded{}
	return g.emit(r)
}

// joins says whether a record belongs to the decision before it: the next position, the same
// person, time, source and text, and a field that it does not speak of yet.
func (r *Recorded) joins(c *Change, e *control.Entry) bool {
	return r.Subject == c.Subject && r.Position+1 == e.Position && r.Time.Equal(e.Time) &&
		r.Source == c.Source && r.TextVersion == c.TextVersion &&
		(r.Opens == Unset || c.Opens == Unset) && (r.Clicks == Unset || c.Clicks == Unset) &&
		(r.Format == FormatUnset || c.Format == FormatUnset) && (r.Unsubscribed == nil || c.Unsubscribed == nil)
}

// merge takes the fields of c over.
func (c *Change) merge(from *Change) {
	c.Opens = max(c.Opens, from.Opens)
	c.Clicks = max(c.Clicks, from.Clicks)
	c.Format = max(c.Format, from.Format)
	if from.Unsubscribed != nil {
		c.Unsubscribed = from.Unsubscribed
	}
}
