package consent

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var anyChoice = rapid.Custom(func(t *rapid.T) Choice {
	return Choice{
		Opens:        State(rapid.IntRange(0, 2).Draw(t, "opens")),
		Clicks:       State(rapid.IntRange(0, 2).Draw(t, "clicks")),
		Format:       Format(rapid.IntRange(0, 2).Draw(t, "format")),
		Unsubscribed: rapid.Bool().Draw(t, "unsubscribed"),
		DateOnly:     rapid.Bool().Draw(t, "date only"),
	}
})

func TestPackIsABijection(t *testing.T) {
	t.Parallel()
	seen := 0
	for b := range 256 {
		if packed(byte(b)) {
			seen++
			if got := unpack(byte(b)).pack(); got != byte(b) {
				t.Errorf("%08b became %08b", b, got)
			}
		}
	}
	if seen != 2*3*3*3*2 {
		t.Errorf("%d packed bytes, want %d", seen, 2*3*3*3*2)
	}
	rapid.Check(t, func(t *rapid.T) {
		c := anyChoice.Draw(t, "choice")
		if b := c.pack(); !packed(b) || unpack(b) != c || unpack(b|present) != c {
			t.Fatalf("%+v packs to %08b and back to %+v", c, b, unpack(b))
		}
	})
}

func TestMixIsABijection(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64().Draw(t, "x")
		if unmix(mix(x)) != x || mix(unmix(x)) != x {
			t.Fatalf("%#x is not itself again", x)
		}
	})
}

// TestTableIsAMap drives the table and a map side by side. It begins far too small, so that its
// parts grow, and some numbers are the worst that could come: alike in their low bits.
func TestTableIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table, model := NewTable(BasisSubject), map[uint64]Choice{}
		table.slots.Store(newSlots(256 * rapid.Uint64Range(0, 8).Draw(t, "room")))
		subjects := rapid.OneOf(
			rapid.Uint64Range(1, 50),
			rapid.Uint64Min(1),
			rapid.Map(rapid.Uint64Range(1, 255), func(n uint64) uint64 { return unmix(n<<restBits | 7) }),
			rapid.Map(rapid.Uint64Range(1, 500), func(n uint64) uint64 { return unmix(1<<restBits - n) }), // one shard, around its end
		)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				s, c := subjects.Draw(t, "subject"), anyChoice.Draw(t, "choice")
				table.set(s, c)
				model[s] = c
			},
			"crowd": func(t *rapid.T) {
				r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				for range rapid.IntRange(1, 500).Draw(t, "people") {
					s, c := r.Uint64()|1, unpack(byte(r.IntN(3)|r.IntN(3)<<2))
					table.set(s, c)
					model[s] = c
				}
			},
			"look": func(t *rapid.T) {
				s := subjects.Draw(t, "subject")
				if got := table.Look(s); got != model[s] {
					t.Fatalf("%#x: %+v, want %+v", s, got, model[s])
				}
			},
			"restore": func(t *rapid.T) {
				b, err := table.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				other := NewTable(BasisNone)
				other.set(99, Choice{Opens: Refused}) // is replaced
				if err := other.Restore(b); err != nil {
					t.Fatal(err)
				}
				same(t, other, model)
				table = other
			},
		})
		same(t, table, model)
	})
}

func same(t *rapid.T, table *Table, model map[uint64]Choice) {
	if table.Len() != len(model) {
		t.Fatalf("%d people, want %d", table.Len(), len(model))
	}
	for s, c := range model {
		if got := table.Look(s); got != c {
			t.Fatalf("%#x: %+v, want %+v", s, got, c)
		}
	}
	for v := range table.slots.Load().all() {
		if _, ok := model[unmix(v)]; !ok {
			t.Fatalf("%#x is in the table and in nobody's mind", unmix(v))
		}
	}
}

// TestReadersMeetNoHalfStates: while the table grows, readers see every person with the first or
// the second choice, and somebody whose choice was seen set never unset again.
func TestReadersMeetNoHalfStates(t *testing.T) {
	t.Parallel()
	const people = 60_000
	first, second := Choice{Opens: Refused}, Choice{Opens: Refused, Clicks: Refused, Format: Plain}
	table := NewTable(BasisSubject)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for seed := range uint64(2) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			seen := make([]Choice, people+1)
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := 1 + r.Uint64N(people)
				c := table.Look(s)
				if c != (Choice{}) && c != first && c != second || rank(c, first, second) < rank(seen[s], first, second) {
					t.Errorf("%d: %+v after %+v", s, c, seen[s])
					return
				}
				seen[s] = c
			}
		})
	}
	for s := range uint64(people) {
		table.set(s+1, first)
		table.set(s/2+1, second)
	}
	close(stop)
	readers.Wait()
}

func rank(c Choice, order ...Choice) int { return slices.Index(order, c) }

func TestSize(t *testing.T) {
	t.Parallel()
	table := NewTable(BasisSubject)
	r := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for n := 1; n <= 300_000; n++ { // the size goes round three times
		table.set(r.Uint64()|1, Choice{Opens: Refused})
		if n >= 100_000 && n%100 == 0 {
			worst = max(worst, float64(table.Bytes())/float64(n))
		}
	}
	t.Logf("at most %.2f bytes a person from 100,000 to 300,000", worst)
	if worst > 16 {
		t.Errorf("%.2f bytes a person, want at most 16", worst)
	}
}

func TestLookDoesNotAllocate(t *testing.T) {
	table := NewTable(BasisAggregate)
	table.set(7, Choice{Opens: Granted})
	var counted event.Reason
	n := testing.AllocsPerRun(100, func() {
		counted |= table.Verdict(event.Open, 7) | table.Verdict(event.Click, 8)
		table.Attributed(event.Open, 7)
		table.Plan(7)
	})
	if n != 0 || counted != event.Counted {
		t.Errorf("%v allocations, reason %v", n, counted)
	}
}

func BenchmarkLook(b *testing.B) {
	people := 10_000_000
	if testing.Short() {
		people = 100_000
	}
	table := NewTable(BasisSubject)
	r := rand.New(rand.NewPCG(3, 4))
	known := make([]uint64, 1<<20)
	for n := range people {
		s := r.Uint64() | 1
		table.set(s, Choice{Opens: Refused})
		known[n&(len(known)-1)] = s
	}
	unknown := make([]uint64, 1<<20)
	for i := range unknown {
		unknown[i] = r.Uint64()
	}
	b.ReportAllocs()
	for name, subjects := range map[string][]uint64{"known": known, "unknown": unknown} {
		b.Run(name, func(b *testing.B) {
			var sum event.Reason
			for i := 0; b.Loop(); i++ {
				sum |= table.Verdict(event.Open, subjects[i&(len(subjects)-1)])
			}
			_ = sum
		})
	}
	b.Run("bytes", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(float64(table.Bytes())/float64(table.Len()), "B/person")
	})
}

func BenchmarkRestore(b *testing.B) {
	people := 1_000_000
	if testing.Short() {
		people = 100_000
	}
	table := NewTable(BasisSubject)
	r := rand.New(rand.NewPCG(3, 4))
	for range people {
		table.set(r.Uint64()|1, Choice{Opens: Refused})
	}
	snapshot, err := table.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := table.Restore(snapshot); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/float64(people)*1e9, "ns/person")
}

func BenchmarkApply(b *testing.B) {
	table := NewTable(BasisSubject)
	r := rand.New(rand.NewPCG(5, 6))
	for b.Loop() {
		if err := table.Apply(entry(keyOf(r.Uint64()|1, fieldOpens), `{"value":"refused","source":"import","text_version":"2026-03"}`)); err != nil {
			b.Fatal(err)
		}
	}
}

// A record of tracking that makes no sense is the strictest there is of it.
func TestOddTrackingIsDateOnly(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{", `{}`, `{"value":"none"}`, `{"value":7}`, `{"value":"unset"}`} {
		table := NewTable(BasisSubject)
		if err := table.Apply(entry(keyOf(7, fieldTracking), body)); err == nil || table.Look(7) != (Choice{DateOnly: true}) {
			t.Errorf("%s: %+v, %v", body, table.Look(7), err)
		}
	}
	table := NewTable(BasisSubject)
	must(t, table.Apply(entry(keyOf(7, fieldTracking), `{"value":"date-only"}`)))
	must(t, table.Apply(entry(keyOf(7, fieldTracking), `{"value":"full"}`)))
	if table.Look(7) != (Choice{}) {
		t.Errorf("%+v", table.Look(7))
	}
}
