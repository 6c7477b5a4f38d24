package control

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	echoBatch = 512
	// echoGap is how long reading the echo log may pause before what was heard is no longer trusted to be all:
	// it is well below the time after which the log may drop a record.
	echoGap = 10 * time.Second
	// forgetAfter is how long a voice that is over is kept.
	forgetAfter = time.Minute
	// patienceOfOthers is how long it takes at most until everybody who has not folded an entry has lost the
	// leave to use what it folded.
	patienceOfOthers = Lease + Margin
)

// Echoes is what all roles say in the echo log, and answers whether what is in the control log holds
// everywhere. All methods may be called concurrently.
type Echoes struct {
	log      Log
	follower *Follower
	id       string
	logger   *slog.Logger
	bell     Bell
	asked    chan struct{} // somebody wants a mark

	mu      sync.Mutex
	want    uint64               // the newest mark that somebody wants
	began   map[uint64]time.Time // when each mark that may still come began to be written
	mark    uint64               // the newest mark that was read
	markAt  time.Time            // when it began to be written
	since   time.Time            // all echoes that were written from here on are folded, up to the mark; zero: none
	voices  map[string]*voice
	settled Position // holds everywhere, and so does all before it
	failing bool
	stats   EchoesStats
}

// voice is what one life of a role said last.
type voice struct {
	echoBody
	heard time.Time // when it was read, which is after it was written
}

// lost says whether at a moment, up to which all that was written was read, the role had no leave.
func (v *voice) lost(at time.Time) bool { return !v.Open || at.Sub(v.heard) >= patienceOfOthers }

// NewEchoes makes the fold of an echo log; follower is this process's own of the control log. A nil logger is silent.
func NewEchoes(log Log, follower *Follower, logger *slog.Logger) *Echoes {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Echoes{
		log: log, follower: follower, id: newEchoID(), logger: logger, asked: make(chan struct{}, 1),
		began: map[uint64]time.Time{}, voices: map[string]*voice{},
	}
}

// Run folds echoes and writes marks until ctx ends, and then returns nil. A log that fails is tried again; it is
// said once, and once when it is over. It must not be called twice.
func (e *Echoes) Run(ctx context.Context) error {
	var marks sync.WaitGroup
	defer marks.Wait()
	marks.Go(func() { e.writeMarks(ctx) })
	for failures := 1; ; failures++ {
		err := e.follow(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		if e.begin(time.Time{}, true) {
			e.logger.Error("echoes can't be read; a change is effective only after everybody's lease ran out", "after", patienceOfOthers, "error", err)
			failures = 1
		}
		if !pause(ctx, failures) {
			return nil
		}
	}
}

// begin forgets all voices: what is written from a moment on will be folded. It says whether failing is news.
func (e *Echoes) begin(since time.Time, failing bool) (news bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	news = failing != e.failing
	e.since, e.failing = since, failing
	clear(e.voices)
	clear(e.began)
	e.bell.Ring()
	return news
}

// follow folds from the log's present end on until something fails.
func (e *Echoes) follow(ctx context.Context) error {
	at, err := e.log.Head(ctx)
	if err != nil {
		return err
	}
	last := time.Now() // what is written from now on is behind at
	if e.begin(last, false) {
		e.logger.Info("echoes can be read again")
	}
	for {
		entries, err := e.log.Read(ctx, at, echoBatch)
		if err != nil {
			return err
		}
		now := time.Now()
		if gap := now.Sub(last); gap > echoGap {
			return fmt.Errorf("nothing was read for %s", gap.Round(time.Millisecond))
		}
		last = now
		if len(entries) > 0 {
			at = entries[len(entries)-1].Position
			e.fold(entries, now)
			continue
		}
		quiet, cancel := context.WithTimeout(ctx, longestQuiet)
		err = e.log.Wait(quiet, at)
		cancel()
		if err != nil && time.Since(now) < longestQuiet*9/10 {
			return err
		}
	}
}

// fold takes in what was read at a moment.
func (e *Echoes) fold(entries []Entry, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range entries {
		b, ok := parseEcho(&entries[i])
		switch {
		case !ok:
			e.stats.Foreign++
		case b.Role == markRole:
			if entries[i].Key == e.id {
				e.marked(b.Number)
			}
		default:
			e.hear(entries[i].Key, b, now)
		}
	}
	maps.DeleteFunc(e.voices, func(_ string, v *voice) bool { return now.Sub(v.heard) > forgetAfter })
	e.bell.Ring()
}

// marked notes that all before a mark was read.
func (e *Echoes) marked(number uint64) {
	if began, ok := e.began[number]; ok && number > e.mark {
		e.mark, e.markAt = number, began
	}
	maps.DeleteFunc(e.began, func(n uint64, _ time.Time) bool { return n <= number })
}

// hear notes an echo. One that comes after a later one of the same life was late, and says nothing.
func (e *Echoes) hear(id string, b echoBody, now time.Time) {
	v := e.voices[id]
	if v == nil {
		v = &voice{}
		e.voices[id] = v
	}
	if b.Number <= v.Number {
		return
	}
	v.echoBody, v.heard = b, now
}

// writeMarks writes a mark when one is wanted, one at a time. What is read up to a mark is all that was
// written before it, whatever a broker that was cut off believes to be the end.
func (e *Echoes) writeMarks(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.asked:
		}
		e.mu.Lock()
		number := e.want
		e.began[number] = time.Now()
		e.mu.Unlock()
		bound, cancel := context.WithTimeout(ctx, echoTimeout)
		// Whether it failed is seen by whether it is read.
		_, err := e.log.Append(bound, echoBody{Role: markRole, Number: number, Position: e.follower.Applied()}.record(e.id))
		cancel()
		if err != nil {
			e.mu.Lock()
			e.stats.Errors++
			e.mu.Unlock()
		}
	}
}

// ask wants a mark whose writing begins after now, and returns its number; one of a greater number will do.
func (e *Echoes) ask() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.want++
	select {
	case e.asked <- struct{}{}:
	default: // the writer has not looked yet
	}
	return e.want
}

// Await blocks until what the control log has up to a position holds everywhere: no event that anybody
// records afterwards is shipped, or counted, by an older state. README.md has the argument. The position must be in the
// log already. It takes Lease and Margin at most, mostly some milliseconds, once it is folded here. The error is ctx's.
func (e *Echoes) Await(ctx context.Context, pos Position) error {
	if e.holds(pos, 0) {
		return nil
	}
	// Nobody who has not folded it has leave when this runs out.
	over := time.NewTimer(patienceOfOthers)
	defer over.Stop()
	began, mark := time.Now(), e.ask()
	if err := e.follower.WaitApplied(ctx, pos); err != nil {
		return err
	}
	for {
		rung := e.bell.C()
		if e.holds(pos, mark) {
			e.settle(pos, time.Since(began), false)
			return nil
		}
		select {
		case <-rung:
		case <-over.C:
			e.settle(pos, time.Since(began), true)
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait until control entry %d holds everywhere: %w", pos, ctx.Err())
		}
	}
}

// holds says whether a position is known to hold everywhere, by the echoes before a mark; 0 is none.
func (e *Echoes) holds(pos Position, mark uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if pos <= e.settled {
		return true
	}
	// Whoever has leave echoed in the time of a lease before the mark. So that much must have been heard.
	if mark == 0 || e.mark < mark || e.since.IsZero() || e.markAt.Sub(e.since) < patienceOfOthers {
		return false
	}
	for _, v := range e.voices {
		if v.Position < pos && !v.lost(e.markAt) {
			return false
		}
	}
	return true
}

func (e *Echoes) settle(pos Position, took time.Duration, byLease bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settled = max(e.settled, pos)
	e.stats.Settled++
	e.stats.Waited += took
	if byLease {
		e.stats.ByLease++
	}
}

// EchoesStats is what Echoes can tell.
type EchoesStats struct {
	Roles   map[string]int // how many processes of each role echoed in the time of a lease, and have leave
	Slowest Position       // how far the slowest of them is
	Behind  Position       // by how many positions that is less than what is folded here; 0 if it is not
	Settled uint64         // how often somebody waited until a position held everywhere
	ByLease uint64         // and had to wait until leases ran out
	Waited  time.Duration  // in all of that
	Foreign uint64         // records that are no echo
	Errors  uint64         // marks that could not be written
	Failing bool           // echoes can't be read
}

// Stats tells how things are.
func (e *Echoes) Stats() EchoesStats {
	here := e.follower.Applied()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Roles, s.Slowest, s.Failing = map[string]int{}, here, e.failing
	for _, id := range slices.Sorted(maps.Keys(e.voices)) {
		if v := e.voices[id]; !v.lost(time.Now()) {
			s.Roles[v.Role]++
			s.Slowest = min(s.Slowest, v.Position)
		}
	}
	s.Behind = here - s.Slowest
	return s
}
