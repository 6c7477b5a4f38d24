package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that end a Follower: folding on would build on a state that the log does not hold.
var (
	// ErrAhead: the snapshot speaks of positions that the log does not have (yet, or any more).
	ErrAhead = errors.New("control snapshot is ahead of the control log")
	// ErrDiverged: the log holds another record where the snapshot ends.
	ErrDiverged = errors.New("control snapshot and control log have different histories")
)

// Defaults of FollowerOptions.
const (
	DefaultSnapshotEntries  = 10_000
	DefaultSnapshotInterval = 5 * time.Minute
	DefaultBatch            = 512
)

const (
	firstPause = 50 * time.Millisecond
	longPause  = time.Second
	// longestQuiet is how long a log without news is not asked.
	longestQuiet = time.Second
	// snapshotShare bounds the time spent on snapshots: after one that took t, the next waits at
	// least snapshotShare × t, however much was folded meanwhile.
	snapshotShare = 20
)

// FollowerOptions configure a Follower. Log and Folders are required.
type FollowerOptions struct {
	Log     Log
	Folders []Folder
	// Snapshot is the snapshot's file; empty for none.
	Snapshot string
	// SnapshotEntries and SnapshotInterval say how much may be folded, and how long something
	// folded may be without a snapshot, before the next one is written. 0 means the default.
	SnapshotEntries  int
	SnapshotInterval time.Duration
	// Batch is how many entries are read at once. 0 means the default.
	Batch int
	// Before is told of each entry before it is folded, and After once it is, before the entry after it; both before the
	// read that brought it renews the lease. nil: nobody is.
	Before, After func(*Entry)
	// Hold says that no snapshot may be written for now, since Before's entries must be read again after a restart;
	// nil: never.
	Hold   func() bool
	Logger *slog.Logger // nil: silent
}

// FollowerStats is what a Follower can tell of itself.
type FollowerStats struct {
	Applied       Position  // the last entry folded
	Snapshot      Position  // the last entry in the snapshot file
	ApplyErrors   uint64    // entries that a folder could not make use of
	LogErrors     uint64    // failed reads and waits
	LogFailing    bool      // the last read or wait failed
	LastContact   time.Time // when the log last answered, with nothing that is not folded; zero if never
	SnapshotFails uint64    // snapshots that could not be written
}

// news is what was folded, heartbeats aside.
type news struct {
	unsaved atomic.Uint64 // entries that no snapshot holds
	pos     atomic.Uint64 // of the last one, or of the snapshot
}

// Follower folds a log into folders, in order and each entry once, and keeps a snapshot of them on
// disk. Applied, WaitApplied and Stats may be called concurrently with everything; so may Run and
// CatchUp, which take turns.
type Follower struct {
	o       FollowerOptions
	log     *slog.Logger
	bell    Bell
	applied atomic.Uint64

	folding  sync.Mutex // held while folders are applied to, snapshot or restored
	last     uint32     // fingerprint of the entry at applied; 0 at position 0
	verified bool       // the log was seen to hold what the snapshot was made of

	saving    sync.Mutex // held while the snapshot file is written
	saved     atomic.Uint64
	savedAt   time.Time     // guarded by saving
	saveTook  time.Duration // guarded by saving
	dueBell   Bell
	applyErrs atomic.Uint64
	logErrs   atomic.Uint64
	saveFails atomic.Uint64
	failing   atomic.Bool
	contact   atomic.Int64 // Unix nanoseconds
	news      news
	lease     lease
}

// OpenFollower restores the folders from the snapshot file, so that they can be used at once, with
// the log down. A snapshot that is damaged or of a newer version is put aside (name.bad), said in
// the logger, and the state is folded from the log's start by the next CatchUp or Run.
func OpenFollower(o FollowerOptions) (*Follower, error) {
	if o.Log == nil || len(o.Folders) == 0 {
		return nil, errors.New("open the control log's follower: a log and folders are needed")
	}
	names := map[string]bool{}
	for _, f := range o.Folders {
		if n := f.Name(); n == "" || len(n) > maxFolderName || names[n] {
			return nil, fmt.Errorf("open the control log's follower: folder name %q is empty, too long or taken", n)
		}
		names[f.Name()] = true
	}
	if o.SnapshotEntries <= 0 {
		o.SnapshotEntries = DefaultSnapshotEntries
	}
	if o.SnapshotInterval <= 0 {
		o.SnapshotInterval = DefaultSnapshotInterval
	}
	if o.Batch <= 0 {
		o.Batch = DefaultBatch
	}
	f := &Follower{o: o, log: o.Logger, savedAt: time.Now()}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if err := f.restore(); err != nil {
		return nil, err
	}
	return f, nil
}

// Applied is the position of the last entry folded.
func (f *Follower) Applied() Position { return Position(f.applied.Load()) }

// News is the position of the last entry folded, or being folded, that was no heartbeat, or where the snapshot ends that was begun with; 0
// while there is neither.
func (f *Follower) News() Position { return Position(f.news.pos.Load()) }

// WaitApplied blocks until the entry at a position is folded, or ctx ends (its error).
func (f *Follower) WaitApplied(ctx context.Context, pos Position) error {
	for {
		rung := f.bell.C()
		if f.Applied() >= pos {
			return nil
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return fmt.Errorf("wait until control entry %d is folded (at %d): %w", pos, f.Applied(), ctx.Err())
		}
	}
}

// Stats tells how the follower is doing.
func (f *Follower) Stats() FollowerStats {
	s := FollowerStats{
		Applied: f.Applied(), Snapshot: Position(f.saved.Load()), ApplyErrors: f.applyErrs.Load(),
		LogErrors: f.logErrs.Load(), LogFailing: f.failing.Load(), SnapshotFails: f.saveFails.Load(),
	}
	if ns := f.contact.Load(); ns != 0 {
		s.LastContact = time.Unix(0, ns)
	}
	return s
}

// Fresh says whether a heartbeat, folded here, proves that no more than Lease went by since the log was
// known to its end. It goes by the monotonic clock and may be called at any time.
func (f *Follower) Fresh() bool {
	age, known := f.lease.age()
	return known && age < Lease
}

// FreshUntil is up to when what heartbeats have proved so far makes Fresh true, a time of the monotonic clock; zero while
// nothing was proved.
func (f *Follower) FreshUntil() time.Time { return f.lease.until() }

// HeartbeatAge is for how long the log may have gone on without what is folded here; false while no
// heartbeat has proved anything yet.
func (f *Follower) HeartbeatAge() (time.Duration, bool) { return f.lease.age() }

// CatchUp folds until the position that is the log's head when it is called. It returns the log's
// error as it is, ErrAhead or ErrDiverged where the snapshot is not of this log, and ctx's error.
func (f *Follower) CatchUp(ctx context.Context) error {
	head, err := f.o.Log.Head(ctx)
	if err != nil {
		return fmt.Errorf("catch up with the control log: %w", err)
	}
	for first := true; first || f.Applied() < head; first = false {
		n, err := f.fold(ctx)
		if err != nil {
			return fmt.Errorf("catch up with the control log: %w", err)
		}
		if n == 0 && f.Applied() < head {
			return fmt.Errorf("catch up with the control log: its head is %d, and it holds nothing after %d", head, f.Applied())
		}
	}
	return nil
}

// Run folds what comes until ctx ends, and then returns nil. While the log fails it tries again
// with growing pauses and says so in the logger, once when it begins and once when it is over. It
// returns an error only where it can never go on: ErrAhead, ErrDiverged, ErrClosed.
func (f *Follower) Run(ctx context.Context) error {
	var snapshots sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	snapshots.Go(func() { f.saveWhenDue(ctx) })
	defer snapshots.Wait()
	defer stop()

	failures := 0
	for {
		err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if failures > 0 {
				f.log.Info("control log answers again", "position", f.Applied(), "failures", failures)
			}
			failures = 0
			f.failing.Store(false)
			continue
		case errors.Is(err, ErrAhead), errors.Is(err, ErrDiverged), errors.Is(err, ErrClosed):
			return fmt.Errorf("follow the control log: %w", err)
		}
		f.logErrs.Add(1)
		f.failing.Store(true)
		if failures == 0 {
			f.log.Error("control log fails; trying again, serving what is folded", "position", f.Applied(), "error", err)
		}
		failures++
		if !pause(ctx, failures) {
			return nil
		}
	}
}

// Close writes a last snapshot of what was folded since the one before. It is to be called after
// Run returned; the log stays open.
func (f *Follower) Close() error {
	if f.o.Snapshot == "" || f.Applied() == Position(f.saved.Load()) {
		return nil
	}
	return f.Save()
}

// held says whether no snapshot may be written now.
func (f *Follower) held() bool { return f.o.Hold != nil && f.o.Hold() }

// step folds what is there, or waits for more.
func (f *Follower) step(ctx context.Context) error {
	n, err := f.fold(ctx)
	if err != nil || n > 0 {
		return err
	}
	// A log that says nothing is asked again now and then, to know that it would.
	begin := time.Now()
	quiet, cancel := context.WithTimeout(ctx, longestQuiet)
	defer cancel()
	// A connection's own time-out may come a moment before the context's end.
	if err := f.o.Log.Wait(quiet, f.Applied()); time.Since(begin) < longestQuiet*9/10 {
		return err
	}
	return nil
}

// fold reads and applies one batch and returns its size, 0 at the log's end.
func (f *Follower) fold(ctx context.Context) (int, error) {
	f.folding.Lock()
	defer f.folding.Unlock()
	if !f.verified {
		if err := f.verify(ctx); err != nil {
			return 0, err
		}
		f.verified = true
	}
	began := time.Now()
	entries, err := f.o.Log.Read(ctx, f.Applied(), f.o.Batch)
	if err != nil {
		return 0, err
	}
	at := f.Applied()
	for i := range entries {
		if entries[i].Position <= at {
			return 0, fmt.Errorf("control log answered entry %d after %d: out of order", entries[i].Position, at)
		}
		at = entries[i].Position
	}
	beat := false
	for i := range entries {
		f.apply(&entries[i])
		beat = beat || entries[i].Kind == KindHeartbeat
	}
	end := len(entries) < f.o.Batch // a whole batch may have more behind it, which is not known yet
	if end {
		f.contact.Store(time.Now().UnixNano())
	}
	f.lease.saw(began, beat, end)
	if len(entries) > 0 {
		f.bell.Ring()
	}
	if f.news.unsaved.Load() >= uint64(f.o.SnapshotEntries) {
		f.dueBell.Ring()
	}
	return len(entries), nil
}

func (f *Follower) apply(e *Entry) {
	if e.Kind != KindHeartbeat { // before anybody can see what it says
		f.news.pos.Store(uint64(e.Position))
	}
	if f.o.Before != nil {
		f.o.Before(e)
	}
	for _, folder := range f.o.Folders {
		if err := folder.Apply(*e); err != nil {
			f.applyErrs.Add(1)
			f.log.Error("control entry can't be folded; passed over", "folder", folder.Name(), "position", e.Position, "kind", string(e.Kind), "error", err)
		}
	}
	if f.o.After != nil {
		f.o.After(e)
	}
	f.last = fingerprint(e)
	f.applied.Store(uint64(e.Position))
	if e.Kind != KindHeartbeat {
		f.news.unsaved.Add(1)
	}
}

// verify looks, once per process and before anything is folded, whether the log is the one that
// the snapshot was made of.
func (f *Follower) verify(ctx context.Context) error {
	at := f.Applied()
	if at == 0 {
		return nil
	}
	head, err := f.o.Log.Head(ctx)
	if err != nil {
		return err
	}
	if head < at {
		return fmt.Errorf("%w: %s ends at position %d, the log at %d; was the log restored from an older backup? It lacks campaigns, links and refusals. Put the newer one back",
			ErrAhead, f.o.Snapshot, at, head)
	}
	entries, err := f.o.Log.Read(ctx, at-1, 1)
	if err != nil {
		return err
	}
	// A compacted log may have dropped the entry; then there is nothing to compare.
	if len(entries) > 0 && entries[0].Position == at && fingerprint(&entries[0]) != f.last {
		return fmt.Errorf("%w: they differ at position %d of %s; was the log replaced? Bring its own log back, or move the snapshot away to fold this one",
			ErrDiverged, at, f.o.Snapshot)
	}
	return nil
}

// pause waits before the n-th repetition, between half and all of a doubling span; false when ctx
// ended.
func pause(ctx context.Context, n int) bool {
	span := min(firstPause<<min(n-1, 10), longPause)
	t := time.NewTimer(span/2 + rand.N(span/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
