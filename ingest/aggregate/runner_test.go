package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/consent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type keys struct{}

func (keys) HashKey(n uint32) ([16]byte, bool) { return [16]byte{byte(n)}, n < 100 }
func (keys) LinkCount(uint32) int              { return 3 }
func (keys) DateOnly(uint32) bool              { return false }

// memorySpool is a spool in memory.
type memorySpool struct {
	mu      sync.Mutex
	events  []event.Event // of sequence number 0 and on
	lost    map[uint64]uint64
	trimmed uint64
	grown   chan struct{}
	fail    func() error // asked before every read
	opened  []uint64
}

func newSpool() *memorySpool {
	return &memorySpool{grown: make(chan struct{}), lost: map[uint64]uint64{}}
}

func (s *memorySpool) append(all ...event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, all...)
	close(s.grown)
	s.grown = make(chan struct{})
}

// damage makes the n events from a number on unreadable.
func (s *memorySpool) damage(from, n uint64) { s.lost[from] = n }

func (s *memorySpool) source() aggregate.SpoolSource {
	return aggregate.SpoolSource{
		Edge: 3, Epoch: 5, Batch: 16,
		Reader: func(from uint64) (aggregate.SpoolReader, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.opened = append(s.opened, from)
			if from < s.trimmed {
				return nil, fmt.Errorf("%d was trimmed, %d is left", from, s.trimmed)
			}
			return &memoryReader{s, from}, nil
		},
		Trimmer: func(before uint64) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.trimmed = max(s.trimmed, before)
			return nil
		},
	}
}

type memoryReader struct {
	s   *memorySpool
	pos uint64
}

func (r *memoryReader) Next(ctx context.Context, buf []event.Event) (uint64, int, uint64, error) {
	for {
		r.s.mu.Lock()
		all, grown, n := r.s.events, r.s.grown, r.s.lost[r.pos]
		var err error
		if r.s.fail != nil {
			err = r.s.fail()
		}
		r.s.mu.Unlock()
		if err != nil {
			return r.pos, 0, 0, err
		}
		if ctx.Err() != nil {
			return r.pos, 0, 0, ctx.Err()
		}
		if n > 0 {
			r.pos += n
			return r.pos, 0, n, nil
		}
		if r.pos < uint64(len(all)) {
			first, rest := r.pos, all[r.pos:]
			for i := range rest {
				if r.s.lost[first+uint64(i)] > 0 {
					rest = rest[:i]
					break
				}
			}
			m := copy(buf, rest)
			r.pos += uint64(m)
			return first, m, 0, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return r.pos, 0, 0, ctx.Err()
		}
	}
}

func (r *memoryReader) Close() error { return nil }

// some makes events around now: opens and clicks of a few people.
func some(rnd *rand.Rand, n int) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i] = event.Event{Time: time.Now().UnixMilli(), Subject: rnd.Uint64N(20), Campaign: 1 + rnd.Uint32N(3), Kind: event.Open}
		if rnd.IntN(3) == 0 {
			all[i].Kind, all[i].Link = event.Click, 1+uint16(rnd.IntN(3))
		}
		if rnd.IntN(8) == 0 {
			all[i].Suppress(event.GPC)
		}
	}
	return all
}

func options(s *memorySpool, store aggregate.Store) aggregate.RunnerOptions {
	return aggregate.RunnerOptions{
		Source: s.source(), Store: store,
		Fold: aggregate.FoldOptions{Consent: consent.NewTable(consent.BasisSubject), Campaigns: keys{}},
	}
}

// start runs a runner until the returned function stops it.
func start(t *testing.T, o aggregate.RunnerOptions) (r *aggregate.Runner, stop func() error) {
	t.Helper()
	r, err := aggregate.NewRunner(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() error { cancel(); return <-done }
}

func total(t *testing.T, store aggregate.Reader) (n uint64) {
	t.Helper()
	for campaign := range uint32(5) {
		all, err := store.Counts(context.WithoutCancel(t.Context()), campaign)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			n += c.N
		}
	}
	return n
}

func expectTotal(t *testing.T, store aggregate.Reader, want int) {
	t.Helper()
	if n := total(t, store); n != uint64(want) {
		t.Errorf("%d events are counted, want %d", n, want)
	}
}

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
