package report

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/classify"
)

// TestOverviewSaysWhatReportsSay: a line has the numbers of the campaign's own report.
func TestOverviewSaysWhatReportsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := storetest.NewMemory()
		var subjects []Subject
		var c aggregate.Commit
		c.After.Offset = 1
		for n := range uint32(rapid.IntRange(1, 4).Draw(rt, "campaigns")) {
			subjects = append(subjects, Subject{Name: fmt.Sprint("c", n), Number: n, Delivered: rapid.Uint64Range(0, 300).Draw(rt, "delivered")})
			for range rapid.IntRange(0, 20).Draw(rt, "cells") {
				cell := aggregate.Cell{
					Campaign: n, Hour: rapid.Uint32Range(1000, 1400).Draw(rt, "hour"), Kind: event.Open,
					Reason: rapid.SampledFrom([]event.Reason{event.Counted, event.Counted, event.OptedOut, event.GPC}).Draw(rt, "reason"),
					Class:  rapid.SampledFrom([]classify.Class{classify.Human, classify.Proxied, classify.Machine, classify.Unknown}).Draw(rt, "class"),
				}
				if link := rapid.Uint16Range(0, 3).Draw(rt, "link"); link > 0 {
					cell.Kind, cell.Link = event.Click, link
				}
				c.Counts = append(c.Counts, aggregate.Count{Cell: cell, N: rapid.Uint64Range(1, 50).Draw(rt, "n")})
				if cell.Reason == event.Counted {
					c.Uniques = append(c.Uniques, aggregate.Uniques{
						UniqueKey: aggregate.UniqueKey{Campaign: n, Link: cell.Link, Kind: cell.Kind, Class: cell.Class},
						Hashes:    rapid.SliceOfN(rapid.Uint64Range(0, 100), 1, 30).Draw(rt, "who"),
					})
				}
			}
		}
		if err := m.Commit(t.Context(), &c); err != nil {
			rt.Fatal(err)
		}
		lines, err := Overview(t.Context(), m, subjects)
		if err != nil {
			rt.Fatal(err)
		}
		for i, l := range lines {
			r, err := Query(t.Context(), m, subjects[i], now)
			if err != nil {
				rt.Fatal(err)
			}
			want := Line{
				Campaign: r.Campaign, Created: time.Time{}.UTC(), Delivered: r.Delivered, Trackable: r.Trackable, Untracked: r.Untracked,
				Opens: r.Opens, Clicks: r.Clicks, ClickToOpen: r.ClickToOpen, Series: []HourCount{},
			}
			for _, h := range r.Series {
				if h.Hour.Sub(r.Series[0].Hour) < SeriesHours*time.Hour {
					want.Series = append(want.Series, h)
				}
			}
			if !reflect.DeepEqual(l, want) {
				rt.Fatalf("got  %+v\nwant %+v", l, want)
			}
		}
	})
}

func TestOverviewErrors(t *testing.T) {
	t.Parallel()
	if _, err := Overview(t.Context(), storetest.NewMemory(), make([]Subject, MaxOverview+1)); err == nil {
		t.Error("no bound")
	}
	closed := storetest.NewMemory()
	must(t, closed.Close())
	if _, err := Overview(t.Context(), closed, []Subject{spring}); err == nil {
		t.Error("the store's error is lost")
	}
	if lines, err := Overview(t.Context(), storetest.NewMemory(), nil); err != nil || len(lines) != 0 {
		t.Errorf("of nothing: %v, %v", lines, err)
	}
	if _, err := Overview(t.Context(), &failing{Memory: storetest.NewMemory(), summaries: errTired}, []Subject{spring}); !errors.Is(err, errTired) {
		t.Errorf("%v", err)
	}
}

// measuredLine is a campaign that so many of so many opened for certain.
func measuredLine(name string, opened, of uint64) Line {
	l := Line{Campaign: name, Opens: Measure{Certain: opened, Unique: opened}}
	l.Opens.rate(of)
	return l
}

func TestRank(t *testing.T) {
	t.Parallel()
	lines := []Line{
		measuredLine("low", 100, 1000),
		measuredLine("tied-b", 490, 1000),
		measuredLine("tiny", 40, 49), // no place: chance alone
		measuredLine("top", 800, 1000),
		measuredLine("tied-a", 500, 1000),
		measuredLine("none", 0, 0),
		measuredLine("wide", 26, 60), // around the tied ones
	}
	var got []string
	for _, r := range Rank(lines, event.Open) {
		got = append(got, fmt.Sprintf("%s %d-%d %v", r.Campaign, r.Best, r.Worst, r.Tied))
	}
	want := []string{"top 1-1 false", "tied-a 2-4 true", "tied-b 2-4 true", "wide 2-4 true", "low 5-5 false"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := Rank(lines, event.Click); len(got) != 0 {
		t.Errorf("nobody clicked: %+v", got)
	}
}

// TestRankByBothCounts: a range that proxies widen is no tie where both of its ends lie apart; where one does not, it is.
func TestRankByBothCounts(t *testing.T) {
	t.Parallel()
	line := func(name string, certain, unique uint64) Line {
		l := Line{Campaign: name, Opens: Measure{Certain: certain, Unique: unique}}
		l.Opens.rate(10_000)
		return l
	}
	for _, c := range []struct {
		name  string
		other Line
		tied  bool
	}{
		{"more by either count, though the ranges overlap", line("other", 2000, 4500), false},
		{"more by one alone", line("other", 1010, 4500), true},
		{"more by the other alone", line("other", 2000, 3010), true},
		{"more by one, fewer by the other", line("other", 2000, 2500), true},
	} {
		got := Rank([]Line{line("one", 1000, 3000), c.other}, event.Open)
		if len(got) != 2 || got[0].Tied != c.tied || got[1].Tied != c.tied || (got[0].Worst == 1) == c.tied {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestRankIsARange: every order in which each campaign stands behind those that certainly met more gives it a place in its range, and
// the list is one of them.
func TestRankIsARange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var lines []Line
		for i := range rapid.IntRange(0, 30).Draw(t, "campaigns") {
			of := rapid.Uint64Range(Few, 3000).Draw(t, "of")
			unique := rapid.Uint64Range(0, of).Draw(t, "opened")
			l := Line{Campaign: fmt.Sprint(i), Opens: Measure{Unique: unique, Certain: rapid.Uint64Range(0, unique).Draw(t, "certain")}}
			l.Opens.rate(of)
			lines = append(lines, l)
		}
		all := Rank(lines, event.Open)
		for i, r := range all {
			if i+1 < r.Best || i+1 > r.Worst {
				t.Fatalf("%s at %d of %d to %d", r.Campaign, i+1, r.Best, r.Worst)
			}
			for _, o := range all[i+1:] {
				if r.Worst < o.Best && (r.Opens.Rate.Low < o.Opens.Rate.Low || r.Opens.Rate.High < o.Opens.Rate.High) {
					t.Fatalf("%+v above %+v", r, o)
				}
			}
		}
	})
}

func TestTrend(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	at := func(name string, created time.Time, opened, of uint64) Line {
		l := measuredLine(name, opened, of)
		l.Created = created
		return l
	}
	got := Trend([]Line{
		at("june", time.Date(2026, 6, 3, 0, 0, 0, 0, time.UTC), 30, 100),
		at("may, and june in Berlin", time.Date(2026, 5, 31, 22, 30, 0, 0, time.UTC), 20, 100),
		at("april", time.Date(2026, 4, 1, 0, 0, 0, 0, zone), 3, 10),
		at("more than it tracked", time.Date(2026, 4, 2, 0, 0, 0, 0, zone), 9, 5),
	}, zone)
	if len(got) != 2 || !got[0].Month.Equal(time.Date(2026, 4, 1, 0, 0, 0, 0, zone)) || !got[1].Month.Equal(time.Date(2026, 6, 1, 0, 0, 0, 0, zone)) {
		t.Fatalf("%+v", got)
	}
	if a := got[0]; a.Campaigns != 2 || a.Opens.Trackable != 15 || a.Opens.Certain != 8 || !a.Opens.TooFew {
		t.Errorf("april: %+v", a)
	}
	if j := got[1]; j.Campaigns != 2 || *j.Opens.Rate != (Rate{0.25, 0.25}) || j.Opens.TooFew || *j.Opens.Interval != Wilson(50, 200) || j.Clicks.Rate == nil && j.Clicks.Trackable > 0 {
		t.Errorf("june: %+v", j)
	}
}
