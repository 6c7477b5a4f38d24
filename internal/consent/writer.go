package consent

import (
	"context"
	"fmt"
	"time"

	"mailbeacon/internal/control"
)

// patience is how long Change waits until a change holds before it answers that it is recorded and not
// effective yet. In a cluster a role that is not heard of has lost its lease by then.
const patience = control.Lease + control.Margin + time.Second

// feedBatch bounds what is held of the log at a time.
const feedBatch = 64

// Writer records decisions in the control log and reads the ledger back. All methods may be called
// concurrently.
type Writer struct {
	log      control.Log
	follower *control.Follower
	table    *Table
	archive  Archive // nil: there is none
	copied   func() control.Position
	drops    bool   // the log is a compacted one: it is not searched, and who says its end may not lead it any more
	by       string // of changes that do not say it
	// everywhere waits until a position holds in all processes; nil: this one is all there is.
	everywhere func(context.Context, control.Position) error
}

// NewWriter returns a writer to log; follower folds it into table.
func NewWriter(log control.Log, follower *control.Follower, table *Table) *Writer {
	return &Writer{log: log, follower: follower, table: table}
}

// Archived returns a writer that reads the ledger from an archive, and from the log what was not copied
// there yet. copied says up to where everything was; nil: the archive's last entry does.
func (w *Writer) Archived(a Archive, copied func() control.Position) *Writer {
	next := *w
	next.archive, next.copied, next.drops = a, copied, true
	return &next
}

// Compacted returns a writer to a log that drops what is old, and that no archive is at hand for. What repeats a
// decision that the table does not remember is recorded again.
func (w *Writer) Compacted() *Writer {
	next := *w
	next.drops = true
	return &next
}

// Everywhere returns a writer for whom a change is effective once it holds in all processes of a cluster, which
// await waits for.
func (w *Writer) Everywhere(await func(context.Context, control.Position) error) *Writer {
	next := *w
	next.everywhere = await
	return &next
}

// As returns a writer whose changes are noted as brought by somebody, where they do not say by whom.
func (w *Writer) As(by string) *Writer {
	next := *w
	next.by = by
	return &next
}

// Change records decisions in one atomic step, and returns the position from which they hold and
// whether they are effective: no event that is recorded later is counted against them, whoever records it.
// A change that is not effective yet is recorded all the same, and will be.
//
// What only repeats the last decision, with its source and text, is not recorded again: a one-click
// address may be called as often as anybody likes. The error is a *control.InvalidError, or the log's.
func (w *Writer) Change(ctx context.Context, changes ...Change) (pos control.Position, effective bool, err error) {
	all, effective, err := w.record(ctx, changes)
	for i := range all {
		pos = max(pos, all[i].Position)
	}
	return pos, effective, err
}

// Record is Change for one decision, and returns it as it stands in the ledger; where it only repeats
// the last one, it is that one.
func (w *Writer) Record(ctx context.Context, c Change) (r Recorded, effective bool, err error) {
	all, effective, err := w.record(ctx, []Change{c})
	if err != nil {
		return Recorded{}, false, err
	}
	return all[0], effective, nil
}

func (w *Writer) record(ctx context.Context, changes []Change) ([]Recorded, bool, error) {
	all := make([]Recorded, len(changes))
	for i := range changes {
		if all[i].Change = changes[i]; all[i].By == "" {
			all[i].By = w.by
		}
		if err := all[i].Check(); err != nil {
			return nil, false, err
		}
	}
	var records []control.Record
	ends := make([]int, len(changes)) // of each change's records; 0: it is recorded already
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range all {
		r := &all[i]
		if repeats, err := w.repeats(ctx, r); err != nil {
			return nil, false, err
		} else if repeats {
			continue
		}
		rs, err := r.records(now)
		if err != nil {
			return nil, false, err
		}
		records = append(records, rs...)
		r.Time, ends[i] = now, len(records)
	}
	if len(records) > 0 {
		last, err := w.log.Append(ctx, records...)
		if err != nil {
			return nil, false, fmt.Errorf("record a consent change: %w", err)
		}
		for i, end := range ends {
			if end > 0 {
				all[i].Position = last - control.Position(len(records)-end)
			}
		}
	}
	var pos control.Position
	for i := range all {
		pos = max(pos, all[i].Position)
	}
	return all, w.Effective(ctx, pos), nil
}

// Effective waits, for a while, until what is recorded up to a position holds, and so does all that is folded here: a
// repetition says what is known, and that may come from a later record than its own.
func (w *Writer) Effective(ctx context.Context, pos control.Position) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pos = max(pos, w.follower.News())
	if w.everywhere != nil {
		return w.everywhere(ctx, pos) == nil
	}
	return w.follower.WaitApplied(ctx, pos) == nil
}

// catchUpTime bounds how long a repetition is looked for; then the decision is recorded, which is never wrong.
const catchUpTime = time.Second

// repeats says whether r is, field by field, what was recorded last, and then notes in r where and when. What
// an import recorded is not looked at: that would mean to read all of it for every click.
func (w *Writer) repeats(ctx context.Context, r *Recorded) (bool, error) {
	if !w.stands(r) {
		return false, nil
	}
	bound, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	// Another may have written something that is not folded here.
	if w.Settle(bound) != nil || !w.stands(r) {
		return false, nil
	}
	var known []control.Entry // what the archive has of the person, once that was asked
	var newest, oldest control.Position
	spoken := control.Position(0) // fields
	for _, f := range fields {
		value, ok := r.value(f)
		if !ok {
			continue
		}
		last, ok, err := w.last(ctx, r.Subject, f, &known)
		if err != nil {
			return false, err
		}
		if !ok || !last.says(f, value) || last.Source != r.Source || last.TextVersion != r.TextVersion {
			return false, nil
		}
		spoken++
		newest = max(newest, last.at)
		if oldest == 0 || last.at < oldest {
			oldest = last.at
		}
	}
	if newest-oldest+1 != spoken { // it was said in several decisions, and a receipt is of one
		return false, nil
	}
	whole, ok := w.decisionAt(ctx, newest, r.Subject)
	if !ok || !whole.speaksAs(&r.Change) {
		return false, nil
	}
	*r = whole
	return true, nil
}

// decisionAt is the decision whose last record has a position, as the ledger tells it; false if there is none, or it can't be read.
func (w *Writer) decisionAt(ctx context.Context, at control.Position, subject uint64) (found Recorded, ok bool) {
	if w.archive != nil {
		if found, ok = decisionOf(ctx, w.archive.Read, at, subject); ok {
			return found, true
		}
	}
	return decisionOf(ctx, w.log.Read, at, subject) // what is remembered, or not copied yet, is in the log still
}

func decisionOf(ctx context.Context, read func(context.Context, control.Position, int) ([]control.Entry, error), at control.Position, subject uint64) (found Recorded, ok bool) {
	entries, err := read(ctx, at-min(at, control.Position(len(fields))+1), len(fields)+2)
	if err != nil {
		return found, false
	}
	g := gather{only: subject, emit: func(r Recorded) error {
		if r.Position == at && r.Subject == subject {
			found, ok = r, true
		}
		return nil
	}}
	for i := range entries {
		if entries[i].Kind == control.KindConsent {
			_ = g.add(&entries[i]) // emit has no error
		}
	}
	_ = g.flush()
	return found, ok
}

// speaksAs says whether two changes say the same of the same fields.
func (c *Change) speaksAs(o *Change) bool {
	for _, f := range fields {
		mine, ok := c.value(f)
		others, also := o.value(f)
		if ok != also || mine != others {
			return false
		}
	}
	return true
}

// stands says whether r changes nothing of what is folded here.
func (w *Writer) stands(r *Recorded) bool {
	now := w.table.Look(r.Subject)
	return r.after(now) == now
}

// last is the last record of a person's field; false if there is none, or it can't be found in a moment.
func (w *Writer) last(ctx context.Context, subject uint64, f field, known *[]control.Entry) (last lastSaid, ok bool, err error) {
	if w.drops {
		if last, ok := w.table.lately.get(subject, f); ok || w.archive == nil {
			return last, ok, nil
		}
		if *known == nil {
			if *known, err = w.archived(ctx, subject); err != nil {
				return lastSaid{}, false, nil //nolint:nilerr // without the archive it is recorded again
			}
		}
	} else if *known, err = w.log.History(ctx, control.KindConsent, keyOf(subject, f)); err != nil {
		return lastSaid{}, false, fmt.Errorf("read the consent ledger: %w", err)
	}
	for i := range *known {
		if e := &(*known)[i]; e.Key == keyOf(subject, f) {
			c, _ := parse(e) // what can't be read is a refusal, and was reported by the fold
			last, ok = lastSaid{c, e.Position, e.Time}, true
		}
	}
	return last, ok, nil
}

// says whether a change gives a field this value.
func (c *Change) says(f field, value string) bool {
	v, ok := c.value(f)
	return ok && v == value
}

// Import records many changes, each record of up to MaxBulk in one step, and returns the position of the
// last and how many changes were recorded already. The records depend on the changes alone, so an import that is run again in the same
// pieces records nothing twice: of a piece that is known, only refusals that do not hold any more are recorded once more. And it takes
// back no refusal: a file does not say of when its rows are, and who refused may have done so since. Rows that would are among those
// that stood. It does not wait for anything to be effective.
func (w *Writer) Import(ctx context.Context, changes []Change) (pos control.Position, stood int, err error) {
	for i := range changes {
		if changes[i].By == "" {
			changes[i].By = w.by
		}
		if err := changes[i].Check(); err != nil {
			return 0, stood, err
		}
	}
	for len(changes) > 0 {
		r, n, err := bulkOf(changes, time.Now())
		if err != nil {
			return pos, stood, err
		}
		piece, whole := w.tightened(changes[:n])
		changes = changes[n:]
		if stood += n - len(piece); len(piece) == 0 {
			continue
		}
		if !whole {
			if r, _, err = bulkOf(piece, time.Now()); err != nil {
				return pos, stood, err
			}
		}
		if w.table.bulks.has(r.Key) {
			again := w.stricter(piece)
			if stood += len(piece) - len(again); len(again) == 0 {
				continue
			}
			if r, _, err = bulkOf(again, time.Now()); err != nil {
				return pos, stood, err
			}
		}
		if pos, err = w.log.Append(ctx, r); err != nil {
			return pos, stood, fmt.Errorf("record consent changes: %w", err)
		}
	}
	return pos, stood, nil
}

// Settle waits until all that was recorded before the call is folded here, whoever recorded it.
func (w *Writer) Settle(ctx context.Context) error {
	end, err := w.end(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the consent ledger: %w", err)
	}
	return w.follower.WaitApplied(ctx, end)
}

// end is a position behind all that was recorded before the call. A broker that was cut off answers with an end that
// is none, so where there are several, the end is where a heartbeat comes to stand.
func (w *Writer) end(ctx context.Context) (control.Position, error) {
	if w.drops {
		return w.log.Append(ctx, control.Heartbeat())
	}
	return w.log.Head(ctx)
}

// tightened are changes without what takes back a refusal that holds; whole: that is all of them, and they are changes itself.
func (w *Writer) tightened(changes []Change) (left []Change, whole bool) {
	whole = true
	for i := range changes {
		c := changes[i].tightened(w.table.Look(changes[i].Subject))
		if whole && c == changes[i] {
			continue
		}
		if whole {
			left, whole = append(make([]Change, 0, len(changes)), changes[:i]...), false
		}
		if c.Check() == nil { // which it is not where nothing is left
			left = append(left, c)
		}
	}
	if whole {
		return changes, true
	}
	return left, false
}

// tightened is c without what is looser than a choice that holds.
func (c Change) tightened(now Choice) Change {
	if now.Opens == Refused && c.Opens == Granted {
		c.Opens = Unset
	}
	if now.Clicks == Refused && c.Clicks == Granted {
		c.Clicks = Unset
	}
	if now.Format == Plain && c.Format == HTML {
		c.Format = FormatUnset
	}
	if now.Unsubscribed && c.Unsubscribed != nil && !*c.Unsubscribed {
		c.Unsubscribed = nil
	}
	if now.DateOnly && c.Tracking != DateOnly {
		c.Tracking = TrackingUnset
	}
	return c
}

// stricter is what changes, one after the other, refuse that does not hold any more: one change for each person of whom there is
// anything.
func (w *Writer) stricter(changes []Change) (again []Change) {
	last := make(map[uint64]int, len(changes)) // where a person is spoken of last
	after := make(map[uint64]Choice, len(changes))
	for i := range changes {
		c := &changes[i]
		choice, ok := after[c.Subject]
		if !ok {
			choice = w.table.Look(c.Subject)
		}
		after[c.Subject], last[c.Subject] = c.after(choice), i
	}
	for i := range changes {
		c := &changes[i]
		if last[c.Subject] != i {
			continue
		}
		now, then := w.table.Look(c.Subject), after[c.Subject]
		refuse := Change{Subject: c.Subject, Source: c.Source, TextVersion: c.TextVersion, By: c.By}
		if then.Opens == Refused && now.Opens != Refused {
			refuse.Opens = Refused
		}
		if then.Clicks == Refused && now.Clicks != Refused {
			refuse.Clicks = Refused
		}
		if then.Format == Plain && now.Format != Plain {
			refuse.Format = Plain
		}
		if then.Unsubscribed && !now.Unsubscribed {
			refuse.Unsubscribed = new(true)
		}
		if then.DateOnly && !now.DateOnly {
			refuse.Tracking = DateOnly
		}
		if refuse.Check() == nil { // which it is not where it changes nothing
			again = append(again, refuse)
		}
	}
	return again
}
