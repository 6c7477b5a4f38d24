package aggregate_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
)

// slow needs time for each event of a commit.
type slow struct {
	*storetest.Memory
	mu      sync.Mutex
	each    time.Duration
	sizes   []int // of the commits that were stored
	refused int
}

func (s *slow) Commit(ctx context.Context, c *aggregate.Commit) error {
	n := 0
	for i := range c.Counts {
		n += int(c.Counts[i].N)
	}
	s.mu.Lock()
	each := s.each
	s.mu.Unlock()
	time.Sleep(time.Duration(n) * each)
	err := s.Memory.Commit(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.sizes = append(s.sizes, n)
	} else {
		s.refused++
	}
	return err
}

// did is how many commits were refused, and the sizes of those after the first n that were not.
func (s *slow) did(n int) (refused int, sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused, slices.Clone(s.sizes[n:])
}

// TestRunnerOfASlowStore: where a commit takes longer than what is known of consent holds, the next ones are smaller, until they come through. They grow
// again with a store that does more. It does not matter whether the events wait for the clock or one lets the other go.
func TestRunnerOfASlowStore(t *testing.T) {
	for name, apart := range map[string]time.Duration{"at once": 0, "one after the other": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const events = 20_000
				s, store, l := newSpool(), &slow{Memory: storetest.NewMemory(), each: time.Millisecond}, newLease()
				rnd := rand.New(rand.NewPCG(3, 4))
				burst := func() {
					all, now := make([]event.Event, events), time.Now().Add(-events*apart)
					for i := range all {
						all[i] = event.Event{Time: now.Add(time.Duration(i) * apart).UnixMilli(), Subject: rnd.Uint64(), Campaign: 1, Kind: event.Open}
					}
					s.append(all...)
				}
				o := options(s, store)
				o.FreshUntil = l.until
				r, stop := start(t, o)
				burst()
				time.Sleep(5 * time.Minute)
				expectTotal(t, store, events)
				refused, sizes := store.did(0)
				t.Logf("%d commits, %d refused, %d restarts", len(sizes), refused, r.Stats().Restarts)
				if refused == 0 || refused > 10 {
					t.Errorf("%d commits were late; without any this tests nothing", refused)
				}
				burst()
				time.Sleep(time.Minute)
				expectTotal(t, store, 2*events)
				again, sizes := store.did(0)
				if again > refused+1 {
					t.Errorf("%d commits of the next burst were late: what was found out is forgotten", again-refused)
				}
				store.mu.Lock()
				store.each = 0
				store.mu.Unlock()
				burst()
				time.Sleep(time.Minute)
				expectTotal(t, store, 3*events)
				if _, last := store.did(len(sizes)); slices.Max(last) < events/4 {
					t.Errorf("the last commits hold %v events of %d: they did not grow again", last, events)
				}
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
