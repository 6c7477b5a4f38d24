package consent

import (
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/control"
)

// Late is who refused, as an edge learned when it may have been too late: in entries that it folded while it had no
// leave to ship. The refusal may have been effective by then, and the edge went on recording by the older state.
// What it recorded before must not count, whatever the person says next. All methods may be called concurrently.
//
// It keeps a byte and a number for each such person, and one bound on the numbers of events for all of them,
// until all below that bound is shipped.
type Late struct {
	open   func() bool
	bounds func() (shipped, next uint64)
	some   atomic.Bool // somebody is in who

	mu    sync.Mutex
	who   *slots
	below uint64    // events with lower numbers may have been recorded before
	at    time.Time // when the last of them was noted, or folded

	entry   control.Position // the one that was noted last
	refuses bool             // it refuses something
}

// What a person of Late refused.
const (
	lateOpens = 1 << iota
	lateClicks
	latePlain
	lateDates // wants no more than dates to be kept
)

// recordTime is how long a request may take from its look at a person's choice to its event's number.
const recordTime = control.Lease

// NewLate makes it for an edge whose leave to ship is open, and whose events are shipped up to a number and
// recorded up to another.
func NewLate(open func() bool, bounds func() (shipped, next uint64)) *Late {
	return &Late{open: open, bounds: bounds}
}

// Note is told of each entry of the control log before it is folded, so that no shipper sees what a later entry grants
// without what this one refused.
func (l *Late) Note(e *control.Entry) {
	// With leave, nobody was told that the entry holds everywhere: what was recorded before, may count.
	if e.Kind != control.KindConsent || l.open() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(e)
}

// Folded is told of each entry once it is folded. Leave may have ended between Note and that, if whatever folds was
// held up, and the edge recorded by the older state all the while. Leave can't have come back meanwhile: that takes a read of
// the log, which comes after this entry (control.FollowerOptions). So who has it now had it all along.
func (l *Late) Folded(e *control.Entry) {
	if e.Kind != control.KindConsent || l.open() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.entry != e.Position, l.refuses && l.who == nil: // it is not noted, or is forgotten already
		l.note(e)
	case l.refuses:
		l.extend()
	}
}

// note notes whom an entry has refuse.
func (l *Late) note(e *control.Entry) {
	l.entry, l.refuses = e.Position, false
	if isBulk(e.Key) {
		_ = parseBulk(e, l.refused) // what can't be read is reported by the fold
	} else if c, _ := parse(e); c.Subject != 0 { // as above
		l.refused(&c)
	}
	if l.refuses {
		l.extend()
		l.some.Store(true)
	}
}

// extend moves the bound up to what is recorded by now.
func (l *Late) extend() {
	l.at = time.Now()
	_, l.below = l.bounds()
}

// refused notes what a change refuses.
func (l *Late) refused(c *Change) {
	var what byte
	if c.Opens == Refused {
		what |= lateOpens
	}
	if c.Clicks == Refused {
		what |= lateClicks
	}
	if c.Format == Plain {
		what |= latePlain
	}
	if c.Unsubscribed != nil && *c.Unsubscribed {
		what |= lateOpens | lateClicks
	}
	if c.Tracking == DateOnly {
		what |= lateDates
	}
	if what == 0 {
		return
	}
	if l.who == nil {
		l.who = newSlots(0)
	}
	v := mix(c.Subject)
	l.who.put(v, l.who.get(v)&^present|what)
	l.refuses = true
}

// Holding says whether there is anybody who is remembered here alone.
func (l *Late) Holding() bool {
	if !l.some.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look()
	return l.who != nil
}

// Reason is why an event with a number may not count for what its person refused after it; event.Counted if
// it may.
func (l *Late) Reason(kind event.Kind, subject, number uint64) event.Reason {
	if subject == 0 || !l.some.Load() {
		return event.Counted
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look()
	if l.who == nil || number >= l.below {
		return event.Counted
	}
	what, bits := l.who.get(mix(subject)), byte(lateOpens|lateClicks)
	switch kind {
	case event.Open:
		bits = lateOpens
	case event.Click:
		bits = lateClicks
	}
	switch {
	case what&latePlain != 0:
		return event.PlainText
	case what&bits != 0:
		return event.OptedOut
	case what&lateDates != 0:
		return event.DateOnly
	}
	return event.Counted
}

// look moves the bound while requests may be under way, and forgets everybody once all below it is shipped.
func (l *Late) look() {
	shipped, next := l.bounds()
	switch {
	case l.who == nil:
	case time.Since(l.at) < recordTime:
		l.below = next
	case shipped >= l.below:
		l.who = nil
		l.some.Store(false)
	}
}
