package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func office(tb testing.TB, log control.Log) (*Writer, *Table) {
	tb.Helper()
	table := NewTable(BasisSubject)
	return NewWriter(log, controltest.Follow(tb, log, table), table), table
}

func record(t testing.TB, w *Writer, changes ...Change) control.Position {
	t.Helper()
	pos, effective, err := w.Change(t.Context(), changes...)
	if err != nil || !effective {
		t.Fatalf("effective %v, %v", effective, err)
	}
	return pos
}

func TestChange(t *testing.T) {
	t.Parallel()
	w, table := office(t, control.NewMemory())
	for _, c := range []struct {
		change Change
		want   Choice
		at     control.Position
	}{
		{Change{Subject: 7, Opens: Refused}, Choice{Opens: Refused}, 1},
		{Change{Subject: 7, Clicks: Granted, Format: HTML}, Choice{Opens: Refused, Clicks: Granted, Format: HTML}, 3},
		{Change{Subject: 7, Opens: Granted, Unsubscribed: new(true)}, Choice{Opens: Granted, Clicks: Granted, Format: HTML, Unsubscribed: true}, 5},
		{Change{Subject: 7, Unsubscribed: new(false), Format: Plain}, Choice{Opens: Granted, Clicks: Granted, Format: Plain}, 7},
	} {
		if pos := record(t, w, c.change); pos != c.at {
			t.Errorf("%+v holds from %d, want %d", c.change, pos, c.at)
		}
		if got := table.Look(7); got != c.want {
			t.Errorf("after %+v: %+v, want %+v", c.change, got, c.want)
		}
	}
	if table.Look(8) != (Choice{}) || table.Len() != 1 {
		t.Error("somebody else")
	}
}

func TestChangeOfMany(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, table := office(t, log)
	var all []Change
	for s := range uint64(500) {
		all = append(all, Change{Subject: s + 1, Opens: Refused, Clicks: Refused, Source: "import"})
	}
	if pos := record(t, w, all...); pos != 1000 || table.Len() != 500 {
		t.Errorf("%d people from %d", table.Len(), pos)
	}
	if pos := record(t, w, all...); pos != 1000 { // an import that is run again
		t.Errorf("again: from %d", pos)
	}
	if pos := record(t, w); pos != 0 {
		t.Errorf("no changes: from %d", pos)
	}
	bad := slices.Clone(all)
	bad[250].Subject = 0
	bad[0].Opens = Granted
	if _, _, err := w.Change(t.Context(), bad...); err == nil || table.Look(1).Opens != Refused {
		t.Errorf("half of a bad batch: %v", err)
	}
}

func TestRepetitionIsNotRecorded(t *testing.T) {
	t.Parallel()
	w, _ := office(t, control.NewMemory())
	oneClick := Change{Subject: 7, Unsubscribed: new(true), Source: "one-click"}
	first := record(t, w, oneClick)
	for range 5 {
		if pos := record(t, w, oneClick); pos != first {
			t.Errorf("repeated at %d, first at %d", pos, first)
		}
	}
	// Nor by another campaign's message: who left has left.
	again := oneClick
	again.Campaign = 12
	if pos := record(t, w, again); pos != first {
		t.Errorf("by another message at %d", pos)
	}
	// Another source or text is another thing to have said.
	if pos := record(t, w, Change{Subject: 7, Unsubscribed: new(true), Source: "preferences"}); pos != 2 {
		t.Errorf("another source at %d", pos)
	}
	if pos := record(t, w, Change{Subject: 7, Unsubscribed: new(true), Source: "preferences", TextVersion: "2"}); pos != 3 {
		t.Errorf("another text at %d", pos)
	}
	if pos := record(t, w, Change{Subject: 7, Unsubscribed: new(true), Source: "preferences", TextVersion: "2", Opens: Refused}); pos != 5 {
		t.Errorf("something more at %d", pos)
	}
	if pos := record(t, w, Change{Subject: 8, Unsubscribed: new(true), Source: "one-click"}); pos != 6 {
		t.Errorf("somebody else at %d", pos)
	}
}

func TestChangeRefuses(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, _ := office(t, log)
	for _, c := range []struct {
		field  string
		change Change
	}{
		{"subject", Change{Opens: Refused}},
		{"change", Change{Subject: 7}},
		{"change", Change{Subject: 7, Source: "x", TextVersion: "y"}},
		{"opens", Change{Subject: 7, Opens: 3}},
		{"clicks", Change{Subject: 7, Clicks: 3}},
		{"format", Change{Subject: 7, Format: 3}},
		{"source", Change{Subject: 7, Opens: Refused, Source: strings.Repeat("x", MaxSource+1)}},
		{"source", Change{Subject: 7, Opens: Refused, Source: "a@b.example"}},
		{"source", Change{Subject: 7, Opens: Refused, Source: "a\nb"}},
		{"text_version", Change{Subject: 7, Opens: Refused, TextVersion: strings.Repeat("x", MaxTextVersion+1)}},
		{"text_version", Change{Subject: 7, Opens: Refused, TextVersion: "\xff"}},
	} {
		_, _, err := w.Change(t.Context(), c.change)
		var invalid *control.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != c.field || strings.Contains(err.Error(), "a@b") {
			t.Errorf("%+v: %v, want an InvalidError of %s", c.change, err, c.field)
		}
	}
	if n, _ := log.Head(t.Context()); n != 0 {
		t.Errorf("%d entries of refused changes", n)
	}
	record(t, w, Change{Subject: 7, Opens: Refused, Source: strings.Repeat("ü", MaxSource/2), TextVersion: "Version 2, 1. März"})
}

// deaf takes appends and tells nobody.
type deaf struct{ control.Log }

func (d deaf) Read(context.Context, control.Position, int) ([]control.Entry, error) { return nil, nil }
func (d deaf) Wait(ctx context.Context, _ control.Position) error                   { <-ctx.Done(); return ctx.Err() }

func TestRecordedAndNotEffective(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, table := control.NewMemory(), NewTable(BasisSubject)
		w := NewWriter(log, controltest.Follow(t, deaf{control.NewMemory()}, table), table)
		start := time.Now()
		pos, effective, err := w.Change(t.Context(), Change{Subject: 7, Opens: Refused})
		if pos != 1 || effective || err != nil || time.Since(start) != patience {
			t.Errorf("position %d, effective %v, %v after %v", pos, effective, err, time.Since(start))
		}
		if n, _ := log.Head(t.Context()); n != 1 {
			t.Error("not recorded")
		}
	})
}

type failing struct {
	control.Log
	err error
}

func (f failing) Append(context.Context, ...control.Record) (control.Position, error) {
	return 0, f.err
}

func TestChangeTellsTheLogsError(t *testing.T) {
	t.Parallel()
	w, _ := office(t, control.NewMemory())
	broken := errors.New("disk full")
	w.log = failing{w.log, broken}
	if _, effective, err := w.Change(t.Context(), Change{Subject: 7, Opens: Refused}); !errors.Is(err, broken) || effective {
		t.Errorf("%v, %v", effective, err)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	w, _ := office(t, control.NewMemory())
	said := []Change{
		{Subject: 7, Opens: Granted, Clicks: Granted, Format: HTML, Source: "sign-up", TextVersion: "1"},
		{Subject: 7, Opens: Refused, Source: "preferences", TextVersion: "2"},
		{Subject: 7, Unsubscribed: new(true), Source: "one-click"},
	}
	var positions []control.Position
	for _, c := range said {
		positions = append(positions, record(t, w, c))
		record(t, w, Change{Subject: 8, Opens: Refused, Source: string(rune('a' + len(positions)))}) // somebody between
	}
	p, err := w.Lookup(t.Context(), 7)
	must(t, err)
	if want := (Choice{Opens: Refused, Clicks: Granted, Format: HTML, Unsubscribed: true}); p.Subject != 7 || p.Choice != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	if len(p.History) != len(said) {
		t.Fatalf("history of %d, want %d: %+v", len(p.History), len(said), p.History)
	}
	for i, r := range p.History {
		if !reflect.DeepEqual(r.Change, said[i]) || r.Position != positions[i] || time.Since(r.Time) > time.Minute {
			t.Errorf("%d: %+v, want %+v at %d", i, r, said[i], positions[i])
		}
	}
	if p, err := w.Lookup(t.Context(), 9); err != nil || p.Choice != (Choice{}) || len(p.History) != 0 {
		t.Errorf("somebody unknown: %+v, %v", p, err)
	}
	if _, err := w.Lookup(t.Context(), 0); err == nil {
		t.Error("nobody has a history")
	}
}

// TestDecisionsOfOneMoment: time and source alone do not make two decisions one.
func TestDecisionsOfOneMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := office(t, control.NewMemory())
		record(t, w, Change{Subject: 7, Opens: Refused})
		record(t, w, Change{Subject: 8, Opens: Refused})
		record(t, w, Change{Subject: 7, Clicks: Refused})
		p, err := w.Lookup(t.Context(), 7)
		if err != nil || len(p.History) != 2 || p.History[0].Position != 1 || p.History[1].Position != 3 {
			t.Errorf("%+v, %v", p.History, err)
		}
	})
}

// TestCampaignIsKept reads back by whose message somebody decided; two messages make two decisions.
func TestCampaignIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := office(t, control.NewMemory())
		record(t, w, Change{Subject: 7, Opens: Refused, Format: Plain, Campaign: 12})
		record(t, w, Change{Subject: 7, Clicks: Refused, Campaign: 13})
		record(t, w, Change{Subject: 7, Unsubscribed: new(true)})
		p, err := w.Lookup(t.Context(), 7)
		if err != nil || len(p.History) != 3 || p.History[0].Campaign != 12 || p.History[1].Campaign != 13 || p.History[2].Campaign != 0 {
			t.Errorf("%+v, %v", p.History, err)
		}
	})
}

func TestChangesFeed(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, _ := office(t, log)
	var want []Change
	for i := range uint64(400) { // more than two batches, with decisions across their ends
		c := Change{Subject: i%50 + 1, Opens: Granted + State(i%2), Clicks: Refused - State(i%2), Source: time.Duration(i).String()}
		if i%3 == 0 {
			c.Format, c.Unsubscribed = Plain, new(i%2 == 0)
			_, err := log.Append(t.Context(), control.Record{Kind: control.KindCampaign, Key: "x", Body: []byte("{}")})
			must(t, err)
		}
		record(t, w, c)
		want = append(want, c)
	}
	read := func(after control.Position, most int) (got []Change, next control.Position) {
		stop := errors.New("enough")
		next, err := w.Changes(t.Context(), after, func(r Recorded) error {
			if len(got) == most {
				return stop
			}
			got = append(got, r.Change)
			return nil
		})
		if err != nil && (!errors.Is(err, stop) || len(got) != most) {
			t.Fatal(err)
		}
		return got, next
	}
	got, next := read(0, -1)
	if head, _ := log.Head(t.Context()); !reflect.DeepEqual(got, want) || next != head {
		t.Fatalf("%d changes up to %d, want %d up to %d", len(got), next, len(want), head)
	}
	if got, again := read(next, -1); len(got) != 0 || again != next {
		t.Errorf("%d after the end, up to %d", len(got), again)
	}
	if _, beyond := read(next+100, -1); beyond != next+100 {
		t.Errorf("a position of the future became %d", beyond)
	}
	// Read in pieces, each going on where the last one was cut.
	var pieces []Change
	for next = 0; ; {
		var piece []Change
		if piece, next = read(next, 7); len(piece) == 0 {
			break
		}
		pieces = append(pieces, piece...)
	}
	if !reflect.DeepEqual(pieces, want) {
		t.Errorf("%d changes in pieces, want %d", len(pieces), len(want))
	}
}

// TestLastRecordOfAFieldHolds: whatever decisions two writers who know nothing of each other make,
// the fold, the ledger's history, the snapshot and the compacted log all tell the same: per field,
// what was said last.
func TestLastRecordOfAFieldHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := control.NewMemory()
		model := map[uint64]Choice{}
		said := map[uint64]int{}
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			c := Change{
				Subject: rapid.Uint64Range(1, 5).Draw(t, "subject"),
				Opens:   State(rapid.IntRange(0, 2).Draw(t, "opens")),
				Clicks:  State(rapid.IntRange(0, 2).Draw(t, "clicks")),
				Format:  Format(rapid.IntRange(0, 2).Draw(t, "format")),
				Source:  rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source"),
			}
			switch rapid.IntRange(0, 2).Draw(t, "mail") {
			case 1:
				c.Unsubscribed = new(true)
			case 2:
				c.Unsubscribed = new(false)
			}
			if c.Check() != nil {
				continue
			}
			rs, err := c.records(time.UnixMilli(int64(len(said))))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.Append(context.Background(), rs...); err != nil {
				t.Fatal(err)
			}
			model[c.Subject] = c.after(model[c.Subject])
			said[c.Subject] += len(rs)
		}
		entries, err := log.Read(context.Background(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		newest := map[string]control.Position{}
		for _, e := range entries {
			newest[e.Key] = e.Position
		}
		folded, compacted := NewTable(BasisSubject), NewTable(BasisSubject)
		for _, e := range entries {
			if err := folded.Apply(e); err != nil {
				t.Fatal(err)
			}
			if newest[e.Key] == e.Position {
				if err := compacted.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
		}
		same(t, folded, model)
		same(t, compacted, model)
		w := &Writer{log: log, table: folded}
		for s, want := range model {
			p, err := w.Lookup(context.Background(), s)
			if err != nil || p.Choice != want {
				t.Fatalf("ledger of %d: %+v, want %+v, %v", s, p.Choice, want, err)
			}
			n := 0
			for _, r := range p.History {
				for _, f := range fields {
					if _, ok := r.value(f); ok {
						n++
					}
				}
			}
			if n != said[s] {
				t.Fatalf("history of %d holds %d fields, %d were said: %+v", s, n, said[s], p.History)
			}
		}
	})
}

func entry(key, body string) control.Entry {
	return control.Entry{Position: 1, Record: control.Record{Kind: control.KindConsent, Key: key, Body: []byte(body)}}
}

// TestUnreadableIsRefused: whoever wrote it, somebody decided something.
func TestUnreadableIsRefused(t *testing.T) {
	t.Parallel()
	granted := Choice{Opens: Granted, Clicks: Granted, Format: HTML}
	for _, c := range []struct {
		key, body string
		want      Choice
	}{
		{"opens", `{"value":"restricted"}`, Choice{Opens: Refused, Clicks: Granted, Format: HTML}},
		{"opens", `{"value":"unset"}`, Choice{Opens: Refused, Clicks: Granted, Format: HTML}},
		{"opens", `{`, Choice{Opens: Refused, Clicks: Granted, Format: HTML}},
		{"opens", ``, Choice{Opens: Refused, Clicks: Granted, Format: HTML}},
		{"clicks", `{}`, Choice{Opens: Granted, Clicks: Refused, Format: HTML}},
		{"format", `{"value":"amp"}`, Choice{Opens: Granted, Clicks: Granted, Format: Plain}},
		{"mail", `{"value":true}`, Choice{Opens: Granted, Clicks: Granted, Format: HTML, Unsubscribed: true}},
	} {
		table := NewTable(BasisSubject)
		table.set(7, granted)
		err := table.Apply(entry("0000000000000007/"+c.key, c.body))
		if err == nil || table.Look(7) != c.want {
			t.Errorf("%s %s: %+v, %v", c.key, c.body, table.Look(7), err)
		}
	}
	for _, key := range []string{"", "7", "7/opens", "0000000000000007", "0000000000000007/", "0000000000000007/other", "0000000000000000/opens", "000000000000000A/opens", "somebody@example.com/opens", "0000000000000007/opens/x"} {
		table := NewTable(BasisSubject)
		if err := table.Apply(entry(key, `{"value":"refused"}`)); err == nil || table.Len() != 0 || strings.Contains(err.Error(), "@") {
			t.Errorf("key %q: %v", key, err)
		}
	}
	table := NewTable(BasisSubject)
	must(t, table.Apply(entry("0000000000000007/opens", `{"value":"granted","of a newer version":{}}`)))
	must(t, table.Apply(control.Entry{Record: control.Record{Kind: control.KindLink, Key: "a/1"}}))
	if table.Look(7) != (Choice{Opens: Granted}) {
		t.Errorf("%+v", table.Look(7))
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	table := NewTable(BasisSubject)
	table.set(1, Choice{Opens: Refused})
	table.set(2, Choice{Format: Plain})
	good, err := table.Snapshot()
	must(t, err)
	change := func(at int, b byte) []byte {
		bad := bytes.Clone(good)
		bad[at] = b
		return bad
	}
	twice := bytes.Clone(good)
	copy(twice[tableHeader+tableRow:], twice[tableHeader:tableHeader+tableRow])
	for name, b := range map[string][]byte{
		"newer": change(0, 3), "older": change(0, 1), "more than there are": change(8, 3), "fewer": change(8, 1), "very many": change(1, 0xff),
		"no state": change(len(good)-1, 3), "a high bit": change(len(good)-1, 0x80),
		"cut": good[:len(good)-1], "header": good[:5], "trailing": append(bytes.Clone(good), 0), "twice": twice,
		"nobody": slices.Concat(good[:tableHeader], make([]byte, 8), good[tableHeader+8:]),
	} {
		if err := table.Restore(b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if table.Look(1).Opens != Refused || table.Len() != 2 {
		t.Error("a refused snapshot changed the table")
	}
	must(t, table.Restore(good))
	must(t, table.Restore(nil))
	if table.Len() != 0 || table.Look(1) != (Choice{}) {
		t.Error("restored from nothing, and not empty")
	}
}

func FuzzRestore(f *testing.F) {
	table := NewTable(BasisSubject)
	table.set(1, Choice{Opens: Refused})
	table.set(1<<63, Choice{Format: Plain, Unsubscribed: true})
	good, _ := table.Snapshot()
	f.Add([]byte{})
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		table := NewTable(BasisSubject)
		if table.Restore(b) != nil {
			return
		}
		once, err := table.Snapshot()
		must(t, err)
		if len(b) > 0 && len(once) != len(b) {
			t.Errorf("%d bytes became %d", len(b), len(once))
		}
		again := NewTable(BasisSubject)
		must(t, again.Restore(once))
		for v, state := range table.slots.Load().all() {
			if again.Look(unmix(v)) != unpack(state) {
				t.Errorf("%#x was lost", unmix(v))
			}
		}
	})
}

func FuzzApply(f *testing.F) {
	f.Add("0000000000000007/opens", []byte(`{"value":"refused","source":"x"}`))
	f.Add("0000000000000007/mail", []byte(`{"value":"subscribed"}`))
	f.Add("ffffffffffffffff/format", []byte(`{"value":7}`))
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		e := entry(key, string(b))
		c, err := parse(&e)
		if (c.Subject == 0) && err == nil {
			t.Error("about nobody, and no error")
		}
		table := NewTable(BasisNone)
		if (table.Apply(e) == nil) != (err == nil) || (c.Subject != 0) != (table.Len() == 1) {
			t.Error("fold and reading differ")
		}
		// Nothing but a readable grant may let anything be counted.
		if got := table.Look(c.Subject); err != nil && (got.Opens == Granted || got.Clicks == Granted || got.Format == HTML) {
			t.Errorf("an unreadable record gave %+v", got)
		}
		var back body
		if err == nil && json.Unmarshal(b, &back) == nil && c.Check() == nil {
			rs, err := c.records(time.Time{})
			if err != nil || len(rs) != 1 || rs[0].Key != key {
				t.Errorf("%+v is written as %+v, %v", c, rs, err)
			}
		}
	})
}
