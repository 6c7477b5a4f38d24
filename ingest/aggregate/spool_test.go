package aggregate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
)

type keys struct{}

func (keys) HashKey(n uint32) ([16]byte, bool) { return [16]byte{byte(n)}, n < 100 }
func (keys) LinkCount(uint32) int              { return 3 }
func (keys) DateOnly(uint32) bool              { return false }

// memorySpool is a spool in memory.
type memorySpool struct {
	mu      sync.Mutex
	events  []event.Event // of sequence number 0 and on
	lost    map[uint64]uint64
	trimmed uint64
	grown   chan struct{}
	fail    func() error // asked before every read
	opened  []uint64
}

func newSpool() *memorySpool {
	return &memorySpool{grown: make(chan struct{}), lost: map[uint64]uint64{}}
}

func (s *memorySpool) append(all ...event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, all...)
	close(s.grown)
	s.grown = make(chan struct{})
}

// damage makes the n events from a number on unreadable.
func (s *memorySpool) damage(from, n uint64) { s.lost[from] = n }

func (s *memorySpool) source() aggregate.SpoolSource {
	return aggregate.SpoolSource{
		Edge: 3, Epoch: 5, Batch: 16,
		Reader: func(from uint64) (aggregate.SpoolReader, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.opened = append(s.opened, from)
			if from < s.trimmed {
				return nil, fmt.Errorf("%d was trimmed, %d is left", from, s.trimmed)
			}
			return &memoryReader{s, from}, nil
		},
		Trimmer: func(before uint64) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.trimmed = max(s.trimmed, before)
			return nil
		},
	}
}

type memoryReader struct {
	s   *memorySpool
	pos uint64
}

func (r *memoryReader) Next(ctx context.Context, buf []event.Event) (uint64, int, uint64, error) {
	for {
		r.s.mu.Lock()
		all, grown, n := r.s.events, r.s.grown, r.s.lost[r.pos]
		var err error
		if r.s.fail != nil {
			err = r.s.fail()
		}
		r.s.mu.Unlock()
		if err != nil {
			return r.pos, 0, 0, err
		}
		if ctx.Err() != nil {
			return r.pos, 0, 0, ctx.Err()
		}
		if n > 0 {
			r.pos += n
			return r.pos, 0, n, nil
		}
		if r.pos < uint64(len(all)) {
			first, rest := r.pos, all[r.pos:]
			for i := range rest {
				if r.s.lost[first+uint64(i)] > 0 {
					rest = rest[:i]
					break
				}
			}
			m := copy(buf, rest)
			r.pos += uint64(m)
			return first, m, 0, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return r.pos, 0, 0, ctx.Err()
		}
	}
}

func (r *memoryReader) Close() error { return nil }

// some makes events around now: opens and clicks of a few people.
func some(rnd *rand.Rand, n int) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i] = event.Event{Time: time.Now().UnixMilli(), Subject: rnd.Uint64N(20), Campaign: 1 + rnd.Uint32N(3), Kind: event.Open}
		if rnd.IntN(3) == 0 {
			all[i].Kind, all[i].Link = event.Click, 1+uint16(rnd.IntN(3))
		}
		if rnd.IntN(8) == 0 {
			all[i].Suppress(event.GPC)
		}
	}
	return all
}

func options(s *memorySpool, store aggregate.Store) aggregate.RunnerOptions {
	return aggregate.RunnerOptions{
		Source: s.source(), Store: store,
		Fold: aggregate.FoldOptions{Consent: consent.NewTable(consent.BasisSubject), Campaigns: keys{}},
	}
}

// start runs a runner until the returned function stops it.
func start(t *testing.T, o aggregate.RunnerOptions) (r *aggregate.Runner, stop func() error) {
	t.Helper()
	r, err := aggregate.NewRunner(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() error { cancel(); return <-done }
}

func total(t *testing.T, store aggregate.Reader) (n uint64) {
	t.Helper()
	for campaign := range uint32(5) {
		all, err := store.Counts(context.WithoutCancel(t.Context()), campaign)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			n += c.N
		}
	}
	return n
}

func expectTotal(t *testing.T, store aggregate.Reader, want int) {
	t.Helper()
	if n := total(t, store); n != uint64(want) {
		t.Errorf("%d events are counted, want %d", n, want)
	}
}
