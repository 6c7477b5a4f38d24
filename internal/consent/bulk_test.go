package consent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/internal/control"
)

func TestImport(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, table := office(t, log)
	w = w.As("key:mailer")
	record(t, w, Change{Subject: 5, Opens: Granted, Source: "sign-up"})
	var all []Change
	for s := range uint64(MaxBulk + 100) {
		all = append(all, Change{Subject: s + 1, Opens: Refused, Source: "import", TextVersion: fmt.Sprint(s % 3)})
	}
	pos, stood, err := w.Import(t.Context(), slices.Clone(all))
	if err != nil || stood != 0 || pos != 3 {
		t.Fatalf("position %d, %d stood, %v", pos, stood, err)
	}
	must(t, w.Settle(t.Context()))
	if table.Len() != len(all) || table.Look(5).Opens != Refused || table.Look(MaxBulk+100).Opens != Refused {
		t.Errorf("%d people, %+v", table.Len(), table.Look(5))
	}
	p, err := w.Lookup(t.Context(), 5)
	must(t, err)
	want := []Recorded{
		{Position: 1, Change: Change{Subject: 5, Opens: Granted, Source: "sign-up", By: "key:mailer"}, After: Choice{Opens: Granted}},
		{Position: 2, Change: Change{Subject: 5, Opens: Refused, Source: "import", TextVersion: "1", By: "key:mailer"}, Before: Choice{Opens: Granted}, After: Choice{Opens: Refused}},
	}
	for i := range p.History {
		p.History[i].Time = time.Time{}
	}
	if !reflect.DeepEqual(p.History, want) || p.Choice.Opens != Refused {
		t.Errorf("%+v", p)
	}

	// Again: nothing twice, until something of it does not hold any more.
	if _, stood, err = w.Import(t.Context(), slices.Clone(all)); err != nil || stood != len(all) {
		t.Errorf("again: %d stood, %v", stood, err)
	}
	record(t, w, Change{Subject: 7, Opens: Granted})
	record(t, w, Change{Subject: 8, Opens: Refused, Clicks: Refused, Format: Plain, Unsubscribed: new(true)})
	before := table.Look(8)
	if _, stood, err = w.Import(t.Context(), slices.Clone(all)); err != nil || stood != len(all)-1 {
		t.Errorf("after a grant: %d stood, %v", stood, err)
	}
	must(t, w.Settle(t.Context()))
	if table.Look(7).Opens != Refused {
		t.Error("a refusal was lost")
	}
	if table.Look(8) != before {
		t.Errorf("a refusal of somebody who had granted before: %+v", table.Look(8))
	}
	if _, stood, err = w.Import(t.Context(), slices.Clone(all)); err != nil || stood != len(all) {
		t.Errorf("once more: %d stood, %v", stood, err)
	}
	// A change that is brought later, alone, comes after what was imported.
	record(t, w, Change{Subject: 9, Opens: Granted, Unsubscribed: new(false)})
	if table.Look(9) != (Choice{Opens: Granted}) {
		t.Errorf("%+v", table.Look(9))
	}
	// A file with a row mended, or one more, or that was cut off before, is another; it takes back no refusal either.
	record(t, w, Change{Subject: 12, Opens: Refused, Format: Plain, Unsubscribed: new(true), Tracking: DateOnly})
	refused := table.Look(12)
	if _, stood, err := w.Import(t.Context(), []Change{
		{Subject: 12, Opens: Granted, Clicks: Granted, Format: HTML, Unsubscribed: new(false), Source: "crm"},
		{Subject: 12, Opens: Granted, Source: "crm"}, {Subject: 1_000_013, Opens: Granted, Source: "crm"},
	}); err != nil || stood != 1 {
		t.Errorf("another file: %d stood, %v", stood, err)
	}
	must(t, w.Settle(t.Context()))
	refused.Clicks = Granted
	if table.Look(12) != refused || table.Look(1_000_013).Opens != Granted {
		t.Errorf("another file: %+v, want %+v; %+v", table.Look(12), refused, table.Look(1_000_013))
	}
	bad := slices.Clone(all)
	bad[17].Source = "a@b.example"
	head, _ := log.Head(t.Context())
	if _, _, err := w.Import(t.Context(), bad); err == nil {
		t.Error("a bad row was taken")
	}
	if now, _ := log.Head(t.Context()); now != head {
		t.Error("half of a bad import was recorded")
	}
}

// TestImportOfManyWords: whatever rows say, a record stays within the log's bound.
func TestImportOfManyWords(t *testing.T) {
	t.Parallel()
	w, table := office(t, control.NewMemory())
	var all []Change
	for s := range uint64(3000) {
		all = append(all, Change{Subject: s + 1, Clicks: Refused, Source: fmt.Sprintf("%060d", s), TextVersion: strings.Repeat("<", MaxTextVersion)})
	}
	if _, _, err := w.Import(t.Context(), slices.Clone(all)); err != nil {
		t.Fatal(err)
	}
	must(t, w.Settle(t.Context()))
	if table.Len() != len(all) {
		t.Errorf("%d people", table.Len())
	}
	if _, stood, err := w.Import(t.Context(), all); err != nil || stood != len(all) {
		t.Errorf("again: %d stood, %v", stood, err)
	}
}

// TestBulkSaysTheSame: a record of many is what the same changes say one by one, in the fold, in the ledger,
// in the feed and after a snapshot.
func TestBulkSaysTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := control.NewMemory()
		w := &Writer{log: log, table: NewTable(BasisSubject)}
		var said []Change
		model := map[uint64]Choice{}
		for range rapid.IntRange(1, 4).Draw(t, "records") {
			var some []Change
			for range rapid.IntRange(1, 20).Draw(t, "changes") {
				c := drawChange(t)
				c.Subject = c.Subject%5 + 1
				if c.Check() == nil {
					some = append(some, c)
					model[c.Subject] = c.after(model[c.Subject])
				}
			}
			said = append(said, some...)
			if _, _, err := w.Import(context.Background(), some); err != nil {
				t.Fatal(err)
			}
		}
		entries, _ := log.Read(context.Background(), 0, 100)
		for _, e := range entries {
			if err := w.table.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		same(t, w.table, model)
		var fed []Change
		open := false
		if _, err := w.Changes(context.Background(), 0, func(r Recorded) error {
			fed, open = append(fed, r.Change), r.More
			return nil
		}); err != nil || open || len(fed) != len(said) {
			t.Fatalf("%d changes in the feed, %d were made; open %v, %v", len(fed), len(said), open, err)
		}
		for i := range said {
			if fed[i].after(Choice{}) != said[i].after(Choice{}) || fed[i].Subject != said[i].Subject || fed[i].Source != said[i].Source || fed[i].TextVersion != said[i].TextVersion {
				t.Fatalf("%d: %+v, want %+v", i, fed[i], said[i])
			}
		}
		for s, want := range model {
			if p, err := w.Lookup(context.Background(), s); err != nil || p.Choice != want {
				t.Fatalf("%d: %+v, %v; want %+v", s, p, err, want)
			}
		}
		b, err := w.table.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		again := NewTable(BasisSubject)
		if err := again.Restore(b); err != nil {
			t.Fatal(err)
		}
		same(t, again, model)
		if !slices.Equal(again.bulks.positions(), w.table.bulks.positions()) {
			t.Fatal("the snapshot lost bulk records")
		}
	})
}

// TestFeedIsCutInsideOfABulk: whoever goes on from what Changes returned misses nobody.
func TestFeedIsCutInsideOfABulk(t *testing.T) {
	t.Parallel()
	w, _ := office(t, control.NewMemory())
	record(t, w, Change{Subject: 99, Opens: Refused})
	if _, _, err := w.Import(t.Context(), []Change{{Subject: 1, Opens: Refused}, {Subject: 2, Opens: Refused}, {Subject: 3, Opens: Refused}}); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	n := 0
	next, err := w.Changes(t.Context(), 0, func(Recorded) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || next != 1 {
		t.Errorf("goes on from %d, %v", next, err)
	}
}

func TestUnreadableBulk(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{", `{"bulk":2,"people":""}`, `{"bulk":1,"people":"AAAA"}`, `{"bulk":1,"words":[],"people":"AAAAAAAAAAcAAAA="}`} {
		table := NewTable(BasisSubject)
		if err := table.Apply(entry("bulk/00112233445566778899aabbccddeeff", body)); err == nil || table.Len() != 0 {
			t.Errorf("%s: %v, %d people", body, err, table.Len())
		}
	}
	// A state that is not known is a refusal.
	table := NewTable(BasisSubject)
	must(t, table.Apply(entry("bulk/x", `{"bulk":1,"words":[],"people":"AAAAAAAAAAf/AAA="}`)))
	if got := table.Look(7); got != (Choice{Opens: Refused, Clicks: Refused, Format: Plain, Unsubscribed: true}) {
		t.Errorf("%+v", got)
	}
	// So is a tracking that is not known, and the number of the words is told from it.
	table = NewTable(BasisSubject)
	odd := entry("bulk/y", `{"bulk":1,"words":[["a",""],["b",""]],"people":"AAAAAAAAAAcAwAE="}`)
	must(t, table.Apply(odd))
	if got := table.Look(7); got != (Choice{DateOnly: true}) {
		t.Errorf("%+v", got)
	}
	must(t, parseBulk(&odd, func(c *Change) {
		if c.Source != "b" {
			t.Errorf("%+v", c)
		}
	}))
}

// memoryArchive is an Archive that takes entries as ClickHouse does: in whole steps, twice where they
// come twice, each once when read.
type memoryArchive struct {
	mu      sync.Mutex
	entries []control.Entry
	of      map[control.Position][]uint64
	fail    func(step int) (before, after error)
	steps   int
}

func (a *memoryArchive) End(context.Context) (control.Position, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.end(), nil
}

func (a *memoryArchive) end() (end control.Position) {
	for i := range a.entries {
		end = max(end, a.entries[i].Position)
	}
	return end
}

func (a *memoryArchive) Add(_ context.Context, entries []control.Entry, subjects [][]uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps++
	var before, after error
	if a.fail != nil {
		before, after = a.fail(a.steps)
	}
	if before != nil {
		return before
	}
	if a.of == nil {
		a.of = map[control.Position][]uint64{}
	}
	for i := range entries {
		a.entries = append(a.entries, entries[i])
		a.of[entries[i].Position] = subjects[i]
	}
	return after
}

func (a *memoryArchive) Of(ctx context.Context, subject uint64) (all []control.Entry, err error) {
	whole, err := a.Read(ctx, 0, 1<<30)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range whole {
		if slices.Contains(a.of[e.Position], subject) {
			all = append(all, e)
		}
	}
	return all, err
}

func (a *memoryArchive) Read(_ context.Context, after control.Position, most int) ([]control.Entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.entries)
	slices.SortStableFunc(all, func(x, y control.Entry) int { return cmp.Compare(x.Position, y.Position) })
	all = slices.CompactFunc(all, func(x, y control.Entry) bool { return x.Position == y.Position })
	all = slices.DeleteFunc(all, func(e control.Entry) bool { return e.Position <= after })
	return all[:min(most, len(all))], nil
}

// TestCopy: two copiers, faults before and after each step, and a log that forgets; the archive has every
// change once and in order, and a lookup tells of what was not copied yet as well.
func TestCopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := control.NewMemory()
		w, _ := office(t, log)
		broken := errors.New("no connection")
		archive := &memoryArchive{fail: func(step int) (before, after error) {
			switch step % 5 {
			case 1:
				return broken, nil
			case 3:
				return nil, broken
			}
			return nil, nil
		}}
		w = w.Archived(archive, nil)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() { must(t, NewCopier(log, archive, nil).Run(ctx)) })
		}
		var want []Change
		for i := range uint64(300) {
			c := Change{Subject: i%7 + 1, Opens: Granted + State(i%2), Source: fmt.Sprint(i)}
			if i%10 == 0 {
				_, err := log.Append(t.Context(), control.Record{Kind: control.KindCampaign, Key: "x", Body: []byte("{}")})
				must(t, err)
			}
			if i%25 == 0 && c.Opens == Refused { // no import takes a refusal back
				_, _, err := w.Import(t.Context(), []Change{c})
				must(t, err)
			} else {
				record(t, w, c)
			}
			want = append(want, c)
			if i%3 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			if i == 150 {
				p, err := w.Lookup(t.Context(), c.Subject)
				if err != nil || p.History[len(p.History)-1].Source != c.Source {
					t.Errorf("the newest is not told of: %+v, %v", p, err)
				}
			}
		}
		time.Sleep(time.Minute)
		stop()
		running.Wait()

		head, _ := log.Head(t.Context())
		if end, _ := archive.End(t.Context()); end != head {
			t.Errorf("copied up to %d of %d", end, head)
		}
		compacted := &Writer{log: control.NewMemory(), table: NewTable(BasisSubject), archive: archive}
		compacted.log = headOnly{compacted.log, head} // everything went from the log
		var got []Change
		_, err := compacted.Changes(t.Context(), 0, func(r Recorded) error {
			got = append(got, r.Change)
			return nil
		})
		must(t, err)
		if len(got) != len(want) {
			t.Fatalf("%d changes, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].Subject != want[i].Subject || got[i].Opens != want[i].Opens || got[i].Source != want[i].Source {
				t.Fatalf("%d: %+v, want %+v", i, got[i], want[i])
			}
		}
		p, err := compacted.Lookup(t.Context(), 3)
		must(t, err)
		if len(p.History) != 43 {
			t.Errorf("%d changes of one person", len(p.History))
		}
	})
}

// headOnly is a log that dropped all it had.
type headOnly struct {
	control.Log
	head control.Position
}

func (h headOnly) Head(context.Context) (control.Position, error) { return h.head, nil }

func TestSnapshotOfBulksRefuses(t *testing.T) {
	t.Parallel()
	var b bulks
	b.note("bulk/"+strings.Repeat("ab", bulkHash), 7)
	good := b.append(nil)
	for name, bad := range map[string][]byte{
		"cut": good[:len(good)-1], "short": good[:4], "more": append(bytes.Clone(good), 0), "fewer": append([]byte{0, 0, 0, 0, 0, 0, 0, 2}, good[8:]...),
	} {
		if err := new(bulks).restore(bad); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	var again bulks
	must(t, again.restore(good))
	if !again.has("bulk/"+strings.Repeat("ab", bulkHash)) || again.has("bulk/"+strings.Repeat("ac", bulkHash)) || again.has("bulk/") || again.has("bulk/zz") {
		t.Error("hashes are lost")
	}
}
