package control_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/control"
)

// choir is an admin that beats and listens, over a control log and an echo log, and whoever else is made for it.
type choir struct {
	t       *testing.T
	control *control.Memory
	echoes  *control.Memory
	ear     *control.Echoes
	stop    func() // the heartbeats
}

func newChoir(t *testing.T) *choir {
	t.Helper()
	c := &choir{t: t, control: control.NewMemory(), echoes: control.NewMemory()}
	f := c.follower(c.control)
	c.ear = control.NewEchoes(c.echoes, f, nil)
	t.Cleanup(c.start(c.ear.Run))
	c.stop = c.start(func(ctx context.Context) error { return control.Beat(ctx, c.control, slog.New(slog.DiscardHandler)) })
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *choir) start(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var done bool
	return func() {
		if cancel(); !done {
			done = true
			must(c.t, <-ended)
		}
	}
}

func (c *choir) follower(log control.Log) *control.Follower {
	c.t.Helper()
	f := follower(c.t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}})
	c.t.Cleanup(c.start(f.Run))
	return f
}

// singer is a role that echoes, over logs that may fail it.
type singer struct {
	*control.Echoer
	control *frozen
	echoes  *deaf
	stop    func()
}

// deaf is a log that takes nothing while it is told so.
type deaf struct {
	control.Log
	deaf  atomic.Bool
	takes atomic.Int64
}

var errDeaf = errors.New("deaf")

func (d *deaf) Append(ctx context.Context, records ...control.Record) (control.Position, error) {
	if d.deaf.Load() {
		return 0, errDeaf
	}
	d.takes.Add(1)
	return d.Log.Append(ctx, records...)
}

func (c *choir) singer() *singer {
	c.t.Helper()
	s := &singer{control: &frozen{Log: c.control}, echoes: &deaf{Log: c.echoes}}
	s.Echoer = control.NewEchoer(s.echoes, c.follower(s.control), "edge", nil)
	s.stop = c.start(s.Run)
	c.t.Cleanup(func() { s.stop() })
	return s
}

// change appends something and says how long it took to hold everywhere.
func (c *choir) change() time.Duration {
	c.t.Helper()
	pos := put(c.t, c.control, 0, 1)
	began := time.Now()
	must(c.t, c.ear.Await(c.t.Context(), pos))
	return time.Since(began)
}

// settle lets a lease pass, so that everybody who is to be heard was.
func settle() { time.Sleep(2 * (control.Lease + control.Margin)) }

func (c *choir) expect(took time.Duration, byLease bool, when string) {
	c.t.Helper()
	if slow := took > control.Lease/2; slow != byLease || took > control.Lease+control.Margin {
		c.t.Errorf("%s it took %s, by leases: %v", when, took, byLease)
	}
}

func TestEffective(t *testing.T) {
	t.Parallel()
	inBubble(t, "at once, with all who echo", func(t *testing.T) {
		c := newChoir(t)
		c.singer()
		c.singer()
		settle()
		for range 10 {
			c.expect(c.change(), false, "with two edges")
		}
		if s := c.ear.Stats(); s.Roles["edge"] != 2 || s.ByLease != 0 || s.Settled != 10 {
			t.Errorf("%+v", s)
		}
	})
	inBubble(t, "not before a lease after its own start", func(t *testing.T) {
		c := newChoir(t)
		c.expect(c.change(), true, "at the start")
		c.expect(c.change(), false, "a lease later")
	})
	inBubble(t, "one that does not fold is waited for until its lease is over", func(t *testing.T) {
		c := newChoir(t)
		s := c.singer()
		settle()
		s.control.freeze(t)
		open := false
		pos := put(t, c.control, 0, 1)
		must(t, c.ear.Await(t.Context(), pos))
		if open = s.Open(); open {
			t.Error("an edge that has not folded it may ship")
		}
		// It says that it has no leave: nobody waits for it any more.
		settle()
		c.expect(c.change(), false, "with one that has said that it has no leave")
		s.control.at.Store(0)
		settle()
		if !s.Open() {
			t.Error("it has no leave again")
		}
		c.expect(c.change(), false, "with all")
	})
	inBubble(t, "one that died costs one lease", func(t *testing.T) {
		c := newChoir(t)
		s := c.singer()
		settle()
		s.echoes.deaf.Store(true) // as if it were dead
		c.expect(c.change(), true, "right after it died")
		settle()
		c.expect(c.change(), false, "later")
		if s.Open() {
			t.Error("whose echo is not taken may ship")
		}
	})
	inBubble(t, "one that stopped in order costs nothing", func(t *testing.T) {
		c := newChoir(t)
		s := c.singer()
		settle()
		s.stop()
		if s.Open() {
			t.Error("it has leave after its end")
		}
		c.expect(c.change(), false, "after it stopped")
	})
	inBubble(t, "without echoes, by leases", func(t *testing.T) {
		c := newChoir(t)
		settle()
		must(t, c.echoes.Close())
		c.expect(c.change(), true, "without an echo log")
	})
	inBubble(t, "what holds already", func(t *testing.T) {
		c := newChoir(t)
		settle()
		c.change()
		must(t, c.echoes.Close())
		began := time.Now()
		must(t, c.ear.Await(t.Context(), 1))
		c.expect(time.Since(began), false, "for what was effective before")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.ear.Await(ctx, 1<<40); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("what is not in the log: %v", err)
		}
	})
}

func TestLeave(t *testing.T) {
	t.Parallel()
	inBubble(t, "a start has none before its echo was taken and the log read after it", func(t *testing.T) {
		c := newChoir(t)
		s := c.singer()
		s.echoes.deaf.Store(true)
		settle()
		if s.Open() || s.Why() == "" {
			t.Errorf("it has leave, and nobody knows of it (%q)", s.Why())
		}
		s.echoes.deaf.Store(false)
		var taken, opened time.Time
		for began := time.Now(); opened.IsZero() && time.Since(began) < control.Lease; time.Sleep(time.Millisecond) {
			if taken.IsZero() && s.echoes.takes.Load() > 0 {
				taken = time.Now()
			}
			if s.Open() {
				opened = time.Now()
			}
		}
		// The next heartbeat but one brings proof from after it.
		if taken.IsZero() || opened.Sub(taken) < control.HeartbeatEvery/2 || s.Why() != "" {
			t.Errorf("taken %s, leave %s (%q)", taken, opened, s.Why())
		}
	})
	inBubble(t, "it ends with heartbeats, and with echoes", func(t *testing.T) {
		c := newChoir(t)
		s := c.singer()
		settle()
		if !s.Open() {
			t.Fatal("no leave: " + s.Why())
		}
		s.echoes.deaf.Store(true)
		time.Sleep(control.Lease)
		if s.Open() {
			t.Error("leave without echoes")
		}
		s.echoes.deaf.Store(false)
		settle()
		if !s.Open() {
			t.Error("no leave: " + s.Why())
		}
		c.stop()
		time.Sleep(control.Lease)
		if s.Open() {
			t.Error("leave without heartbeats")
		}
	})
	inBubble(t, "it is said at once what was folded, and now and then that it is there", func(t *testing.T) {
		c := newChoir(t)
		s := c.singer()
		settle()
		before := s.echoes.takes.Load()
		pos := put(t, c.control, 0, 1)
		synctest.Wait()
		if at := s.Stats().Position; at < pos || s.echoes.takes.Load() != before+1 {
			t.Errorf("echoed %d, %d is in the log; %d echoes", at, pos, s.echoes.takes.Load()-before)
		}
		before = s.echoes.takes.Load()
		time.Sleep(time.Minute)
		if n := s.echoes.takes.Load() - before; n < 100 || n > 200 {
			t.Errorf("%d echoes in a minute without anything new", n)
		}
	})
}

// TestEchoesOfOthers: what is no echo is passed over, and an echo that was late says nothing.
func TestEchoesOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChoir(t)
		settle()
		say := func(body string) {
			_, err := c.echoes.Append(t.Context(), control.Record{Kind: control.KindEcho, Key: "0123456789abcdef", Time: time.Now(), Body: []byte(body)})
			must(t, err)
		}
		for _, body := range []string{"", "{}", "[1]", `{"role":"a role of far too long a name","number":9}`} {
			say(body)
		}
		put(t, c.echoes, 0, 3)
		synctest.Wait()
		if s := c.ear.Stats(); s.Foreign != 7 || len(s.Roles) != 0 {
			t.Errorf("%+v", s)
		}
		say(`{"role":"edge","number":2,"open":true,"position":1}`)
		say(`{"role":"edge","number":1,"open":false,"position":1}`) // late
		synctest.Wait()
		if s := c.ear.Stats(); s.Roles["edge"] != 1 {
			t.Errorf("%+v", s)
		}
		c.expect(c.change(), true, "with one whose newest echo is behind")
	})
}

// TestProofNeedsTheEnd: a heartbeat in a read that did not come to the end proves nothing of what is behind it.
func TestProofNeedsTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := control.NewMemory()
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}, Batch: 4})
		beat := func(records ...control.Record) {
			_, err := log.Append(t.Context(), append(records, control.Heartbeat())...)
			must(t, err)
			must(t, f.CatchUp(t.Context()))
			time.Sleep(control.HeartbeatEvery)
		}
		for range 4 {
			beat()
		}
		if !f.Fresh() {
			t.Fatal("no proof")
		}
		before, _ := f.HeartbeatAge()
		// Many entries of a successor: the first batch of them has a heartbeat, and more is behind.
		all := []control.Record{control.Heartbeat(), control.Heartbeat(), control.Heartbeat(), control.Heartbeat()}
		_, err := log.Append(t.Context(), all...)
		must(t, err)
		_, err = log.Append(t.Context(), all[:2]...)
		must(t, err)
		half, cancel := context.WithCancel(t.Context())
		f.OnlyOnce(half)
		cancel()
		if age, _ := f.HeartbeatAge(); age < before {
			t.Errorf("proof of %s by half of what there is, %s before", age, before)
		}
		must(t, f.CatchUp(t.Context()))
		if age, _ := f.HeartbeatAge(); age >= before+control.HeartbeatEvery {
			t.Errorf("proof of %s by all of it, %s before", age, before)
		}
	})
}
