package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
)

// scripted is a source that answers what it was told to, and then waits.
type scripted struct {
	opened []uint64
	steps  []scriptedStep
}

type scriptedStep struct {
	b   aggregate.Batch
	err error
}

func (s *scripted) Open(from, _ uint64) (aggregate.Feed, error) {
	s.opened = append(s.opened, from)
	return &scriptedFeed{s, 0}, nil
}

func (*scripted) Trim(uint64) error { return nil }

type scriptedFeed struct {
	s *scripted
	n int
}

func (f *scriptedFeed) Next(ctx context.Context) (aggregate.Batch, error) {
	if f.n == len(f.s.steps) {
		<-ctx.Done()
		return aggregate.Batch{}, ctx.Err()
	}
	f.n++
	return f.s.steps[f.n-1].b, f.s.steps[f.n-1].err
}

func (*scriptedFeed) Close() error { return nil }

func opens(n int) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i] = event.Event{Time: int64(i), Campaign: 1, Kind: event.Open}
	}
	return all
}

// TestRunnerStopsAtABrokenStream: it commits what it has, returns the error, and does not try again.
func TestRunnerStopsAtABrokenStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, broken := storetest.NewMemory(), fmt.Errorf("gone: %w", aggregate.ErrBroken)
		src := &scripted{steps: []scriptedStep{{aggregate.Batch{Edge: 1, Epoch: 1, Events: opens(10)}, nil}, {aggregate.Batch{}, broken}}}
		o := options(newSpool(), store)
		o.Source = src
		r, err := aggregate.NewRunner(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); !errors.Is(err, aggregate.ErrBroken) {
			t.Errorf("%v", err)
		}
		if len(src.opened) != 1 {
			t.Errorf("opened at %v", src.opened)
		}
		expectTotal(t, store, 10)
	})
}

// TestEmptyBatchMovesOn: what a feed passed over is not read again.
func TestEmptyBatchMovesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		o := options(newSpool(), store)
		o.Source = &scripted{steps: []scriptedStep{
			{aggregate.Batch{Edge: 1, Epoch: 1, Offset: 5, Events: opens(10)}, nil}, {aggregate.Batch{Offset: 100}, nil},
		}}
		_, stop := start(t, o)
		time.Sleep(time.Minute)
		if p, err := store.Progress(t.Context(), 0); err != nil || p.Offset != 100 {
			t.Errorf("%+v, %v", p, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		expectTotal(t, store, 10)
	})
}

// endedStore has a partition that ends with its first commit, as one does whose stream is succeeded by another.
type endedStore struct {
	*storetest.Memory
	ended bool
}

var errEnded = fmt.Errorf("ended: %w", aggregate.ErrBroken)

func (s *endedStore) Progress(ctx context.Context, partition uint32) (aggregate.Progress, error) {
	if s.ended {
		return aggregate.Progress{}, errEnded
	}
	return s.Memory.Progress(ctx, partition)
}

func (s *endedStore) Commit(context.Context, *aggregate.Commit) error {
	s.ended = true
	return aggregate.ErrConflict
}

// TestRunnerStopsWhereAPartitionEnded: it asks why its commit failed, does not try again, and says so; nor does another start.
func TestRunnerStopsWhereAPartitionEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &endedStore{Memory: storetest.NewMemory()}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour) // for a runner that does not stop by itself
		defer stop()
		for range 2 {
			o := options(newSpool(), nil)
			o.Source = &scripted{steps: []scriptedStep{{aggregate.Batch{Edge: 1, Epoch: 1, Events: opens(10)}, nil}}}
			o.Store = store
			r, err := aggregate.NewRunner(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Run(ctx); !errors.Is(err, errEnded) {
				t.Errorf("%v", err)
			}
			if _, err := r.Fault(); !errors.Is(err, aggregate.ErrBroken) {
				t.Errorf("fault: %v", err)
			}
		}
	})
}
