package kafka

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

// TestNumbersFollowTheRule: the number of an event is what FORMAT.md says, wherever the shipper started, however
// its rounds were cut, and whatever became unreadable in between without being shipped before.
func TestNumbersFollowTheRule(t *testing.T) {
	t.Parallel()
	const total = 2*BlockEvents + 5000
	events := make([]event.Event, total)
	for i := range events {
		events[i].Subject = (uint64(i) + 1) * 0x9e3779b97f4a7c15
		if i%5 == 0 {
			events[i].Subject = 0
		}
		events[i].Campaign = uint32(i) // to know it by
	}
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 9).Draw(t, "partitions")
		lostFrom := rapid.IntRange(0, total).Draw(t, "lost from")
		lostTo := min(total, lostFrom+rapid.SampledFrom([]int{0, 1, 100, BlockEvents, BlockEvents + 100}).Draw(t, "lost"))
		gone := func(i int) bool { return i >= lostFrom && i < lostTo }

		want, count := make([]uint64, total), make([]uint64, partitions)
		for i := range events {
			if i%BlockEvents == 0 {
				clear(count)
			}
			if gone(i) {
				continue
			}
			p := partitionOf(&events[i], uint64(i), partitions)
			want[i] = uint64(i-i%BlockEvents) + count[p]
			count[p]++
		}

		s := &Shipper{cur: cursor{counts: make([]uint32, partitions)}}
		s.setLanes(partitions)
		for at := 0; at < total; {
			if gone(at) {
				at = lostTo
				s.pass(uint64(at))
				continue
			}
			n := min(rapid.IntRange(1, MaxFrameEvents).Draw(t, "round"), total-at, BlockEvents-at%BlockEvents)
			if at < lostFrom {
				n = min(n, lostFrom-at)
			}
			s.divide(events[at : at+n])
			for p := range s.lanes {
				for i := range s.lanes[p].events {
					ev := s.lanes[p].events[i]
					if got := s.lanes[p].first + uint64(i); got != want[ev.Campaign] {
						t.Fatalf("event %d has number %d in partition %d, want %d", ev.Campaign, got, p, want[ev.Campaign])
					}
				}
			}
			if rapid.Bool().Draw(t, "again") { // not acknowledged: another round begins at the same place
				continue
			}
			s.moved(n)
			at += n
			if rapid.Bool().Draw(t, "restart") {
				c, err := parseCursor(s.cur.encode())
				if err != nil {
					t.Fatal(err)
				}
				s = &Shipper{cur: c}
				s.setLanes(len(c.counts))
			}
		}
	})
}

func TestPosition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, math.MaxInt64>>positionBits).Draw(t, "offset")
		count := rapid.IntRange(1, event.MaxFrameCount).Draw(t, "count")
		first, end := Position(offset, 0, count), Position(offset, count, count)
		if first>>positionBits != uint64(offset) || end != uint64(offset+1)<<positionBits || end-first != uint64(count) {
			t.Fatalf("%d events of record %d have the positions %d to %d", count, offset, first, end)
		}
	})
}
