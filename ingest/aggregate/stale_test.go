package aggregate_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/storetest"
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
