package proctest

import (
	"math"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
)

// startBound is how long a start may take with startEvents waiting to be counted.
const (
	startBound  = 300 * time.Millisecond
	startEvents = 1_000_000
)

// TestStart measures from exec to the first answer, with a million events in the spool. It takes the
// best of three starts, or of ten where none was quick: what else the machine does is not the server's.
func TestStart(t *testing.T) {
	ctx, data, path := t.Context(), t.TempDir(), built(t, plainBinary)
	s := launch(t, path, data)
	s.ready()
	lanes := newLanes(ctx, t, s.client(), "start", 1)
	made, err := s.client().Campaign(ctx, lanes[0].campaign)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	// Held by its window, nothing is counted before the last start: each start finds them all.
	fill(t, filepath.Join(data, "spool"), startEvents, made.Number)

	best := time.Duration(math.MaxInt64)
	for try := 0; try < 3 || best > startBound && try < 10; try++ {
		began := time.Now()
		s := launch(t, path, data, "--classify-window=10m")
		s.ready()
		best = min(best, time.Since(began))
		if left := s.metric("mailbeacon_spool_next") - s.metric("mailbeacon_fold_offset"); left < startEvents {
			t.Fatalf("only %v events wait", left)
		}
		s.kill()
	}
	t.Logf("start to ready with %d events waiting: %v", startEvents, best.Round(time.Millisecond))
	if best > startBound {
		t.Errorf("start to ready took %v, want at most %v", best, startBound)
	}

	s = launch(t, path, data, quick...)
	s.ready()
	began := time.Now()
	s.drain()
	t.Logf("and they are counted %v later", time.Since(began).Round(time.Millisecond))
	r, err := s.client().Report(ctx, lanes[0].campaign)
	if err != nil {
		t.Fatal(err)
	}
	if r.Opens.Total != startEvents {
		t.Errorf("%d opens counted, want %d", r.Opens.Total, startEvents)
	}
	s.stop()
}

// fill appends opens of a campaign, of many people over an hour, to a spool that no server has.
func fill(t *testing.T, dir string, n int, campaign uint32) {
	t.Helper()
	sp, _, err := spool.Open(spool.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	const writers = 250 // that many share a commit
	began := time.Now().Add(-time.Hour).UnixMilli()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				at := began + int64(i)*time.Hour.Milliseconds()/int64(n)
				if err := sp.Append(&event.Event{Time: at, Subject: uint64(i)*2654435761 + 1, Campaign: campaign, Kind: event.Open}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}
