package storetest

import (
	"fmt"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

func uniques(t *testing.T, f *fixture) {
	all := hashes(1, 40)
	add := func(link uint16, kind event.Kind, class classify.Class, who []uint64) aggregate.Uniques {
		return aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: 1, Link: link, Kind: kind, Class: class}, Hashes: who}
	}
	f.mustCommit(t, &aggregate.Commit{After: aggregate.Progress{Offset: 1}, Uniques: []aggregate.Uniques{
		add(0, event.Open, classify.Human, all[:10]),
		add(0, event.Open, classify.Proxied, all[5:20]),
		add(0, event.Open, classify.Machine, all[:40]),
		add(1, event.Click, classify.Human, all[:4]),
		add(2, event.Click, classify.Human, all[2:6]),
	}})
	f.mustCommit(t, &aggregate.Commit{Before: 1, After: aggregate.Progress{Offset: 2}, Uniques: []aggregate.Uniques{
		add(0, event.Open, classify.Human, all[:12]), // ten of them again
		add(0, event.Open, classify.Unknown, all[18:25]),
		add(2, event.Click, classify.Unknown, all[10:11]),
		add(9, event.Click, classify.Machine, all[30:]), // only machines follow the hidden link
		{UniqueKey: aggregate.UniqueKey{Campaign: 2, Kind: event.Open, Class: classify.Human}, Hashes: all[:1]},
	}})
	for _, want := range []aggregate.UniqueCount{
		{Kind: event.Open, Whole: true, Human: 12, People: 25},
		{Kind: event.Open, Link: 0, Human: 12, People: 25},
		{Kind: event.Click, Whole: true, Human: 6, People: 7},
		{Kind: event.Click, Link: 1, Human: 4, People: 4},
		{Kind: event.Click, Link: 2, Human: 4, People: 5},
	} {
		if got := f.people(t, 1, want.Kind, want.Link, want.Whole); got.Human != want.Human || got.People != want.People {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	got, err := f.UniqueCounts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range got {
		if u.Link == 9 && u.People != 0 {
			t.Errorf("machines are people: %+v", u)
		}
	}
}

// accuracy: exact while a mailing is small, within 2 % up to a million, however the people came.
func accuracy(t *testing.T, f *fixture) {
	sizes := []uint64{1, 2, 3, 10, 50, 99, 100, 1_000, 5_000, 20_000, 100_000}
	if !testing.Short() {
		sizes = append(sizes, 1_000_000)
	}
	offset := uint64(0)
	for i, n := range sizes {
		campaign := uint32(i + 1)
		who := hashes(uint64(campaign), int(n))
		half := n / 2
		// In three commits that overlap, the first half on one link and the rest on another.
		for _, part := range []struct {
			link uint16
			who  []uint64
		}{{1, who[:half]}, {2, who[half:]}, {2, who[half+half/2:]}, {1, who[:half/3]}} {
			f.mustCommit(t, &aggregate.Commit{Before: offset, After: aggregate.Progress{Offset: offset + 1}, Uniques: []aggregate.Uniques{
				{UniqueKey: aggregate.UniqueKey{Campaign: campaign, Link: part.link, Kind: event.Click, Class: classify.Human}, Hashes: part.who},
			}})
			offset++
		}
		whole := f.people(t, campaign, event.Click, 0, true)
		f.within(t, name(n), whole.Human, n)
		f.within(t, name(n)+" of any class", whole.People, n)
		if half > 0 {
			f.within(t, name(n)+" on the first link", f.people(t, campaign, event.Click, 1, false).People, half)
		}
	}
}

func populations(t *testing.T, f *fixture) {
	measured := aggregate.Member{}
	plain := aggregate.Member{Opens: event.PlainText, Clicks: event.PlainText}
	half := aggregate.Member{Opens: event.OptedOut}
	add := func(campaign uint32, m aggregate.Member, who []uint64) {
		t.Helper()
		if err := f.AddPopulation(t.Context(), []aggregate.Population{{Campaign: campaign, Member: m, Hashes: who}}); err != nil {
			t.Fatal(err)
		}
	}
	who := hashes(3, 90)
	for range 3 { // minting again changes nothing
		add(1, measured, who[:50])
		add(1, measured, who[25:70])
		add(1, plain, who[70:80])
		add(1, half, who[80:])
		add(2, measured, who[:5])
	}
	want := map[aggregate.Member]uint64{measured: 70, plain: 10, half: 10}
	got, err := f.Populations(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got {
		if p.People != want[p.Member] {
			t.Errorf("%+v: %d people, want %d", p.Member, p.People, want[p.Member])
		}
		delete(want, p.Member)
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
	}
	if p := f.progress(t, 0); p.Offset != 0 {
		t.Errorf("a population moved the offset to %d", p.Offset)
	}
	many := hashes(4, 50_000)
	add(3, measured, many)
	if p, err := f.Populations(t.Context(), 3); err != nil || len(p) != 1 {
		t.Errorf("population %v, %v", p, err)
	} else {
		f.within(t, name(50_000), p[0].People, 50_000)
	}
}

// populationsOverlap: who was minted for twice, with a choice in between, counts once, under the stricter of both.
func populationsOverlap(t *testing.T, f *fixture) {
	measured, refused := aggregate.Member{}, aggregate.Member{Opens: event.OptedOut, Clicks: event.OptedOut}
	half := aggregate.Member{Clicks: event.OptedOut}
	for campaign, c := range []struct {
		measured, half, refused [2]int // from, to, of the same people
		want                    map[aggregate.Member]uint64
	}{
		{measured: [2]int{0, 10}, refused: [2]int{7, 10}, want: map[aggregate.Member]uint64{measured: 7, refused: 3}},
		{measured: [2]int{0, 10}, refused: [2]int{0, 10}, want: map[aggregate.Member]uint64{refused: 10}},
		{measured: [2]int{0, 10}, half: [2]int{5, 12}, refused: [2]int{8, 11}, want: map[aggregate.Member]uint64{measured: 5, half: 4, refused: 3}},
		{measured: [2]int{0, 40_000}, refused: [2]int{40_000, 40_100}, want: map[aggregate.Member]uint64{measured: 40_000, refused: 100}},
		{measured: [2]int{0, 50_000}, refused: [2]int{40_000, 60_000}, want: map[aggregate.Member]uint64{measured: 40_000, refused: 20_000}},
	} {
		number := uint32(campaign + 1)
		who := hashes(7, 60_000)
		for member, part := range map[aggregate.Member][2]int{measured: c.measured, half: c.half, refused: c.refused} {
			p := []aggregate.Population{{Campaign: number, Member: member, Hashes: who[part[0]:part[1]]}}
			if err := f.AddPopulation(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		got, err := f.Populations(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		people := map[aggregate.Member]uint64{}
		for _, p := range got {
			people[p.Member] += p.People
		}
		for _, member := range []aggregate.Member{measured, half, refused} {
			f.within(t, fmt.Sprintf("case %d, %+v", number, member), people[member], c.want[member])
		}
	}
}
