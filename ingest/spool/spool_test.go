package spool_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
)

func open(t testing.TB, o spool.Options) (*spool.Spool, spool.Recovery) {
	t.Helper()
	s, r, err := spool.Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s, r
}

// numbered is an event that can be told from all others.
func numbered(n uint64) *event.Event {
	return &event.Event{Time: 1_700_000_000_000, Subject: n, Campaign: 7, Kind: event.Open}
}

// readAll reads from a number up to the spool's next one.
func readAll(t testing.TB, s *spool.Spool, from uint64) (events []event.Event, first uint64, skipped uint64) {
	t.Helper()
	r, err := s.Reader(from)
	if err != nil {
		t.Fatalf("Reader(%d): %v", from, err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	next := s.Stats().Next
	buf := make([]event.Event, 100)
	first = from
	for pos := from; pos < next; {
		at, n, skip, err := r.Next(context.Background(), buf)
		if err != nil {
			t.Fatalf("Next at %d: %v", pos, err)
		}
		if at != pos+skip {
			t.Fatalf("Next at %d = %d with %d skipped", pos, at, skip)
		}
		if len(events) == 0 {
			first = at
		}
		skipped += skip
		events = append(events, buf[:n]...)
		pos = at + uint64(n)
	}
	return events, first, skipped
}

func TestAppendReadReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/a/b"
	o := spool.Options{Dir: dir, SegmentBytes: 4 << 10}
	total := 0
	for round := range 3 {
		s, r := open(t, o)
		if int(r.Next) != total || r.Fresh != (round == 0) {
			t.Fatalf("round %d: %+v", round, r)
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 100 {
					if err := s.Append(numbered(uint64(total + g*100 + i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		total += 800
		events, _, skipped := readAll(t, s, 0)
		if len(events) != total || skipped != 0 {
			t.Fatalf("read %d events of %d, %d skipped", len(events), total, skipped)
		}
		seen := map[uint64]bool{}
		for _, e := range events {
			if seen[e.Subject] {
				t.Fatalf("event %d twice", e.Subject)
			}
			seen[e.Subject] = true
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(numbered(1)); !errors.Is(err, spool.ErrClosed) {
			t.Fatalf("Append after Close: %v", err)
		}
	}
}
