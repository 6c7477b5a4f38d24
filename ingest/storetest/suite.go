package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// Backend is one kind of store.
type Backend struct {
	// Open opens the store at a place, a folder of the test's own. The same place again is the same
	// store. The suite closes what it opens.
	Open func(t *testing.T, place string) aggregate.Store
	// Volatile: nothing is left when the store is closed.
	Volatile bool
	// Exact: people are counted without error however many they are.
	Exact bool
}

// Run runs the suite. Each test has a store of its own and runs in parallel with the others.
func Run(t *testing.T, b Backend) {
	for name, test := range map[string]func(*testing.T, *fixture){
		"Empty":                  empty,
		"CommitIsRead":           commitIsRead,
		"Cells":                  cellsAddUp,
		"Marks":                  marksAreMerged,
		"Extremes":               extremes,
		"Conflict":               conflict,
		"Late":                   late,
		"Partitions":             partitions,
		"Rivals":                 rivals,
		"Readers":                readersSeeWholeCommits,
		"Cancelled":              cancelled,
		"SlicesStayTheCallers":   slicesStayTheCallers,
		"LargeCommit":            largeCommit,
		"Reopened":               reopened,
		"Uniques":                uniques,
		"Accuracy":               accuracy,
		"Populations":            populations,
		"PopulationsOverlap":     populationsOverlap,
		"PopulationsConcurrent":  populationsConcurrent,
		"Summaries":              summaries,
		"Mails":                  mails,
		"Clickers":               clickers,
		"ClickersAreExact":       clickersAreExact,
		"ClickersOfManyLinks":    clickersOfManyLinks,
		"Closings":               closings,
		"ClosingsRival":          closingsRival,
		"Activity":               activity,
		"ActivityOfMany":         activityOfMany,
		"EmptyCommitMovesOffset": emptyCommit,
		"Model":                  model,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{b: b, place: t.TempDir()}
			f.open(t)
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(t, f)
		})
	}
}

// fixture is a store under test.
type fixture struct {
	aggregate.Store
	b     Backend
	place string
}

func (f *fixture) open(t *testing.T) {
	t.Helper()
	f.Store = f.b.Open(t, f.place)
}

// commit commits n counts of one cell of campaign 1 and moves a partition by as many.
func (f *fixture) commit(ctx context.Context, partition uint32, before, n uint64) error {
	return f.Commit(ctx, &aggregate.Commit{
		Partition: partition, Before: before,
		After:  aggregate.Progress{Offset: before + n, Context: before, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 1, Next: before + n}}},
		Counts: []aggregate.Count{{Cell: aggregate.Cell{Campaign: 1, Kind: event.Open}, N: n}},
	})
}

func (f *fixture) mustCommit(t *testing.T, c *aggregate.Commit) {
	t.Helper()
	if err := f.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) progress(t *testing.T, partition uint32) aggregate.Progress {
	t.Helper()
	p, err := f.Progress(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	return sortedMarks(p)
}

func sortedMarks(p aggregate.Progress) aggregate.Progress {
	slices.SortFunc(p.Edges, func(a, b aggregate.EdgeMark) int {
		return cmp.Or(cmp.Compare(a.Edge, b.Edge), cmp.Compare(a.Epoch, b.Epoch))
	})
	return p
}

func sameProgress(a, b aggregate.Progress) bool {
	return a.Offset == b.Offset && a.Context == b.Context && slices.Equal(sortedMarks(a).Edges, sortedMarks(b).Edges)
}

func (f *fixture) counts(t *testing.T, campaign uint32) map[aggregate.Cell]uint64 {
	t.Helper()
	all, err := f.Counts(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	m := map[aggregate.Cell]uint64{}
	for _, c := range all {
		if _, twice := m[c.Cell]; twice {
			t.Errorf("cell %+v comes twice", c.Cell)
		}
		if c.Campaign != campaign {
			t.Errorf("cell %+v is of another campaign than %d", c.Cell, campaign)
		}
		m[c.Cell] = c.N
	}
	return m
}

// sum is all that is counted of a campaign.
func sum(ctx context.Context, r aggregate.Reader, campaign uint32) (n uint64, err error) {
	all, err := r.Counts(ctx, campaign)
	for _, c := range all {
		n += c.N
	}
	return n, err
}

func (f *fixture) sum(t *testing.T, campaign uint32) uint64 {
	t.Helper()
	n, err := sum(t.Context(), f, campaign)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (f *fixture) people(t *testing.T, campaign uint32, kind event.Kind, link uint16, whole bool) aggregate.UniqueCount {
	t.Helper()
	all, err := f.UniqueCounts(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	var found []aggregate.UniqueCount
	for _, u := range all {
		if u.Kind == kind && u.Whole == whole && (whole || u.Link == link) {
			found = append(found, u)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d answers for kind %v, link %d, whole %v among %+v", len(found), kind, link, whole, all)
	}
	return found[0]
}

// hashes are n distinct hashes, spread like a block cipher's output; of one seed they are always
// the same.
func hashes(seed uint64, n int) []uint64 {
	all := make([]uint64, n)
	for i := range all {
		z := (seed<<32 + uint64(i) + 1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		all[i] = z ^ z>>31
	}
	return all
}

func (f *fixture) within(t *testing.T, what string, got, want uint64) {
	t.Helper()
	bound := float64(want) * 0.02
	if f.b.Exact || want <= 100 {
		bound = 0
	}
	if diff := float64(got) - float64(want); diff > bound || diff < -bound {
		t.Errorf("%s: %d, want %d within %.0f", what, got, want, bound)
	}
}

func name(n uint64) string { return fmt.Sprintf("%d people", n) }
