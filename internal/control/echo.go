package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// KindEcho is a record of the echo log, a log of its own beside the control log: what a process says of how
// far it has folded the control log. FORMAT.md has its body.
const KindEcho Kind = "echo"

const (
	// EchoEvery is how often a role echoes at least.
	EchoEvery = 400 * time.Millisecond
	// Margin is what one process waits beyond Lease before it takes another's for over: their clocks need not
	// run at the same speed, only within a tenth of each other.
	Margin = Lease / 10

	echoTimeout  = Lease / 2
	goodbyeTime  = time.Second
	markRole     = "mark" // of a record that is no role's echo
	maxEchoRole  = 16
	echoIDLength = 16
)

// echoBody is the body of a record of KindEcho.
type echoBody struct {
	Role     string   `json:"role"`
	Number   uint64   `json:"number"`
	Open     bool     `json:"open"`
	Position Position `json:"position"`
}

func (b echoBody) record(id string) Record {
	body, err := json.Marshal(b)
	if err != nil {
		panic(err) // three numbers and a word
	}
	return Record{Kind: KindEcho, Key: id, Time: time.Now().UTC(), Body: body}
}

// parseEcho reads an echo; false for what is none.
func parseEcho(e *Entry) (b echoBody, ok bool) {
	if e.Kind != KindEcho || len(e.Key) != echoIDLength {
		return b, false
	}
	err := json.Unmarshal(e.Body, &b)
	return b, err == nil && b.Role != "" && len(b.Role) <= maxEchoRole
}

// newEchoID names one life of a process. It says nothing of the machine.
func newEchoID() string {
	var b [echoIDLength / 2]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Echoer says in the echo log how far a role has folded the control log, and is that role's leave to use what it
// folded for events of others: to ship them, to count them. README.md has the argument. All methods may be
// called concurrently.
type Echoer struct {
	log      Log
	follower *Follower
	role     string
	id       string
	logger   *slog.Logger

	mu    sync.Mutex
	since time.Time // when the first of an unbroken row of open echoes was acknowledged; zero: there is none
	last  time.Time // when the last of them began to be written

	said   echoBody  // the last echo that was tried; Run's alone
	saidAt time.Time // when; Run's alone
	failed bool      // it was; Run's alone

	position atomic.Uint64
	errors   atomic.Uint64
}

// NewEchoer makes a role's echoer: role is a word, log the echo log, follower the role's own of the control log.
// A nil logger is silent. Until Run, and without it, Open is false.
func NewEchoer(log Log, follower *Follower, role string, logger *slog.Logger) *Echoer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Echoer{log: log, follower: follower, role: role, id: newEchoID(), logger: logger}
}

// Open says whether what is folded here may be used for an event that was at hand before the question was asked.
// It is so while the log's heartbeats prove it fresh, an echo was acknowledged less than Lease ago, and the
// log was known to its end after the first echo of this row was acknowledged: whoever looked at the echo log
// before that, and found nobody here, changed what was to be known by then.
func (e *Echoer) Open() bool {
	until := e.OpenUntil()
	return !until.IsZero() && time.Now().Before(until)
}

// OpenUntil is up to when Open is true by what is known now, a time of the monotonic clock; zero where it is not true for as
// much as a moment.
func (e *Echoer) OpenUntil() time.Time {
	e.mu.Lock()
	since, last := e.since, e.last
	e.mu.Unlock()
	until := e.follower.FreshUntil()
	if until.IsZero() || since.IsZero() || until.Before(since.Add(Lease)) { // the log is not known up to since
		return time.Time{}
	}
	if echoed := last.Add(Lease); echoed.Before(until) {
		return echoed
	}
	return until
}

// Run echoes until ctx ends: at once when something new was folded, every EchoEvery otherwise. Then Open is false,
// which a last echo says, and Run returns nil. A log that fails is tried again; it is said once, and once when it
// is over. It must not be called twice.
func (e *Echoer) Run(ctx context.Context) error {
	for {
		rung := e.follower.bell.C()
		wait := e.turn(ctx)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
			defer cancel()
			e.say(bound, false)
			return nil
		case <-rung:
		case <-t.C:
		}
		t.Stop()
	}
}

// turn echoes if it is time to, and returns when it will be if nothing happens.
func (e *Echoer) turn(ctx context.Context) time.Duration {
	open := e.follower.Fresh()
	wait := EchoEvery - time.Since(e.saidAt)
	news := e.follower.News() > e.said.Position || open != e.said.Open
	switch {
	case e.failed && wait > EchoEvery/2: // nothing is gained by haste
		return wait - EchoEvery/2
	case !e.failed && !news && wait > 0 && e.said.Number > 0:
		return wait
	}
	e.say(ctx, open)
	return EchoEvery
}

// say writes one echo. What it closes is closed before, what it opens is open after it.
func (e *Echoer) say(ctx context.Context, open bool) {
	if !open {
		e.mu.Lock()
		e.since = time.Time{}
		e.mu.Unlock()
	}
	began := time.Now()
	e.said = echoBody{Role: e.role, Number: e.said.Number + 1, Open: open, Position: e.follower.Applied()}
	e.saidAt = began
	bound, cancel := context.WithTimeout(ctx, echoTimeout)
	_, err := e.log.Append(bound, e.said.record(e.id))
	cancel()
	if err != nil {
		e.errors.Add(1)
		if !e.failed && ctx.Err() == nil {
			e.logger.Error("the echo log takes no echo; without one nothing is shipped and nothing counted here", "error", err)
		}
		e.failed = true
		return
	}
	if e.failed {
		e.logger.Info("the echo log takes echoes again")
	}
	e.failed = false
	e.position.Store(uint64(e.said.Position))
	if open {
		e.opened(began)
	}
}

// opened notes that an open echo, begun at a moment, was acknowledged now.
func (e *Echoer) opened(began time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	// It may stand in the log as late as now: by then the one before may have been taken for the last.
	if e.since.IsZero() || now.Sub(e.last) >= Lease {
		e.since = now
	}
	e.last = began
}

// EchoerStats is what an Echoer can tell of itself.
type EchoerStats struct {
	Position Position // of the last echo that was acknowledged
	Errors   uint64   // echoes that failed
	Age      time.Duration
	Known    bool // Age is: an open echo was acknowledged, and none was closed since
}

// Stats tells how echoing is doing.
func (e *Echoer) Stats() EchoerStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := EchoerStats{Position: Position(e.position.Load()), Errors: e.errors.Load(), Known: !e.since.IsZero()}
	if s.Known {
		s.Age = time.Since(e.last)
	}
	return s
}

// Why is what keeps Open from being true, in words; empty where nothing does.
func (e *Echoer) Why() string {
	if e.Open() {
		return ""
	}
	if !e.follower.Fresh() {
		if age, known := e.follower.HeartbeatAge(); known {
			return fmt.Sprintf("the control log brought no heartbeat of an admin for %s", age.Round(100*time.Millisecond))
		}
		return "no heartbeat of an admin came through the control log yet"
	}
	if s := e.Stats(); s.Known && s.Age < Lease {
		return "the control log was not read to its end since this process said in the echo log that it is there"
	}
	return "the echo log did not take that this process is there"
}
