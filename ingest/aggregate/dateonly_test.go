package aggregate

import (
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
		refused, // since it came
	}[:7]}, clock(at))
	chosen[5], chosen[10] = event.DateOnly, event.OptedOut
	f.Add(Batch{Edge: 1, Epoch: 1, First: 7, Offset: 7, Events: []event.Event{refused}}, clock(at))
	l := newLedger()
	l.apply(t, f.Take(clock(at).Add(2*testWindow)))
	got := map[event.Reason]uint64{}
	for cell, n := range l.counts {
		got[cell.Reason] += n
		if cell.Reason == event.DateOnly && (cell.Link != 0 || cell.Client != 0) {
			t.Errorf("%+v says more than it may", cell)
		}
	}
	if got[event.DateOnly] != 7 || got[event.Counted] != 1 || len(got) != 2 {
		t.Errorf("counts %v", l.counts)
	}
	if people := l.uniques[UniqueKey{Campaign: 1, Kind: event.Open, Class: classify.Human}]; len(people) != 1 || len(l.uniques) != 1 {
		t.Errorf("people %v", l.uniques)
	}
	for subject, want := range map[uint64]uint32{7: 20, 9: 20, 3: 20, 5: 20, 8: 20, 6: 0, 10: 0, 0: 0} {
		if l.active[subject] != want {
			t.Errorf("day %d of %d, want %d", l.active[subject], subject, want)
		}
	}
}

// A date's event stands between two of a message without being a part of it: what follows finds its neighbours, also
// when the entries before have gone.
func TestDateOnlyIsNoNeighbour(t *testing.T) {
	t.Parallel()
	most := 0
	f := newFold(t, Progress{}, FoldOptions{Window: testWindow, Judge: func(_ int, all []classify.Sighting, _ int) classify.Class {
		most = max(most, len(all))
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
	if f.Take(clock(1 << 30)); most < want-1 || most > want+1 || f.Held() != 0 {
		t.Errorf("%d neighbours at most, want %d; %d held", most, want, f.Held())
	}
}
