package storetest

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// summaries: the sums of several campaigns are those of what is told of each by itself.
func summaries(t *testing.T, f *fixture) {
	const campaigns, unknown = 5, 77
	var counts []aggregate.Count
	var uniques []aggregate.Uniques
	var people []aggregate.Population
	for c := uint32(1); c <= campaigns; c++ {
		for hour := 100 * c; hour < 100*c+40; hour += 1 + c {
			for link := range uint16(3) {
				kind := event.Open
				if link > 0 {
					kind = event.Click
				}
				reason := event.Counted
				if hour < 100*c+2 { // before anything is counted
					reason = event.OptedOut
				}
				class := classify.Class((hour + uint32(link)) % 4)
				counts = append(counts,
					aggregate.Count{Cell: aggregate.Cell{Campaign: c, Hour: hour, Link: link, Kind: kind, Reason: reason, Class: class}, N: uint64(c)},
					aggregate.Count{Cell: aggregate.Cell{Campaign: c, Hour: hour, Link: link, Kind: kind, Class: class, Client: event.Gmail}, N: 1<<40 + uint64(hour)},
				)
				uniques = append(uniques, aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: c, Link: link, Kind: kind, Class: class}, Hashes: hashes(uint64(c), int(hour%50))})
			}
		}
		people = append(people,
			aggregate.Population{Campaign: c, Hashes: hashes(uint64(c), 90)},
			aggregate.Population{Campaign: c, Member: aggregate.Member{Opens: event.OptedOut}, Hashes: hashes(uint64(c), 10*int(c))},
			aggregate.Population{Campaign: c, Member: aggregate.Member{Opens: event.OptedOut, Clicks: event.PlainText}, Hashes: hashes(uint64(c), 3*int(c))},
		)
	}
	f.mustCommit(t, &aggregate.Commit{After: aggregate.Progress{Offset: 1}, Counts: counts, Uniques: uniques})
	if err := f.AddPopulation(t.Context(), people); err != nil {
		t.Fatal(err)
	}
	for _, asked := range [][]uint32{{1}, {3, 1}, {5, 4, 3, 2, 1, unknown}, {unknown}, nil} {
		for _, hours := range []uint32{1, 24, 1 << 20} {
			got, err := f.Summaries(t.Context(), asked, hours)
			if err != nil {
				t.Fatal(err)
			}
			byNumber := map[uint32]aggregate.Summary{}
			for _, s := range got {
				if _, twice := byNumber[s.Campaign]; twice || !slices.Contains(asked, s.Campaign) {
					t.Errorf("of %v: campaign %d is not asked for, or twice there", asked, s.Campaign)
				}
				byNumber[s.Campaign] = s
			}
			for _, c := range asked {
				want := f.summary(t, c, hours)
				have := byNumber[c]
				have.Campaign = c
				if have, want := sortedSummary(have), sortedSummary(want); !reflect.DeepEqual(have, want) {
					t.Errorf("campaign %d of %v, %d hours:\ngot  %+v\nwant %+v", c, asked, hours, have, want)
				}
			}
		}
	}
}

// summary is what the other questions say.
func (f *fixture) summary(t *testing.T, campaign, hours uint32) aggregate.Summary {
	t.Helper()
	counts, err := f.Counts(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	uniques, err := f.UniqueCounts(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	people, err := f.Populations(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	return summarise(campaign, counts, uniques, people, hours)
}

func sortedSummary(s aggregate.Summary) aggregate.Summary {
	byCell := func(a, b aggregate.Count) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Class, b.Class))
	}
	slices.SortFunc(s.Totals, byCell)
	slices.SortFunc(s.Series, byCell)
	slices.SortFunc(s.Uniques, func(a, b aggregate.UniqueCount) int { return cmp.Compare(a.Kind, b.Kind) })
	slices.SortFunc(s.Populations, func(a, b aggregate.PopulationCount) int { return aggregate.Stricter(a.Member, b.Member) })
	if len(s.Populations) == 0 {
		s.Populations = nil
	}
	return s
}
