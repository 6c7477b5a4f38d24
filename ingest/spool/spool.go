// Package spool is the edge's write-ahead log: an event is acknowledged only after a group commit put it
// on disk, and is read from there, once and in order, whatever happened in between. README.md
// beside this file is the design, FORMAT.md the specification of the files.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/ingest/event"
)

// Sizes of a segment.
const (
	DefaultSegmentBytes = 8 << 20
	MinSegmentBytes     = 4 << 10
	MaxSegmentBytes     = 1 << 30
)

const (
	defaultStall  = 5 * time.Second
	defaultLinger = 5 * time.Millisecond
	defaultRetry  = 10 * time.Millisecond
	defaultRenew  = 5 * time.Minute
	maxRetry      = time.Second

	// maxBatch is the most events in one commit; an Append beyond waits for the next.
	maxBatch = 4096
	// maxYields is how often the committer steps back at most before it takes a batch.
	maxYields = 4
)

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("spool: closed")

// ErrStalled is the cause of an UnavailableError when a commit takes longer than Options.Stall.
var ErrStalled = errors.New("the disk has not answered in time")

// UnavailableError tells why the disk takes no events at the moment. The spool heals by itself.
type UnavailableError struct {
	Since time.Time // when the first of the failures in a row was
	Err   error     // what the disk said last
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("spool: events can't be made durable since %s: %v", e.Since.UTC().Format(time.RFC3339), e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Options say how a spool is opened. Dir is required; zero values mean the defaults.
type Options struct {
	// Dir is the spool's folder. It is created if it is missing. Nobody else may write to it: the caller
	// holds a lock on it or on a folder above.
	Dir string
	// FS is the file system, OS by default.
	FS FS
	// SegmentBytes is the size of a segment, 8 MiB by default, 4 KiB to 1 GiB.
	SegmentBytes int64
	// Known says that this folder was opened before, as the consumer's own progress shows. If it holds no segment
	// now, Open refuses it with ErrLost in place of beginning anew.
	Known bool
	// AcceptLoss opens a folder that would be refused with ErrLost: a new epoch begins, and what was in the segments is
	// given up.
	AcceptLoss bool
	// Next is a lower bound of the next sequence number: where the consumer's own progress stands. Numbers
	// below it are never handed out (again), even where the folder was lost.
	Next uint64
	// Stall is how long a commit may take before the spool gives it up, 5 s by default: the events in it fail, and
	// others fail fast until the disk answers.
	Stall time.Duration
	// Linger is how long a Reader that caught up waits for more events after the first, 5 ms by
	// default, so that it does not run once for every commit. Negative: not at all.
	Linger time.Duration
	// Renew is how long a segment is written to once events in it were released by Trim, 5 min by default: after that
	// another one takes over, full or not, so that Trim can delete it. It costs the zeros of one segment.
	Renew time.Duration
	// OnCommit, if set, is called after every successful commit with the number of its events and how long writing
	// and syncing took. It is called by the commit loop: it must be quick and must not call the spool.
	OnCommit func(events int, d time.Duration)
	// Logger hears when the disk fails and heals, and of damage. Nothing by default.
	Logger *slog.Logger

	retry time.Duration // the first pause between two tries to heal; tests make it short
}

func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("spool: no folder given")
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes {
		return fmt.Errorf("spool: segment size %d is not between %d and %d bytes", o.SegmentBytes, MinSegmentBytes, MaxSegmentBytes)
	}
	if o.Next > maxNumber {
		return fmt.Errorf("spool: the consumer's position %d can't be", o.Next)
	}
	if o.FS == nil {
		o.FS = OS
	}
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	if o.Renew <= 0 {
		o.Renew = defaultRenew
	}
	if o.retry <= 0 {
		o.retry = defaultRetry
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Spool is an open spool folder. All methods may be called concurrently.
type Spool struct {
	opt Options
	fs  FS
	dir string
	id  identity
	// batchRoom is how many events a batch holds.
	batchRoom int

	mu       sync.Mutex // the appenders' and the committer's; nobody waits for the disk under it
	cur      *batch     // gathers events for the next commit; never nil
	inflight *batch     // is being committed, or nil
	since    time.Time  // when the commit of inflight began
	idle     bool       // the committer sleeps and wants a kick
	closing  bool
	down     *UnavailableError
	space    sync.Cond // an Append waits for room in cur

	free chan *batch   // batches to use again
	kick chan struct{} // wakes the committer
	stop chan struct{} // closed by Close
	done chan struct{} // closed when the committer has ended

	durable atomic.Uint64 // all numbers below are committed, and readable

	segMu    sync.Mutex
	segs     []*segment // by first number; the last one is written to
	rubbish  []*segment // taken out of segs by Trim and still on disk
	released uint64     // Trim was told that nobody wants what is below
	trimmed  uint64     // Trim deleted all below
	trimMu   sync.Mutex // one Trim at a time, before segMu

	parkMu sync.Mutex
	parked map[*Reader]struct{} // readers that want to hear of the next commit
	queue  atomic.Int32         // how many there are, so that a commit without any costs nothing

	prepared chan *preparedFile // at most one: the next segment
	prepare  chan struct{}      // asks for it
	renew    chan struct{}      // asks the committer to renew the segment
	renewed  chan struct{}      // tells that it did
	helpers  sync.WaitGroup     // preparer, watchdog and tidy

	stats     counters
	truncated int64 // bytes of a torn end that Open cut off
}

// batch is what one commit makes durable. It is filled under Spool.mu, then belongs to the committer until its
// waiters are released, and is used again when the last of them has read the outcome.
type batch struct {
	frame []byte // room for a frame's header, then the events
	n     int
	// done holds the waiters back; a WaitGroup of one, since it wakes many at once, allocates
	// nothing, and can be used again (see README.md).
	done sync.WaitGroup
	err  error        // the outcome, written before done
	refs atomic.Int32 // who still looks at it: the waiters, and the committer
}

func (s *Spool) newBatch() *batch {
	var b *batch
	select {
	case b = <-s.free:
		b.n, b.err = 0, nil
	default:
		b = &batch{frame: make([]byte, event.FrameHeaderSize+s.batchRoom*event.Size)}
	}
	b.done.Add(1)
	return b
}

// drop gives up one hold on a batch.
func (s *Spool) drop(b *batch) {
	if b.refs.Add(-1) > 0 {
		return
	}
	select {
	case s.free <- b:
	default: // enough are free; the garbage collector takes this one
	}
}

// Append makes an event durable and returns nil, or returns an error and the event will not be read while this
// Spool is open. An event that event.Check refuses is its error; a disk that fails is an
// *UnavailableError; ErrClosed after Close. It blocks for the commit under way and its own, never for longer than
// about twice Options.Stall, and does not allocate. ev stays the caller's.
func (s *Spool) Append(ev *event.Event) error {
	if err := ev.Check(); err != nil {
		s.stats.refused.Add(1)
		return err
	}
	s.mu.Lock()
	for {
		if s.closing {
			s.mu.Unlock()
			return ErrClosed
		}
		if down := s.down; down != nil {
			s.mu.Unlock()
			s.stats.failed.Add(1)
			return down
		}
		if s.cur.n < s.batchRoom {
			break
		}
		s.space.Wait()
	}
	b := s.cur
	ev.Put(b.frame[event.FrameHeaderSize+b.n*event.Size:])
	b.n++
	wake := s.idle
	s.idle = false
	s.mu.Unlock()
	if wake {
		select {
		case s.kick <- struct{}{}:
		default: // one is waiting for it already
		}
	}
	b.done.Wait()
	err := b.err
	s.drop(b)
	return err
}

// gather lets the goroutines that are ready to run come first, for as long as what they append still
// makes the batch grow: under load a commit carries many more events, which is most of its price (README.md), and
// an idle machine loses nothing.
func (s *Spool) gather() {
	before := -1
	for range maxYields {
		runtime.Gosched()
		s.mu.Lock()
		n := s.cur.n
		s.mu.Unlock()
		if n <= before || n == s.batchRoom || n == 0 {
			return
		}
		before = n
	}
}

// take swaps the batches and returns the one to commit; nil, and idle set, if nothing was appended.
func (s *Spool) take() *batch {
	s.gather()
	fresh := s.newBatch()
	s.mu.Lock()
	b := s.cur
	if b.n == 0 {
		s.idle = !s.closing
		s.mu.Unlock()
		fresh.done.Done()
		fresh.refs.Store(1)
		s.drop(fresh)
		return nil
	}
	full := b.n == s.batchRoom
	s.cur, s.inflight, s.since = fresh, b, time.Now()
	b.refs.Store(int32(b.n) + 1)
	s.mu.Unlock()
	if full {
		s.space.Broadcast()
	}
	return b
}

// settle tells the waiters of b the outcome and lets the committer's hold on it go. It reports whether
// that was still to do: a batch that took too long was given up meanwhile. published runs first, and
// only for a batch that was not given up and did not fail.
func (s *Spool) settle(b *batch, err error, publish func()) bool {
	s.mu.Lock()
	mine := s.inflight == b
	if mine {
		s.inflight = nil
		if err == nil {
			publish()
		}
	}
	s.mu.Unlock()
	if mine {
		s.release(b, err)
	}
	s.drop(b)
	return mine
}

// release wakes the waiters of b.
func (s *Spool) release(b *batch, err error) {
	if err != nil {
		s.stats.failed.Add(uint64(b.n))
	}
	b.err = err
	b.done.Done()
}

// fail makes every Append fail fast from now on, and the one gathered batch with it.
func (s *Spool) fail(err error) *UnavailableError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failLocked(err)
}

func (s *Spool) failLocked(err error) *UnavailableError {
	down := &UnavailableError{Since: time.Now(), Err: err}
	if s.down != nil {
		down.Since = s.down.Since
	} else {
		s.opt.Logger.Error("spool: the disk does not take events; they are lost until it heals", "error", err)
	}
	s.down = down
	s.space.Broadcast()
	return down
}

// heal lets appends through again.
func (s *Spool) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		s.opt.Logger.Info("spool: the disk takes events again", "down_for", time.Since(s.down.Since))
		s.down = nil
	}
}

// Healthy returns nil, or an *UnavailableError that says why the disk takes no events, or ErrClosed.
func (s *Spool) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return ErrClosed
	case s.down != nil:
		return s.down
	}
	return nil
}

// Identity returns whose events these are: the edge, and the life of its folder.
func (s *Spool) Identity() (edge, epoch uint64) { return s.id.edge, s.id.epoch }

// Close commits what was appended before it, wakes whoever waits, and closes the folder. If Trim has released all events
// by then, none of them stays on disk. A disk that does
// not answer holds it up for Options.Stall at most; the error says so. Readers must be
// closed by their owners. A second Close returns ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closing = true
	s.space.Broadcast()
	s.mu.Unlock()
	close(s.stop)
	ended := make(chan struct{})
	go func() {
		<-s.done
		s.helpers.Wait()
		close(ended)
	}()
	// The watchdog ends by the stop: this is its last duty.
	giveUp := time.NewTimer(s.opt.Stall)
	defer giveUp.Stop()
	select {
	case <-ended:
		return s.removePrepared()
	case <-giveUp.C:
		s.giveUpCommit()
		return fmt.Errorf("spool: close: %w", ErrStalled)
	}
}
