package advertiser

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/privacy"
)

// TestDifferencing: two mailings whose people differ by one, who may or may not have clicked, at the number where rounding gives most
// away. An attacker who knows of everybody else, and sees what was released of both, guesses right hardly more often than ε = 1
// allows: e/(1+e) of the time at most. Without the noise the same attacker is always right.
func TestDifferencing(t *testing.T) {
	t.Parallel()
	const trials = 4000
	guessed := func(random *privacy.Sampler) (right int) {
		release := func(n int64) uint64 {
			z, err := random.Laplace(privacy.Epsilon{Num: 1, Den: 1})
			must(t, err)
			if s := shown(n + z); s != nil {
				return *s
			}
			return 0
		}
		for trial := range trials {
			clicked, others := trial%2 == 0, int64(62)
			with := others
			if clicked {
				with++
			}
			shownOthers, shownWith := release(others), release(with)
			guess := shownWith > shownOthers || shownWith == shownOthers && shownWith >= 65
			if guess == clicked {
				right++
			}
		}
		return right
	}
	if right := guessed(privacy.NewSampler(silence{})); right != trials {
		t.Errorf("without noise %d of %d guesses are right: this attack is none", right, trials)
	}
	if right, bound := guessed(privacy.NewSampler(seeded(7))), trials*(math.E/(1+math.E)+0.03); float64(right) > bound {
		t.Errorf("%d of %d guesses are right, %.0f may be", right, trials, bound)
	}
}

// TestDifferencingOfClosings is the same with the whole way: two campaigns over overlapping people, closed together.
func TestDifferencingOfClosings(t *testing.T) {
	t.Parallel()
	const trials = 200
	seen := map[bool]map[int64]int{true: {}, false: {}}
	for trial := range trials {
		g := newRig(t, storetest.NewMemory(), byte(trial))
		clicked := trial%2 == 0
		a, b := g.books.add(500, "ACME"), g.books.add(501, "ACME")
		g.click(t, a, 1, 0, 60)
		g.click(t, b, 1, 0, 60)
		if clicked {
			g.click(t, b, 1, 60, 61)
		}
		g.clock.week(1)
		g.close(t)
		// Before it is rounded, which is more than anybody sees.
		seen[clicked][g.released(t, "ACME", b)[0]-g.released(t, "ACME", a)[0]]++
	}
	overlap := 0
	for d, n := range seen[true] {
		overlap += min(n, seen[false][d])
	}
	if overlap < trials/2*6/10 { // total variation of two such differences is below 0.3
		t.Errorf("the two cases can be told apart: %v", seen)
	}
}

// TestNobodyIsInTwoCells: whatever is clicked, moved and closed in whatever order, the cells of a campaign add up to the people who
// clicked by the last of them, and one person more or less changes one of them, by one.
func TestNobodyIsInTwoCells(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		type act struct{ what, link, from, to, weeks int }
		acts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
			from := rapid.IntRange(0, 4).Draw(t, "from")
			return act{rapid.IntRange(0, 4).Draw(t, "what"), rapid.IntRange(1, 3).Draw(t, "link"), from, from + rapid.IntRange(1, 3).Draw(t, "people"), rapid.SampledFrom([]int{1, 1, 1, 2, 0, -1}).Draw(t, "weeks")}
		}), 8, 40).Draw(rt, "acts")
		person := rapid.IntRange(0, 6).Draw(rt, "person")
		// fresh plays the acts, with or without one person, and returns what each cell holds without its noise.
		fresh := func(without bool) (cells []int64, people uint64) {
			g := newRig(t, storetest.NewMemory(), 0, func(o *Options) { o.random = silence{} })
			c, week := g.books.add(1000, "ACME", "ACME", "Bolt"), 0
			for _, a := range acts {
				switch a.what {
				case 0, 1:
					if without && a.from <= person && person < a.to {
						g.click(t, c, uint16(a.link), a.from, person)
						g.click(t, c, uint16(a.link), person+1, a.to)
					} else {
						g.click(t, c, uint16(a.link), a.from, a.to)
					}
				case 2:
					week += a.weeks
					g.clock.week(week)
					must(t, g.Close(context.Background()))
				case 3:
					g.books.give(c, uint16(a.link), "ACME")
				case 4:
					g.books.give(c, uint16(a.link), "Bolt")
				}
			}
			chain, err := g.store.Closings(context.Background(), "ACME")
			must(t, err)
			for _, closed := range chain {
				for _, r := range closed.Releases {
					cells = append(cells, r.Noised)
					people = r.People
				}
			}
			return cells, people
		}
		with, people := fresh(false)
		sum := int64(0)
		for _, n := range with {
			sum += n
		}
		if uint64(sum) != people || len(with) > MostCells {
			rt.Fatalf("cells %v, and %d people", with, people)
		}
		without, _ := fresh(true)
		if len(with) != len(without) {
			rt.Fatalf("whether somebody clicked shows in the number of cells: %v and %v", with, without)
		}
		distance := int64(0)
		for i := range with {
			distance += max(with[i]-without[i], without[i]-with[i])
		}
		if distance > 1 {
			rt.Fatalf("one person changes %v to %v", without, with)
		}
	})
}

// silence are bits of which every draw is 0.
type silence struct{}

func (silence) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0b10101010
	}
	return len(p), nil
}

func TestSilence(t *testing.T) {
	t.Parallel()
	s := privacy.NewSampler(silence{})
	for range 100 {
		if z, err := s.Laplace(privacy.Epsilon{Num: 1, Den: 1}); err != nil || z != 0 {
			t.Fatalf("%d, %v", z, err)
		}
	}
}

// faulty fails at one step, before it or after it.
type faulty struct {
	aggregate.Store
	step  string
	after bool
	left  int // how many times
}

var errFault = errors.New("fault")

func (f *faulty) at(step string, do func() error) error {
	fail := f.step == step && f.left > 0
	if fail {
		f.left--
	}
	if fail && !f.after {
		return errFault
	}
	if err := do(); err != nil {
		return err
	}
	if fail {
		return errFault
	}
	return nil
}

func (f *faulty) Clickers(ctx context.Context, campaign uint32, links []uint16) (n uint64, err error) {
	err = f.at("count", func() error { n, err = f.Store.Clickers(ctx, campaign, links); return err })
	return n, err
}

func (f *faulty) AddClosing(ctx context.Context, c *aggregate.Closing) error {
	return f.at("store", func() error { return f.Store.AddClosing(ctx, c) })
}

func (f *faulty) Closings(ctx context.Context, name string) (all []aggregate.Closing, err error) {
	err = f.at("read", func() error { all, err = f.Store.Closings(ctx, name); return err })
	return all, err
}

// TestFaults: a process that ends before or after each step leaves one number or none, and what is told is what is stored.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"read", "count", "store"} {
		for _, after := range []bool{false, true} {
			g := newRig(t, storetest.NewMemory(), 1)
			c := g.books.add(1000, "ACME")
			g.click(t, c, 1, 0, 100)
			g.clock.week(1)
			f := &faulty{Store: g.store, step: step, after: after, left: 1}
			g.renew(t, 1, func(o *Options) { o.Store = f })
			if err := g.Close(t.Context()); !errors.Is(err, errFault) {
				t.Fatalf("%s, after %v: %v", step, after, err)
			}
			stored := g.released(t, "ACME", c)
			if want := step == "store" && after; (len(stored) == 1) != want {
				t.Errorf("%s, after %v: %v is stored", step, after, stored)
			}
			g.renew(t, 2) // whoever goes on draws other noise
			g.close(t)
			final := g.released(t, "ACME", c)
			if len(final) != 1 || len(stored) == 1 && !slices.Equal(final, stored) {
				t.Errorf("%s, after %v: %v, was %v", step, after, final, stored)
			}
		}
	}
}

// TestRunSaysFaultsOnce: and goes on by itself.
func TestRunSaysFaultsOnce(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	g.books.add(1000, "ACME")
	g.clock.week(1)
	f := &faulty{Store: g.store, step: "store", left: 3}
	g.renew(t, 1, func(o *Options) { o.Store = f })
	for range 3 {
		g.round(t.Context())
		if !g.Stats().Faulty {
			t.Error("it is not faulty")
		}
	}
	g.round(t.Context())
	if s := g.Stats(); s != (Stats{Closed: 1, Released: 1, Failed: 3}) {
		t.Errorf("%+v", s)
	}
}
