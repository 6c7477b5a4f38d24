package reconfirm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dayOf(at time.Time) uint32 { return uint32(at.Unix() / 86400) }

// The list against a model in plain words, over random decisions, days and bases: nobody is called inactive whose
// silence says nothing, and everybody else whose day is long ago is.
func TestListAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		basis := consent.Basis(rapid.IntRange(0, 2).Draw(t, "basis"))
		log, table := control.NewMemory(), consent.NewTable(basis)
		w := consent.NewWriter(log, nil, table)
		store := storetest.NewMemory()
		const people = 6
		choice, decided := map[uint64]consent.Choice{}, map[uint64]time.Time{}
		last := map[uint64]uint32{}
		offset, folded := uint64(0), control.Position(0)
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40*24).Draw(t, "hours")) * time.Hour)
			who := rapid.Uint64Range(1, people).Draw(t, "who")
			if rapid.Bool().Draw(t, "acts") {
				last[who] = dayOf(now)
				if err := store.Commit(ctx, &aggregate.Commit{Before: offset, After: aggregate.Progress{Offset: offset + 1},
					LastActive: []aggregate.LastActive{{Subject: who, Day: last[who]}}}); err != nil {
					t.Fatal(err)
				}
				offset++
				continue
			}
			said := rapid.SampledFrom([][2]string{
				{"opens", "granted"}, {"opens", "refused"}, {"clicks", "granted"}, {"clicks", "refused"},
				{"format", "html"}, {"format", "plain"}, {"mail", "subscribed"}, {"mail", "unsubscribed"},
				{"tracking", "full"}, {"tracking", "date-only"},
			}).Draw(t, "says")
			if _, err := log.Append(ctx, control.Record{
				Kind: control.KindConsent, Key: fmt.Sprintf("%016x/%s", who, said[0]), Time: now, Body: fmt.Appendf(nil, `{"value":"%s"}`, said[1]),
			}); err != nil {
				t.Fatal(err)
			}
			entries, err := log.Read(ctx, folded, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				_ = table.Apply(e)
				folded, decided[who] = e.Position, e.Time
			}
			choice[who] = table.Look(who)
		}
		days := rapid.IntRange(1, 100).Draw(t, "inactive")
		since := now.Add(-time.Duration(days) * day)
		f, err := New(Options{Activity: store, Plans: table, Ledger: w})
		if err != nil {
			t.Fatal(err)
		}
		list, err := f.Begin(ctx, now, time.Duration(days)*day)
		if err != nil {
			t.Fatal(err)
		}
		var want []aggregate.LastActive
		asked := []uint64{3, 0, 1, 2, 6, 5, 4, 3}
		standing := map[uint64]Answer{0: {Standing: Kept}}
		for who := uint64(1); who <= people; who++ {
			c := choice[who]
			measured := c.Format != consent.Plain && !c.Unsubscribed &&
				(c.Opens == consent.Granted || c.Opens == consent.Unset && basis == consent.BasisSubject) &&
				(c.Clicks == consent.Granted || c.Clicks == consent.Unset && basis == consent.BasisSubject)
			spoke := !decided[who].IsZero() && !decided[who].Before(since)
			at, active := last[who]
			// The whole of the last day lies before.
			old := time.Unix(int64(at+1)*86400, 0).Compare(since) <= 0
			switch {
			case measured && !spoke && active && old:
				want = append(want, aggregate.LastActive{Subject: who, Day: at})
				standing[who] = Answer{Inactive, at}
			case measured && !spoke && !active:
				standing[who] = Answer{Standing: Never}
			default:
				standing[who] = Answer{Standing: Kept}
			}
		}
		for after := range uint64(people + 1) {
			var got []aggregate.LastActive
			if err := list.Inactive(ctx, after, func(a aggregate.LastActive) error { got = append(got, a); return nil }); err != nil {
				t.Fatal(err)
			}
			if rest := slices.DeleteFunc(slices.Clone(want), func(a aggregate.LastActive) bool { return a.Subject <= after }); !slices.Equal(got, rest) {
				t.Fatalf("after %d: %v, want %v", after, got, rest)
			}
		}
		got, err := list.Judge(ctx, asked)
		if err != nil {
			t.Fatal(err)
		}
		for i, who := range asked {
			if got[i] != standing[who] {
				t.Fatalf("%d: %+v, want %+v", who, got[i], standing[who])
			}
		}
	})
}

// crowd is more people than fit a page, of whom every third refuses.
func crowd(t *testing.T, n int) (*Finder, *consent.Table) {
	t.Helper()
	store, table := storetest.NewMemory(), consent.NewTable(consent.BasisSubject)
	log := control.NewMemory()
	w := consent.NewWriter(log, nil, table)
	c := &aggregate.Commit{After: aggregate.Progress{Offset: 1}}
	var changes []consent.Change
	for i := range uint64(n) {
		c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: i + 1, Day: 10})
		if i%3 == 0 {
			changes = append(changes, consent.Change{Subject: c.LastActive[i].Subject, Opens: consent.Refused})
		}
	}
	must(t, store.Commit(t.Context(), c))
	_, _, err := w.Import(t.Context(), changes)
	must(t, err)
	entries, err := log.Read(t.Context(), 0, 100)
	must(t, err)
	for _, e := range entries {
		must(t, table.Apply(e))
	}
	f, err := New(Options{Activity: store, Plans: table, Ledger: w})
	must(t, err)
	return f, table
}

func TestListOfManyPages(t *testing.T) {
	t.Parallel()
	const n = 3*Page + 17
	f, _ := crowd(t, n)
	list, err := f.Begin(t.Context(), time.Now(), 30*day)
	must(t, err)
	seen, last := 0, uint64(0)
	must(t, list.Inactive(t.Context(), 0, func(a aggregate.LastActive) error {
		if a.Subject <= last {
			t.Fatalf("%d after %d", a.Subject, last)
		}
		seen, last = seen+1, a.Subject
		return nil
	}))
	if seen != n-(n+2)/3 {
		t.Errorf("%d people, want %d", seen, n-(n+2)/3)
	}
	enough := errors.New("enough")
	if err := list.Inactive(t.Context(), 0, func(aggregate.LastActive) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

func TestBeginRefuses(t *testing.T) {
	t.Parallel()
	f, _ := crowd(t, 3)
	for _, d := range []time.Duration{0, -day, day - 1, Most + 1} {
		if _, err := f.Begin(t.Context(), time.Now(), d); err == nil {
			t.Errorf("%v is taken", d)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a finder of nothing")
	}
}

// wavering refuses when first asked about, and agrees from then on.
type wavering map[uint64]bool

func (w wavering) Plan(subject uint64) (opens, clicks event.Reason) {
	if asked := w[subject]; !asked {
		w[subject] = true
		return event.OptedOut, event.OptedOut
	}
	return event.Counted, event.Counted
}

// Who comes to agree while a page is judged is kept: nobody looked for the day of somebody who refused.
func TestJudgeWhileSomebodyDecides(t *testing.T) {
	t.Parallel()
	f, _ := crowd(t, 3)
	f.o.Plans = wavering{}
	list, err := f.Begin(t.Context(), time.Now(), 30*day)
	must(t, err)
	got, err := list.Judge(t.Context(), []uint64{2, 900})
	must(t, err)
	if want := []Answer{{Standing: Kept}, {Standing: Kept}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
