package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/report"
)

// counting is a store that counts of how many campaigns it is asked for.
type counting struct {
	*storetest.Memory
	asked atomic.Int64
	fails atomic.Bool
}

var errDown = errors.New("down")

func (c *counting) Summaries(ctx context.Context, cs []uint32, hours uint32) ([]aggregate.Summary, error) {
	if c.fails.Load() {
		return nil, errDown
	}
	c.asked.Add(int64(len(cs)))
	return c.Memory.Summaries(ctx, cs, hours)
}

func campaignsOf(t testing.TB, n int, created time.Time) *registered {
	r := &registered{Registry: campaign.NewRegistry(), t: t}
	for i := range n {
		r.add("c"+string(rune('a'+i)), "", created, 100)
	}
	return r
}

// TestRecent reads what is too old, or changed, and nothing else.
func TestRecent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		age      time.Duration // of the campaigns
		tooYoung time.Duration // when nothing is read again
		tooOld   time.Duration // when all is
	}{{"moving", time.Hour, movingLimit, movingLimit + 1}, {"at rest", 30 * 24 * time.Hour, restLimit, restLimit + 1}} {
		clock := now
		store := &counting{Memory: storetest.NewMemory()}
		m, r := newMemory(store, func() time.Time { return clock }), campaignsOf(t, 5, now.Add(-c.age))
		expect := func(want int64, asOf time.Time) {
			t.Helper()
			store.asked.Store(0)
			lines, got, err := m.recent(t.Context(), r.Latest(0, 5))
			must(t, err)
			if store.asked.Load() != want || len(lines) != 5 || !got.Equal(asOf) {
				t.Errorf("%s: asked for %d, want %d; %d lines as of %s, want %s", c.name, store.asked.Load(), want, len(lines), got, asOf)
			}
			for i, of := range r.Latest(0, 5) {
				if lines[i].Campaign != of.Name || lines[i].Delivered != of.Delivered {
					t.Errorf("%s: line %d is %s with %d, want %s with %d", c.name, i, lines[i].Campaign, lines[i].Delivered, of.Name, of.Delivered)
				}
			}
		}
		expect(5, now)
		clock = now.Add(c.tooYoung)
		expect(0, now)
		r.apply("delivery", "cc/another", map[string]any{"delivered": 11})
		expect(1, now)
		clock = now.Add(c.tooOld)
		expect(4, now.Add(c.tooYoung))
	}
}

// TestRun keeps the latest at hand: who comes never waits, and after a failure it goes on.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &counting{Memory: storetest.NewMemory()}
		m, r := newMemory(store, time.Now), campaignsOf(t, 15, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.run(ctx, r, slog.New(slog.DiscardHandler)) }()
		for range 100 {
			time.Sleep(7 * time.Second)
			synctest.Wait()
			if old := m.older(r.Latest(0, 200), 1); len(old) > 0 {
				t.Fatalf("%d lines are too old", len(old))
			}
		}
		store.fails.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if last, failing := m.state(); !failing || time.Since(last) < 30*time.Second {
			t.Errorf("last %s ago, failing: %v", time.Since(last), failing)
		}
		if len(m.older(r.Latest(0, 200), 1)) != 15 {
			t.Error("lines of a store that is down are young")
		}
		store.fails.Store(false)
		time.Sleep(refreshEvery)
		synctest.Wait()
		if old := m.older(r.Latest(0, 200), 1); len(old) > 0 {
			t.Errorf("%d lines are too old after the failure", len(old))
		}
		cancel()
		must(t, <-done)
	})
}

// TestForget: the memory is bounded, and drops what was read longest ago.
func TestForget(t *testing.T) {
	t.Parallel()
	clock := now
	m := newMemory(storetest.NewMemory(), func() time.Time { return clock })
	for i := range uint32(3 * mostKept / 100) {
		var some []campaign.Campaign
		for j := range uint32(100) {
			some = append(some, campaign.Campaign{Number: 1 + i*100 + j, Created: now})
		}
		clock = clock.Add(time.Second)
		_, err := m.read(t.Context(), some)
		must(t, err)
		if len(m.lines) > mostKept {
			t.Fatalf("%d lines are kept", len(m.lines))
		}
		if _, _, missing := m.known(some); missing > 0 {
			t.Fatal("what was just read is forgotten")
		}
	}
	if mostKept < report.MaxOverview*5 {
		t.Error("so few lines that pages could drop each other's")
	}
}
