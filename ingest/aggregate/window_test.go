package aggregate

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

// The window's chains and index against a plain list.
func TestWindowIsAListWithAnIndex(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWindow()
		// Numbers beyond 32 bits, chunks not at their start.
		start := rapid.SampledFrom([]uint64{0, chunkSize - 3, 1<<32 - 5, 1<<40 - chunkSize - 1}).Draw(t, "start")
		w.base, w.next = start, start
		if start&(chunkSize-1) != 0 {
			w.chunks = append(w.chunks, w.chunk())
		}
		var list []event.Event
		people := rapid.Uint64Range(1, 3000).Draw(t, "people")
		seed := rapid.Uint64().Draw(t, "seed")
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			n := rapid.IntRange(1, 300).Draw(t, "n")
			if rapid.IntRange(0, 2).Draw(t, "grow") > 0 {
				for range n {
					seed = seed*6364136223846793005 + 1442695040888963407
					ev := event.Event{Time: int64(len(list)), Subject: (seed >> 33) % people, Campaign: uint32(seed>>62) + 1, Kind: event.Click}
					list = append(list, ev)
					if ev.Subject == 0 {
						w.push(&ev)
					} else {
						w.pushMessage(&ev).waiting = true
					}
				}
			} else {
				for range min(n, w.len()) {
					w.drop()
				}
			}
			if w.next != start+uint64(len(list)) {
				t.Fatalf("next is %d after %d", w.next, len(list))
			}
		}
		rest := list[w.base-start:]
		messages := map[[2]uint64][]int64{}
		for i := range rest {
			if ev := &rest[i]; ev.Subject != 0 {
				k := [2]uint64{uint64(ev.Campaign), ev.Subject}
				messages[k] = append(messages[k], ev.Time)
			}
		}
		if w.used != len(messages) {
			t.Fatalf("%d messages in the index, %d in the window", w.used, len(messages))
		}
		var m message
		for i := range rest {
			ev := &rest[i]
			if got := w.at(w.base + uint64(i)).ev; got != *ev {
				t.Fatalf("entry %d is %+v, not %+v", i, got, *ev)
			}
			if ev.Subject == 0 {
				continue
			}
			const span = 400
			var want []int64
			for _, at := range messages[[2]uint64{uint64(ev.Campaign), ev.Subject}] {
				if d := at - ev.Time; -span < d && d < span {
					want = append(want, at)
				}
			}
			target, all := w.around(w.base+uint64(i), span, false, &m)
			if all[target].Time != ev.Time || len(all) > 2*reach+1 {
				t.Fatalf("entry %d finds itself at %d of %d", i, target, len(all))
			}
			if len(want) > reach { // what is beyond the reach on either side is left out
				continue
			}
			for j := range max(len(want), len(all)) {
				if j >= len(want) || j >= len(all) || want[j] != all[j].Time {
					t.Fatalf("entry %d has neighbours %v, want %v", i, all, want)
				}
			}
		}
		for w.len() > 0 {
			w.drop()
		}
		if w.used != 0 {
			t.Fatalf("%d messages in the index of an empty window", w.used)
		}
		for _, h := range w.homes {
			if h != 0 {
				t.Fatal("the index of an empty window is not empty")
			}
		}
	})
}

func TestNeighboursComeInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	w := newWindow()
	for _, at := range []int64{50, 20, 20, 70, 10, 60} {
		w.pushMessage(&event.Event{Time: at, Subject: 1, Campaign: 1, Link: uint16(w.next + 1), Kind: event.Click}).waiting = true
	}
	var m message
	for n := range w.next {
		target, all := w.around(n, 1000, false, &m)
		if all[target].Link != uint16(n+1) {
			t.Errorf("event %d is not the target of %v", n, all)
		}
		var links []uint16
		for _, s := range all {
			links = append(links, s.Link)
		}
		if want := []uint16{5, 2, 3, 1, 6, 4}; len(links) != 6 || [6]uint16(links) != [6]uint16(want) {
			t.Errorf("around %d: %v, want %v", n, links, want)
		}
	}
}

// A message that is hammered costs a bounded search, and the window does not keep more of it.
func TestWindowGivesMemoryBack(t *testing.T) {
	t.Parallel()
	w := newWindow()
	for i := range 40 * chunkSize {
		w.pushMessage(&event.Event{Subject: uint64(i) + 1, Campaign: 1})
	}
	peak := len(w.homes)
	for w.len() > 0 {
		w.drop()
	}
	if len(w.chunks) > 1 || len(w.spare) > spareChunks || len(w.homes) >= peak/64 {
		t.Errorf("%d chunks, %d spare and %d homes of %d left in an empty window", len(w.chunks), len(w.spare), len(w.homes), peak)
	}
}

// Where classes are given in the order of the entries, the short search finds what the long one does.
func TestShortSearchMissesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWindow()
		const span = 100
		cursor := uint64(0)
		resolve := func() {
			var long, short message
			at, all := w.around(cursor, span, false, &long)
			shortAt, shortAll := w.around(cursor, span, true, &short)
			if at != shortAt || !slices.Equal(all, shortAll) {
				t.Fatalf("entry %d: %v at %d, the long search finds %v at %d", cursor, shortAll, shortAt, all, at)
			}
			e := w.at(cursor)
			e.waiting, e.resolved = false, uint32(w.next)
			cursor++
		}
		now := int64(1000)
		for range rapid.IntRange(1, 100).Draw(t, "events") {
			now += rapid.Int64Range(0, 40).Draw(t, "later")
			ev := event.Event{
				Time:    now - rapid.Int64Range(0, 60).Draw(t, "late"),
				Subject: rapid.Uint64Range(1, 2).Draw(t, "subject"), Campaign: 1, Kind: event.Open,
			}
			for cursor < w.next && w.at(cursor).ev.Time+span <= ev.Time {
				resolve()
			}
			w.pushMessage(&ev).waiting = true
		}
		for cursor < w.next {
			resolve()
		}
	})
}
