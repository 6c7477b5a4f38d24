package clickhouse

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// step is a commit of n events by somebody: a mark of the second epoch tells afterwards whose is stored.
func step(before, n, who uint64) *aggregate.Commit {
	return &aggregate.Commit{
		Before: before,
		After:  aggregate.Progress{Offset: before + n, Context: before, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 1, Next: before + n}, {Edge: who, Epoch: 2, Next: 1}}},
		Counts: []aggregate.Count{
			{Cell: aggregate.Cell{Campaign: 1, Kind: event.Open, Hour: uint32(before % 7)}, N: n - n/2},
			{Cell: aggregate.Cell{Campaign: 2, Kind: event.Click, Link: 1}, N: n / 2},
		},
		Uniques:    []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 1, Kind: event.Open}, Hashes: []uint64{who}}},
		LastActive: []aggregate.LastActive{{Subject: who, Day: 1}},
	}
}

// Two questions about everything at once: a query sees all of a set of parts.
const (
	countedAndOffset = "SELECT sumIf(n, row = 'count'), tupleElement(maxIf(stand, row = 'progress'), 'offset') FROM aggregates"
	storedCommits    = "SELECT countIf(row = 'commit'), uniqExactIf(number, row = 'commit'), uniqExactIf(number, row = 'mark' AND epoch = 2), groupUniqArrayIf(number, row = 'mark' AND epoch = 2) FROM aggregates"
)

// outcomes are what the rivals were told, by their subjects.
type outcomes struct {
	sync.Mutex
	done, refused, unknown []uint64
	from                   map[uint64]int // successes by the offset that they start from
}

func (o *outcomes) note(before, who uint64, err error) {
	o.Lock()
	defer o.Unlock()
	switch {
	case err == nil:
		o.done = append(o.done, who)
		o.from[before]++
	case errors.Is(err, aggregate.ErrConflict):
		o.refused = append(o.refused, who)
	default:
		o.unknown = append(o.unknown, who)
	}
}

// rival owns partition 0, as it thinks, and sleeps between reading its progress and committing.
func rival(ctx context.Context, s *Store, r *rand.Rand, o *outcomes) {
	for ctx.Err() == nil {
		call, stop := context.WithTimeout(ctx, 5*time.Second)
		p, err := s.Progress(call, 0)
		if err == nil {
			time.Sleep(time.Duration(r.Int64N(int64(20 * time.Millisecond))))
			who := r.Uint64()
			err = s.Commit(call, step(p.Offset, 1+r.Uint64N(3), who))
			o.note(p.Offset, who, err)
		}
		stop()
		if err != nil && !errors.Is(err, aggregate.ErrConflict) {
			time.Sleep(10 * time.Millisecond) // the engine is down
		}
	}
}

// met says whether somebody was let in and somebody was kept out.
func (o *outcomes) met() bool {
	o.Lock()
	defer o.Unlock()
	return len(o.done) > 0 && len(o.refused) > 0
}

func (o *outcomes) check(t *testing.T, s *Store) {
	t.Helper()
	var rows, starts, subjects uint64
	var stored []uint64
	must(t, s.conn.QueryRow(t.Context(), storedCommits).Scan(&rows, &starts, &subjects, &stored))
	there := map[uint64]bool{}
	for _, who := range stored {
		there[who] = true
	}
	if starts != subjects {
		t.Errorf("%d commits stand and %d wrote", starts, subjects)
	}
	for _, who := range o.done {
		if !there[who] {
			t.Error("a commit that succeeded is not stored")
		}
	}
	for _, who := range o.refused {
		if there[who] {
			t.Error("a commit that was refused is stored")
		}
	}
	for before, n := range o.from {
		if n > 1 {
			t.Errorf("%d commits from offset %d succeeded", n, before)
		}
	}
	t.Logf("%d commits stored; told: %d done, %d refused, %d unknown", starts, len(o.done), len(o.refused), len(o.unknown))
	if !o.met() {
		t.Error("the rivals did not meet")
	}
}

// Rival owners of one partition that sleep at random, while the engine is killed at random: at every
// read the counts add up to the offset, and whoever was told something was told the truth. More kills
// by MAILBEACON_KILLS.
func TestRivalsUnderKill(t *testing.T) {
	t.Parallel()
	for name, change := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kills := 6
			if n, err := strconv.Atoi(os.Getenv("MAILBEACON_KILLS")); err == nil {
				kills = n
			} else if testing.Short() {
				kills = 2
			}
			rivalsUnderKill(t, kills, change)
		})
	}
}

func rivalsUnderKill(t *testing.T, kills int, change func(*engine.Server, Options) Options) {
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "rivals")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	o = change(server, o)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := &outcomes{from: map[uint64]int{}}
	var wg sync.WaitGroup
	for i := range uint64(3) {
		s := open(t, o)
		wg.Go(func() { rival(ctx, s, rand.New(rand.NewPCG(i, uint64(kills))), told) })
	}
	var reads atomic.Int64
	reader := open(t, o)
	wg.Go(func() {
		for ctx.Err() == nil {
			var counted, offset uint64
			call, stop := context.WithTimeout(ctx, time.Second)
			err := reader.conn.QueryRow(call, countedAndOffset).Scan(&counted, &offset)
			stop()
			switch {
			case err != nil:
				time.Sleep(10 * time.Millisecond) // the engine is down
			case counted != offset:
				t.Errorf("%d counted at offset %d", counted, offset)
				return
			default:
				reads.Add(1)
			}
		}
	})
	for range kills {
		time.Sleep(200*time.Millisecond + time.Duration(rand.Int64N(int64(600*time.Millisecond))))
		must(t, server.Restart(t.Context()))
	}
	for deadline := time.Now().Add(30 * time.Second); (!told.met() || reads.Load() == 0) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond) // on a slow machine the engine was hardly up between the kills
	}
	stop()
	wg.Wait()
	last := open(t, o)
	told.check(t, last)
	var counted, offset uint64
	must(t, last.conn.QueryRow(t.Context(), countedAndOffset).Scan(&counted, &offset))
	if counted != offset || reads.Load() == 0 {
		t.Errorf("%d counted at offset %d after %d reads", counted, offset, reads.Load())
	}
	t.Logf("%d kills, %d reads, offset %d", kills, reads.Load(), offset)
	// It goes on from there; or from where the insert of a rival who was cut off ends, that came only now.
	for deadline := time.Now().Add(10 * time.Second); ; {
		p, err := last.Progress(t.Context(), 0)
		must(t, err)
		if err = last.Commit(t.Context(), step(p.Offset, 1, 1)); err == nil {
			break
		}
		if !errors.Is(err, aggregate.ErrConflict) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Two owners commit from the same offset to the same offset at the same time, with different rows:
// exactly one succeeds, and it is the one whose rows stand.
func TestRivalsThatEndAtTheSameOffset(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	stores := []*Store{open(t, o), open(t, o), open(t, o)}
	for round := range uint64(15) {
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() { errs[i] = s.Commit(t.Context(), step(round*2, 2, round*10+uint64(i))) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatal("two succeeded")
			case err == nil:
				winner = i
			case !errors.Is(err, aggregate.ErrConflict):
				t.Fatal(err)
			}
		}
		var stored uint64
		ask(t, o, "SELECT max(number) FROM aggregates WHERE row = 'mark' AND epoch = 2", &stored)
		if winner < 0 || stored != round*10+uint64(winner) {
			t.Fatalf("%d succeeded, and the commit of %d is stored", winner, stored)
		}
	}
}

// A rival goes on from a commit before that one was read back: it still succeeded.
func TestOvertakenCommitKnowsThatItStands(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	a, b := open(t, o), open(t, o)
	c := step(0, 3, 1)
	begin, err := a.look(t.Context(), 0, 0)
	must(t, err)
	must(t, a.send(t.Context(), c, 77, begin.clock+60_000, token(c, 0)))
	must(t, b.Commit(t.Context(), step(3, 4, 2)))
	end, err := a.look(t.Context(), 0, 0)
	must(t, err)
	if !end.left || end.by != 77 || end.offset != 7 {
		t.Errorf("%+v, want commit 77 and offset 7", end)
	}
}

// Who slept so long that the tokens may be forgotten is refused by the server, whatever it thinks.
func TestCommitThatComesTooLateIsRefused(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	c := step(0, 3, 1)
	begin, err := s.look(t.Context(), 0, 0)
	must(t, err)
	if err := s.send(t.Context(), c, 77, begin.clock-1, token(c, 0)); code(err) != codeThrowIf {
		t.Fatalf("%v, want code %d", err, codeThrowIf)
	}
	var rows uint64
	if ask(t, o, "SELECT count() FROM aggregates", &rows); rows != 0 {
		t.Errorf("%d rows of a refused commit", rows)
	}
	must(t, s.Commit(t.Context(), c)) // the token is not spent
}

// Who is stopped after the last look at the clock, and sends when what was known of consent holds no longer, is refused.
func TestCommitOfASleeperIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clickhousetest.Start(t)
			o := database(t, server)
			s := open(t, change(server, o))
			c := step(0, 3, 1)
			begin, err := s.look(t.Context(), 0, 0)
			must(t, err)
			c.Until = time.Now().Add(200 * time.Millisecond)
			until := begin.until(c)
			if left := until - begin.clock; left > 200 {
				t.Errorf("%d ms are left by the server's clock, of 200", left)
			}
			time.Sleep(200 * time.Millisecond)
			if err := s.send(t.Context(), c, 77, until, token(c, 0)); !errors.Is(err, aggregate.ErrLate) {
				t.Errorf("%v, want %v", err, aggregate.ErrLate)
			}
			var rows uint64
			if ask(t, o, "SELECT count() FROM aggregates", &rows); rows != 0 {
				t.Errorf("%d rows of a refused commit", rows)
			}
			c.Until = time.Now().Add(time.Hour)
			if left := begin.until(c) - begin.clock; left != uint64(arrival.Milliseconds()) {
				t.Errorf("%d ms are left, but the token is remembered for %v", left, arrival)
			}
			must(t, s.Commit(t.Context(), c))
		})
	}
}
