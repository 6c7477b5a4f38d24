package aggregate

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

var (
	measured = Member{}
	noOpens  = Member{Opens: event.OptedOut}
	noClicks = Member{Clicks: event.OptedOut}
	sumOnly  = Member{Opens: event.AggregateOnly, Clicks: event.AggregateOnly}
	noBasis  = Member{Opens: event.NoBasis, Clicks: event.NoBasis}
	dates    = Member{Opens: event.DateOnly, Clicks: event.DateOnly}
	refused  = Member{Opens: event.OptedOut, Clicks: event.OptedOut}
	plain    = Member{Opens: event.PlainText, Clicks: event.PlainText}
)

func TestStricterMembershipsComeFirst(t *testing.T) {
	t.Parallel()
	want := []Member{plain, refused, noBasis, dates, noOpens, noClicks, sumOnly, measured}
	got := []Member{measured, noClicks, dates, noBasis, plain, sumOnly, noOpens, refused}
	if slices.SortFunc(got, Stricter); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Sizes as sketches tell them: of each set alone, and of its union with the stricter ones.
func TestCountOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		in     []PopulationCount
		unions []uint64
		want   []PopulationCount
	}{
		{"nobody", nil, nil, nil},
		{"one", []PopulationCount{{measured, 10}}, []uint64{10}, []PopulationCount{{measured, 10}}},
		{"apart", []PopulationCount{{measured, 7}, {refused, 3}}, []uint64{3, 10}, []PopulationCount{{refused, 3}, {measured, 7}}},
		{"minted twice, three refused between", []PopulationCount{{measured, 10}, {refused, 3}}, []uint64{3, 10}, []PopulationCount{{refused, 3}, {measured, 7}}},
		{"all refused between", []PopulationCount{{measured, 10}, {refused, 10}}, []uint64{10, 10}, []PopulationCount{{refused, 10}}},
		{"three", []PopulationCount{{measured, 10}, {noOpens, 4}, {plain, 3}}, []uint64{3, 6, 12}, []PopulationCount{{plain, 3}, {noOpens, 3}, {measured, 6}}},
		{"few: any overlap tells", []PopulationCount{{measured, 990}, {refused, 11}}, []uint64{11, 1000}, []PopulationCount{{refused, 11}, {measured, 989}}},
		{"many: an error is none", []PopulationCount{{measured, 99_000}, {refused, 1_000}}, []uint64{1_000, 99_000}, []PopulationCount{{refused, 1_000}, {measured, 99_000}}},
		{"many: an overlap tells", []PopulationCount{{measured, 100_000}, {refused, 3_000}}, []uint64{3_000, 100_000}, []PopulationCount{{refused, 3_000}, {measured, 97_000}}},
		{"the union estimated too high", []PopulationCount{{measured, 99_000}, {refused, 1_000}}, []uint64{1_000, 101_000}, []PopulationCount{{refused, 1_000}, {measured, 99_000}}},
		{"the union estimated below its part", []PopulationCount{{measured, 500}, {refused, 50_000}}, []uint64{50_000, 49_900}, []PopulationCount{{refused, 50_000}, {measured, 500}}},
		{"the same, and all of them in both", []PopulationCount{{measured, 2_000}, {refused, 50_000}}, []uint64{50_000, 49_900}, []PopulationCount{{refused, 50_000}}},
	} {
		var asked []Member
		got, err := CountOnce(slices.Clone(c.in), func(m Member) (uint64, error) {
			asked = append(asked, m)
			return c.unions[len(asked)-1], nil
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
		if !slices.IsSortedFunc(asked, Stricter) || len(asked) != len(c.in) {
			t.Errorf("%s: joined %+v", c.name, asked)
		}
	}
	broken := errors.New("damaged")
	if _, err := CountOnce([]PopulationCount{{measured, 1}}, func(Member) (uint64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// However people were minted for, each counts once, under the strictest of their memberships.
func TestEverybodyCountsOnce(t *testing.T) {
	t.Parallel()
	members := []Member{plain, refused, noBasis, noOpens, noClicks, sumOnly, measured} // strictest first
	rapid.Check(t, func(t *rapid.T) {
		sets := map[Member]map[int]bool{}
		want := map[Member]uint64{}
		for who, places := range rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, len(members)-1), 1, 4), 0, 200).Draw(t, "people") {
			for _, p := range places {
				if sets[members[p]] == nil {
					sets[members[p]] = map[int]bool{}
				}
				sets[members[p]][who] = true
			}
			want[members[slices.Min(places)]]++
		}
		var all []PopulationCount
		for m, set := range sets {
			all = append(all, PopulationCount{m, uint64(len(set))})
		}
		union := map[int]bool{}
		all, err := CountOnce(all, func(m Member) (uint64, error) {
			for who := range sets[m] {
				union[who] = true
			}
			return uint64(len(union)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.People != want[p.Member] {
				t.Fatalf("%+v: %d people, want %d", p.Member, p.People, want[p.Member])
			}
			delete(want, p.Member)
		}
		if len(want) > 0 {
			t.Fatalf("nothing is said of %+v", want)
		}
	})
}
