package kafka

import (
	"context"
	"testing"

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
		Consent: everybody{}, Fresh: func() bool { return true },
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

// saveCursor writes a cursor file.
func saveCursor(t *testing.T, path string, c *cursor) {
	t.Helper()
	f, err := openCursorFiles(path)
	must(t, err)
	must(t, f.save(c))
}
