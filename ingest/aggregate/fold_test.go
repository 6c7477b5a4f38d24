package aggregate

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// people is a Consent that refuses what it lists.
type people map[uint64]event.Reason

func (p people) Verdict(_ event.Kind, subject uint64) event.Reason { return p[subject] }
func (p people) Attributed(_ event.Kind, subject uint64) bool {
	return p[subject] == event.Counted || p[subject] == event.DateOnly
}
func (p people) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return p.Verdict(k, s), s != 0 && p.Attributed(k, s)
}

// campaigns knows the campaigns up to its number, each with three links.
type campaigns uint32

func (c campaigns) HashKey(n uint32) ([16]byte, bool) {
	return [16]byte{byte(n), byte(n >> 8), 1}, n > 0 && n <= uint32(c)
}
func (c campaigns) LinkCount(uint32) int { return 3 }
func (c campaigns) DateOnly(uint32) bool { return false }

// clock is the wall clock at event time ms.
func clock(ms int64) time.Time { return time.UnixMilli(0).Add(time.Duration(ms) * time.Millisecond) }

func newFold(t interface{ Fatal(...any) }, p Progress, o FoldOptions) *Fold {
	if o.Consent == nil {
		o.Consent = people{}
	}
	if o.Campaigns == nil {
		o.Campaigns = campaigns(9)
	}
	f, err := NewFold(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ledger is what a store would hold after some commits.
type ledger struct {
	progress Progress
	counts   map[Cell]uint64
	uniques  map[UniqueKey]map[uint64]bool
	active   map[uint64]uint32
}

func newLedger() *ledger {
	return &ledger{counts: map[Cell]uint64{}, uniques: map[UniqueKey]map[uint64]bool{}, active: map[uint64]uint32{}}
}

func (l *ledger) apply(t interface{ Fatalf(string, ...any) }, c *Commit) {
	if c == nil {
		return
	}
	if c.Before != l.progress.Offset || c.After.Offset <= c.Before {
		t.Fatalf("commit from %d to %d on a store at %d", c.Before, c.After.Offset, l.progress.Offset)
	}
	if c.After.Context > c.After.Offset || c.After.Context < l.progress.Context {
		t.Fatalf("context %d of offset %d after context %d", c.After.Context, c.After.Offset, l.progress.Context)
	}
	edges := l.progress.Edges
	for _, m := range c.After.Edges {
		edges = slices.DeleteFunc(edges, func(o EdgeMark) bool { return o.Edge == m.Edge && o.Epoch == m.Epoch })
		edges = append(edges, m)
	}
	l.progress = Progress{Offset: c.After.Offset, Context: c.After.Context, Edges: edges}
	for _, n := range c.Counts {
		if n.N == 0 {
			t.Fatalf("cell %v of nothing", n.Cell)
		}
		l.counts[n.Cell] += n.N
	}
	for _, u := range c.Uniques {
		if l.uniques[u.UniqueKey] == nil {
			l.uniques[u.UniqueKey] = map[uint64]bool{}
		}
		for _, h := range u.Hashes {
			l.uniques[u.UniqueKey][h] = true
		}
	}
	for _, a := range c.LastActive {
		l.active[a.Subject] = max(l.active[a.Subject], a.Day)
	}
}

func (l *ledger) total() (n uint64) {
	for _, c := range l.counts {
		n += c
	}
	return n
}

func (l *ledger) same(o *ledger) error {
	if !maps.Equal(l.counts, o.counts) {
		return fmt.Errorf("counts %v and %v", l.counts, o.counts)
	}
	if !maps.EqualFunc(l.uniques, o.uniques, maps.Equal[map[uint64]bool, map[uint64]bool]) {
		return fmt.Errorf("people %v and %v", l.uniques, o.uniques)
	}
	if !maps.Equal(l.active, o.active) {
		return fmt.Errorf("activity %v and %v", l.active, o.active)
	}
	return nil
}

// touchy is a judge whose answer changes with anything about the neighbours.
func touchy(target int, events []classify.Sighting, links int) classify.Class {
	h := fnv.New64a()
	fmt.Fprint(h, target, events, links)
	return classify.Class(h.Sum64() >> 7 & 3)
}

const testWindow = 100 * time.Millisecond

// stream is a partition: frames of several edges, some of them sent twice.
type stream struct {
	frames []Batch
	end    uint64
	events int // that are to be counted: neither repeated nor probes
	last   int64
}

func drawEvent(t *rapid.T, at int64) event.Event {
	ev := event.Event{
		Time:     at,
		Subject:  rapid.Uint64Range(0, 4).Draw(t, "subject"),
		Campaign: rapid.Uint32Range(1, 3).Draw(t, "campaign"),
		Kind:     rapid.SampledFrom([]event.Kind{event.Open, event.Click, event.Click, event.Probe}).Draw(t, "kind"),
		Client:   rapid.SampledFrom([]event.Client{0, event.Gmail}).Draw(t, "client"),
	}
	if ev.Kind == event.Click {
		ev.Link = rapid.Uint16Range(1, 3).Draw(t, "link")
	}
	if rapid.IntRange(0, 9).Draw(t, "refused") == 0 {
		ev.Suppress(event.OptedOut)
	}
	return ev
}

// drawStream makes a stream. Each edge's clock stands still, goes on, or (with jumps) steps back;
// gaps leaves holes between the positions of frames, repeats sends some again at once.
func drawStream(t *rapid.T, edges int, jumps, gaps, repeats bool) stream {
	var s stream
	times, seqs := make([]int64, edges), make([]uint64, edges)
	for i := range times {
		times[i] = 10_000
	}
	for range rapid.IntRange(1, 40).Draw(t, "frames") {
		e := rapid.IntRange(0, edges-1).Draw(t, "edge")
		b := Batch{Edge: uint64(e + 1), Epoch: 7, First: seqs[e], Offset: s.end}
		for range rapid.IntRange(1, 6).Draw(t, "events") {
			low := int64(0)
			if jumps {
				low = -150
			}
			times[e] += rapid.Int64Range(low, 60).Draw(t, "pass")
			ev := drawEvent(t, times[e])
			if ev.Kind != event.Probe {
				s.events++
			}
			s.last = max(s.last, times[e])
			b.Events = append(b.Events, ev)
		}
		seqs[e] += uint64(len(b.Events))
		s.add(b)
		if repeats && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			b.Offset = s.end
			s.add(b)
		}
		if gaps && rapid.Bool().Draw(t, "gap") {
			s.end += 5
		}
	}
	return s
}

func (s *stream) add(b Batch) {
	s.frames = append(s.frames, b)
	s.end = b.Offset + uint64(len(b.Events))
}

// cut is the part of the stream from a position, in batches of at most n events.
func (s *stream) cut(from uint64, n int) (batches []Batch) {
	for _, b := range s.frames {
		if b.Offset < from {
			b = b.skip(int(min(from-b.Offset, uint64(len(b.Events)))))
		}
		for len(b.Events) > 0 {
			head := b
			head.Events = b.Events[:min(n, len(b.Events))]
			batches = append(batches, head)
			b = b.skip(len(head.Events))
		}
	}
	return batches
}

// run folds a whole stream. At random it commits, and at random it bounds the commits, forgets the fold and starts anew
// from what is committed. The clock stands still until the end.
func (s *stream) run(t *rapid.T, o FoldOptions, restarts bool) *ledger {
	l := newLedger()
	f := newFold(t, l.progress, o)
	most := 0
	commit := func(now time.Time) (stored bool) {
		before, c := l.total(), f.Take(now)
		if c == nil {
			return false
		}
		l.apply(t, c)
		if n := l.total() - before; most > 0 && n > uint64(most) {
			t.Fatalf("a commit of %d events, and %d is the most", n, most)
		}
		if restarts {
			most = rapid.IntRange(0, 4).Draw(t, "most")
			f.Bound(most)
		}
		f.Applied()
		return true
	}
	size := rapid.IntRange(1, 7).Draw(t, "batch")
	now := clock(0)
	batches := s.cut(0, size)
	for left := 6; len(batches) > 0; {
		f.Add(batches[0], now)
		batches = batches[1:]
		switch rapid.IntRange(0, 3).Draw(t, "then") {
		case 1:
			commit(now)
		case 2:
			if restarts && left > 0 {
				left--
				f = newFold(t, l.progress, o)
				f.Bound(most)
				batches = s.cut(l.progress.Context, size)
			}
		}
	}
	for commit(now.Add(o.Window)) {
	}
	if l.progress.Offset+5 < s.end || l.progress.Context != l.progress.Offset {
		t.Fatalf("all is read, and progress is %+v of %d", l.progress, s.end)
	}
	if f.Held() != 0 || f.Behind() {
		t.Fatalf("%d still held", f.Held())
	}
	return l
}

// However a stream is cut, and wherever reading starts anew, the sums are the same, to the class.
func TestRestartsChangeNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edges                int
		jumps, gaps, repeats bool
	}{
		"one edge":           {edges: 1},
		"clock steps back":   {edges: 1, jumps: true},
		"several edges":      {edges: 3, gaps: true},
		"several, that jump": {edges: 3, jumps: true, gaps: true},
		"repeated frames":    {edges: 1, gaps: true, repeats: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				s := drawStream(t, c.edges, c.jumps, c.gaps, c.repeats)
				o := FoldOptions{Window: testWindow, Judge: touchy, Consent: people{4: event.PlainText}, Campaigns: campaigns(2)}
				whole := s.run(t, o, false)
				if got := whole.total(); got != uint64(s.events) {
					t.Fatalf("counted %d events of %d", got, s.events)
				}
				if err := whole.same(s.run(t, o, true)); err != nil {
					t.Fatal("without and with restarts: ", err)
				}
			})
		})
	}
}

// Repetitions between several edges may cost a class, but never an event.
func TestRepetitionsOfSeveralEdgesCountOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawStream(t, 3, true, true, true)
		got := s.run(t, FoldOptions{Window: testWindow}, true)
		if got.total() != uint64(s.events) {
			t.Fatalf("counted %d events of %d", got.total(), s.events)
		}
	})
}

// While the clock goes with the events, as on a live edge, it may decide as well: nothing changes.
func TestRestartsOfALiveStreamChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawStream(t, 1, false, false, false)
		o := FoldOptions{Window: testWindow, Judge: touchy}
		run := func(restarts bool) *ledger {
			l := newLedger()
			f := newFold(t, l.progress, o)
			at := int64(0)
			for _, b := range s.cut(0, 1) {
				arrives := b.Events[0].Time
				if b.Events[0].Reason != event.Counted {
					arrives = at
				}
				// The clock looks in on its own between two events.
				for at < arrives {
					at += min(int64(rapid.IntRange(1, 70).Draw(t, "tick")), arrives-at)
					l.apply(t, f.Take(clock(at)))
				}
				f.Add(b, clock(at))
				if restarts && rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
					f = newFold(t, l.progress, o)
					for _, again := range s.cut(l.progress.Context, 1) {
						if again.Offset <= b.Offset {
							f.Add(again, clock(at))
						}
					}
				}
			}
			l.apply(t, f.Take(clock(at).Add(testWindow)))
			return l
		}
		if err := run(false).same(run(true)); err != nil {
			t.Fatal("without and with restarts: ", err)
		}
	})
}
