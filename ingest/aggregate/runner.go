package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// DefaultInterval is how often counts are committed.
	DefaultInterval = 250 * time.Millisecond
	// DefaultMaxCommit is how many events a commit holds before its time has come.
	DefaultMaxCommit = 250_000

	commitTimeout = 30 * time.Second
	stopTimeout   = 10 * time.Second
	leastBackoff  = 50 * time.Millisecond
	freshPause    = 20 * time.Millisecond
	mostBackoff   = 5 * time.Second
	// feedTries is how often in a row a feed may fail before it is opened anew.
	feedTries = 10
)

// RunnerOptions are what a Runner is made of. Source, Store, and Fold's Consent and Campaigns are
// needed.
type RunnerOptions struct {
	Source Source
	Store  Store
	Fold   FoldOptions
	// Interval is how often counts are committed; DefaultInterval if 0.
	Interval time.Duration
	// MaxCommit is how many events make a commit due before; DefaultMaxCommit if 0. Where commits come too late for FreshUntil it
	// is less, for as long as need be.
	MaxCommit int
	// FreshUntil is up to when Fold's Consent and Campaigns are taken to know of all changes; nil is for ever. Once
	// that is past nothing is read, nothing is sent to the store, and the store takes nothing that was sent (Commit.Until). What
	// was folded before is folded anew afterwards, since who is in it may have refused meanwhile.
	// It is asked after events were read and before Consent is asked about them: then it need only speak of events that were
	// recorded before.
	FreshUntil func() time.Time
	// StopTimeout is how long the last commit may take once Run is told to stop; 10 s if 0.
	StopTimeout time.Duration
	// Committed is told of each commit, if it is set: how many events, and how long it took.
	Committed func(events int, took time.Duration)
	// Lost is told of events that can't be read any more, if it is set.
	Lost   func(events uint64)
	Logger *slog.Logger
}

// Runner owns one partition: it reads the source, folds, commits, and trims the source up to what
// will never be read again. What is not committed stays in the source: stopping, or dying, at any
// moment loses nothing and counts nothing twice.
type Runner struct {
	o      RunnerOptions
	size   size // of commits
	status status
}

// NewRunner checks the options.
func NewRunner(o RunnerOptions) (*Runner, error) {
	if o.Source == nil || o.Store == nil {
		return nil, errors.New("aggregate: a runner needs a source and a store")
	}
	if err := o.Fold.complete(); err != nil {
		return nil, fmt.Errorf("aggregate: %w", err)
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.MaxCommit <= 0 {
		o.MaxCommit = DefaultMaxCommit
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = stopTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	stream, partition := SplitPartition(o.Fold.Partition)
	o.Logger = o.Logger.With("partition", partition)
	if stream > 0 {
		o.Logger = o.Logger.With("stream", stream)
	}
	r := &Runner{o: o, size: size{usual: o.MaxCommit}}
	r.status.reasons = none()
	return r, nil
}

var (
	// errRestart: the store stands somewhere else than the fold thinks.
	errRestart = errors.New("the stored progress is another than expected")
	// errOutdated: what is folded and not stored is from before a time in which somebody may have refused.
	errOutdated = errors.New("it is not known who refused since the events were folded")
)

// Run works until ctx ends, and then commits what is ready. Faults of the source and the store are
// logged and outlasted. It returns nil, or why the last commit failed; that is no loss, the next
// Run counts those events. Only ErrBroken, of the source or the store, ends it before ctx does. It must not be called twice at a time.
func (r *Runner) Run(ctx context.Context) error {
	// Commits outlive ctx for a while: one that is under way when the end comes should be whole.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(r.o.StopTimeout, cancel) })()
	retry := backoff{}
	for {
		start := time.Now()
		err := r.own(ctx, hard)
		if err == nil || ctx.Err() != nil {
			r.status.calm()
			return err
		}
		if errors.Is(err, ErrBroken) {
			r.status.failed(reading, err)
			r.o.Logger.Error("the stream is broken; nothing of this partition is counted until a person decides", "error", err)
			return err
		}
		if time.Since(start) > mostBackoff {
			retry = backoff{}
		}
		r.status.restarts.Add(1)
		r.o.Logger.Warn("folding starts anew from the stored progress", "error", err)
		sleep(ctx, retry.next())
	}
}

// own folds from the stored progress on until ctx ends (nil, or why the last commit failed), or
// until it must start anew (why).
func (r *Runner) own(ctx, hard context.Context) error {
	p, err := r.progress(ctx)
	if err != nil {
		return stopped(ctx, err)
	}
	r.status.stored(p)
	feed, err := r.o.Source.Open(p.Context, p.Offset)
	if err != nil {
		r.status.failed(opening, err)
		return stopped(ctx, fmt.Errorf("open the stream at %d: %w", p.Context, err))
	}
	r.status.settle(opening)
	defer func() {
		if err := feed.Close(); err != nil {
			r.o.Logger.Warn("closing the stream failed", "error", err)
		}
	}()
	fold, err := NewFold(p, r.o.Fold)
	if err != nil {
		return err
	}
	o := &owner{Runner: r, feed: feed, fold: fold, at: time.Now(), counted: p.Offset}
	defer fold.Release()
	fold.Bound(r.size.bound())
	// What was counted before a restart is of no more use either, and nothing else may come for long.
	r.trim(p.Context)
	for ctx.Err() == nil {
		if err := o.step(ctx, hard); err != nil {
			return stopped(ctx, err)
		}
	}
	return o.last(hard)
}

// stopped is no error where one is only the end of ctx.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// owner is a Runner between two starts.
type owner struct {
	*Runner
	feed    Feed
	fold    *Fold
	at      time.Time // of the last commit, or when it was found that there is nothing to commit
	counted uint64    // the stored offset
	fails   int       // of the feed, in a row
	// What waits for its commit was folded while FreshUntil held all along, as of known; or else it is outdated.
	known    time.Time
	outdated bool
	retry    backoff
	retryAt  time.Time
}

// step reads once, or commits what is due, or waits.
func (o *owner) step(ctx, hard context.Context) error {
	now := time.Now()
	if !o.fresh() {
		sleep(ctx, freshPause)
		return nil
	}
	if o.outdated {
		return errOutdated
	}
	if o.due(now) {
		return o.commit(hard)
	}
	until := o.wake()
	if pause := o.retryAt; o.fold.Full() || now.Before(pause) {
		if until.IsZero() || now.Before(pause) && pause.Before(until) {
			until = pause
		}
		sleep(ctx, until.Sub(now))
		return nil
	}
	if o.fold.Ready() > 0 && !o.known.IsZero() { // to look again before it runs out
		if again := now.Add(o.known.Sub(now) / 2); until.IsZero() || again.Before(until) {
			until = again
		}
	}
	return o.read(ctx, until)
}

// fresh says whether all that is to be known is known now, and notes whether it was all along.
func (o *owner) fresh() bool {
	until := o.freshUntil() // first: what runs out after the look at known may be renewed before the look at this
	o.outdated = o.outdated || o.fold.Ready() > 0 && late(o.known)
	o.known = until
	return !late(o.known)
}

// freshUntil is up to when what is known is taken for all there is, zero for ever.
func (o *owner) freshUntil() time.Time {
	if o.o.FreshUntil == nil {
		return time.Time{}
	}
	if until := o.o.FreshUntil(); !until.IsZero() {
		return until
	}
	return time.Unix(0, 0) // it was never known
}

func late(until time.Time) bool { return !until.IsZero() && !time.Now().Before(until) }

// last commits what can be at the end. What may not be counted is read again by the next owner.
func (o *owner) last(ctx context.Context) error {
	if o.outdated || late(o.known) || late(o.freshUntil()) {
		return nil
	}
	return o.commit(ctx)
}

// due says whether it is time to commit.
func (o *owner) due(now time.Time) bool {
	if o.fold.Ready() >= o.size.due() {
		return true
	}
	if now.Sub(o.at) < o.o.Interval {
		return false
	}
	at, held := o.fold.Due()
	return o.fold.Behind() || held && !at.After(now)
}

// wake is when it will be time to commit if nothing more comes; zero if never.
func (o *owner) wake() time.Time {
	next := o.at.Add(o.o.Interval)
	if o.fold.Behind() {
		return next
	}
	at, held := o.fold.Due()
	if !held {
		return time.Time{}
	}
	if at.After(next) {
		return at
	}
	return next
}

func (o *owner) read(ctx context.Context, until time.Time) error {
	limited := ctx
	if !until.IsZero() {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	b, err := o.feed.Next(limited)
	if b.Lost > 0 && b.Offset > o.counted {
		o.status.lost.Add(b.Lost)
		o.o.Logger.Error("events can't be read any more and are lost", "events", b.Lost, "before", b.Offset)
		if o.o.Lost != nil {
			o.o.Lost(b.Lost)
		}
	}
	for !o.fresh() { // it may have become so while there was nothing to read
		if ctx.Err() != nil {
			return nil // who reads it next judges it
		}
		sleep(ctx, freshPause)
	}
	if err == nil || len(b.Events) > 0 || b.Lost > 0 {
		o.fold.Add(b, time.Now())
		o.status.held.Store(int64(o.fold.Held()))
	}
	switch {
	case err == nil:
		o.status.settle(reading)
		if o.fails > 0 {
			o.fails, o.retry = 0, backoff{}
			o.o.Logger.Info("the stream can be read again")
		}
		return nil
	case limited.Err() != nil && errors.Is(err, limited.Err()):
		return nil // the time to commit, or to stop
	}
	if errors.Is(err, ErrBroken) {
		return errors.Join(err, o.last(ctx))
	}
	if o.fails == 0 {
		o.o.Logger.Warn("the stream can't be read; trying again", "error", err)
	}
	o.status.failed(reading, err)
	if o.fails++; o.fails >= feedTries {
		return fmt.Errorf("read the stream: %w", err)
	}
	o.retryAt = time.Now().Add(o.retry.next())
	return nil
}

// commit commits what can be, until it is certain that it is stored. It returns errRestart if the
// store stands elsewhere, errOutdated if it is not stored by the end of what is known now, or ctx's error. A commit that is given up
// may still be under way: like a rival's it starts from the same offset, so one of them counts.
func (o *owner) commit(ctx context.Context) error {
	until := o.freshUntil()
	if late(o.known) { // whoever slept between the two looks may have missed that it ran out and was renewed
		return errOutdated
	}
	o.at = time.Now()
	c := o.fold.Take(o.at)
	o.status.held.Store(int64(o.fold.Held()))
	if c == nil {
		return nil
	}
	c.Until = until
	events := o.fold.tally.events
	o.status.beginCommit(c.After.Offset)
	retry, failing := backoff{}, false
	for {
		err := o.try(ctx, c)
		if err == nil {
			break
		}
		o.status.retries.Add(1)
		o.status.failed(storing, err)
		if !failing {
			failing = true
			o.o.Logger.Warn("a commit failed; asking the store how far it is", "error", err)
		}
		// Whatever the error says, the stored progress is the only authority.
		p, perr := o.progress(ctx)
		if perr != nil {
			return errors.Join(err, perr)
		}
		if p.Offset == c.After.Offset {
			break
		}
		if p.Offset != c.Before {
			return fmt.Errorf("%w: %d, neither %d nor %d", errRestart, p.Offset, c.Before, c.After.Offset)
		}
		if c.Late() {
			o.size.late(events)
			return fmt.Errorf("%w: %w; a commit of %d events was late, the next hold up to %d", errOutdated, err, events, o.size.due())
		}
		sleep(ctx, retry.next())
	}
	if failing {
		o.o.Logger.Info("the commit is stored")
	}
	took := time.Since(o.at)
	o.at = o.at.Add(took)
	o.counted = c.After.Offset
	o.size.stored(events, took, time.Until(c.Until))
	o.fold.Bound(o.size.bound())
	o.status.committed(c, events)
	if o.o.Committed != nil {
		o.o.Committed(events, took)
	}
	o.trim(c.After.Context)
	o.fold.Applied() // the last use of c
	return nil
}

// trim lets the source give up what will not be read again.
func (r *Runner) trim(before uint64) {
	if err := r.o.Source.Trim(before); err != nil {
		r.o.Logger.Warn("the stream can't be trimmed; it stays longer than it need", "before", before, "error", err)
	}
}

func (r *Runner) try(ctx context.Context, c *Commit) error {
	if c.Late() {
		return ErrLate
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return r.o.Store.Commit(ctx, c)
}

// progress reads the stored progress, as long as it takes, unless there is none to go on from.
func (r *Runner) progress(ctx context.Context) (Progress, error) {
	r.status.begin(asking)
	for retry := (backoff{}); ; {
		p, err := r.o.Store.Progress(ctx, r.o.Fold.Partition)
		if err == nil {
			r.status.settle(asking)
			return p, nil
		}
		if ctx.Err() != nil {
			return Progress{}, ctx.Err()
		}
		if errors.Is(err, ErrBroken) {
			return Progress{}, err
		}
		if retry == (backoff{}) {
			r.o.Logger.Warn("the stored progress can't be read; trying again", "error", err)
		}
		r.status.failed(asking, err)
		sleep(ctx, retry.next())
	}
}

// backoff is the time between two tries: twice as long each time.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, leastBackoff), mostBackoff)
	return b.last
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
