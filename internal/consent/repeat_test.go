package consent

import (
	"context"
	"errors"
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

func (broken) End(context.Context) (control.Position, error) { return 0, errBroken }

// TestRepetitionOfWhatAnotherChanged: one that has not folded yet what another recorded does not take a decision for
// the one that holds.
func TestRepetitionOfWhatAnotherChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := control.NewMemory()
		here, there := NewTable(BasisSubject), NewTable(BasisSubject)
		here.Remember(10)
		slow := &late{Log: log}
		w := NewWriter(log, controltest.Follow(t, slow, here), here).Compacted()
		other := NewWriter(log, controltest.Follow(t, log, there), there)
		no := Change{Subject: 7, Opens: Refused, Source: "page"}
		record(t, w, no)
		slow.by = 500 * time.Millisecond
		record(t, other, Change{Subject: 7, Opens: Granted, Source: "page"})
		if pos := record(t, w, no); pos != 3 {
			t.Errorf("recorded at %d, want 3: granted stands at 2", pos)
		}
		if got := there.Look(7).Opens; got != Refused {
			t.Errorf("%v holds", got)
		}
	})
}

// late is a log that answers late that there is something.
type late struct {
	control.Log
	by time.Duration
}

func (l *late) Wait(ctx context.Context, after control.Position) error {
	err := l.Log.Wait(ctx, after)
	time.Sleep(l.by)
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
