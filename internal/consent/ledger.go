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
	// More: the next decision has the same position, since an import put them into one record.
	More bool
	// Before and After are what held around it. Only Lookup knows them.
	Before, After Choice
}

// Archive is an append-only copy of the log's consent records, for a log that drops what is old. All
// methods may be called concurrently, by many processes. Entries that are returned are the caller's.
type Archive interface {
	// End is the position of the last entry in the archive, 0 for none. All before it are there.
	End(ctx context.Context) (control.Position, error)
	// Add adds entries that follow End as it was, all or none, durably. subjects[i] are those that
	// entries[i] speaks of. Adding again what is there changes nothing.
	Add(ctx context.Context, entries []control.Entry, subjects [][]uint64) error
	// Of returns the entries that speak of a person, by position, each once.
	Of(ctx context.Context, subject uint64) ([]control.Entry, error)
	// Read returns up to max entries after a position, in order, each once.
	Read(ctx context.Context, after control.Position, max int) ([]control.Entry, error)
}

// Person is all that the ledger holds of somebody.
type Person struct {
	Subject uint64
	Choice  Choice
	History []Recorded // oldest first
}

// Lookup reads the ledger of one person. The choice is the one that the history leads to. Of an
// import it reads the records of all people.
func (w *Writer) Lookup(ctx context.Context, subject uint64) (Person, error) {
	if subject == 0 {
		return Person{}, &control.InvalidError{Field: "subject", Reason: "is missing"}
	}
	entries, err := w.entriesOf(ctx, subject)
	if err != nil {
		return Person{}, fmt.Errorf("read the consent ledger: %w", err)
	}
	p := Person{Subject: subject}
	g := gather{only: subject, emit: func(r Recorded) error {
		r.Before = p.Choice
		r.After = r.after(p.Choice)
		r.More = false // what follows is somebody else's
		p.Choice = r.After
		p.History = append(p.History, r)
		return nil
	}}
	for i := range entries {
		if err := g.add(&entries[i]); err != nil {
			return Person{}, err
		}
	}
	return p, g.flush()
}

// entriesOf are the entries that speak, or may speak, of a person, by position.
func (w *Writer) entriesOf(ctx context.Context, subject uint64) (all []control.Entry, err error) {
	if w.archive != nil {
		return w.archived(ctx, subject)
	}
	for _, f := range fields {
		es, err := w.log.History(ctx, control.KindConsent, keyOf(subject, f))
		if err != nil {
			return nil, err
		}
		all = append(all, es...)
	}
	for _, at := range w.table.bulks.positions() {
		es, err := w.log.Read(ctx, at-1, 1)
		if err != nil {
			return nil, err
		}
		if len(es) == 1 && speaksOf(&es[0], subject) {
			all = append(all, es[0])
		}
	}
	slices.SortFunc(all, func(a, b control.Entry) int { return cmp.Compare(a.Position, b.Position) })
	return all, nil
}

// archived is what the archive has of a person, and what the log has that was not copied yet.
func (w *Writer) archived(ctx context.Context, subject uint64) ([]control.Entry, error) {
	copied := control.Position(0) // the archive's end is its last entry; what the log has behind that need not be read
	if w.copied != nil {
		copied = w.copied()
	}
	end, err := w.archive.End(ctx)
	if err != nil {
		return nil, err
	}
	end = max(end, copied)
	all, err := w.archive.Of(ctx, subject)
	if err != nil {
		return nil, err
	}
	if n := len(all); n > 0 {
		end = max(end, all[n-1].Position)
	}
	for {
		es, err := w.log.Read(ctx, end, feedBatch)
		if err != nil || len(es) == 0 {
			return all, err
		}
		for i := range es {
			if end = es[i].Position; es[i].Kind == control.KindConsent && speaksOf(&es[i], subject) {
				all = append(all, es[i])
			}
		}
	}
}

// speaksOf says whether a consent entry has something of a person.
func speaksOf(e *control.Entry, subject uint64) bool {
	if !isBulk(e.Key) {
		c, _ := parse(e) // what can't be read is a refusal, and was reported by the fold
		return c.Subject == subject
	}
	found := false
	_ = parseBulk(e, func(c *Change) { found = found || c.Subject == subject }) // as above
	return found
}

// Changes calls fn with every decision recorded after a position and up to the log's present end,
// in order, and returns the position to go on from; fn's error ends it and is returned. It holds a
// bounded part of the log, however long that is. Where fn ends it at a decision with More, that
// position will come again.
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
		if !r.More {
			done = r.Position
		}
		return nil
	}}
	for at := after; at < head; {
		entries, err := w.recorded(ctx, at, feedBatch)
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

// recorded reads up to most entries after a position: the archive's as far as it goes, then the log's.
func (w *Writer) recorded(ctx context.Context, after control.Position, most int) ([]control.Entry, error) {
	if w.archive != nil {
		es, err := w.archive.Read(ctx, after, most)
		if err != nil || len(es) > 0 {
			return es, err
		}
	}
	return w.log.Read(ctx, after, most)
}

// gather puts the records of one decision, one per field and side by side, together again, and takes
// bulk records apart.
type gather struct {
	emit func(Recorded) error
	only uint64   // of a bulk: 0 for everybody
	held Recorded // Subject 0: none
}

func (g *gather) add(e *control.Entry) error {
	if isBulk(e.Key) {
		return g.bulk(e)
	}
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

func (g *gather) bulk(e *control.Entry) error {
	if err := g.flush(); err != nil {
		return err
	}
	var err error
	one := Recorded{Position: e.Position, Time: e.Time}
	next := func(more bool) {
		if one.Subject != 0 && err == nil {
			one.More = more
			err = g.emit(one)
		}
	}
	_ = parseBulk(e, func(c *Change) { // what can't be read was reported by the fold
		if g.only == 0 || c.Subject == g.only {
			next(true)
			one.Change = *c
		}
	})
	next(false)
	return err
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
// person, time, source, text and campaign, brought by the same, and a field that it does not speak of yet.
func (r *Recorded) joins(c *Change, e *control.Entry) bool {
	return r.Subject == c.Subject && r.Position+1 == e.Position && r.Time.Equal(e.Time) &&
		r.Source == c.Source && r.TextVersion == c.TextVersion && r.By == c.By && r.Campaign == c.Campaign &&
		(r.Opens == Unset || c.Opens == Unset) && (r.Clicks == Unset || c.Clicks == Unset) &&
		(r.Format == FormatUnset || c.Format == FormatUnset) && (r.Unsubscribed == nil || c.Unsubscribed == nil) &&
		(r.Tracking == TrackingUnset || c.Tracking == TrackingUnset)
}

// merge takes the fields of c over.
func (c *Change) merge(from *Change) {
	c.Opens = max(c.Opens, from.Opens)
	c.Clicks = max(c.Clicks, from.Clicks)
	c.Format = max(c.Format, from.Format)
	c.Tracking = max(c.Tracking, from.Tracking)
	if from.Unsubscribed != nil {
		c.Unsubscribed = from.Unsubscribed
	}
}
