package aggregate_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/storetest"
)

// TestRunnerTellsOfASilentStore: a call that does not come back is told of long before it is given up; and what failed is not held
// against a runner that has nothing left to do.
func TestRunnerTellsOfASilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 8 * time.Second
		s := newSpool()
		var how atomic.Int64
		store := &faulty{Memory: storetest.NewMemory(), plan: func(int) fault { return fault(how.Load()) }}
		o := options(s, store)
		r, stop := start(t, o)
		stuck := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			if _, err := r.Stuck(patience); (err != nil) != want {
				t.Errorf("%s: stuck by %v", when, err)
			}
		}
		time.Sleep(time.Hour)
		stuck(false, "idle")
		how.Store(int64(hangBefore))
		s.append(opened(7))
		time.Sleep(aggregate.DefaultWindow + patience)
		stuck(false, "after 8 s in which a commit hung")
		time.Sleep(time.Second)
		stuck(true, "after 9 s in which a commit hung")
		if _, err := r.Fault(); err != nil {
			t.Errorf("and it failed: %v", err)
		}
		time.Sleep(50 * time.Second)
		stuck(true, "after two tries")
		how.Store(int64(none))
		time.Sleep(time.Minute)
		stuck(false, "stored")
		if _, err := r.Fault(); err != nil {
			t.Error(err)
		}
		expectTotal(t, store, 1)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRunnerForgetsAConflict: who lost to a rival begins anew, and is at rest when the rival counted everything.
func TestRunnerForgetsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, memory := newSpool(), storetest.NewMemory()
		a, stopA := start(t, options(s, memory))
		slow := options(s, &faulty{Memory: memory, plan: func(int) fault {
			time.Sleep(time.Second)
			return none
		}})
		b, stopB := start(t, slow)
		time.Sleep(5 * time.Second)
		s.append(opened(7))
		time.Sleep(500 * time.Millisecond)
		s.append(opened(8)) // counted by the fast one before the slow one has the first
		time.Sleep(time.Hour)
		if a.Stats().Restarts+b.Stats().Restarts == 0 {
			t.Fatal("there was no conflict: this tests nothing")
		}
		for _, r := range []*aggregate.Runner{a, b} {
			if since, err := r.Fault(); err != nil {
				t.Errorf("since %v: %v", since, err)
			}
		}
		expectTotal(t, memory, 2)
		if err := errors.Join(stopA(), stopB()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRunnerTellsOfALossOnce: what is read again for its context tells nobody of what was lost in it.
func TestRunnerTellsOfALossOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(4, 4)), newSpool(), storetest.NewMemory()
		s.damage(15, 2)
		lost := uint64(0)
		o := options(s, store)
		o.Lost = func(n uint64) { lost += n }
		for range 2 {
			_, stop := start(t, o)
			for range 35 {
				s.append(some(rnd, 1)...)
				time.Sleep(time.Second)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if lost != 2 {
				t.Errorf("%d events are said to be lost, want 2", lost)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if p, err := store.Progress(t.Context(), 0); err != nil || p.Offset <= 17 || s.opened[1] > 15 {
			t.Errorf("reading began at %v, %v: what is lost was not read again", s.opened, err)
		}
	})
}

// TestRunnerForgetsFaults: a stream that fails now and then, and never for long, is not opened anew.
func TestRunnerForgetsFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(5, 5)), newSpool(), storetest.NewMemory()
		left := 0
		s.fail = func() error {
			if left == 0 {
				return nil
			}
			left--
			return errDisk
		}
		r, stop := start(t, options(s, store))
		for range 6 {
			s.mu.Lock()
			left = 6
			s.mu.Unlock()
			s.append(some(rnd, 10)...)
			time.Sleep(time.Minute)
		}
		expectTotal(t, store, 60)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := r.Stats().Restarts; n != 0 || left != 0 {
			t.Errorf("%d restarts, %d faults to come", n, left)
		}
	})
}
