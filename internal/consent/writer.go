package consent

import (
	"context"
	"fmt"
	"time"

	"mailbeacon/internal/control"
)

// patience is how long Change waits for the fold to take a change in before it answers that it is
// recorded and not effective yet.
const patience = 2 * time.Second

// feedBatch bounds what Changes holds of the log at a time.
const feedBatch = 256

// Writer records decisions in the control log and reads the ledger back. All methods may be called
// concurrently.
type Writer struct {
	log      control.Log
	follower *control.Follower
	table    *Table
}

// NewWriter returns a writer to log; follower folds it into table.
func NewWriter(log control.Log, follower *control.Follower, table *Table) *Writer {
	return &Writer{log: log, follower: follower, table: table}
}

// Change records decisions in one atomic step, and returns the position from which they hold and
// whether they are effective: folded here, so that no later event is counted against them. A change
// that is not effective yet is recorded all the same, and will be.
//
// What only repeats the last decision, with its source and text, is not recorded again: a one-click
// address may be called as often as anybody likes. The error is a *control.InvalidError, or the log's.
func (w *Writer) Change(ctx context.Context, changes ...Change) (pos control.Position, effective bool, err error) {
	for i := range changes {
		if err := changes[i].Check(); err != nil {
			return 0, false, err
		}
	}
	var records []control.Record
	now := time.Now()
	for i := range changes {
		c := &changes[i]
		if repeats, last, err := w.repeats(ctx, c); err != nil {
			return 0, false, err
		} else if repeats {
			pos = max(pos, last)
			continue
		}
		rs, err := c.records(now)
		if err != nil {
			return 0, false, err
		}
		records = append(records, rs...)
	}
	if len(records) > 0 {
		last, err := w.log.Append(ctx, records...)
		if err != nil {
			return 0, false, fmt.Errorf("record a consent change: %w", err)
		}
		pos = max(pos, last)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return pos, w.follower.WaitApplied(ctx, pos) == nil, nil
}

// repeats says whether c is, field by field, what was recorded last, and where.
func (w *Writer) repeats(ctx context.Context, c *Change) (bool, control.Position, error) {
	if now := w.table.Look(c.Subject); c.after(now) != now {
		return false, 0, nil
	}
	var pos control.Position
	for _, f := range fields {
		value, ok := c.value(f)
		if !ok {
			continue
		}
		es, err := w.log.History(ctx, control.KindConsent, keyOf(c.Subject, f))
		if err != nil {
			return false, 0, fmt.Errorf("read the consent ledger: %w", err)
		}
		if len(es) == 0 {
			return false, 0, nil
		}
		last := &es[len(es)-1]
		if said, _ := parse(last); !said.says(f, value) || said.Source != c.Source || said.TextVersion != c.TextVersion {
			return false, 0, nil
		}
		pos = max(pos, last.Position)
	}
	return true, pos, nil
}

// says whether a change gives a field this value.
func (c *Change) says(f field, value string) bool {
	v, ok := c.value(f)
	return ok && v == value
}
