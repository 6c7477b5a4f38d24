package spool

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// LatencyBuckets is the number of buckets of Stats.Latency.
const LatencyBuckets = 20

// counters are what Stats adds up; all are of this process.
type counters struct {
	commits, events, commitNanos atomic.Uint64
	failed, refused              atomic.Uint64
	damaged, skipped, readFailed atomic.Uint64
	prepareFailed, renewFailed   atomic.Uint64
	latency                      [LatencyBuckets]atomic.Uint64
}

// commit counts one successful commit.
func (c *counters) commit(events uint64, d time.Duration) {
	c.commits.Add(1)
	c.events.Add(events)
	c.commitNanos.Add(uint64(d))
	c.latency[latencyBucket(d)].Add(1)
}

func latencyBucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d, 0)/(16*time.Microsecond))), LatencyBuckets-1)
}

// Stats is how a spool stands. Bytes, Segments, Next and Oldest describe the folder; the rest counts since Open.
type Stats struct {
	Healthy  bool
	Next     uint64 // the number that the next event will get: all below are durable
	First    uint64 // the first number that may still be read
	Segments int
	Bytes    int64 // on disk, with the segment that is prepared; without what is kept as .bad

	// Oldest is when the oldest event came that was not trimmed, zero if there is none; Age is how long ago
	// that is.
	Oldest time.Time
	Age    time.Duration

	Commits    uint64        // commits that worked; each is one write and one sync
	Events     uint64        // events in them
	CommitTime time.Duration // how long they took together
	// Latency counts commits by duration: bucket i holds those below 16 µs × 2^i that are in no
	// earlier one, the last one all the others too.
	Latency [LatencyBuckets]uint64

	FailedAppends  uint64 // events that the disk did not take: they are lost
	RefusedAppends uint64 // events that event.Check refused
	FailedReads    uint64 // reads that the disk refused
	FailedPrepares uint64 // segments that could not be prepared ahead, which only costs time
	FailedRenewals uint64 // segments that could not be renewed in time: counted events stay on disk for longer
	Damaged        uint64 // damaged places that were found
	Skipped        uint64 // events that readers had to skip, each as often as it was
	Truncated      int64  // bytes of a torn end that Open cut off
}

// Stats returns the present numbers. It is cheap enough for every scrape, and does not stop appends for
// longer than a lock.
func (s *Spool) Stats() Stats {
	c := &s.stats
	st := Stats{
		Healthy:        s.Healthy() == nil,
		Next:           s.durable.Load(),
		Commits:        c.commits.Load(),
		Events:         c.events.Load(),
		CommitTime:     time.Duration(c.commitNanos.Load()),
		FailedAppends:  c.failed.Load(),
		RefusedAppends: c.refused.Load(),
		FailedReads:    c.readFailed.Load(),
		FailedPrepares: c.prepareFailed.Load(),
		FailedRenewals: c.renewFailed.Load(),
		Damaged:        c.damaged.Load(),
		Skipped:        c.skipped.Load(),
		Truncated:      s.truncated,
	}
	for i := range st.Latency {
		st.Latency[i] = c.latency[i].Load()
	}
	if len(s.prepared) > 0 {
		st.Bytes += s.opt.SegmentBytes
	}
	s.segMu.Lock()
	defer s.segMu.Unlock()
	st.Segments = len(s.segs)
	st.First = st.Next
	for i, g := range s.segs {
		if i == 0 {
			st.First = g.first
		}
		st.Bytes += g.disk.Load()
		if ms := g.since.Load(); ms != 0 && st.Oldest.IsZero() {
			st.Oldest = time.UnixMilli(ms)
			st.Age = max(time.Since(st.Oldest), 0)
		}
	}
	return st
}
