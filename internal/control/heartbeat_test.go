package control_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// frozen is a log whose readers see its state of an earlier moment while it is told so: a broker that
// was cut off and answers.
type frozen struct {
	control.Log
	at   atomic.Uint64                 // 0: not frozen
	hang atomic.Pointer[chan struct{}] // reads wait for it; nil: they don't
}

func (f *frozen) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	if hang := f.hang.Load(); hang != nil {
		<-*hang
	}
	if at := control.Position(f.at.Load()); at > 0 {
		if after >= at {
			return nil, nil
		}
		limit = min(limit, int(at-after))
	}
	return f.Log.Read(ctx, after, limit)
}

func (f *frozen) Wait(ctx context.Context, after control.Position) error {
	if at := control.Position(f.at.Load()); at > 0 && after >= at {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.Log.Wait(ctx, after)
}

// freeze has readers see nothing more.
func (f *frozen) freeze(t *testing.T) {
	t.Helper()
	head, err := f.Head(t.Context())
	must(t, err)
	f.at.Store(uint64(head))
}

// running is a follower of a log, with and without somebody who beats.
type running struct {
	*control.Follower
	log  *frozen
	beat func() (stop func())
}

func run(t *testing.T) *running {
	t.Helper()
	r := &running{log: &frozen{Log: control.NewMemory()}}
	r.Follower = follower(t, control.FollowerOptions{Log: r.log, Folders: []control.Folder{&keys{name: "k"}}})
	start := func(fn func(context.Context) error) func() {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- fn(ctx) }()
		return func() { cancel(); must(t, <-ended) }
	}
	r.beat = func() func() {
		return start(func(ctx context.Context) error {
			return control.Beat(ctx, r.log.Log, slog.New(slog.DiscardHandler))
		})
	}
	t.Cleanup(start(r.Run))
	return r
}

func (r *running) expect(t *testing.T, want bool, when string) {
	t.Helper()
	synctest.Wait()
	if got := r.Fresh(); got != want {
		age, known := r.HeartbeatAge()
		t.Errorf("fresh is %v %s (age %s, %v)", got, when, age, known)
	}
}

func inBubble(t *testing.T, name string, fn func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, fn)
	})
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	inBubble(t, "answers alone are no proof", func(t *testing.T) {
		r := run(t)
		put(t, r.log, 0, 3)
		time.Sleep(10 * time.Second)
		r.expect(t, false, "without a heartbeat")
	})
	inBubble(t, "heartbeats are, and end", func(t *testing.T) {
		r := run(t)
		stop := r.beat()
		time.Sleep(time.Second)
		r.expect(t, true, "with heartbeats")
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			r.expect(t, true, "with heartbeats")
		}
		stop()
		time.Sleep(control.Lease - 2*control.HeartbeatEvery - time.Millisecond)
		r.expect(t, true, "before the lease ended")
		time.Sleep(2*control.HeartbeatEvery + time.Millisecond)
		r.expect(t, false, "a lease after the last heartbeat")
		defer r.beat()()
		time.Sleep(3 * control.HeartbeatEvery)
		r.expect(t, true, "when heartbeats came again")
	})
	inBubble(t, "several may beat, one may stop", func(t *testing.T) {
		r := run(t)
		stop := r.beat()
		defer r.beat()()
		time.Sleep(time.Second)
		stop()
		time.Sleep(10 * time.Second)
		r.expect(t, true, "with one of two")
	})
	inBubble(t, "a broker that was cut off and its successor prove nothing", func(t *testing.T) {
		r := run(t)
		stop := r.beat()
		time.Sleep(time.Second)
		r.log.freeze(t)
		time.Sleep(control.Lease + time.Millisecond)
		r.expect(t, false, "at a broker that was cut off")
		time.Sleep(time.Minute)
		stop()
		time.Sleep(time.Hour)
		r.log.at.Store(0)
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			r.expect(t, false, "with heartbeats of an hour ago")
		}
	})
	inBubble(t, "a start finds old heartbeats", func(t *testing.T) {
		log := control.NewMemory()
		for range 2000 {
			_, err := log.Append(t.Context(), control.Heartbeat())
			must(t, err)
		}
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}})
		must(t, f.CatchUp(t.Context()))
		if f.Fresh() || f.Applied() != 2000 {
			t.Errorf("fresh %v at %d", f.Fresh(), f.Applied())
		}
	})
	inBubble(t, "after a start or a pause, the second new heartbeat counts", func(t *testing.T) {
		one := func(r *running) {
			_, err := r.log.Append(t.Context(), control.Heartbeat())
			must(t, err)
			time.Sleep(control.HeartbeatEvery)
		}
		r := run(t)
		synctest.Wait() // it has come to the end of an empty log
		one(r)
		r.expect(t, false, "after the first heartbeat")
		one(r)
		r.expect(t, true, "after the second heartbeat")
		hang := make(chan struct{})
		r.log.hang.Store(&hang)
		for range 20 {
			one(r)
		}
		r.expect(t, false, "while reads hang")
		r.log.hang.Store(nil)
		close(hang)
		r.expect(t, false, "after it caught up")
		one(r)
		r.expect(t, false, "after the first heartbeat since the pause")
		one(r)
		r.expect(t, true, "after the second heartbeat since the pause")
	})
	inBubble(t, "a follower that finds old heartbeats at its start wants two new ones", func(t *testing.T) {
		log := control.NewMemory()
		beat := func() {
			_, err := log.Append(t.Context(), control.Heartbeat())
			must(t, err)
		}
		beat()
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}})
		must(t, f.CatchUp(t.Context()))
		for n, want := range []bool{false, true} {
			time.Sleep(control.HeartbeatEvery)
			beat()
			must(t, f.CatchUp(t.Context()))
			if f.Fresh() != want {
				t.Errorf("fresh is %v after %d new heartbeats", f.Fresh(), n+1)
			}
		}
	})
	inBubble(t, "the lease runs from before the heartbeat", func(t *testing.T) {
		r := run(t)
		defer r.beat()()
		for range 8 {
			time.Sleep(control.HeartbeatEvery)
		}
		synctest.Wait()
		if age, known := r.HeartbeatAge(); !known || age < control.HeartbeatEvery {
			t.Errorf("age %s (%v) right after a heartbeat, want the time since the one before at least", age, known)
		}
	})
	inBubble(t, "a heartbeat that says tomorrow is like any other", func(t *testing.T) {
		r := run(t)
		beat := control.Heartbeat()
		for _, by := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour, 0, 24 * time.Hour} {
			beat.Time = time.Now().Add(by)
			_, err := r.log.Append(t.Context(), beat)
			must(t, err)
			time.Sleep(control.HeartbeatEvery)
		}
		r.expect(t, true, "whatever heartbeats say of the time")
		time.Sleep(control.Lease)
		r.expect(t, false, "a lease later")
	})
}

func TestHeartbeatsMakeNoSnapshotDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "snapshot")
		log := control.NewMemory()
		f := follower(t, control.FollowerOptions{
			Log: log, Folders: []control.Folder{&keys{name: "k"}}, Snapshot: path, SnapshotEntries: 10, SnapshotInterval: time.Minute,
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- f.Run(ctx) }()
		go func() { ended <- control.Beat(ctx, log, slog.New(slog.DiscardHandler)) }()
		time.Sleep(time.Hour)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("heartbeats alone made a snapshot: %v", err)
		}
		pos := put(t, log, 0, 1)
		time.Sleep(2 * time.Minute)
		if at := f.Stats().Snapshot; at < pos || at == f.Applied() {
			t.Errorf("snapshot at %d, record at %d, applied %d", at, pos, f.Applied())
		}
		stop()
		must(t, <-ended)
		must(t, <-ended)
		must(t, f.Close())
		again := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}, Snapshot: path})
		must(t, again.CatchUp(context.Background()))
		if again.Stats().Snapshot != f.Applied() {
			t.Errorf("opened at %d, closed at %d", again.Stats().Snapshot, f.Applied())
		}
	})
}

func TestBeatOutlivesAFailingLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := control.NewMemory()
		if _, err := log.Append(t.Context(), controltest.Record(0)); err != nil {
			t.Fatal(err)
		}
		must(t, log.Close())
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		must(t, control.Beat(ctx, log, slog.New(slog.DiscardHandler)))
	})
}
