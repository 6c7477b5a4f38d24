package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// rivals own the same partition, all of them as they think. Whoever commits, what is counted is
// what the offset says.
func rivals(t *testing.T, f *fixture) {
	const many, each = 6, 30
	var wg sync.WaitGroup
	won := make([]int, many)
	for r := range many {
		wg.Go(func() {
			for i := range each {
				p, err := f.Progress(t.Context(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				if (i+r)%3 == 0 { // slept through a change of owners
					time.Sleep(time.Duration(r) * time.Millisecond / 2)
				}
				switch err := f.commit(t.Context(), 0, p.Offset, uint64(1+(r+i)%4)); {
				case err == nil:
					won[r]++
				case !errors.Is(err, aggregate.ErrConflict):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := 0
	for _, n := range won {
		all += n
	}
	p := f.progress(t, 0)
	if n := f.sum(t, 1); n != p.Offset || all == 0 {
		t.Errorf("%d counted at offset %d, after %d commits", n, p.Offset, all)
	}
}

func readersSeeWholeCommits(t *testing.T, f *fixture) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		for i := range uint64(40) {
			c := &aggregate.Commit{Before: i, After: aggregate.Progress{Offset: i + 1, Context: i}}
			for cell := range uint32(20) {
				c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: 1, Hour: cell, Kind: event.Open}, N: 1})
			}
			if err := f.Commit(t.Context(), c); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				before, err1 := f.Progress(t.Context(), 0)
				n, err2 := sum(t.Context(), f, 1)
				after, err3 := f.Progress(t.Context(), 0)
				if err := errors.Join(err1, err2, err3); err != nil {
					t.Error(err)
					return
				}
				if n%20 != 0 || n < 20*before.Offset || n > 20*after.Offset {
					t.Errorf("%d counted between the offsets %d and %d of 20 each", n, before.Offset, after.Offset)
					return
				}
			}
		})
	}
	wg.Wait()
}

// cancelled calls say nothing about their outcome, and the progress says everything.
func cancelled(t *testing.T, f *fixture) {
	for i := range 40 {
		ctx, stop := context.WithTimeout(t.Context(), time.Duration(i*i)*2*time.Microsecond)
		p := f.progress(t, 0)
		err := f.commit(ctx, 0, p.Offset, 3)
		stop()
		after := f.progress(t, 0)
		if err == nil && after.Offset != p.Offset+3 || after.Offset != p.Offset && after.Offset != p.Offset+3 {
			t.Fatalf("offset %d after a commit of 3 from %d that returned %v", after.Offset, p.Offset, err)
		}
		if n := f.sum(t, 1); n != after.Offset {
			t.Fatalf("%d counted at offset %d", n, after.Offset)
		}
	}
	done, stop := context.WithCancel(t.Context())
	stop()
	if _, err := f.Progress(done, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read in a context that had ended: %v", err)
	}
	p := f.progress(t, 0)
	if err := f.commit(done, 0, p.Offset, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("commit in a context that had ended: %v", err)
	}
	if err := f.commit(t.Context(), 0, p.Offset, 1); err != nil {
		t.Errorf("after a cancelled call: %v", err)
	}
}
func populationsConcurrent(t *testing.T, f *fixture) {
	who := hashes(5, 80)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := f.AddPopulation(t.Context(), []aggregate.Population{{Campaign: 1, Hashes: who[i*10 : i*10+10]}}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := f.commit(t.Context(), uint32(i), 0, 1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if p, err := f.Populations(t.Context(), 1); err != nil || len(p) != 1 || p[0].People != 80 {
		t.Errorf("population %v, %v, want 80", p, err)
	}
	if n := f.sum(t, 1); n != 8 {
		t.Errorf("%d counted, want 8", n)
	}
}
