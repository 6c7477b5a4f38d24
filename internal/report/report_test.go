package report

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/classify"
)

const number42 = 42

var (
	now      = time.Date(2026, 5, 4, 12, 30, 0, 0, time.FixedZone("CEST", 7200))
	measured = aggregate.Member{}
	refused  = aggregate.Member{Opens: event.OptedOut, Clicks: event.OptedOut}
	spring   = Subject{Name: "spring", Number: number42, Delivered: 10, Bounced: 2, Links: []Link{
		{Number: 1, URL: "https://example.com/1", Label: "one"},
		{Number: 2, URL: "https://example.com/2", Label: "two", Advertiser: "Acme"},
	}}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func count(kind event.Kind, link uint16, hour uint32, class classify.Class, reason event.Reason, n uint64) aggregate.Count {
	return aggregate.Count{Cell: aggregate.Cell{Campaign: number42, Kind: kind, Link: link, Hour: hour, Class: class, Reason: reason}, N: n}
}

func from(client event.Client, c aggregate.Count) aggregate.Count {
	c.Client = client
	return c
}

func people(kind event.Kind, link uint16, class classify.Class, who ...uint64) aggregate.Uniques {
	return aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: number42, Link: link, Kind: kind, Class: class}, Hashes: who}
}

// store is one with something in it.
func store(t testing.TB, counts []aggregate.Count, uniques []aggregate.Uniques, population []aggregate.Population) *storetest.Memory {
	t.Helper()
	m := storetest.NewMemory()
	must(t, m.Commit(t.Context(), &aggregate.Commit{After: aggregate.Progress{Offset: 1}, Counts: counts, Uniques: uniques}))
	must(t, m.AddPopulation(t.Context(), population))
	return m
}

// whole is a campaign of which there is something to say everywhere.
func whole(t testing.TB) *Report {
	t.Helper()
	s := store(t,
		[]aggregate.Count{
			count(event.Open, 0, 493_000, classify.Human, event.Counted, 3),
			from(event.Gmail, count(event.Open, 0, 493_001, classify.Proxied, event.Counted, 4)),
			count(event.Open, 0, 493_000, classify.Machine, event.Counted, 5),
			count(event.Open, 0, 493_000, classify.Unknown, event.Counted, 6),
			count(event.Open, 0, 493_000, classify.Unknown, event.OptedOut, 7),
			count(event.Open, 0, 493_000, classify.Unknown, event.GPC, 1),
			count(event.Click, 2, 492_999, classify.Human, event.Counted, 2),
			from(event.Gmail, count(event.Click, 1, 493_001, classify.Human, event.Counted, 1)),
			count(event.Click, 9, 493_001, classify.Machine, event.Counted, 1),
			count(event.Click, 1, 493_001, classify.Human, event.OptedOut, 8),
			count(event.Probe, 0, 493_001, classify.Human, event.Counted, 100),
			{Cell: aggregate.Cell{Campaign: number42 + 1, Kind: event.Open}, N: 1000},
		},
		[]aggregate.Uniques{
			people(event.Open, 0, classify.Human, 1, 2),
			people(event.Open, 0, classify.Proxied, 2, 3),
			people(event.Open, 0, classify.Unknown, 4, 5),
			people(event.Open, 0, classify.Machine, 6, 7, 8),
			people(event.Click, 1, classify.Human, 1),
			people(event.Click, 2, classify.Human, 1, 2),
			people(event.Click, 2, classify.Unknown, 3),
			people(event.Click, 9, classify.Machine, 6),
		},
		[]aggregate.Population{
			{Campaign: number42, Member: measured, Hashes: []uint64{1, 2, 3, 4, 5, 6, 7, 8}},
			{Campaign: number42, Member: refused, Hashes: []uint64{9, 10}},
		})
	r, err := Query(t.Context(), s, spring, now)
	must(t, err)
	return r
}

func TestQuery(t *testing.T) {
	t.Parallel()
	at := func(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }
	want := &Report{
		Campaign: "spring", AsOf: now.UTC(), Delivered: 10, Bounced: 2, Trackable: 8, Untracked: map[string]uint64{"opted_out": 2},
		Opens: Measure{
			Received: 26, Total: 18, ByClass: ByClass{Human: 3, Proxied: 4, Machine: 5, Unknown: 6}, Unique: 5, Certain: 2,
			Trackable: 8, Rate: &Rate{Low: 2.0 / 8, High: 5.0 / 8}, Interval: span(2, 5, 8), TooFew: true, Suppressed: map[string]uint64{"opted_out": 7, "gpc": 1},
		},
		Clicks: Measure{
			Received: 12, Total: 4, ByClass: ByClass{Human: 3, Machine: 1}, Unique: 3, Certain: 2,
			Trackable: 8, Rate: &Rate{Low: 2.0 / 8, High: 3.0 / 8}, Interval: span(2, 3, 8), TooFew: true, Suppressed: map[string]uint64{"opted_out": 8},
		},
		ClickToOpen: Ratio{Rate: &Rate{Low: 2.0 / 5, High: 1}, Interval: &Rate{Low: Wilson(2, 5).Low, High: 1}, TooFew: true},
		Links: []LinkCount{
			{Link: 1, Position: 1, Label: "one", URL: "https://example.com/1", Total: 1, Unique: 1, Certain: 1},
			{Link: 2, Position: 2, Label: "two", URL: "https://example.com/2", Advertiser: "Acme", Total: 2, Unique: 3, Certain: 2},
			{Link: 9, Total: 1}, // counted, and not registered
		},
		Series: []HourCount{
			{Hour: at(492_999), Clicks: 2}, {Hour: at(493_000), Opens: 14}, {Hour: at(493_001), Opens: 4, Clicks: 2},
		},
		Clients:    []ClientCount{{"other", 14, 3}, {"gmail", 4, 1}},
		Suppressed: map[string]uint64{"opted_out": 15, "gpc": 1},
	}
	if got := whole(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What is not known is not invented: no rate of nothing, and lists that are empty rather than missing.
func TestQueryOfNothing(t *testing.T) {
	t.Parallel()
	r, err := Query(t.Context(), storetest.NewMemory(), Subject{Name: "spring", Number: number42}, now)
	must(t, err)
	none := map[string]uint64{}
	want := &Report{
		Campaign: "spring", AsOf: now.UTC(), Untracked: none, Suppressed: none, Links: []LinkCount{}, Series: []HourCount{}, Clients: []ClientCount{},
		Opens: Measure{Suppressed: none, TooFew: true}, Clicks: Measure{Suppressed: none, TooFew: true}, ClickToOpen: Ratio{TooFew: true},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

// failing is a store of which one question fails.
type failing struct {
	*storetest.Memory
	counts, uniques, population, summaries error
}

func (f *failing) Summaries(ctx context.Context, campaigns []uint32, hours uint32) ([]aggregate.Summary, error) {
	all, err := f.Memory.Summaries(ctx, campaigns, hours)
	return all, errors.Join(err, f.summaries)
}

func (f *failing) Counts(ctx context.Context, campaign uint32) ([]aggregate.Count, error) {
	c, err := f.Memory.Counts(ctx, campaign)
	return c, errors.Join(err, f.counts)
}

func (f *failing) UniqueCounts(ctx context.Context, campaign uint32) ([]aggregate.UniqueCount, error) {
	u, err := f.Memory.UniqueCounts(ctx, campaign)
	return u, errors.Join(err, f.uniques)
}

func (f *failing) Populations(ctx context.Context, campaign uint32) ([]aggregate.PopulationCount, error) {
	p, err := f.Memory.Populations(ctx, campaign)
	return p, errors.Join(err, f.population)
}

func TestQuerySaysWhatItCouldNotRead(t *testing.T) {
	t.Parallel()
	disk := errors.New("disk on fire")
	for what, f := range map[string]*failing{
		"the counts of campaign spring": {counts: disk}, "the distinct counts of campaign spring": {uniques: disk},
		"the population of campaign spring": {population: disk},
	} {
		f.Memory = storetest.NewMemory()
		if r, err := Query(t.Context(), f, spring, now); r != nil || !errors.Is(err, disk) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, %v", what, r, err)
		}
	}
}

// people who are certain are never more than people at all, whatever a store estimates.
func TestCertainIsWithinUnique(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ human, people, certain, unique uint64 }{
		{2, 5, 2, 5}, {5, 5, 5, 5}, {6, 5, 5, 5}, {0, 3, 0, 3},
	} {
		r := &Report{}
		r.distinct(aggregate.UniqueCount{Kind: event.Open, Whole: true, Human: c.human, People: c.people}, newLinkTable(nil))
		if r.Opens.Certain != c.certain || r.Opens.Unique != c.unique {
			t.Errorf("%+v: certain %d, unique %d", c, r.Opens.Certain, r.Opens.Unique)
		}
	}
}

// TestNumbersAddUp: whatever is in the store, the numbers of a report fit together.
func TestNumbersAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		counts, received := drawCounts(rt)
		s := storetest.NewMemory()
		must(t, s.Commit(t.Context(), &aggregate.Commit{After: aggregate.Progress{Offset: 1}, Counts: counts, Uniques: drawUniques(rt)}))
		must(t, s.AddPopulation(t.Context(), drawPopulation(rt)))
		subject := spring
		subject.Delivered = rapid.OneOf(rapid.Uint64Range(0, 30), rapid.Uint64Range(0, 1<<62)).Draw(rt, "delivered")
		r, err := Query(t.Context(), s, subject, now)
		must(t, err)
		for what, err := range map[string]string{
			"opens": r.Opens.wrong(received[event.Open], r.Trackable), "clicks": r.Clicks.wrong(received[event.Click], r.Trackable),
			"whole": r.wrong(),
		} {
			if err != "" {
				rt.Fatalf("%s: %s in %+v", what, err, r)
			}
		}
	})
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// wrong says what does not fit, "" if all does.
func (m *Measure) wrong(received, trackable uint64) string {
	c := m.ByClass
	switch {
	case m.Received != received:
		return "received is not what is in the store"
	case m.Received != m.Total+sum(m.Suppressed):
		return "received is not counted plus each reason"
	case m.Total != c.Human+c.Proxied+c.Machine+c.Unknown:
		return "the total is not that of the classes"
	case m.Certain > m.Unique:
		return "more certain people than people"
	case m.Trackable > trackable:
		return "more trackable for one kind than for any"
	case (m.Rate == nil) != (m.Trackable == 0):
		return "a rate of nothing, or none of something"
	case m.Rate != nil && (m.Rate.Low < 0 || m.Rate.Low > m.Rate.High || m.Rate.High > 1):
		return "the rate is no range within 0 and 1"
	}
	return ""
}

func (r *Report) wrong() string {
	var opens, clicks, linked uint64
	for i, h := range r.Series {
		opens, clicks = opens+h.Opens, clicks+h.Clicks
		if i > 0 && !r.Series[i-1].Hour.Before(h.Hour) {
			return "the hours are not in order"
		}
	}
	for i, l := range r.Links {
		linked += l.Total
		if i > 0 && r.Links[i-1].Link >= l.Link {
			return "the links are not in order"
		}
	}
	switch {
	case opens != r.Opens.Total || clicks != r.Clicks.Total:
		return "the total is not that of the series"
	case linked != r.Clicks.Total:
		return "the total is not that of the links"
	case sum(r.Suppressed) != sum(r.Opens.Suppressed)+sum(r.Clicks.Suppressed):
		return "suppressed is not that of both kinds"
	case r.Delivered != r.Trackable+sum(r.Untracked):
		return "delivered is not trackable plus each reason"
	}
	for reason, n := range r.Suppressed {
		if n != r.Opens.Suppressed[reason]+r.Clicks.Suppressed[reason] {
			return "suppressed differs from both kinds for " + reason
		}
	}
	return ""
}

func drawCounts(t *rapid.T) (all []aggregate.Count, received map[event.Kind]uint64) {
	received = map[event.Kind]uint64{}
	cells := map[aggregate.Cell]bool{}
	for range rapid.IntRange(0, 20).Draw(t, "cells") {
		c := count(rapid.SampledFrom([]event.Kind{event.Open, event.Click, event.Probe}).Draw(t, "kind"), rapid.Uint16Range(0, 4).Draw(t, "link"),
			rapid.Uint32Range(0, 3).Draw(t, "hour"), rapid.SampledFrom(classify.Classes()).Draw(t, "class"),
			rapid.SampledFrom(append(event.Reasons(), event.Counted, event.Counted)).Draw(t, "reason"), rapid.Uint64Range(1, 1<<40).Draw(t, "n"))
		if !cells[c.Cell] {
			cells[c.Cell] = true
			all = append(all, c)
			received[c.Kind] += c.N
		}
	}
	return all, received
}

func drawHashes(t *rapid.T) []uint64 {
	return rapid.SliceOfN(rapid.Uint64Range(1, 30), 0, 15).Draw(t, "people")
}

func drawUniques(t *rapid.T) (all []aggregate.Uniques) {
	for _, kind := range []event.Kind{event.Open, event.Click} {
		for _, class := range classify.Classes() {
			link := uint16(0)
			if kind == event.Click {
				link = rapid.Uint16Range(1, 4).Draw(t, "link")
			}
			all = append(all, people(kind, link, class, drawHashes(t)...))
		}
	}
	return all
}

func drawPopulation(t *rapid.T) (all []aggregate.Population) {
	reasons := rapid.SampledFrom([]event.Reason{event.Counted, event.Counted, event.OptedOut, event.PlainText, event.NoBasis, event.AggregateOnly})
	for range rapid.IntRange(0, 4).Draw(t, "memberships") {
		all = append(all, aggregate.Population{
			Campaign: number42, Member: aggregate.Member{Opens: reasons.Draw(t, "opens"), Clicks: reasons.Draw(t, "clicks")}, Hashes: drawHashes(t),
		})
	}
	return all
}
