package storetest

import (
	"errors"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/privacy"
)

func (f *fixture) clickers(t *testing.T, want uint64, campaign uint32, links ...uint16) {
	t.Helper()
	got, err := f.Clickers(t.Context(), campaign, links)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%d people clicked the links %.40v of campaign %d, want %d", got, links, campaign, want)
	}
}

func clicked(campaign uint32, link uint16, kind event.Kind, class classify.Class, who []uint64) aggregate.Uniques {
	return aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: campaign, Link: link, Kind: kind, Class: class}, Hashes: who}
}

// clickers: who clicked for sure, and nobody else, once over all links that are asked about; not of a commit that was refused.
func clickers(t *testing.T, f *fixture) {
	f.clickers(t, 0, 1, 1)
	who := hashes(5, 60)
	f.mustCommit(t, &aggregate.Commit{After: aggregate.Progress{Offset: 1}, Uniques: []aggregate.Uniques{
		clicked(1, 1, event.Click, classify.Human, who[:10]),
		clicked(1, 2, event.Click, classify.Human, who[5:20]),
		clicked(1, 3, event.Click, classify.Human, []uint64{0, 1<<63 - 1, 1 << 63, math.MaxUint64}),
		clicked(1, 1, event.Click, classify.Proxied, who[20:25]),
		clicked(1, 1, event.Click, classify.Unknown, who[25:30]),
		clicked(1, 1, event.Click, classify.Machine, who[30:35]),
		clicked(1, 0, event.Open, classify.Human, who[35:40]),
		clicked(2, 1, event.Click, classify.Human, who[:3]),
	}})
	f.mustCommit(t, &aggregate.Commit{Before: 1, After: aggregate.Progress{Offset: 2}, Uniques: []aggregate.Uniques{
		clicked(1, 1, event.Click, classify.Human, who[8:12]), // two of them again
	}})
	check := func() {
		t.Helper()
		f.clickers(t, 12, 1, 1)
		f.clickers(t, 15, 1, 2)
		f.clickers(t, 20, 1, 1, 2)
		f.clickers(t, 20, 1, 2, 1, 1, 9)
		f.clickers(t, 4, 1, 3)
		f.clickers(t, 24, 1, 1, 2, 3)
		f.clickers(t, 0, 1)
		f.clickers(t, 0, 1, 0, 9, math.MaxUint16)
		f.clickers(t, 3, 2, 1)
		f.clickers(t, 0, 3, 1)
	}
	check()
	for i, c := range []*aggregate.Commit{
		{Before: 1, After: aggregate.Progress{Offset: 3}},
		{Before: 2, After: aggregate.Progress{Offset: 3}, Until: time.Now().Add(-time.Second)},
	} {
		c.Uniques = []aggregate.Uniques{clicked(1, 1, event.Click, classify.Human, who[40:])}
		if err := f.Commit(t.Context(), c); !errors.Is(err, []error{aggregate.ErrConflict, aggregate.ErrLate}[i]) {
			t.Errorf("refused commit %d: %v", i, err)
		}
	}
	check()
	if !f.b.Volatile {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.open(t)
		check()
	}
}

// clickersAreExact: one person more is one more, where a sketch would be off by thousands.
func clickersAreExact(t *testing.T, f *fixture) {
	const people = 120_000
	who := hashes(8, people+1)
	offset := uint64(0)
	put := func(link uint16, some []uint64) {
		f.mustCommit(t, &aggregate.Commit{Before: offset, After: aggregate.Progress{Offset: offset + 1}, Uniques: []aggregate.Uniques{
			clicked(1, link, event.Click, classify.Human, some),
		}})
		offset++
	}
	put(1, who[:people/2])
	put(2, who[people/3:people])
	put(1, who[:people/4])
	f.clickers(t, people, 1, 1, 2)
	put(2, who[people:])
	f.clickers(t, people+1, 1, 1, 2)
	put(2, who[people:])
	f.clickers(t, people+1, 1, 1, 2)
	f.clickers(t, people/2, 1, 1)
}

// clickersOfManyLinks: a question may name as many links as a campaign can have.
func clickersOfManyLinks(t *testing.T, f *fixture) {
	var links []uint16
	c := &aggregate.Commit{After: aggregate.Progress{Offset: 1}}
	who := hashes(9, 1000)
	for i := range uint16(1000) {
		c.Uniques = append(c.Uniques, clicked(1, 60*i+1, event.Click, classify.Human, who[i:i+1]))
	}
	f.mustCommit(t, c)
	for l := range uint16(math.MaxUint16) {
		links = append(links, l)
	}
	f.clickers(t, 1000, 1, links...)
	f.clickers(t, 500, 1, links[:30_000]...)
}

func monday(n int) time.Time { return time.Unix(4*24*3600, 0).UTC().AddDate(0, 0, 7*n) }

func closing(advertiser string, number uint32, releases ...aggregate.Release) *aggregate.Closing {
	return &aggregate.Closing{
		Advertiser: advertiser, Number: number, Start: monday(2900 + int(number)), End: monday(2901 + int(number)),
		At: monday(2901 + int(number)).Add(time.Hour), Releases: releases,
	}
}

func (f *fixture) chain(t *testing.T, advertiser string, want ...*aggregate.Closing) {
	t.Helper()
	got, err := f.Closings(t.Context(), advertiser)
	if err != nil {
		t.Fatal(err)
	}
	var all []aggregate.Closing
	for _, c := range want {
		all = append(all, *c)
	}
	if !reflect.DeepEqual(got, all) {
		t.Errorf("closings of %q:\n%+v, want\n%+v", advertiser, got, all)
	}
}

// closings: a chain without gaps, in which nothing is ever replaced.
func closings(t *testing.T, f *fixture) {
	add := func(c *aggregate.Closing) {
		t.Helper()
		if err := f.AddClosing(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	one := privacy.Epsilon{Num: 1, Den: 1}
	f.chain(t, "ACME")
	first := closing("ACME", 1,
		aggregate.Release{Campaign: 3, Links: []uint16{1, 2, math.MaxUint16}, People: 125, Noised: 127, Epsilon: one},
		aggregate.Release{Campaign: 1<<24 - 1, Links: []uint16{9}, People: 1 << 62, Noised: math.MinInt64, Epsilon: privacy.Epsilon{Num: privacy.MaxTerm, Den: privacy.MaxTerm - 1}},
	)
	if err := f.AddClosing(t.Context(), closing("ACME", 2)); !errors.Is(err, aggregate.ErrConflict) {
		t.Errorf("the second before the first: %v", err)
	}
	add(first)
	nothing := closing("ACME", 2)
	add(nothing)
	third := closing("ACME", 3, aggregate.Release{Campaign: 3, Links: []uint16{1}, People: 126, Noised: -7, Epsilon: one})
	add(third)
	for _, number := range []uint32{0, 1, 2, 3, 5, math.MaxUint32} {
		if err := f.AddClosing(t.Context(), closing("ACME", number, first.Releases[0])); !errors.Is(err, aggregate.ErrConflict) {
			t.Errorf("closing %d after the third: %v, want a conflict", number, err)
		}
	}
	others := []string{"acme", "ACME:1", "O'Neill \"&\" Söhne \\ GmbH", "=1+1", "ACME "}
	for _, name := range others {
		add(closing(name, 1, first.Releases[0]))
	}
	f.chain(t, "ACME", first, nothing, third)
	for _, name := range others {
		f.chain(t, name, closing(name, 1, first.Releases[0]))
	}
	mine := closing("mine", 1, aggregate.Release{Campaign: 1, Links: []uint16{1, 2}, People: 1, Noised: 1, Epsilon: one})
	add(mine)
	mine.Releases[0].Links[0], mine.Releases[0].Noised = 7, 7
	f.chain(t, "mine", closing("mine", 1, aggregate.Release{Campaign: 1, Links: []uint16{1, 2}, People: 1, Noised: 1, Epsilon: one}))
	if !f.b.Volatile {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.open(t)
		f.chain(t, "ACME", first, nothing, third)
		if err := f.AddClosing(t.Context(), closing("ACME", 3)); !errors.Is(err, aggregate.ErrConflict) {
			t.Errorf("the third again after a restart: %v", err)
		}
	}
}

// closingsRival: of several who close at once one is let in each time, and what is read afterwards is what that one wrote.
func closingsRival(t *testing.T, f *fixture) {
	const rivals, rounds = 6, 8
	var want []*aggregate.Closing
	for round := range uint32(rounds) {
		var mu sync.Mutex
		var won []*aggregate.Closing
		var wg sync.WaitGroup
		for r := range rivals {
			wg.Go(func() {
				c := closing("ACME", round+1, aggregate.Release{Campaign: 1, Links: []uint16{1}, People: 100, Noised: int64(r), Epsilon: privacy.Epsilon{Num: 1, Den: 1}})
				switch err := f.AddClosing(t.Context(), c); {
				case err == nil:
					mu.Lock()
					won = append(won, c)
					mu.Unlock()
				case !errors.Is(err, aggregate.ErrConflict):
					t.Errorf("rival %d: %v", r, err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d of %d rivals were told that they closed", len(won), rivals)
		}
		want = append(want, won[0])
	}
	f.chain(t, "ACME", want...)
}
