package kafka

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
)

// TestTrimsAtStart: what was shipped before a restart leaves the spool though nothing else comes.
func TestTrimsAtStart(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/cursor"
	was := cursor{edge: 1, epoch: 1, next: 3*BlockEvents + 5, counts: make([]uint32, 4)}
	saveCursor(t, path, &was)
	divided := cursor{edge: 1, epoch: 1, next: 2 * BlockEvents, counts: make([]uint32, 4)}
	files, err := openCursorFiles(path)
	must(t, err)
	must(t, files.saveDivision(&divided))
	trimmed := make(chan uint64, 1)
	s, err := NewShipper(ShipperOptions{
		Client: &Client{}, Topic: Topic{Name: "events", ID: TopicID{1}, Partitions: 4}, Cursor: path,
		Consent: everybody{}, Campaigns: anyCampaign{}, Fresh: func() bool { return true },
		Spool: Spool{
			Edge: 1, Epoch: 1,
			Reader: func(from uint64) (aggregate.SpoolReader, error) {
				return &endless{next: from, end: from}, nil // it waits
			},
			Bounds: func() (uint64, uint64) { return 7, was.next },
			Trim:   func(before uint64) error { trimmed <- before; return nil },
		},
	})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if got := <-trimmed; got != 3*BlockEvents {
		t.Errorf("trimmed up to %d, want the saved cursor's block, %d", got, 3*BlockEvents)
	}
	stop()
	must(t, <-ended)
	if got := <-trimmed; got != was.next {
		t.Errorf("trimmed up to %d at the stop, want the cursor, %d", got, was.next)
	}
}

// TestRoundEndsWithItsBlock: numbers start anew with a block, so no record has events of two: cut otherwise, what is shipped again would
// have other numbers.
func TestRoundEndsWithItsBlock(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/cursor"
	saveCursor(t, path, &cursor{edge: 1, epoch: 1, next: 2*BlockEvents - 10, counts: []uint32{BlockEvents - 10}})
	var s *Shipper
	var first, count []int
	s, err := NewShipper(ShipperOptions{
		Client: &Client{}, Topic: Topic{Name: "events", ID: TopicID{1}, Partitions: 1}, Cursor: path,
		Consent: everybody{}, Campaigns: anyCampaign{}, Fresh: func() bool { return true }, SaveEvery: time.Hour,
		Spool: Spool{
			Edge: 1, Epoch: 1,
			Reader: func(uint64) (aggregate.SpoolReader, error) { return nil, nil },
			Bounds: func() (uint64, uint64) { return 0, 2*BlockEvents + 1000 },
			Trim:   func(uint64) error { return nil },
		},
		fail: func(string) error {
			first, count = append(first, int(s.lanes[0].first)), append(count, len(s.lanes[0].events))
			return &crashError{"here"}
		},
	})
	must(t, err)
	r := &endless{next: s.cur.next, end: s.cur.next + 1000, made: madeEvents(1000)}
	for range 2 {
		if len(count) > 0 && len(s.pending) == 0 {
			t.Fatalf("one round took all of it, %v events", count)
		}
		var crash *crashError
		if err := s.round(t.Context(), t.Context(), r); !errors.As(err, &crash) {
			t.Fatal(err)
		}
		n := count[len(count)-1]
		s.pending = s.pending[n:] // as if it was acknowledged
		s.moved(n)
	}
	if !slices.Equal(count, []int{10, 990}) || !slices.Equal(first, []int{2*BlockEvents - 10, 2 * BlockEvents}) {
		t.Errorf("rounds of %v events from the numbers %v on", count, first)
	}
}

// saveCursor writes a cursor file.
func saveCursor(t *testing.T, path string, c *cursor) {
	t.Helper()
	f, err := openCursorFiles(path)
	must(t, err)
	must(t, f.save(c))
}
