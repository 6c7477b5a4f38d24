package aggregate

import (
	"context"
	"errors"

	"mailbeacon/ingest/event"
)

// ErrBroken is what a source's or a feed's error is (errors.Is) when the stream is not the one that the stored
// progress speaks of, or lacks a part that was not read yet. Going on would lose or double events, so a
// Runner stops with it: a person must decide.
var ErrBroken = errors.New("aggregate: the stream is broken")

// Source is one partition of the stream of events.
type Source interface {
	// Open starts reading at a position. What lies before counted (from, or after it) is counted already and
	// of use for the classes of later events alone: a source that has lost of that begins with what it has.
	Open(from, counted uint64) (Feed, error)
	// Trim says that nothing before a position will be read again. It may be called while a feed is
	// open, never concurrently with itself.
	Trim(before uint64) error
}

// Feed reads a partition from one position on. It belongs to one goroutine.
type Feed interface {
	// Next returns the next batch. It blocks until there is one or ctx ends, whose error it then
	// returns. A batch may be without events where it tells of a loss, or that nothing lies before its
	// Offset that is to be counted, and may come together with an error; after an error other than ctx's
	// and ErrBroken the caller may try again. The batch's events are the feed's and valid until the next call.
	Next(ctx context.Context) (Batch, error)
	Close() error
}

// SpoolReader is what a spool's reader does; see ingest/spool.
type SpoolReader interface {
	Next(ctx context.Context, buf []event.Event) (first uint64, n int, skipped uint64, err error)
	Close() error
}

// SpoolSource is the Source of a line on one machine: the edge's own spool is the one partition,
// and a sequence number is a position.
type SpoolSource struct {
	Edge, Epoch uint64
	// Reader opens the spool's reader at a sequence number.
	Reader func(from uint64) (SpoolReader, error)
	// Trimmer is the spool's Trim.
	Trimmer func(before uint64) error
	// Batch is how many events are read at once at most; 4096 if 0.
	Batch int
}

const defaultBatch = 4096

// Open implements Source.
func (s SpoolSource) Open(from, _ uint64) (Feed, error) {
	r, err := s.Reader(from)
	if err != nil {
		return nil, err
	}
	n := s.Batch
	if n <= 0 {
		n = defaultBatch
	}
	return &spoolFeed{s: s, r: r, buf: make([]event.Event, n)}, nil
}

// Trim implements Source.
func (s SpoolSource) Trim(before uint64) error { return s.Trimmer(before) }

type spoolFeed struct {
	s   SpoolSource
	r   SpoolReader
	buf []event.Event
}

func (f *spoolFeed) Next(ctx context.Context) (Batch, error) {
	first, n, skipped, err := f.r.Next(ctx, f.buf)
	return Batch{Edge: f.s.Edge, Epoch: f.s.Epoch, First: first, Offset: first, Events: f.buf[:n], Lost: skipped}, err
}

func (f *spoolFeed) Close() error { return f.r.Close() }
