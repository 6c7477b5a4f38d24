package aggregate_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/control"
)

// TestRunnerWaitsWhileStale: nothing is counted while it is not known who refused, neither what is held nor at a stop.
func TestRunnerWaitsWhileStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSpool(), storetest.NewMemory()
		var fresh atomic.Bool
		fresh.Store(true)
		o := options(s, store)
		o.Fresh = fresh.Load
		_, stop := start(t, o)
		s.append(some(rand.New(rand.NewPCG(1, 2)), 40)...)
		time.Sleep(time.Second) // read, and held
		fresh.Store(false)
		time.Sleep(time.Minute)
		expectTotal(t, store, 0)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := total(t, store); n != 0 {
			t.Errorf("the stop counted %d events by an old control log", n)
		}
	})
}

// nothing is a part of what the control log says that is not looked at.
type nothing struct{}

func (nothing) Name() string              { return "nothing" }
func (nothing) Apply(control.Entry) error { return nil }
func (nothing) Snapshot() ([]byte, error) { return nil, nil }
func (nothing) Restore([]byte) error      { return nil }

// TestRunnerStopsWithTheLease: with the heartbeats of the control log the counting ends, and it goes on with them. What was held meanwhile
// is not counted before.
func TestRunnerStopsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, log := newSpool(), storetest.NewMemory(), control.NewMemory()
		f, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{nothing{}}})
		if err != nil {
			t.Fatal(err)
		}
		background := func(run func(context.Context) error) (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- run(ctx) }()
			return func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		beat := func() (stop func()) {
			return background(func(ctx context.Context) error { return control.Beat(ctx, log, slog.New(slog.DiscardHandler)) })
		}
		defer background(f.Run)()
		o := options(s, store)
		o.Fresh = f.Fresh
		_, stop := start(t, o)
		rnd := rand.New(rand.NewPCG(1, 2))
		s.append(some(rnd, 40)...)
		time.Sleep(time.Minute)
		expectTotal(t, store, 0) // nobody ever said that the log is all there is
		still := beat()
		time.Sleep(aggregate.DefaultWindow + 2*time.Second)
		expectTotal(t, store, 40)
		s.append(some(rnd, 40)...)
		time.Sleep(time.Second) // read, and held
		still()
		time.Sleep(control.Lease)
		s.append(some(rnd, 40)...)
		time.Sleep(time.Minute)
		expectTotal(t, store, 40)
		still = beat()
		time.Sleep(aggregate.DefaultWindow + 2*time.Second)
		expectTotal(t, store, 120)
		still()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
