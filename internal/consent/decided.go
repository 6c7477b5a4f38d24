package consent

import (
	"context"
	"fmt"
	"time"

	"mailbeacon/internal/control"
)

// People is a set of subject numbers, in at most 16 bytes each. Has may be called concurrently.
type People struct{ slots *slots }

// Has says whether somebody is in the set. Nobody, 0, never is.
func (p *People) Has(subject uint64) bool { return subject != 0 && p.slots.get(mix(subject)) != 0 }

// Len is how many people are in the set.
func (p *People) Len() int { return int(p.slots.used) }

// clockSlack is how far the clocks of those who write the ledger may stand apart, where an entry is looked for
// by its time.
const clockSlack = 24 * time.Hour

// DecidedSince returns everybody of whom a decision was recorded since a moment and up to the ledger's present end,
// whatever it says.
func (w *Writer) DecidedSince(ctx context.Context, since time.Time) (*People, error) {
	after, err := w.before(ctx, since.Add(-clockSlack))
	if err != nil {
		return nil, err
	}
	p := &People{slots: newSlots(0)}
	_, err = w.Changes(ctx, after, func(r Recorded) error {
		if r.Subject != 0 && !r.Time.Before(since) {
			p.slots.put(mix(r.Subject), 0)
		}
		return nil
	})
	return p, err
}

// before is a position such that what stands up to it is from before a moment.
func (w *Writer) before(ctx context.Context, moment time.Time) (control.Position, error) {
	head, err := w.log.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the consent ledger: %w", err)
	}
	low, high := control.Position(0), head // the answer is in between; what follows high is not from before
	for low < high {
		middle := low + (high-low)/2
		es, err := w.recorded(ctx, middle, 1)
		if err != nil {
			return 0, fmt.Errorf("read the consent ledger: %w", err)
		}
		if len(es) > 0 && es[0].Time.Before(moment) {
			low = min(es[0].Position, high)
		} else {
			high = middle
		}
	}
	return low, nil
}
