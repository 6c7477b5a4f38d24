package aggregate

import (
	"maps"
	"testing"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// onlyDates keeps dates of campaign 4 alone.
type onlyDates struct{ campaigns }

func (onlyDates) DateOnly(n uint32) bool { return n == 4 }

// Of a person, or a campaign, that has dates alone no count, no sketch and no hour holds anything, and the day is there:
// whether the edge knew, the fold's door, or only the moment when it leaves the window.
func TestDateOnly(t *testing.T) {
	t.Parallel()
	const day = 86_400_000
	chosen := people{7: event.DateOnly, 9: event.DateOnly}
	f := newFold(t, Progress{}, FoldOptions{Consent: chosen, Campaigns: onlyDates{campaigns(9)}, Window: testWindow})
	at := int64(20*day + 7_200_000)
	known := event.Event{Time: 20 * day, Subject: 7, Campaign: 1, Kind: event.Open, Reason: event.DateOnly}
	refused := known
	refused.Subject = 10
	f.Add(Batch{Edge: 1, Epoch: 1, Events: []event.Event{
		known,
		{Time: at, Subject: 9, Campaign: 1, Kind: event.Click, Link: 1},                           // an edge that was behind
		{Time: at, Subject: 3, Campaign: 4, Kind: event.Open},                                     // of the campaign
		{Time: at, Subject: 0, Campaign: 4, Kind: event.Open},                                     // of nobody
		{Time: at, Subject: 5, Campaign: 1, Kind: event.Open},                                     // decides while it is held
		{Time: at, Subject: 6, Campaign: 4, Kind: event.Click, Link: 1, Signals: event.Automaton}, // a machine
		{Time: at, Subject: 8, Campaign: 1, Kind: event.Open},                                     // counts
		refused, // refuses while it is held
	}}, clock(at))
	chosen[5], chosen[10] = event.DateOnly, event.OptedOut
	l := newLedger()
	l.apply(t, f.Take(clock(at).Add(2*testWindow)))
	got := map[event.Reason]uint64{}
	for cell, n := range l.counts {
		got[cell.Reason] += n
		if cell.Reason == event.DateOnly && (cell.Link != 0 || cell.Client != 0 || cell.Class != 0) {
			t.Errorf("%+v says more than it may", cell)
		}
		if cell.Reason == event.DateOnly && cell.Hour != 20*24 && cell != (Cell{Campaign: 4, Hour: 20*24 + 2, Kind: event.Open, Reason: event.DateOnly}) {
			t.Errorf("%+v tells an hour of somebody", cell)
		}
	}
	if got[event.DateOnly] != 7 || got[event.Counted] != 1 || len(got) != 2 {
		t.Errorf("counts %v", l.counts)
	}
	if people := l.uniques[UniqueKey{Campaign: 1, Kind: event.Open, Class: classify.Human}]; len(people) != 1 || len(l.uniques) != 1 {
		t.Errorf("people %v", l.uniques)
	}
	if want := map[uint64]uint32{7: 20, 9: 20, 3: 20, 5: 20, 8: 20}; !maps.Equal(l.active, want) {
		t.Errorf("days %v, want %v", l.active, want)
	}
}

// halfNamed has everybody counted, and names nobody below 10.
type halfNamed struct{ people }

func (halfNamed) Attributed(_ event.Kind, subject uint64) bool { return subject >= 10 }
func (h halfNamed) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return h.Verdict(k, s), s != 0 && h.Attributed(k, s)
}

// In a campaign of dates who may not be named has no date, and is not held by name for it.
func TestDateOnlyOfWhoMayNotBeNamed(t *testing.T) {
	t.Parallel()
	f := newFold(t, Progress{}, FoldOptions{Consent: halfNamed{people{}}, Campaigns: onlyDates{campaigns(9)}, Window: testWindow})
	const at = 20 * 86_400_000
	f.Add(Batch{Edge: 1, Epoch: 1, Events: []event.Event{
		{Time: at, Subject: 3, Campaign: 4, Kind: event.Open}, {Time: at, Subject: 10, Campaign: 4, Kind: event.Open},
	}}, clock(at))
	if first, second := f.w.at(0).ev, f.w.at(1).ev; first.Subject != 0 || second.Subject != 10 {
		t.Errorf("held %+v and %+v", first, second)
	}
	l := newLedger()
	l.apply(t, f.Take(clock(at).Add(2*testWindow)))
	if !maps.Equal(l.active, map[uint64]uint32{10: 20}) || l.counts[Cell{Campaign: 4, Hour: 480, Kind: event.Open, Reason: event.DateOnly}] != 2 {
		t.Errorf("days %v, counts %v", l.active, l.counts)
	}
}

// What a scanner does sets no date: neither its own events, nor those next to them, by whichever edges they came, and
// whether or not these knew of the choice.
func TestScannersSetNoDate(t *testing.T) {
	t.Parallel()
	const day = 20 * 86_400_000
	open := event.Event{Kind: event.Open}
	click := event.Event{Kind: event.Click, Link: 1}
	hidden := event.Event{Kind: event.Click, Link: 9, Signals: event.HiddenLink}
	probe := event.Event{Kind: event.Probe}
	robot := event.Event{Kind: event.Click, Link: 1, Signals: event.Automaton}
	far := click
	far.Time = testWindow.Milliseconds()
	nextDay := open
	nextDay.Time = 86_400_000
	for _, c := range []struct {
		name   string
		events []event.Event
		want   uint32
	}{
		{"open", []event.Event{open}, 20},
		{"open, click, click", []event.Event{open, click, click}, 20},
		{"burst", []event.Event{open, click, click, click}, 0},
		{"burst, then the person", []event.Event{click, click, click, far}, 20},
		{"burst, then the person the day after", []event.Event{click, click, click, nextDay}, 21},
		{"not close enough for a burst", []event.Event{click, click, far, far}, 20},
		{"HEAD first", []event.Event{probe, open}, 0},
		{"HEAD last", []event.Event{open, click, probe}, 0},
		{"hidden link", []event.Event{click, hidden}, 0},
		{"a robot beside a reader", []event.Event{robot, open}, 20},
		{"a robot", []event.Event{robot}, 0},
		{"two clicks of three are a robot's", []event.Event{robot, click, robot}, 0},
	} {
		for name, mode := range map[string]struct {
			edges   uint64
			subject uint64 // whose event tells the time
			after   bool   // it comes behind
		}{
			"one edge": {1, 100, false}, "two edges": {2, 100, false}, "one edge, time of nobody": {1, 0, false},
			"two edges, time of nobody": {2, 0, false}, "one quiet edge": {1, 0, true}, "two quiet edges": {2, 100, true},
		} {
			edges := mode.edges
			for _, knew := range []bool{false, true} {
				chosen := people{7: event.DateOnly}
				f := newFold(t, Progress{}, FoldOptions{Consent: chosen, Window: testWindow})
				l := newLedger()
				var seq [3]uint64
				offset := uint64(0)
				add := func(edge uint64, ev event.Event) {
					f.Add(Batch{Edge: edge, Epoch: 1, First: seq[edge], Offset: offset, Events: []event.Event{ev}}, clock(ev.Time))
					seq[edge]++
					offset++
				}
				for i, ev := range c.events {
					ev.Time, ev.Subject, ev.Campaign = day+3_600_000+ev.Time, 7, 1
					tell := func(when bool) {
						for e := range edges { // what else an edge sends tells when
							if when {
								add(1+e, event.Event{Time: ev.Time, Subject: mode.subject, Campaign: 2, Kind: event.Open})
							}
						}
					}
					at := ev.Time
					if tell(!mode.after); knew {
						f.rule.Recheck(&ev)
					}
					add(1+uint64(i)%edges, ev)
					ev.Time = at
					tell(mode.after)
				}
				// Twice: what the stream resolved by itself, and what the clock did.
				for range 2 {
					if c := f.Take(clock(day + 2*86_400_000)); c != nil {
						l.apply(t, c)
					}
				}
				if l.active[7] != c.want || f.Held() != 0 {
					t.Errorf("%s, %s, it knew: %v: day %d, want %d; %d are held", c.name, name, knew, l.active[7], c.want, f.Held())
				}
			}
		}
	}
}

// Where nothing tells when a date's event came, it is held by the clock, and no longer than a window.
func TestDatesAloneAreHeldByTheClock(t *testing.T) {
	t.Parallel()
	f := newFold(t, Progress{}, FoldOptions{Consent: people{7: event.DateOnly}, Window: testWindow})
	now := clock(20*86_400_000 + 3_600_000)
	l := newLedger()
	click := event.Event{Time: 20 * 86_400_000, Subject: 7, Campaign: 1, Kind: event.Click, Reason: event.DateOnly}
	for i := range uint64(3) {
		f.Add(Batch{Edge: 1, Epoch: 1, First: i, Offset: i, Events: []event.Event{click}}, now)
		now = now.Add(testWindow / 4)
		if c := f.Take(now); c != nil {
			t.Fatalf("committed after %d: %+v", i, c)
		}
	}
	l.apply(t, f.Take(now.Add(testWindow)))
	if len(l.active) != 0 || f.Held() != 0 {
		t.Errorf("days %v of a burst, %d held", l.active, f.Held())
	}
	f.Add(Batch{Edge: 1, Epoch: 1, First: 3, Offset: 3, Events: []event.Event{click}}, now)
	if l.apply(t, f.Take(now.Add(testWindow))); l.active[7] != 20 {
		t.Errorf("days %v of one click", l.active)
	}
}

// A date's event waits until its edge tells a time, and then as long as any other: by what its edge says, not by the clock.
// However late or early that time is, the day is the event's own.
func TestADateWaitsForATime(t *testing.T) {
	t.Parallel()
	const day, hour = 86_400_000, 3_600_000
	date := event.Event{Time: 20 * day, Subject: 7, Campaign: 1, Kind: event.Click, Reason: event.DateOnly}
	refused := func(at int64) event.Event {
		return event.Event{Time: at, Campaign: 1, Kind: event.Open, Reason: event.OptedOut}
	}
	told := func(at int64) event.Event { return event.Event{Time: at, Campaign: 2, Kind: event.Open} }
	span := testWindow.Milliseconds()
	for _, c := range []struct {
		name    string
		events  []event.Event
		counted uint64 // of the events, when all have come and no time has passed
		day     uint32 // in the end
	}{
		{"nothing is told", []event.Event{date}, 0, 20},
		{"an hour is not enough", []event.Event{date, refused(20*day + hour), date, date}, 0, 0},
		{"a time, and it waits", []event.Event{date, told(20*day + hour), told(20*day + hour + span - 1)}, 0, 20},
		{"a time, and a window", []event.Event{date, told(20*day + hour), told(20*day + hour + span)}, 3, 20},
		{"two times before, a burst behind", []event.Event{told(20*day + hour), date, told(20*day + 2*hour), date, date, told(20*day + 2*hour + 1), told(20*day + 2*hour + 1 + span)}, 7, 0},
		{"apart", []event.Event{date, date, told(20*day + hour), date, date, told(20*day + 2*hour), told(20*day + 2*hour + span)}, 7, 20},
		{"late", []event.Event{told(22 * day), date, told(22*day + 1), told(22*day + 1 + span)}, 4, 20},
		{"early", []event.Event{date, told(19 * day), told(19*day + span)}, 0, 20},
		{"long before what comes next", []event.Event{date, told(25 * day), told(25*day + span)}, 3, 20},
	} {
		f := newFold(t, Progress{}, FoldOptions{Consent: people{7: event.DateOnly}, Window: testWindow})
		now, l := clock(30*day), newLedger()
		f.Add(Batch{Edge: 1, Epoch: 1, Events: c.events}, now)
		counted := uint64(0)
		if got := f.Take(now); got != nil {
			counted = got.After.Offset
			l.apply(t, got)
		}
		if got := f.Take(now.Add(testWindow)); got != nil {
			l.apply(t, got)
		}
		if counted != c.counted || l.active[7] != c.day || f.Held() != 0 {
			t.Errorf("%s: %d counted at first, want %d; day %d, want %d", c.name, counted, c.counted, l.active[7], c.day)
		}
	}
}

// What counts does not have the dates of the same person for neighbours.
func TestDateOnlyIsNoNeighbour(t *testing.T) {
	t.Parallel()
	most, dates := 0, 0
	f := newFold(t, Progress{}, FoldOptions{Window: testWindow, Judge: func(_ int, all []classify.Sighting, _ int) classify.Class {
		most = max(most, len(all))
		return classify.Human
	}, JudgeDate: func(int, []classify.Sighting, int) classify.Class {
		dates++
		return classify.Human
	}})
	date := event.Event{Time: 0, Subject: 7, Campaign: 1, Kind: event.Open, Reason: event.DateOnly}
	seq := uint64(0)
	for i := range int64(2000) {
		events := []event.Event{date, {Time: 10 * i, Subject: 7, Campaign: 1, Kind: event.Open}, date}
		f.Add(Batch{Edge: 1, Epoch: 1, First: seq, Offset: seq, Events: events}, clock(10*i))
		seq += uint64(len(events))
		if i%5 == 0 {
			f.Take(clock(10 * i))
		}
	}
	want := 2*int(testWindow.Milliseconds()/10) - 1 // those less than a window off, on both sides
	if f.Take(clock(1 << 30)); most < want-1 || most > want+1 || dates != 4000 || f.Held() != 0 {
		t.Errorf("%d neighbours at most, want %d; %d dates, %d held", most, want, dates, f.Held())
	}
}
