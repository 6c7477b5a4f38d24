package consent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// costly is a log of which it is counted how much is read, but for what a follower reads.
type costly struct {
	control.Log
	t    *testing.T
	read int
}

func (c *costly) History(context.Context, control.Kind, string) ([]control.Entry, error) {
	c.t.Error("the whole log is read")
	return nil, errors.New("that would take long")
}

func (c *costly) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	entries, err := c.Log.Read(ctx, after, limit)
	c.read += len(entries)
	return entries, err
}

// TestRepetitionReadsLittle: in a log that is never searched, whoever says the same again is known by what was folded
// lately, or by the archive and the log behind what was copied.
func TestRepetitionReadsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, repetitionReadsLittle)
}

func repetitionReadsLittle(t *testing.T) {
	log := control.NewMemory()
	beats := func(n int) {
		for range n {
			_, err := log.Append(t.Context(), control.Heartbeat())
			must(t, err)
		}
	}
	said := Change{Subject: 7, Opens: Refused, Clicks: Refused, Source: "one-click"}
	beats(5000)
	archive := &memoryArchive{}
	copier := NewCopier(log, archive, nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- copier.Run(ctx) }()
	defer func() { stop(); must(t, <-ended) }()
	copied := func() control.Position { return copier.Stats().Copied }

	for _, c := range []struct {
		name   string
		fields int
		make   func(*Writer) *Writer
		again  bool // it is recorded again
	}{
		{"remembered", 2, func(w *Writer) *Writer { return w.Compacted() }, false},
		{"remembered beside an archive", 2, func(w *Writer) *Writer { return w.Archived(broken{}, nil) }, false},
		{"forgotten, without an archive", 1, func(w *Writer) *Writer { return w.Compacted() }, true},
		{"forgotten, with an archive", 1, func(w *Writer) *Writer { return w.Archived(archive, copied) }, false},
		{"forgotten, with an archive that fails", 1, func(w *Writer) *Writer { return w.Archived(broken{}, nil) }, true},
	} {
		table := NewTable(BasisSubject)
		table.Remember(c.fields)
		counted := &costly{Log: log, t: t}
		w := c.make(NewWriter(counted, controltest.Follow(t, log, table), table))
		said.Subject++
		first := record(t, w, said)
		beats(5000)
		for copied() < first+5000 {
			time.Sleep(time.Millisecond)
		}
		counted.read = 0
		second := record(t, w, said)
		if (second > first) != c.again {
			t.Errorf("%s: recorded at %d, again at %d", c.name, first, second)
		}
		if counted.read > 100 {
			t.Errorf("%s: %d entries were read", c.name, counted.read)
		}
	}
}

// broken is an archive that can't be reached.
type broken struct{ Archive }

var errBroken = errors.New("the archive is away")

func (broken) Read(context.Context, control.Position, int) ([]control.Entry, error) {
	return nil, errBroken
}

func (broken) End(context.Context) (control.Position, error) { return 0, errBroken }

// TestRepetitionOfWhatAnotherChanged: one that has not folded yet what another recorded does not take a decision for
// the one that holds.
func TestRepetitionOfWhatAnotherChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		changed func(*behind)
	}{
		{"it is told late", func(b *behind) { b.late = 500 * time.Millisecond }},
		{"its broker was cut off", func(b *behind) { b.cutOff(1) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := control.NewMemory()
			here, there := NewTable(BasisSubject), NewTable(BasisSubject)
			here.Remember(10)
			mine := &behind{Log: log}
			w := NewWriter(mine, controltest.Follow(t, mine, here), here).Compacted()
			other := NewWriter(log, controltest.Follow(t, log, there), there)
			no := Change{Subject: 7, Opens: Refused, Source: "page"}
			record(t, w, no)
			c.changed(mine)
			record(t, other, Change{Subject: 7, Opens: Granted, Source: "page"})
			pos, _, err := w.Change(t.Context(), no)
			must(t, err)
			if pos < 3 {
				t.Errorf("%s: taken for what stands at %d, but granted stands at 2", c.name, pos)
			}
			time.Sleep(time.Second)
			if got := there.Look(7).Opens; got != Refused {
				t.Errorf("%s: %v holds", c.name, got)
			}
		})
	}
}

// TestRepetitionOfAnImport: what an import recorded again since holds from its own record on, and so does who repeats it.
func TestRepetitionOfAnImport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(BasisSubject)
		table.Remember(10)
		log := control.NewMemory()
		var awaited control.Position
		w := NewWriter(log, controltest.Follow(t, log, table), table).Compacted().Everywhere(func(_ context.Context, pos control.Position) error {
			awaited = pos
			return nil
		})
		no := Change{Subject: 7, Opens: Refused, Source: "page"}
		first := record(t, w, no)
		var last control.Position
		for _, state := range []State{Granted, Refused} {
			var err error
			last, _, err = w.Import(t.Context(), []Change{{Subject: 7, Opens: state, Source: "import"}})
			must(t, err)
		}
		must(t, w.Settle(t.Context()))
		r, _, err := w.Record(t.Context(), no)
		must(t, err)
		if r.Position != first || awaited < last {
			t.Errorf("the receipt is of %d, want %d; it waits for %d, want %d", r.Position, first, awaited, last)
		}
	})
}

// behind is a way to a log that tells late that there is something, or of nothing behind where it was cut off.
type behind struct {
	control.Log
	late time.Duration

	mu  sync.Mutex
	end control.Position // 0: it was not cut off
}

func (b *behind) cutOff(at control.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = at
}

// limit is how many entries after a position are known.
func (b *behind) limit(after control.Position, limit int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == 0 {
		return limit
	}
	return min(limit, int(max(b.end, after)-after))
}

func (b *behind) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	return b.Log.Read(ctx, after, b.limit(after, limit))
}

func (b *behind) Head(ctx context.Context) (control.Position, error) {
	head, err := b.Log.Head(ctx)
	return control.Position(b.limit(0, int(head))), err
}

func (b *behind) Wait(ctx context.Context, after control.Position) error {
	for b.limit(after, 1) == 0 {
		time.Sleep(10 * time.Millisecond)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	err := b.Log.Wait(ctx, after)
	time.Sleep(b.late)
	return err
}

func TestEffectiveEverywhere(t *testing.T) {
	t.Parallel()
	w, _ := office(t, control.NewMemory())
	var asked control.Position
	var answer error
	w = w.Everywhere(func(_ context.Context, pos control.Position) error { asked = pos; return answer })
	if pos := record(t, w, Change{Subject: 7, Opens: Refused}); asked != pos {
		t.Errorf("asked for %d, recorded at %d", asked, pos)
	}
	answer = errors.New("not yet")
	if _, effective, err := w.Change(t.Context(), Change{Subject: 7, Opens: Granted}); effective || err != nil {
		t.Errorf("effective %v, %v", effective, err)
	}
}
