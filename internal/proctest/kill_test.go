package proctest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// kills is how often TestKill kills.
func kills(t *testing.T) int {
	t.Helper()
	v := os.Getenv("MAILBEACON_KILLS")
	if v == "" {
		return 50
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("MAILBEACON_KILLS is %q, no number", v)
	}
	return n
}

// TestKill kills the server at random moments under load. Every answer that was given must be
// counted, once, in its campaign.
func TestKill(t *testing.T) {
	const workers = 16
	ctx, data, n := t.Context(), t.TempDir(), kills(t)
	var lanes []*lane
	early := 0
	for round := range n {
		if round%5 == 4 { // also while it starts
			s := launch(t, binary(t), data, quick...)
			time.Sleep(rand.N(150 * time.Millisecond))
			s.kill()
			early++
			continue
		}
		s := start(t, data, quick...)
		mine := newLanes(ctx, t, s.client(), fmt.Sprintf("round-%d", round), workers)
		lanes = append(lanes, mine...)
		moment := rand.N(400 * time.Millisecond)
		load(t, s, mine, func() {
			time.Sleep(moment)
			s.kill()
		})
		if t.Failed() {
			return
		}
	}
	s := start(t, data, quick...)
	s.drain()
	c := s.client()
	var answered, doubtful uint64
	for _, l := range lanes {
		l.check(ctx, t, c)
		for kind := range kinds {
			answered += l.answered[kind]
			doubtful += l.doubtful[kind]
		}
	}
	if answered < uint64(n) {
		t.Errorf("%d answers in %d rounds are no load", answered, n)
	}
	t.Logf("%d kills, %d of them while starting: %d answers, each counted once in %d campaigns; %d requests without an answer",
		n, early, answered, len(lanes), doubtful)
	s.stop()
}

// load drives every lane until the server dies or what is done meanwhile returns, whichever the
// lanes notice first.
func load(t *testing.T, s *server, lanes []*lane, meanwhile func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range lanes {
		wg.Go(func() {
			if err := l.drive(ctx, s.public); err != nil {
				t.Error(err)
			}
		})
	}
	meanwhile()
	cancel()
	wg.Wait()
}

// TestStop asks the server to stop under load: it ends within its bound, without an error, and what
// was answered is counted after the next start.
func TestStop(t *testing.T) {
	ctx, data := t.Context(), t.TempDir()
	var lanes []*lane
	for round := range 3 {
		s := start(t, data, append(quick, "--stop-timeout=5s")...)
		mine := newLanes(ctx, t, s.client(), fmt.Sprintf("round-%d", round), 16)
		lanes = append(lanes, mine...)
		load(t, s, mine, func() {
			time.Sleep(200 * time.Millisecond)
			began := time.Now()
			s.stop()
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("the stop took %v", took)
			}
		})
	}
	s := start(t, data, quick...)
	s.drain()
	c := s.client()
	for _, l := range lanes {
		l.check(ctx, t, c)
	}
}
