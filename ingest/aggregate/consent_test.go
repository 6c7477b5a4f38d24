package aggregate

import (
	"crypto/aes"
	"encoding/binary"
	"maps"
	"testing"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

// An event that is held is counted by what its person has chosen when it leaves, not when it came.
func TestRefusalOfWhatIsHeld(t *testing.T) {
	t.Parallel()
	chosen := people{}
	f := newFold(t, Progress{}, FoldOptions{Consent: chosen, Window: testWindow})
	f.Add(Batch{Edge: 1, Epoch: 1, Events: []event.Event{
		{Time: 1000, Subject: 7, Campaign: 1, Kind: event.Open}, {Time: 1000, Subject: 8, Campaign: 1, Kind: event.Open},
	}}, clock(1000))
	chosen[7] = event.OptedOut
	l := newLedger()
	l.apply(t, f.Take(clock(1000).Add(testWindow)))
	open := Cell{Campaign: 1, Kind: event.Open}
	for reason, want := range map[event.Reason]uint64{event.Counted: 1, event.OptedOut: 1} {
		cell := open
		if cell.Reason = reason; reason == event.Counted {
			cell.Class = classify.Human
		}
		if l.counts[cell] != want {
			t.Errorf("%v: %d of %v, want %d", reason, l.counts[cell], l.counts, want)
		}
	}
	if people := l.uniques[UniqueKey{Campaign: 1, Kind: event.Open, Class: classify.Human}]; len(people) != 1 || len(l.active) != 1 || l.active[7] != 0 {
		t.Errorf("people %v, dates %v", people, l.active)
	}
}

// An event that came while its person refused stays refused, though the person agrees before it would have left, and nothing of
// the person is held meanwhile.
func TestRefusalOutlastsAnAgreement(t *testing.T) {
	t.Parallel()
	chosen := people{7: event.OptedOut}
	f := newFold(t, Progress{}, FoldOptions{Consent: chosen, Window: testWindow})
	f.Add(Batch{Edge: 1, Epoch: 1, Events: []event.Event{
		{Time: 1000, Subject: 8, Campaign: 1, Kind: event.Open}, {Time: 1000, Subject: 7, Campaign: 1, Kind: event.Open},
	}}, clock(1000))
	if n := f.Held(); n != 2 { // the second one behind the first
		t.Errorf("%d are held", n)
	}
	for i := range f.w.len() {
		if ev := f.w.at(f.w.base + uint64(i)).ev; ev.Subject == 7 {
			t.Error("a person who refused is held")
		}
	}
	delete(chosen, 7)
	l := newLedger()
	l.apply(t, f.Take(clock(1000).Add(testWindow)))
	if n := l.counts[Cell{Campaign: 1, Kind: event.Open, Reason: event.OptedOut}]; n != 1 || l.total() != 2 || len(l.active) != 1 {
		t.Errorf("counts %v, dates %v", l.counts, l.active)
	}
}

// aggregateOnly counts everybody and knows nobody.
type aggregateOnly struct{}

func (aggregateOnly) Verdict(event.Kind, uint64) event.Reason { return event.Counted }
func (aggregateOnly) Attributed(event.Kind, uint64) bool      { return false }
func (a aggregateOnly) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return a.Verdict(k, s), s != 0 && a.Attributed(k, s)
}

func TestWhatIsNotAttributedIsCountedAlone(t *testing.T) {
	t.Parallel()
	f := newFold(t, Progress{}, FoldOptions{Consent: aggregateOnly{}, Window: testWindow})
	f.Add(Batch{Edge: 1, Epoch: 1, Events: []event.Event{{Time: 1000, Subject: 7, Campaign: 1, Kind: event.Open}}}, clock(1000))
	l := newLedger()
	l.apply(t, f.Take(clock(1000).Add(testWindow)))
	if l.total() != 1 || len(l.uniques) != 0 || len(l.active) != 0 {
		t.Errorf("counts %v, people %v, dates %v", l.counts, l.uniques, l.active)
	}
}

// On each basis, what is made of mail that names its person (as it is made on basis subject, or for who granted), and
// of mail that does not (basis aggregate), whichever basis held when it was made.
func TestBasisInTheFold(t *testing.T) {
	t.Parallel()
	const unsaid, granted = 7, 8
	for basis, want := range map[consent.Basis]struct {
		counted, noBasis uint64 // opens
		people           int
		days             map[uint64]uint32
	}{
		consent.BasisSubject:   {3, 0, 2, map[uint64]uint32{unsaid: 20, granted: 20}},
		consent.BasisAggregate: {3, 0, 1, map[uint64]uint32{granted: 20}},
		consent.BasisNone:      {1, 2, 1, map[uint64]uint32{granted: 20}},
	} {
		table := consent.NewTable(basis)
		if err := table.Apply(control.Entry{Position: 1, Record: control.Record{
			Kind: control.KindConsent, Key: "0000000000000008/opens", Body: []byte(`{"value":"granted"}`),
		}}); err != nil {
			t.Fatal(err)
		}
		f := newFold(t, Progress{}, FoldOptions{Consent: table, Window: testWindow})
		const at = 20 * dayMillis
		f.Add(Batch{Edge: 1, Epoch: 1, Events: []event.Event{
			{Time: at, Subject: unsaid, Campaign: 1, Kind: event.Open}, {Time: at, Campaign: 1, Kind: event.Open},
			{Time: at, Subject: granted, Campaign: 1, Kind: event.Open},
		}}, clock(at))
		l := newLedger()
		l.apply(t, f.Take(clock(at).Add(testWindow)))
		got := map[event.Reason]uint64{}
		for cell, n := range l.counts {
			got[cell.Reason] += n
		}
		people := l.uniques[UniqueKey{Campaign: 1, Kind: event.Open, Class: classify.Human}]
		if got[event.Counted] != want.counted || got[event.NoBasis] != want.noBasis || len(people) != want.people || !maps.Equal(l.active, want.days) {
			t.Errorf("basis %v: counts %v, %d people, dates %v; want %+v", basis, got, len(people), l.active, want)
		}
	}
}

// A hash is half a block of AES under the campaign's key, so that it means nothing in another one.
func TestHashesAreTheCampaigns(t *testing.T) {
	t.Parallel()
	h := NewHasher(campaigns(9).HashKey, 0)
	seen := map[uint64]uint32{}
	for campaign := uint32(1); campaign <= 9; campaign++ {
		key, _ := campaigns(9).HashKey(campaign)
		cipher, err := aes.NewCipher(key[:])
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, aes.BlockSize)
		binary.BigEndian.PutUint64(block, 7)
		cipher.Encrypt(block, block)
		got, known := h.Hash(campaign, 7)
		if want := binary.BigEndian.Uint64(block); !known || got != want {
			t.Errorf("campaign %d: %x, want %x", campaign, got, want)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("campaigns %d and %d share a hash", campaign, other)
		}
		seen[got] = campaign
	}
}

// Where two edges send, one may hold a neighbour back that lies before one that the other is done
// with: the search goes on behind what has its class.
func TestNeighbourOfASlowEdge(t *testing.T) {
	t.Parallel()
	around := map[uint16]int{}
	f := newFold(t, Progress{}, FoldOptions{Window: testWindow, Judge: func(target int, events []classify.Sighting, _ int) classify.Class {
		around[events[target].Link] = len(events)
		return classify.Human
	}})
	next := map[uint64]uint64{}
	offset := uint64(0)
	add := func(edge uint64, at int64, subject uint64, link uint16) {
		f.Add(Batch{Edge: edge, Epoch: 1, First: next[edge], Offset: offset,
			Events: []event.Event{{Time: at, Subject: subject, Campaign: 1, Link: link, Kind: event.Click}}}, clock(at))
		next[edge]++
		offset++
	}
	add(2, 1010, 7, 1) // of a slow edge, which sends nothing more
	add(1, 1020, 7, 2)
	add(1, 1125, 8, 9) // resolves link 2
	add(1, 1105, 7, 3) // 95 ms from link 1, 85 from link 2
	f.Take(clock(9000))
	if around[3] != 2 {
		t.Errorf("link 3 was judged among %d events, want 2: itself and link 1", around[3])
	}
}
