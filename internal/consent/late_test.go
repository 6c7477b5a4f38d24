package consent

import (
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/control"
)

// lateRig is Late with a spool that is two numbers, and whether there is leave.
type lateRig struct {
	*Late
	t             *testing.T
	shipped, next uint64
	open          bool
	at            control.Position
	between       func() // the look at leave and the fold
}

func newLateRig(t *testing.T) *lateRig {
	r := &lateRig{t: t}
	r.Late = NewLate(func() bool { return r.open }, func() (uint64, uint64) { return r.shipped, r.next })
	return r
}

// fold tells of a change, as the follower does.
func (r *lateRig) fold(c Change) {
	r.t.Helper()
	rec := Recorded{Change: c}
	records, err := rec.records(time.Now())
	must(r.t, err)
	for _, record := range records {
		r.at++
		e := &control.Entry{Position: r.at, Record: record}
		r.Note(e)
		if r.between != nil {
			r.between()
		}
		r.Folded(e)
	}
}

func (r *lateRig) expect(kind event.Kind, subject, number uint64, want event.Reason) {
	r.t.Helper()
	if got := r.Reason(kind, subject, number); got != want {
		r.t.Errorf("%v of %d with number %d: %v, want %v", kind, subject, number, got, want)
	}
}

func TestLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newLateRig(t)
		r.shipped, r.next = 10, 20
		r.open = true
		r.fold(Change{Subject: 7, Opens: Refused})
		if r.Holding() {
			t.Error("a refusal that came in time is held")
		}
		r.open = false
		r.fold(Change{Subject: 7, Opens: Refused})
		r.fold(Change{Subject: 7, Opens: Granted})
		r.fold(Change{Subject: 8, Format: Plain})
		r.fold(Change{Subject: 9, Unsubscribed: new(true)})
		r.fold(Change{Subject: 9, Unsubscribed: new(false)})
		r.fold(Change{Subject: 10, Clicks: Granted, Format: HTML})
		r.fold(Change{Subject: 11, Tracking: DateOnly})
		r.fold(Change{Subject: 11, Tracking: Full})
		// A request under way may still get a number.
		r.next = 25
		r.expect(event.Open, 7, 24, event.OptedOut)
		time.Sleep(recordTime)
		r.next = 30
		r.expect(event.Open, 7, 24, event.OptedOut)
		r.expect(event.Open, 7, 25, event.Counted)
		r.expect(event.Click, 7, 24, event.Counted)
		r.expect(event.Probe, 7, 24, event.OptedOut)
		r.expect(event.Click, 8, 10, event.PlainText)
		r.expect(event.Click, 9, 10, event.OptedOut)
		r.expect(event.Open, 10, 10, event.Counted)
		r.expect(event.Open, 0, 10, event.Counted)
		r.expect(event.Open, 11, 24, event.DateOnly)
		r.expect(event.Click, 11, 25, event.Counted)
		r.shipped = 24
		if !r.Holding() {
			t.Error("forgotten while the last event waits")
		}
		if r.shipped = 25; r.Holding() {
			t.Error("held for nothing")
		}
		r.expect(event.Open, 7, 24, event.Counted)
	})
}

// Leave that ends between the look at it and the fold was no leave; and what is recorded by the older state until the fold is
// late, however long that takes.
func TestLateWhileFolding(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		begin, end   bool // leave
		stall        time.Duration
		shipped      uint64
		last, beyond event.Reason // of the last event before the fold, and of the next one
	}{
		{"leave all along", true, true, 0, 10, event.Counted, event.Counted},
		{"leave ends", true, false, 0, 10, event.OptedOut, event.Counted},
		{"leave ends while it is held up for long", true, false, time.Hour, 10, event.OptedOut, event.Counted},
		{"no leave", false, false, 0, 10, event.OptedOut, event.Counted},
		{"no leave, held up for long", false, false, time.Hour, 10, event.OptedOut, event.Counted},
		{"no leave, held up for long, nothing waited before", false, false, time.Hour, 20, event.OptedOut, event.Counted},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newLateRig(t)
			r.shipped, r.next, r.open = c.shipped, 20, c.begin
			r.between = func() {
				time.Sleep(c.stall)
				if c.stall > 0 {
					r.Holding() // somebody looks meanwhile
				}
				r.next, r.open = r.next+5, c.end
			}
			r.fold(Change{Subject: 7, Opens: Refused})
			r.between = nil
			r.open = c.begin
			time.Sleep(recordTime)
			last, beyond := r.Reason(event.Open, 7, 24), r.Reason(event.Open, 7, 25)
			if last != c.last || beyond != c.beyond {
				t.Errorf("%s: %v and then %v, want %v and %v", c.name, last, beyond, c.last, c.beyond)
			}
			if r.Holding() != (c.last != event.Counted) {
				t.Errorf("%s: held on to: %v", c.name, r.Holding())
			}
		})
	}
}

func TestLateOfAnImport(t *testing.T) {
	t.Parallel()
	r := newLateRig(t)
	r.next = 5
	record, n, err := bulkOf([]Change{{Subject: 7, Clicks: Refused, Source: "x"}, {Subject: 8, Opens: Granted, Source: "x"}}, time.Now())
	if must(t, err); n != 2 {
		t.Fatal(n)
	}
	r.Note(&control.Entry{Position: 1, Record: record})
	r.expect(event.Click, 7, 4, event.OptedOut)
	r.expect(event.Open, 8, 4, event.Counted)
}
