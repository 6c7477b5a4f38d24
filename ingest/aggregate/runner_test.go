package aggregate_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunnerCountsAndTrims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(1, 1)), newSpool(), storetest.NewMemory()
		r, stop := start(t, options(s, store))
		for range 50 {
			s.append(some(rnd, 20)...)
			time.Sleep(time.Second)
			p, _ := store.Progress(t.Context(), 0)
			s.mu.Lock()
			if s.trimmed > p.Context {
				t.Errorf("trimmed to %d, and reading starts at %d", s.trimmed, p.Context)
			}
			s.mu.Unlock()
		}
		if n := total(t, store); n == 0 || n == 1000 {
			t.Errorf("%d of 1000 are counted while the last are in their window", n)
		}
		time.Sleep(aggregate.DefaultWindow + time.Second)
		expectTotal(t, store, 1000)
		s.mu.Lock()
		if s.trimmed != 1000 {
			t.Errorf("trimmed to %d of 1000", s.trimmed)
		}
		s.mu.Unlock()
		if st := r.Stats(); st.Offset != 1000 || st.Context != 1000 || st.Held != 0 || st.Events != 1000 || st.Commits == 0 {
			t.Errorf("stats %+v", st)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What was counted before a restart is trimmed at the start: nothing else may come for long.
func TestRunnerTrimsAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(1, 1)), newSpool(), storetest.NewMemory()
		s.append(some(rnd, 100)...)
		_, stop := start(t, options(s, store))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		s.trimmed = 0 // as after a kill between the commit and the trim
		_, stop = start(t, options(s, store))
		synctest.Wait()
		s.mu.Lock()
		if s.trimmed != 100 {
			t.Errorf("trimmed to %d of 100", s.trimmed)
		}
		s.mu.Unlock()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// An event alone is counted when its window is over, and not much later.
func TestRunnerIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSpool(), storetest.NewMemory()
		_, stop := start(t, options(s, store))
		defer stop()
		time.Sleep(time.Hour)
		s.append(event.Event{Time: time.Now().UnixMilli(), Subject: 1, Campaign: 1, Kind: event.Open})
		time.Sleep(aggregate.DefaultWindow - time.Millisecond)
		expectTotal(t, store, 0)
		time.Sleep(2 * time.Millisecond)
		expectTotal(t, store, 1)
		// One that nobody can be told by waits for nothing but the next commit.
		s.append(event.Event{Time: time.Now().UnixMilli(), Campaign: 1, Kind: event.Open})
		time.Sleep(aggregate.DefaultInterval + time.Millisecond)
		expectTotal(t, store, 2)
	})
}

func TestRunnerStopsWithWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(2, 2)), newSpool(), storetest.NewMemory()
		var came []time.Time // of each 40 events
		for round := range 30 {
			o := options(s, store)
			o.Interval = time.Hour // only the stop commits
			_, stop := start(t, o)
			s.append(some(rnd, 40)...)
			came = append(came, time.Now())
			pause := time.Duration(rnd.IntN(9)) * time.Second
			time.Sleep(pause)
			if err := stop(); err != nil {
				t.Fatal(round, err)
			}
			if pause == 0 {
				continue // nothing was read
			}
			ready := 0
			for _, at := range came {
				if came[round].Sub(at) > aggregate.DefaultWindow { // what came last shows that its window is over
					ready += 40
				}
			}
			if n := total(t, store); n < uint64(ready) || n == uint64(40*len(came)) && ready < 40*len(came) && round > 5 {
				t.Errorf("round %d: %d events are counted after a stop; of %d, %d were ready", round, n, 40*len(came), ready)
			}
		}
		_, stop := start(t, options(s, store))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		expectTotal(t, store, 30*40)
	})
}

// faulty fails calls of a store by a plan.
type faulty struct {
	*storetest.Memory
	mu    sync.Mutex
	calls int
	plan  func(call int) fault
}

type fault int

const (
	none fault = iota
	before
	after
	hangBefore
	hangAfter
	progressToo // the commit fails before, and reading the progress back fails as well
)

var errDisk = errors.New("the disk says no")

func (f *faulty) next() fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	return f.plan(f.calls)
}

func (f *faulty) Commit(ctx context.Context, c *aggregate.Commit) error {
	what := f.next()
	switch what {
	case before, progressToo:
		return errDisk
	case hangBefore:
		<-ctx.Done()
		return ctx.Err()
	}
	if err := f.Memory.Commit(ctx, c); err != nil {
		return err
	}
	switch what {
	case after:
		return errDisk
	case hangAfter:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *faulty) Progress(ctx context.Context, partition uint32) (aggregate.Progress, error) {
	if f.next() == progressToo {
		return aggregate.Progress{}, errDisk
	}
	return f.Memory.Progress(ctx, partition)
}

// A store that fails at any one of its calls, before or after it did what it was asked, or never
// answers: nothing is lost, nothing counts twice.
func TestRunnerOutlivesEveryFaultOfTheStore(t *testing.T) {
	for _, what := range []fault{before, after, hangBefore, hangAfter, progressToo} {
		for call := 1; call <= 12; call++ {
			synctest.Test(t, func(t *testing.T) {
				rnd, s := rand.New(rand.NewPCG(uint64(call), uint64(what))), newSpool()
				store := &faulty{Memory: storetest.NewMemory(), plan: func(n int) fault {
					if n >= call && n < call+2 {
						return what
					}
					return none
				}}
				r, stop := start(t, options(s, store))
				for range 10 {
					s.append(some(rnd, 10)...)
					time.Sleep(5 * time.Second)
				}
				time.Sleep(5 * time.Minute)
				if n := total(t, store); n != 100 {
					t.Errorf("fault %d at call %d: %d of 100 counted", what, call, n)
				}
				if _, err := r.Fault(); err != nil {
					t.Errorf("fault %d at call %d: still at fault: %v", what, call, err)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Stops and starts under a store that fails at random.
func TestRunnerUnderRandomFaults(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd, s := rand.New(rand.NewPCG(seed, 9)), newSpool()
			bad, dice := true, rand.New(rand.NewPCG(seed, 10))
			store := &faulty{Memory: storetest.NewMemory(), plan: func(int) fault {
				if !bad || dice.IntN(3) > 0 {
					return none
				}
				return fault(dice.IntN(int(progressToo) + 1))
			}}
			for range 8 {
				o := options(s, store)
				o.MaxCommit = 30
				_, stop := start(t, o)
				for range 4 {
					s.append(some(rnd, 25)...)
					time.Sleep(time.Duration(rnd.IntN(20_000)) * time.Millisecond)
				}
				stop() // an error is no loss
			}
			bad = false
			_, stop := start(t, options(s, store))
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if n := total(t, store); n != 800 {
				t.Errorf("seed %d: %d of 800 counted", seed, n)
			}
		})
	}
}

// Two owners of one partition: the store's compare-and-swap keeps them from counting twice.
func TestRivalRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(5, 5)), newSpool(), storetest.NewMemory()
		a, stopA := start(t, options(s, store))
		b, stopB := start(t, func() aggregate.RunnerOptions {
			o := options(s, store)
			o.Interval = 333 * time.Millisecond
			return o
		}())
		for range 600 {
			s.append(some(rnd, 1)...)
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
		time.Sleep(time.Minute)
		expectTotal(t, store, 600)
		if a.Stats().Restarts+b.Stats().Restarts == 0 {
			t.Error("they never met")
		}
		stopA()
		stopB()
	})
}

func TestRunnerPassesOverWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(6, 6)), newSpool(), storetest.NewMemory()
		s.append(some(rnd, 100)...)
		s.damage(30, 10)
		s.damage(95, 5) // up to the end
		var lost uint64
		o := options(s, store)
		o.Lost = func(n uint64) { lost += n }
		r, stop := start(t, o)
		time.Sleep(time.Minute)
		expectTotal(t, store, 85)
		if p, _ := store.Progress(t.Context(), 0); p.Offset != 100 || lost != 15 || r.Stats().Lost != 15 {
			t.Errorf("progress %+v, %d lost, want all of 100 passed and 15 lost", p, lost)
		}
		stop()
	})
}

func TestRunnerOutlivesAFailingSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd, s, store := rand.New(rand.NewPCG(7, 7)), newSpool(), storetest.NewMemory()
		s.append(some(rnd, 100)...)
		dice := rand.New(rand.NewPCG(7, 8))
		s.fail = func() error {
			if dice.IntN(4) > 0 {
				return errDisk
			}
			return nil
		}
		r, stop := start(t, options(s, store))
		time.Sleep(10 * time.Minute)
		expectTotal(t, store, 100)
		s.mu.Lock()
		s.fail = func() error { return errDisk }
		s.mu.Unlock()
		s.append(some(rnd, 1)...)
		time.Sleep(time.Minute)
		if _, err := r.Fault(); !errors.Is(err, errDisk) {
			t.Errorf("at fault: %v", err)
		}
		if r.Stats().Restarts == 0 {
			t.Error("the reader was never opened anew")
		}
		stop()
	})
}

// The clock lets events go when no more may be held, and what is held stays bounded.
func TestRunnerHoldsNoMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSpool(), storetest.NewMemory()
		now := time.Now().UnixMilli()
		for i := range 2000 {
			s.append(event.Event{Time: now, Subject: uint64(i) + 1, Campaign: 1, Kind: event.Open})
		}
		o := options(s, store)
		o.Fold.MaxHeld = 100
		r, stop := start(t, o)
		for range 100 {
			time.Sleep(aggregate.DefaultWindow / 10)
			if n := r.Stats().Held; n >= 100+16 {
				t.Errorf("%d held", n)
			}
		}
		time.Sleep(10 * time.Minute)
		expectTotal(t, store, 2000)
		stop()
	})
}

// Folds that share room hold no more together than there is, but for what each may hold at least.
func TestFoldsShareRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, least, batch, folds, events = 100_000, 1 << 15, 16, 6, 60_000
		shared := aggregate.NewRoom(room)
		now := time.Now().UnixMilli()
		var runners []*aggregate.Runner
		var stops []func() error
		var stores []*storetest.Memory
		for range folds {
			s, store := newSpool(), storetest.NewMemory()
			for i := range events {
				s.append(event.Event{Time: now, Subject: uint64(i) + 1, Campaign: 1, Kind: event.Open})
			}
			o := options(s, store)
			o.Fold.Room = shared
			r, stop := start(t, o)
			runners, stops, stores = append(runners, r), append(stops, stop), append(stores, store)
		}
		most := int64(0)
		for range 200 {
			time.Sleep(aggregate.DefaultWindow / 20)
			held := int64(0)
			for _, r := range runners {
				held += int64(r.Stats().Held)
			}
			most = max(most, held)
		}
		if bound := max(room, folds*least) + int64(folds*batch); most > bound || most < room {
			t.Errorf("%d events were held at once, and there is room for %d", most, bound)
		}
		time.Sleep(time.Hour)
		for i, stop := range stops {
			expectTotal(t, stores[i], events)
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		if left := shared.Held(); left != 0 {
			t.Errorf("%d events of folds that ended still take room", left)
		}
	})
}

func TestRunnerNeedsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := aggregate.NewRunner(aggregate.RunnerOptions{}); err == nil {
		t.Error("a runner of nothing")
	}
	o := options(newSpool(), storetest.NewMemory())
	o.Fold.Consent = nil
	if _, err := aggregate.NewRunner(o); err == nil || !strings.Contains(err.Error(), "consent") {
		t.Errorf("a runner without consent: %v", err)
	}
}
