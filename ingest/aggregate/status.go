package aggregate

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/ingest/event"
)

// Stats is how a Runner is doing.
type Stats struct {
	// Offset is the first position that is not counted, Context where reading would start.
	Offset, Context uint64
	// Held is how many events are in memory, counted or not.
	Held int
	// Commits, and the Events in them, since the start; Retries are tries that failed, Restarts how
	// often folding began anew from the stored progress.
	Commits, Events, Retries, Restarts uint64
	// Reasons are the Events by their reason, which is the index; those after event.Counted were suppressed.
	Reasons []uint64
	// Lost is how many events could not be read any more.
	Lost uint64
	// LastCommit is when something was committed last, zero if never.
	LastCommit time.Time
}

// matter is what a Runner may be kept from.
type matter int

const (
	asking  matter = iota // for the stored progress
	opening               // the stream
	reading               // the stream
	storing               // a commit

	matters
)

var errSilent = errors.New("the store does not answer")

// trouble is what is under way since a time, and why it failed last.
type trouble struct {
	since time.Time // zero: nothing is under way
	err   error
}

// status is what others may ask of a Runner while it runs.
type status struct {
	offset, context                    atomic.Uint64
	held, lastCommit                   atomic.Int64
	commits, events, retries, restarts atomic.Uint64
	lost                               atomic.Uint64

	mu       sync.Mutex
	troubles [matters]trouble
	target   uint64 // what is stored once the commit that is under way is
	reasons  []uint64
}

func (s *status) at(p Progress) {
	s.offset.Store(p.Offset)
	s.context.Store(p.Context)
}

func (s *status) committed(c *Commit, events int) {
	s.at(c.After)
	s.commits.Add(1)
	s.events.Add(uint64(events))
	s.lastCommit.Store(time.Now().UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles[storing] = trouble{}
	for i := range c.Counts {
		s.reasons[c.Counts[i].Reason] += c.Counts[i].N
	}
}

// begin notes that something is under way.
func (s *status) begin(m matter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := &s.troubles[m]; t.since.IsZero() {
		t.since = time.Now()
	}
}

// beginCommit notes that a commit is under way, until that much is stored.
func (s *status) beginCommit(target uint64) {
	s.begin(storing)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

// failed notes why something that goes on failed.
func (s *status) failed(m matter, err error) {
	s.begin(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles[m].err = err
}

// settle notes that something works.
func (s *status) settle(m matter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles[m] = trouble{}
}

// calm forgets all trouble: nothing is to be done any more.
func (s *status) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = [matters]trouble{}
}

// stored notes what is stored, by whomever: a commit that failed may be among it.
func (s *status) stored(p Progress) {
	s.at(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Offset >= s.target {
		s.troubles[storing] = trouble{}
	}
}

// Stats may be called at any time.
func (r *Runner) Stats() Stats {
	s := &r.status
	stats := Stats{
		Offset: s.offset.Load(), Context: s.context.Load(), Held: int(s.held.Load()),
		Commits: s.commits.Load(), Events: s.events.Load(), Retries: s.retries.Load(), Restarts: s.restarts.Load(),
		Lost: s.lost.Load(),
	}
	if at := s.lastCommit.Load(); at != 0 {
		stats.LastCommit = time.Unix(0, at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Reasons = slices.Clone(s.reasons)
	return stats
}

// Fault is what keeps the runner from counting, and since when; nil if nothing does. Events are
// safe in the source meanwhile. It may be called at any time.
func (r *Runner) Fault() (since time.Time, err error) {
	return r.oldest(func(t *trouble) bool { return t.err != nil })
}

// Stuck is what has kept the runner from counting for longer than patience, and since when: a Fault, or a call of the
// store that has not come back. nil if nothing has. It may be called at any time.
func (r *Runner) Stuck(patience time.Duration) (since time.Time, err error) {
	return r.oldest(func(t *trouble) bool { return time.Since(t.since) > patience })
}

// oldest is the oldest trouble of those that count.
func (r *Runner) oldest(counts func(*trouble) bool) (since time.Time, err error) {
	s := &r.status
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.troubles {
		t := &s.troubles[i]
		if t.since.IsZero() || !counts(t) || err != nil && !t.since.Before(since) {
			continue
		}
		if since, err = t.since, t.err; err == nil {
			err = errSilent
		}
	}
	return since, err
}

// none is a count of nothing by each reason.
func none() []uint64 { return make([]uint64, len(event.Reasons())) }
