package storetest

import (
	"math"
	"slices"
	"testing"

	"mailbeacon/ingest/aggregate"
)

// idle reads all pages of people who were active last before a day.
func (f *fixture) idle(t *testing.T, before uint32, page int) (all []aggregate.LastActive) {
	t.Helper()
	for after := uint64(0); ; {
		some, err := f.Idle(t.Context(), before, after, page)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) > page {
			t.Fatalf("%d people on a page of %d", len(some), page)
		}
		all = append(all, some...)
		if len(some) < page {
			return all
		}
		after = some[len(some)-1].Subject
	}
}

func day(subject uint64, n uint32) aggregate.LastActive {
	return aggregate.LastActive{Subject: subject, Day: n}
}

// activity: the latest day stands, whatever the order it came in; numbers have no sign; a day that is asked
// about is not before itself.
func activity(t *testing.T, f *fixture) {
	if got := f.idle(t, math.MaxUint32, 3); len(got) != 0 {
		t.Errorf("an empty store knows %v", got)
	}
	const top = math.MaxUint64
	for i, days := range [][]aggregate.LastActive{
		{{Subject: 5, Day: 10}, {Subject: 1, Day: 10}, {Subject: top, Day: 3}, {Subject: 1 << 63, Day: 4}, {Subject: 1<<63 - 1, Day: 5}},
		{{Subject: 5, Day: 9}, {Subject: 1, Day: 20}, {Subject: 2, Day: 0}, {Subject: 3, Day: math.MaxUint32}},
		{{Subject: 5, Day: 11}, {Subject: top, Day: 2}},
	} {
		f.mustCommit(t, &aggregate.Commit{Before: uint64(i), After: aggregate.Progress{Offset: uint64(i + 1)}, LastActive: days})
	}
	all := []aggregate.LastActive{day(1, 20), day(2, 0), day(3, math.MaxUint32), day(5, 11), day(1<<63-1, 5), day(1<<63, 4), day(top, 3)}
	for _, before := range []uint32{0, 1, 4, 5, 11, 12, 20, 21, math.MaxUint32} {
		var want []aggregate.LastActive
		for _, a := range all {
			if a.Day < before {
				want = append(want, a)
			}
		}
		for page := 1; page <= len(all)+1; page++ {
			if got := f.idle(t, before, page); !slices.Equal(got, want) {
				t.Errorf("before day %d, %d on a page: %v, want %v", before, page, got, want)
			}
		}
	}
	for _, after := range []uint64{top - 1, top} {
		if got, err := f.Idle(t.Context(), 100, after, 5); err != nil || len(got) != int(top-after) {
			t.Errorf("after %d: %v, %v", after, got, err)
		}
	}
	got, err := f.LastDays(t.Context(), []uint64{top, 4, 2, 5, 2, 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b aggregate.LastActive) int { return int(a.Day) - int(b.Day) })
	if !slices.Equal(got, []aggregate.LastActive{day(2, 0), day(top, 3), day(5, 11)}) {
		t.Errorf("days %v", got)
	}
	if got, err := f.LastDays(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("days of nobody: %v, %v", got, err)
	}
}

// activityOfMany: pages leave nobody out and repeat nobody, and a question may be about as many as a request has.
func activityOfMany(t *testing.T, f *fixture) {
	const people = 20_000
	who := hashes(7, people)
	c := &aggregate.Commit{After: aggregate.Progress{Offset: 1}}
	for i, subject := range who {
		c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: subject, Day: uint32(100 + i%2)})
	}
	f.mustCommit(t, c)
	slices.Sort(who)
	got := f.idle(t, 102, 777)
	if len(got) != people {
		t.Fatalf("%d people, want %d", len(got), people)
	}
	for i, a := range got {
		if a.Subject != who[i] {
			t.Fatalf("person %d is %d, want %d", i, a.Subject, who[i])
		}
	}
	if got := f.idle(t, 101, 8192); len(got) != people/2 {
		t.Errorf("%d people before day 101, want %d", len(got), people/2)
	}
	days, err := f.LastDays(t.Context(), who[:8192])
	if err != nil || len(days) != 8192 {
		t.Errorf("%d days of 8192 people, %v", len(days), err)
	}
}
