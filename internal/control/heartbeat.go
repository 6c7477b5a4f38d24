package control

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// KindHeartbeat is a record that says nothing but that the log takes records. Its owner is this
// package; folders ignore it.
const KindHeartbeat Kind = "heartbeat"

const (
	// HeartbeatEvery is how often each admin writes a heartbeat.
	HeartbeatEvery = 250 * time.Millisecond
	// Lease is how long after a heartbeat, at the earliest moment that it can have been appended, what
	// was folded is taken for all there is.
	Lease = 2 * time.Second

	heartbeatKey     = "admin" // one for all admins: compaction keeps one
	heartbeatTimeout = Lease
)

// Heartbeat is the record that Beat writes.
func Heartbeat() Record {
	return Record{Kind: KindHeartbeat, Key: heartbeatKey, Time: time.Now().UTC(), Body: []byte("{}")}
}

// Beat writes a heartbeat every HeartbeatEvery until ctx ends, and returns nil. A log that fails is tried
// again at the next beat; it is said once, and once when it is over. Several may beat at a time.
func Beat(ctx context.Context, log Log, logger *slog.Logger) error {
	tick := time.NewTicker(HeartbeatEvery)
	defer tick.Stop()
	for failing := false; ; {
		bound, cancel := context.WithTimeout(ctx, heartbeatTimeout)
		_, err := log.Append(bound, Heartbeat())
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			logger.Error("the control log takes no heartbeat; without one edges ship nothing and nothing is counted", "error", err)
		case err == nil && failing:
			logger.Info("the control log takes heartbeats again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lease is what a follower can prove of its knowledge's age, by its own monotonic clock alone: neither
// the heartbeats' times nor the moment at which one is received say when it was appended.
//
// A heartbeat that a read finds behind the end that an earlier read came to was appended after that
// earlier read began; the lease runs from there. What a follower finds when it catches up, after its
// start or a pause, is no proof: it may have been there for long. Where the lease had run out, the first
// such heartbeat is no proof either, since the earlier read may have been answered by a broker that had
// been cut off, and this one by its successor: the second is. For the same reason a heartbeat counts only once a
// read has come to the end behind it: a successor may have more than one read brings, and older than that.
type lease struct {
	mu    sync.Mutex
	end   time.Time // when the last read that came to the log's end began; zero: none since the last gap
	came  bool      // a heartbeat that such a read had not found came since, and no end yet
	beat  time.Time // when such a heartbeat, and the end behind it, last came; zero: never
	proof time.Time // the log was known up to here; zero: never
}

// saw takes in a read that began at a time: whether there was a heartbeat in it, and whether it came
// to the log's end.
func (l *lease) saw(began time.Time, beat, atEnd bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.end) >= Lease {
		l.end, l.came = time.Time{}, false // a pause: what comes now may be old
	}
	l.came = l.came || beat && !l.end.IsZero()
	if !atEnd {
		return
	}
	if l.came {
		if time.Since(l.beat) < Lease {
			l.proof = l.end
		}
		l.beat = time.Now()
	}
	l.end, l.came = began, false
}

// proven is the moment up to which the log is known; false if there is none.
func (l *lease) proven() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proof, !l.proof.IsZero()
}

// age is for how long the log may have gone on without this follower; false if that was never known.
func (l *lease) age() (time.Duration, bool) {
	proof, known := l.proven()
	if !known {
		return 0, false
	}
	return time.Since(proof), true
}

// until is when the lease runs out, or ran out; zero if there never was one.
func (l *lease) until() time.Time {
	proof, known := l.proven()
	if !known {
		return time.Time{}
	}
	return proof.Add(Lease)
}
