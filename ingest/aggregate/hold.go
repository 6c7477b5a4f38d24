package aggregate

import (
	"math"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// What is held, for how long, and the class that it gets in the end.

// put resolves what the event's time resolves, and puts the event itself into the window.
func (f *Fold) put(r *run, ev event.Event) {
	timed := f.admit(r.edge, &ev)
	if timed {
		f.settle(r.edge, ev.Time)
	}
	for r.edge.due <= ev.Time {
		f.resolveFirst(r.edge)
	}
	r.end++
	if !isMessage(&ev) { // nothing to wait for
		e := f.w.push(&ev)
		e.timed, e.resolved = timed, uint32(f.w.next)
		if ev.Reason == event.Counted {
			e.class = f.judge(f.w.next - 1)
		}
		f.release()
		return
	}
	e := f.w.pushMessage(&ev)
	e.timed, e.waiting = timed, true
	if r.edge.due == math.MaxInt64 {
		f.findWaiting(r.edge)
	}
}

// admit leaves of an event what may be held. One of which only the day may be told stands in the window, and nowhere
// else, with the time at which it came, as far as that is known: its own, or the latest that its edge told before until
// it tells the next. timed says that the event told its time.
func (f *Fold) admit(e *edge, ev *event.Event) (timed bool) {
	at := ev.Time
	switch timed = ev.Reason == event.Counted; {
	case timed:
		e.clock = max(e.clock, at)
	case ev.Dated():
		at = max(at, min(e.clock, at+dayMillis-1))
	}
	f.rule.Recheck(ev)
	if ev.Dated() {
		ev.Time = at
	}
	return timed
}

// settle says of the edge's events whose time is not known that they came no later than the one that follows them, which
// came at the time given: so long others of their messages are waited for.
func (f *Fold) settle(e *edge, at int64) {
	for i := e.waiting.len() - 1; i >= 0; i-- {
		r := *e.waiting.at(i)
		for n := r.end; n > max(r.first, f.w.base); n-- {
			entry := f.w.at(n - 1)
			if entry.timed {
				return
			}
			if entry.waiting {
				entry.timed = true
				entry.ev.Time = max(entry.ev.Time, min(at, entry.ev.Time-entry.ev.Time%dayMillis+dayMillis-1))
				if n-1 == e.cursor {
					e.due = entry.ev.Time + f.span
				}
			}
		}
	}
}

// resolveFirst gives the edge's first waiting entry its class.
func (f *Fold) resolveFirst(e *edge) {
	entry := f.w.at(e.cursor)
	entry.class = f.judge(e.cursor)
	entry.waiting, entry.resolved = false, uint32(f.w.next)
	f.findWaiting(e)
	f.release()
}

// findWaiting moves the edge's cursor to its first waiting entry.
func (f *Fold) findWaiting(e *edge) {
	for e.waiting.len() > 0 {
		r := *e.waiting.at(0)
		for e.cursor = max(e.cursor, r.first, f.w.base); e.cursor < r.end; e.cursor++ {
			if entry := f.w.at(e.cursor); entry.waiting {
				if e.due = entry.ev.Time + f.span; !entry.timed {
					e.due = unsettled
				}
				return
			}
		}
		if r.end == f.w.next { // the newest run, which may still grow
			break
		}
		e.waiting.drop()
	}
	e.due = math.MaxInt64
}

func (f *Fold) judge(n uint64) classify.Class {
	ev := &f.w.at(n).ev
	if ev.Kind == event.Probe {
		return classify.Unknown
	}
	if f.o.alone {
		if class := classify.ClassOf(ev.Kind, ev.Signals); class != classify.Human {
			return class
		}
	}
	links := f.o.Campaigns.LinkCount(ev.Campaign)
	if ev.Subject == 0 {
		f.m.at[0] = sighting(ev)
		return f.o.Judge(0, f.m.at[:1], links)
	}
	target, all := f.w.around(n, f.span, f.live == 1, &f.m)
	if ev.Dated() {
		return f.o.JudgeDate(target, all, links)
	}
	return f.o.Judge(target, all, links)
}
