package aggregate

import (
	"sync"
	"sync/atomic"
	"time"
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
	// Lost is how many events could not be read any more.
	Lost uint64
	// LastCommit is when something was committed last, zero if never.
	LastCommit time.Time
}

// status is what others may ask of a Runner while it runs.
type status struct {
	offset, context                    atomic.Uint64
	held, lastCommit                   atomic.Int64
	commits, events, retries, restarts atomic.Uint64
	lost                               atomic.Uint64

	mu    sync.Mutex
	since time.Time
	err   error
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
}

// fault notes what keeps the runner from counting, or that nothing does.
func (s *status) fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || err == nil {
		s.since = time.Now()
	}
	s.err = err
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
	return stats
}

// Fault is what keeps the runner from counting, and since when; nil if nothing does. Events are
// safe in the source meanwhile. It may be called at any time.
func (r *Runner) Fault() (since time.Time, err error) {
	r.status.mu.Lock()
	defer r.status.mu.Unlock()
	return r.status.since, r.status.err
}
