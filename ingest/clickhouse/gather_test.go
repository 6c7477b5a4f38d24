package clickhouse

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// What comes while an insert is under way, or too soon after one, shares the next.
func TestCallsShareAnInsert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var inserts [][]uint32
		var when []time.Duration
		start := time.Now()
		g := newGatherer(func(_ context.Context, rows *populationRows) error {
			inserts, when = append(inserts, slices.Clone(rows.campaign)), append(when, time.Since(start))
			time.Sleep(30 * time.Millisecond)
			if slices.Contains(rows.campaign, 13) {
				return errors.New("thirteen")
			}
			return nil
		})
		errs := map[uint32]error{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		add := func(after time.Duration, campaign uint32) {
			wg.Go(func() {
				time.Sleep(after)
				err := g.add(t.Context(), &populationRows{campaign: []uint32{campaign}, opens: []uint8{0}, clicks: []uint8{0}, hashes: [][]uint64{{1}}})
				mu.Lock()
				defer mu.Unlock()
				errs[campaign] = err
			})
		}
		add(0, 1)
		add(time.Millisecond, 2) // the first is under way
		add(50*time.Millisecond, 13)
		add(time.Second, 4)
		gone, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		wg.Go(func() {
			time.Sleep(5 * time.Millisecond)
			if err := g.add(gone, &populationRows{campaign: []uint32{5}}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a caller that did not wait: %v", err)
			}
		})
		wg.Wait()
		g.close()
		for i := range inserts {
			slices.Sort(inserts[i])
		}
		want := [][]uint32{{1}, {2, 5, 13}, {4}}
		if !slices.EqualFunc(inserts, want, slices.Equal) || !slices.Equal(when, []time.Duration{0, pause, time.Second}) {
			t.Errorf("inserts %v at %v, want %v", inserts, when, want)
		}
		for campaign, err := range errs {
			if shared := campaign == 2 || campaign == 13; (err != nil) != shared {
				t.Errorf("campaign %d: %v", campaign, err)
			}
		}
	})
}

// A closed store leaves nothing running.
func TestCloseEndsEverything(t *testing.T) { // not parallel: it looks at all goroutines
	o := database(t, clickhousetest.Start(t))
	before := goleak.IgnoreCurrent() // the server's process is among them
	s, err := Open(t.Context(), o)
	must(t, err)
	must(t, s.Commit(t.Context(), step(0, 1, 1)))
	must(t, s.insertPopulations(t.Context(), &populationRows{campaign: []uint32{1}, opens: []uint8{0}, clicks: []uint8{0}, hashes: [][]uint64{{1}}}))
	must(t, s.Close())
	goleak.VerifyNone(t, before)
}
