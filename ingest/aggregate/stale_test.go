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
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// lease is what a role knows of the control log: as long as it is held, all of the last two seconds at least.
type lease struct {
	held atomic.Bool
	lost atomic.Int64
}

func newLease() *lease {
	l := &lease{}
	l.held.Store(true)
	return l
}

func (l *lease) drop() { l.lost.Store(time.Now().UnixNano()); l.held.Store(false) }

func (l *lease) until() time.Time {
	if l.held.Load() {
		return time.Now().Add(2 * time.Second)
	}
	return time.Unix(0, l.lost.Load())
}

// choice is a person who may refuse.
type choice struct{ refused atomic.Bool }

func (c *choice) Verdict(_ event.Kind, subject uint64) event.Reason {
	if subject != 0 && c.refused.Load() {
		return event.OptedOut
	}
	return event.Counted
}

func (c *choice) Attributed(_ event.Kind, subject uint64) bool { return subject != 0 }
func (c *choice) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return c.Verdict(k, s), s != 0 && c.Attributed(k, s)
}

// by returns what is counted by each reason.
func by(t *testing.T, store aggregate.Reader) map[event.Reason]uint64 {
	t.Helper()
	all, err := store.Counts(context.WithoutCancel(t.Context()), 1)
	if err != nil {
		t.Fatal(err)
	}
	n := map[event.Reason]uint64{}
	for _, c := range all {
		n[c.Reason] += c.N
	}
	return n
}

func opened(subject uint64) event.Event {
	return event.Event{Time: time.Now().UnixMilli(), Subject: subject, Campaign: 1, Kind: event.Open}
}

// TestRunnerWaitsWhileStale: nothing is counted while it is not known who refused, neither what is held nor at a stop.
func TestRunnerWaitsWhileStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, l := newSpool(), storetest.NewMemory(), newLease()
		o := options(s, store)
		o.FreshUntil = l.until
		_, stop := start(t, o)
		s.append(some(rand.New(rand.NewPCG(1, 2)), 40)...)
		time.Sleep(time.Second) // read, and held
		l.drop()
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
		o.FreshUntil = f.FreshUntil
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

// TestRunnerNeverFresh: what never was known is not known.
func TestRunnerNeverFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSpool(), storetest.NewMemory()
		o := options(s, store)
		o.FreshUntil = func() time.Time { return time.Time{} }
		_, stop := start(t, o)
		s.append(opened(7))
		time.Sleep(time.Minute)
		expectTotal(t, store, 0)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		expectTotal(t, store, 0)
	})
}

// TestRunnerFoldsAnewAfterStale: who refused while the log was stale is not in what waited for its commit.
func TestRunnerFoldsAnewAfterStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, l, person := newSpool(), storetest.NewMemory(), newLease(), &choice{}
		o := options(s, store)
		o.FreshUntil, o.Fold.Consent, o.Interval = l.until, person, time.Minute
		_, stop := start(t, o)
		time.Sleep(time.Minute - 20*time.Second)
		s.append(opened(7))
		time.Sleep(16 * time.Second)
		s.append(opened(8)) // by which the first gets its class, and waits for a commit
		time.Sleep(time.Second)
		l.drop()
		time.Sleep(time.Second)
		person.refused.Store(true)
		time.Sleep(time.Second)
		l.held.Store(true)
		time.Sleep(5 * time.Minute)
		if n := by(t, store); n[event.Counted] != 0 || n[event.OptedOut] != 2 {
			t.Errorf("counted %v of somebody who refused before", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRunnerFoldsAnewAfterASleep: a process that is stopped just before it looks how far its knowledge holds, until that was renewed, does
// not take it for what was known when the events were folded; whichever of its looks that is.
func TestRunnerFoldsAnewAfterASleep(t *testing.T) {
	for look := 1; sleptBeforeLook(t, look); look++ {
	}
}

// sleptBeforeLook stops a runner before a look; false where its commit was stored by then.
func sleptBeforeLook(t *testing.T, look int) (before bool) {
	synctest.Test(t, func(t *testing.T) {
		s, store, person := newSpool(), storetest.NewMemory(), &choice{}
		o := options(s, store)
		looks := 0 // of the runner's goroutine
		o.FreshUntil = func() time.Time {
			if looks++; looks == look {
				all, err := store.Counts(context.WithoutCancel(t.Context()), 1)
				before = err == nil && len(all) == 0
				time.Sleep(time.Minute)
				person.refused.Store(true)
			}
			return time.Now().Add(2 * time.Second)
		}
		o.Fold.Consent, o.Interval = person, time.Minute
		_, stop := start(t, o)
		time.Sleep(35 * time.Second)
		s.append(opened(7))
		time.Sleep(16 * time.Second)
		s.append(opened(8)) // by which the first gets its class, and waits for a commit
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := by(t, store); before && (n[event.Counted] != 0 || n[event.OptedOut] != 2) {
			t.Errorf("asleep before look %d: counted %v of somebody who refused before", look, n)
		}
	})
	return before
}

// TestRunnerFoldsAnewWhatWasNotStored: a commit is sent for as long as what was known when it was made holds, and no longer.
func TestRunnerFoldsAnewWhatWasNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, memory, l, person := newSpool(), storetest.NewMemory(), newLease(), &choice{}
		var away atomic.Bool
		store := &dated{faulty: &faulty{Memory: memory, plan: func(int) fault {
			if away.Load() {
				return before
			}
			return none
		}}}
		o := options(s, store)
		o.FreshUntil, o.Fold.Consent = l.until, person
		r, stop := start(t, o)
		away.Store(true)
		s.append(opened(7))
		time.Sleep(aggregate.DefaultWindow + time.Second) // it is on its way
		if _, err := r.Fault(); err == nil {
			t.Fatal("nothing failed: this tests nothing")
		}
		person.refused.Store(true)
		time.Sleep(3 * time.Second)
		away.Store(false)
		time.Sleep(time.Minute)
		if n := by(t, memory); n[event.Counted] != 0 || n[event.OptedOut] != 1 {
			t.Errorf("counted %v of somebody who refused before", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if store.sent == 0 || store.worst <= 0 || store.worst > 2*time.Second {
			t.Errorf("%d commits; one that was sent may be stored %v later", store.sent, store.worst)
		}
	})
}

// dated notes for how long commits may be stored after they were sent.
type dated struct {
	*faulty
	sent  int
	worst time.Duration
}

func (d *dated) Commit(ctx context.Context, c *aggregate.Commit) error {
	d.sent++
	d.worst = max(d.worst, time.Until(c.Until))
	return d.faulty.Commit(ctx, c)
}

// TestRunnerAsksAfterItRead: what came while nobody knew who refused is judged once that is known, also where the runner
// began to wait for it before.
func TestRunnerAsksAfterItRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSpool(), storetest.NewMemory()
		var fresh atomic.Bool
		fresh.Store(true)
		o := options(s, store)
		o.FreshUntil = func() time.Time {
			if fresh.Load() {
				return time.Now().Add(time.Second)
			}
			return time.Time{}
		}
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
