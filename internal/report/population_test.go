package report

import (
	"maps"
	"math"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

func TestPopulate(t *testing.T) {
	t.Parallel()
	member := func(opens, clicks event.Reason, n uint64) aggregate.PopulationCount {
		return aggregate.PopulationCount{Member: aggregate.Member{Opens: opens, Clicks: clicks}, People: n}
	}
	const (
		counted = event.Counted
		out     = event.OptedOut
	)
	for _, c := range []struct {
		name                     string
		delivered                uint64
		people                   []aggregate.PopulationCount
		trackable, opens, clicks uint64
		untracked                map[string]uint64
	}{
		{"nothing", 0, nil, 0, 0, 0, nil},
		{"nobody minted", 5, nil, 0, 0, 0, map[string]uint64{"not_minted": 5}},
		{"nothing delivered", 0, []aggregate.PopulationCount{member(counted, counted, 5)}, 0, 0, 0, nil},
		{"all arrived", 10, []aggregate.PopulationCount{member(counted, counted, 7), member(out, out, 3)}, 7, 7, 7, map[string]uint64{"opted_out": 3}},
		{"half arrived", 5, []aggregate.PopulationCount{member(counted, counted, 6), member(out, out, 4)}, 3, 3, 3, map[string]uint64{"opted_out": 2}},
		{"one kind each", 10, []aggregate.PopulationCount{member(counted, out, 6), member(out, counted, 4)}, 10, 6, 4, nil},
		{"nobody trackable", 10, []aggregate.PopulationCount{member(event.NoBasis, event.NoBasis, 10)}, 0, 0, 0, map[string]uint64{"no_basis": 10}},
		{"aggregate alone", 10, []aggregate.PopulationCount{member(event.AggregateOnly, event.AggregateOnly, 3)}, 0, 0, 0, map[string]uint64{"aggregate_only": 10}},
		{"dates alone", 10, []aggregate.PopulationCount{member(event.DateOnly, event.DateOnly, 2), member(event.NoBasis, event.DateOnly, 1), member(counted, counted, 2)}, 4, 4, 4, map[string]uint64{"date_only": 6}},
		{"a reason of nobody is none", 1, []aggregate.PopulationCount{member(counted, counted, 9), member(out, out, 1)}, 1, 1, 1, nil},
		// Half a mail each: what one kind is of never exceeds what any is of.
		{"rounding", 1, []aggregate.PopulationCount{member(counted, counted, 1), member(event.PlainText, event.PlainText, 1)}, 0, 0, 0, map[string]uint64{"plain_text": 1}},
	} {
		r := &Report{Delivered: c.delivered, Untracked: map[string]uint64{}}
		r.populate(c.people)
		if r.Trackable != c.trackable || r.Opens.Trackable != c.opens || r.Clicks.Trackable != c.clicks || !maps.Equal(r.Untracked, c.untracked) {
			t.Errorf("%s: trackable %d, of opens %d, of clicks %d, untracked %v; want %+v", c.name, r.Trackable, r.Opens.Trackable, r.Clicks.Trackable, r.Untracked, c)
		}
	}
}

// A person's own word comes before the operator's setting.
func TestGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		opens, clicks event.Reason
		want          string
	}{
		{event.Counted, event.Counted, "trackable"},
		{event.Counted, event.OptedOut, "trackable"},
		{event.PlainText, event.Counted, "trackable"},
		{event.OptedOut, event.OptedOut, "opted_out"},
		{event.OptedOut, event.NoBasis, "opted_out"},
		{event.NoBasis, event.OptedOut, "opted_out"},
		{event.AggregateOnly, event.OptedOut, "opted_out"},
		{event.PlainText, event.OptedOut, "plain_text"},
		{event.OptedOut, event.PlainText, "plain_text"},
		{event.NoBasis, event.AggregateOnly, "no_basis"},
		{event.AggregateOnly, event.AggregateOnly, "aggregate_only"},
	} {
		if got := group(aggregate.Member{Opens: c.opens, Clicks: c.clicks}); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.opens, c.clicks, got, c.want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		certain, unique, of uint64
		want                *Rate
	}{
		{0, 0, 0, nil},
		{3, 5, 0, nil},
		{0, 0, 10, &Rate{0, 0}},
		{2, 5, 10, &Rate{0.2, 0.5}},
		{2, 15, 10, &Rate{0.2, 1}}, // opened by more than were trackable when it was minted
		{12, 15, 10, &Rate{1, 1}},
	} {
		m := Measure{Certain: c.certain, Unique: c.unique}
		if m.rate(c.of); m.Trackable != c.of || (m.Rate == nil) != (c.want == nil) || m.Rate != nil && *m.Rate != *c.want {
			t.Errorf("%+v: %+v of %d", c, m.Rate, m.Trackable)
		}
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	const huge = math.MaxUint64
	for _, c := range []struct{ total, part, whole, want uint64 }{
		{10, 1, 2, 5}, {10, 0, 2, 0}, {10, 3, 3, 10}, {10, 0, 0, 0}, {10, 5, 0, 0}, {0, 1, 2, 0},
		{1, 1, 3, 0}, {1, 2, 3, 1}, {1, 1, 2, 1}, // to the nearest, a half upwards
		{10, 7, 3, 10}, // a part is never more than the whole
		{huge, 1, 2, 1 << 63}, {huge, huge, huge, huge}, {huge, huge - 1, huge, huge - 1}, {1 << 62, 1 << 61, 1 << 63, 1 << 60},
		{huge, 3, 5, huge / 5 * 3},
	} {
		if got := scale(c.total, c.part, c.whole); got != c.want {
			t.Errorf("scale(%d, %d, %d) = %d, want %d", c.total, c.part, c.whole, got, c.want)
		}
	}
}

func TestApportion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		total         uint64
		weights, want map[string]uint64
	}{
		{10, nil, nil},
		{10, map[string]uint64{"a": 0}, nil},
		{10, map[string]uint64{"a": 7, "b": 3}, map[string]uint64{"a": 7, "b": 3}},
		{10, map[string]uint64{"a": 1, "b": 1, "c": 1}, map[string]uint64{"a": 4, "b": 3, "c": 3}}, // a tie goes by name
		{2, map[string]uint64{"a": 1, "b": 1, "c": 1}, map[string]uint64{"a": 1, "b": 1, "c": 0}},
		{10, map[string]uint64{"a": 10, "z": 25}, map[string]uint64{"a": 3, "z": 7}}, // 2.86 and 7.14: to the largest remainder
		{0, map[string]uint64{"a": 1}, map[string]uint64{"a": 0}},
		{math.MaxUint64, map[string]uint64{"a": 1 << 62, "b": 1 << 62}, map[string]uint64{"a": 1 << 63, "b": 1<<63 - 1}},
	} {
		if got := apportion(c.total, c.weights); !maps.Equal(got, c.want) {
			t.Errorf("%d over %v: %v, want %v", c.total, c.weights, got, c.want)
		}
	}
}

// Shares add up, and none is further than one from its proportion.
func TestSharesAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.MapOfN(rapid.StringMatching(`[a-e]`), rapid.Uint64Range(0, 1<<40), 1, 5).Draw(t, "weights")
		total := rapid.OneOf(rapid.Uint64Range(0, 20), rapid.Uint64()).Draw(t, "total")
		shares := apportion(total, weights)
		if sum(weights) == 0 {
			if len(shares) > 0 {
				t.Fatalf("shares %v of nothing", shares)
			}
			return
		}
		if sum(shares) != total {
			t.Fatalf("%v add up to %d, want %d", shares, sum(shares), total)
		}
		for name, n := range shares {
			if near := scale(total, weights[name], sum(weights)); max(n, near)-min(n, near) > 1 {
				t.Fatalf("%s has %d, want about %d", name, n, near)
			}
		}
	})
}
