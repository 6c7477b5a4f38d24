package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

func empty(t *testing.T, f *fixture) {
	if p := f.progress(t, 3); p.Offset != 0 || p.Context != 0 || len(p.Edges) != 0 {
		t.Errorf("progress of nothing: %+v", p)
	}
	if n := f.counts(t, 1); len(n) != 0 {
		t.Errorf("counts of nothing: %v", n)
	}
	if u, err := f.UniqueCounts(t.Context(), 1); err != nil || len(u) != 0 {
		t.Errorf("people of nothing: %v, %v", u, err)
	}
	if p, err := f.Populations(t.Context(), 1); err != nil || len(p) != 0 {
		t.Errorf("population of nothing: %v, %v", p, err)
	}
	if err := f.AddPopulation(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func commitIsRead(t *testing.T, f *fixture) {
	after := aggregate.Progress{Offset: 10, Context: 4, Edges: []aggregate.EdgeMark{{Edge: 2, Epoch: 1, Next: 7}, {Edge: 9, Epoch: 3, Next: 3}}}
	cell := aggregate.Cell{Campaign: 5, Hour: 500_000, Link: 2, Kind: event.Click, Reason: event.Counted, Class: classify.Proxied, Client: event.Gmail}
	refused := aggregate.Cell{Campaign: 5, Hour: 500_001, Kind: event.Open, Reason: event.OptedOut}
	other := aggregate.Cell{Campaign: 6, Hour: 1, Kind: event.Open}
	f.mustCommit(t, &aggregate.Commit{
		Partition: 1, After: after,
		Counts: []aggregate.Count{{Cell: cell, N: 7}, {Cell: refused, N: 2}, {Cell: other, N: 1}},
	})
	if p := f.progress(t, 1); !sameProgress(p, after) {
		t.Errorf("progress %+v, want %+v", p, after)
	}
	if n := f.counts(t, 5); len(n) != 2 || n[cell] != 7 || n[refused] != 2 {
		t.Errorf("campaign 5: %v", n)
	}
	if n := f.counts(t, 6); len(n) != 1 || n[other] != 1 {
		t.Errorf("campaign 6: %v", n)
	}
}

// late: a commit whose time is over leaves nothing, not a day either, and keeps nobody from committing from there.
func late(t *testing.T, f *fixture) {
	c := &aggregate.Commit{
		Partition: 2, After: aggregate.Progress{Offset: 5},
		Counts:     []aggregate.Count{{Cell: aggregate.Cell{Campaign: 4, Kind: event.Open}, N: 5}},
		LastActive: []aggregate.LastActive{day(6, 7)}, Until: time.Now().Add(-time.Millisecond),
	}
	if err := f.Commit(t.Context(), c); !errors.Is(err, aggregate.ErrLate) {
		t.Errorf("%v, want %v", err, aggregate.ErrLate)
	}
	if p, n := f.progress(t, 2), f.counts(t, 4); p.Offset != 0 || len(n) != 0 {
		t.Errorf("it left %+v and %v", p, n)
	}
	if days, err := f.LastDays(t.Context(), []uint64{6}); err != nil || len(days) != 0 {
		t.Errorf("it left the days %v, %v", days, err)
	}
	c.Until = time.Now().Add(time.Hour)
	f.mustCommit(t, c)
	if p := f.progress(t, 2); p.Offset != 5 {
		t.Errorf("%+v after a commit in time", p)
	}
	if days, err := f.LastDays(t.Context(), []uint64{6}); err != nil || !slices.Equal(days, []aggregate.LastActive{day(6, 7)}) {
		t.Errorf("days %v, %v after a commit in time", days, err)
	}
}

func cellsAddUp(t *testing.T, f *fixture) {
	// Cells that differ in one coordinate each, and the same in every commit.
	base := aggregate.Cell{Campaign: 1, Hour: 10, Link: 1, Kind: event.Click, Reason: event.Counted, Class: classify.Human, Client: event.Gmail}
	cells := []aggregate.Cell{base}
	for _, change := range []func(*aggregate.Cell){
		func(c *aggregate.Cell) { c.Hour++ }, func(c *aggregate.Cell) { c.Link++ }, func(c *aggregate.Cell) { c.Kind = event.Open },
		func(c *aggregate.Cell) { c.Reason = event.GPC }, func(c *aggregate.Cell) { c.Class = classify.Machine },
		func(c *aggregate.Cell) { c.Client = event.Outlook },
	} {
		c := base
		change(&c)
		cells = append(cells, c)
	}
	for round := range uint64(3) {
		c := &aggregate.Commit{Before: round, After: aggregate.Progress{Offset: round + 1}}
		for i, cell := range cells {
			c.Counts = append(c.Counts, aggregate.Count{Cell: cell, N: uint64(i) + 1})
		}
		f.mustCommit(t, c)
	}
	got := f.counts(t, 1)
	for i, cell := range cells {
		if got[cell] != 3*(uint64(i)+1) {
			t.Errorf("cell %+v holds %d, want %d", cell, got[cell], 3*(i+1))
		}
	}
	if len(got) != len(cells) {
		t.Errorf("%d cells, want %d", len(got), len(cells))
	}
}

func marksAreMerged(t *testing.T, f *fixture) {
	f.mustCommit(t, &aggregate.Commit{After: aggregate.Progress{Offset: 5, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 1, Next: 3}, {Edge: 1, Epoch: 2, Next: 2}}}})
	f.mustCommit(t, &aggregate.Commit{Before: 5, After: aggregate.Progress{Offset: 9, Context: 5, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 2, Next: 4}, {Edge: 2, Epoch: 1, Next: 2}}}})
	want := aggregate.Progress{Offset: 9, Context: 5, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 1, Next: 3}, {Edge: 1, Epoch: 2, Next: 4}, {Edge: 2, Epoch: 1, Next: 2}}}
	if p := f.progress(t, 0); !sameProgress(p, want) {
		t.Errorf("progress %+v, want %+v", p, want)
	}
}

func extremes(t *testing.T, f *fixture) {
	const top = 1<<64 - 1
	cell := aggregate.Cell{Campaign: 1<<32 - 1, Hour: 1<<32 - 1, Link: 1<<16 - 1, Kind: event.Click, Reason: event.Quarantined, Class: classify.Machine, Client: event.Opera}
	after := aggregate.Progress{Offset: 1 << 62, Context: 1<<62 - 1, Edges: []aggregate.EdgeMark{{Edge: top, Epoch: top - 1, Next: 1 << 62}}}
	f.mustCommit(t, &aggregate.Commit{
		Partition: 1<<32 - 1, After: after,
		Counts:     []aggregate.Count{{Cell: cell, N: 1 << 40}},
		Uniques:    []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 1<<32 - 1, Link: 1<<16 - 1, Kind: event.Click, Class: classify.Human}, Hashes: []uint64{0, 1, top, 1 << 63}}},
		LastActive: []aggregate.LastActive{{Subject: top, Day: 1<<32 - 1}, {Subject: 1, Day: 0}},
	})
	if p := f.progress(t, 1<<32-1); !sameProgress(p, after) {
		t.Errorf("progress %+v, want %+v", p, after)
	}
	if n := f.counts(t, 1<<32-1); n[cell] != 1<<40 {
		t.Errorf("counts %v", n)
	}
	if u := f.people(t, 1<<32-1, event.Click, 1<<16-1, false); u.Human != 4 || u.People != 4 {
		t.Errorf("people %+v", u)
	}
}

func conflict(t *testing.T, f *fixture) {
	if err := f.commit(t.Context(), 0, 0, 10); err != nil {
		t.Fatal(err)
	}
	want := f.progress(t, 0)
	for _, before := range []uint64{0, 9, 11, 1 << 62} {
		c := &aggregate.Commit{
			Before: before, After: aggregate.Progress{Offset: before + 1, Edges: []aggregate.EdgeMark{{Edge: 5, Epoch: 5, Next: 5}}},
			Counts:     []aggregate.Count{{Cell: aggregate.Cell{Campaign: 1, Kind: event.Open}, N: 1}},
			Uniques:    []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 1, Kind: event.Open}, Hashes: []uint64{before + 1}}},
			LastActive: []aggregate.LastActive{{Subject: 1, Day: 1}},
		}
		if err := f.Commit(t.Context(), c); !errors.Is(err, aggregate.ErrConflict) {
			t.Errorf("commit from %d on 10: %v, want a conflict", before, err)
		}
	}
	// A partition that nobody committed to stands at 0 and at nothing else.
	if err := f.commit(t.Context(), 1, 10, 1); !errors.Is(err, aggregate.ErrConflict) {
		t.Errorf("commit from 10 on a new partition: %v, want a conflict", err)
	}
	if p := f.progress(t, 0); !sameProgress(p, want) {
		t.Errorf("progress went to %+v by conflicts", p)
	}
	if n := f.sum(t, 1); n != 10 {
		t.Errorf("%d counted, want 10", n)
	}
	if u, err := f.UniqueCounts(t.Context(), 1); err != nil || len(u) != 0 {
		t.Errorf("people of refused commits: %v, %v", u, err)
	}
	if err := f.commit(t.Context(), 0, 10, 5); err != nil {
		t.Errorf("after the conflicts: %v", err)
	}
}

func partitions(t *testing.T, f *fixture) {
	for p := range uint32(4) {
		for step := range uint64(3) {
			if err := f.commit(t.Context(), p, step*uint64(p+1), uint64(p+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for p := range uint32(4) {
		n := 3 * uint64(p+1)
		want := aggregate.Progress{Offset: n, Context: n - uint64(p+1), Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 1, Next: n}}}
		if got := f.progress(t, p); !sameProgress(got, want) {
			t.Errorf("partition %d at %+v, want %+v", p, got, want)
		}
	}
	if n := f.sum(t, 1); n != 30 { // they count into the same cells
		t.Errorf("%d counted, want 30", n)
	}
}

func slicesStayTheCallers(t *testing.T, f *fixture) {
	who := hashes(1, 5)
	c := &aggregate.Commit{
		After:      aggregate.Progress{Offset: 1, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 1, Next: 1}}},
		Counts:     []aggregate.Count{{Cell: aggregate.Cell{Campaign: 1, Kind: event.Open}, N: 1}},
		Uniques:    []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 1, Kind: event.Open}, Hashes: slices.Clone(who[:3])}},
		LastActive: []aggregate.LastActive{{Subject: 9, Day: 9}},
	}
	pop := []aggregate.Population{{Campaign: 1, Hashes: slices.Clone(who[3:])}}
	f.mustCommit(t, c)
	if err := f.AddPopulation(t.Context(), pop); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Uniques[0].Hashes, who[:3]) || !slices.Equal(pop[0].Hashes, who[3:]) {
		t.Error("the store changed its arguments")
	}
	c.After.Edges[0].Next, c.Counts[0].N, c.Counts[0].Campaign = 99, 99, 99
	copy(c.Uniques[0].Hashes, []uint64{7, 7, 7})
	copy(pop[0].Hashes, []uint64{7, 7})
	if p := f.progress(t, 0); p.Edges[0].Next != 1 {
		t.Errorf("the mark changed to %d", p.Edges[0].Next)
	}
	if n := f.sum(t, 1); n != 1 {
		t.Errorf("%d counted", n)
	}
	if u := f.people(t, 1, event.Open, 0, true); u.People != 3 {
		t.Errorf("people %+v", u)
	}
	if p, err := f.Populations(t.Context(), 1); err != nil || len(p) != 1 || p[0].People != 2 {
		t.Errorf("population %v, %v", p, err)
	}
	// What was read is the reader's.
	p := f.progress(t, 0)
	p.Edges[0].Next = 77
	if again := f.progress(t, 0); again.Edges[0].Next != 1 {
		t.Error("progress shares its marks with its readers")
	}
}

func largeCommit(t *testing.T, f *fixture) {
	const cells, keys, people = 20_000, 500, 20_000
	c := &aggregate.Commit{After: aggregate.Progress{Offset: cells}}
	for i := range uint32(cells) {
		c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: 1 + i%4, Hour: i / 40, Link: uint16(i % 40), Kind: event.Click}, N: 1})
	}
	for i := range uint32(keys) {
		c.Uniques = append(c.Uniques, aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: 1, Link: uint16(i), Kind: event.Click, Class: classify.Human}, Hashes: hashes(uint64(i), 20)})
	}
	for i := range uint64(people) {
		c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: i + 1, Day: 20_000})
	}
	start := time.Now()
	f.mustCommit(t, c)
	t.Logf("%d cells, %d sketches, %d people: %v", cells, keys, people, time.Since(start).Round(time.Millisecond))
	var n uint64
	for campaign := range uint32(4) {
		n += f.sum(t, 1+campaign)
	}
	if n != cells {
		t.Errorf("%d of %d counted", n, cells)
	}
	if u, err := f.UniqueCounts(t.Context(), 1); err != nil || len(u) != keys+1 {
		t.Errorf("%d distinct counts, %v, want %d and the whole", len(u), err, keys)
	}
}

func reopened(t *testing.T, f *fixture) {
	if f.b.Volatile {
		t.Skip("the store is volatile")
	}
	for i := range uint64(3) {
		if err := f.commit(t.Context(), 7, i*5, 5); err != nil {
			t.Fatal(err)
		}
	}
	f.mustCommit(t, &aggregate.Commit{Partition: 8, After: aggregate.Progress{Offset: 1}, Uniques: []aggregate.Uniques{
		{UniqueKey: aggregate.UniqueKey{Campaign: 1, Kind: event.Open, Class: classify.Human}, Hashes: hashes(1, 50)},
	}})
	if err := f.AddPopulation(t.Context(), []aggregate.Population{{Campaign: 1, Hashes: hashes(1, 60)}}); err != nil {
		t.Fatal(err)
	}
	want := f.progress(t, 7)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.open(t)
	if p := f.progress(t, 7); !sameProgress(p, want) {
		t.Errorf("progress %+v, was %+v", p, want)
	}
	if n := f.sum(t, 1); n != 15 {
		t.Errorf("%d counted, were 15", n)
	}
	if u := f.people(t, 1, event.Open, 0, true); u.Human != 50 {
		t.Errorf("people %+v, were 50", u)
	}
	if p, err := f.Populations(t.Context(), 1); err != nil || len(p) != 1 || p[0].People != 60 {
		t.Errorf("population %v, %v, was 60", p, err)
	}
	if err := f.commit(t.Context(), 7, 15, 1); err != nil {
		t.Error(err)
	}
}

func emptyCommit(t *testing.T, f *fixture) {
	f.mustCommit(t, &aggregate.Commit{After: aggregate.Progress{Offset: 100, Context: 100}})
	if p := f.progress(t, 0); !sameProgress(p, aggregate.Progress{Offset: 100, Context: 100}) {
		t.Errorf("progress %+v", p)
	}
}
