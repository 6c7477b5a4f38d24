package aggregate_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
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

// TestRunnerAsksAfterItRead: what came while nobody knew who refused is judged once that is known, also where the runner
// began to wait for it before.
func TestRunnerAsksAfterItRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSpool(), storetest.NewMemory()
		var fresh atomic.Bool
		fresh.Store(true)
		o := options(s, store)
		o.Fresh = fresh.Load
		table := o.Fold.Consent.(*consent.Table)
		log := control.NewMemory()
		w := consent.NewWriter(log, controltest.Follow(t, log, table), table)
		_, stop := start(t, o)
		time.Sleep(time.Minute) // it waits for events
		fresh.Store(false)
		// The second resolves the first as it is taken in.
		s.append(event.Event{Time: time.Now().UnixMilli(), Subject: 7, Campaign: 1, Kind: event.Open},
			event.Event{Time: time.Now().Add(time.Hour).UnixMilli(), Subject: 8, Campaign: 2, Kind: event.Open})
		time.Sleep(time.Minute)
		_, _, err := w.Change(t.Context(), consent.Change{Subject: 7, Opens: consent.Refused})
		if err != nil {
			t.Fatal(err)
		}
		fresh.Store(true)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		cells, err := store.Counts(t.Context(), 1)
		if err != nil || len(cells) != 1 || cells[0].Reason != event.OptedOut {
			t.Errorf("%+v, %v", cells, err)
		}
	})
}
