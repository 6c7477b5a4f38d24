package consent

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCensus counts what a list of the same choices holds, each person's last one.
func TestCensus(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		table, people := NewTable(BasisSubject), map[uint64]Choice{}
		for range rapid.IntRange(0, 300).Draw(rt, "changes") {
			who := rapid.Uint64Range(1, 100).Draw(rt, "who")
			c := Choice{
				Opens: State(rapid.IntRange(0, 2).Draw(rt, "opens")), Clicks: State(rapid.IntRange(0, 2).Draw(rt, "clicks")),
				Format: Format(rapid.IntRange(0, 2).Draw(rt, "format")), Unsubscribed: rapid.Bool().Draw(rt, "left"), DateOnly: rapid.Bool().Draw(rt, "date"),
			}
			table.set(who, c)
			people[who] = c
		}
		var want Census
		one := func(is bool) uint64 {
			if is {
				return 1
			}
			return 0
		}
		for _, c := range people {
			want.People++
			want.OpensGranted += one(c.Opens == Granted)
			want.OpensRefused += one(c.Opens == Refused)
			want.ClicksGranted += one(c.Clicks == Granted)
			want.ClicksRefused += one(c.Clicks == Refused)
			want.HTML += one(c.Format == HTML)
			want.PlainText += one(c.Format == Plain)
			want.Unsubscribed += one(c.Unsubscribed)
			want.DateOnly += one(c.DateOnly)
		}
		if got := table.Census(); got != want {
			rt.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func BenchmarkCensus(b *testing.B) {
	table := NewTable(BasisSubject)
	for i := range uint64(10_000_000) {
		table.set(i+1, Choice{Opens: State(i % 3), Unsubscribed: i%7 == 0})
	}
	for b.Loop() {
		if table.Census().People != 10_000_000 {
			b.Fatal("not all")
		}
	}
}
