package dashboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
)

// printed are the numbers of a table as a page shows it: of each line its name, and the counts.
type printed struct {
	body, foot []line
}

type line struct {
	name, class string
	numbers     []uint64
}

// read takes a table off a page.
func readTable(t interface{ Fatalf(string, ...any) }, doc *html.Node, id string) printed {
	var p printed
	for _, table := range all(doc, "table") {
		if attribute(table, "id") != id {
			continue
		}
		for part, lines := range map[string]*[]line{"tbody": &p.body, "tfoot": &p.foot} {
			for _, tr := range all(table, part, "tr") {
				l := line{name: text(all(tr, "th")[0]), class: attribute(tr, "class")}
				for _, td := range all(tr, "td") {
					if s := text(td); attribute(td, "class") == "n" && !strings.Contains(s, "%") && s != blank && s != "" && s != "hidden" {
						n, err := strconv.ParseUint(strings.ReplaceAll(s, thin, ""), 10, 64)
						if err != nil {
							t.Fatalf("table %s prints %q for a number", id, s)
						}
						l.numbers = append(l.numbers, n)
					}
				}
				*lines = append(*lines, l)
			}
		}
		return p
	}
	t.Fatalf("there is no table %s", id)
	return p
}

// sum adds a column up.
func sum(lines []line, column int) (n uint64) {
	for _, l := range lines {
		n += l.numbers[column]
	}
	return n
}

// TestSums draws campaigns and looks at what their pages print: delivered = trackable + each reason; counted = who was behind it;
// received = counted + each reason; counted = the links' clicks = the clients' = the hours' = the days'; in any zone.
func TestSums(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		var links []campaign.Link
		for i := range rapid.IntRange(0, 150).Draw(rt, "links") {
			links = append(links, campaign.Link{URL: fmt.Sprint("https://example.com/", i), Hidden: i%7 == 6})
		}
		delivered := rapid.Uint64Range(0, 3000).Draw(rt, "delivered")
		number := w.campaigns.add("spring", "", now, delivered, links...)
		reasonsOf := []event.Reason{event.Counted, event.Counted, event.Counted, event.OptedOut, event.PlainText, event.GPC, event.NoBasis, event.DateOnly}
		var c aggregate.Commit
		for range rapid.IntRange(0, 60).Draw(rt, "cells") {
			cell := aggregate.Cell{
				Campaign: number, Hour: 494_000 + rapid.Uint32Range(0, 4000).Draw(rt, "hour"), Kind: event.Open,
				Reason: rapid.SampledFrom(reasonsOf).Draw(rt, "reason"), Class: classify.Class(rapid.IntRange(0, 3).Draw(rt, "class")), Client: event.Client(rapid.IntRange(0, 11).Draw(rt, "client")),
			}
			if rapid.Bool().Draw(rt, "click") {
				cell.Kind, cell.Link = event.Click, rapid.Uint16Range(1, 160).Draw(rt, "link") // some are not registered
			}
			c.Counts = append(c.Counts, aggregate.Count{Cell: cell, N: rapid.Uint64Range(1, 5000).Draw(rt, "n")})
		}
		if rapid.Bool().Draw(rt, "all links") {
			for i := range links {
				c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: number, Hour: 494_000, Kind: event.Click, Link: uint16(i + 1)}, N: 2})
			}
		}
		w.commit(t, c)
		for _, m := range []aggregate.Member{{}, {Opens: event.OptedOut, Clicks: event.OptedOut}, {Opens: event.PlainText, Clicks: event.PlainText}, {Opens: event.AggregateOnly, Clicks: event.Counted}, {Opens: event.NoBasis, Clicks: event.DateOnly}} {
			must(t, w.store.AddPopulation(t.Context(), []aggregate.Population{{Campaign: number, Member: m, Hashes: rapid.SliceOfN(rapid.Uint64(), 0, 20).Draw(rt, "people")}}))
		}
		zone := rapid.SampledFrom([]string{"UTC", "Asia/Kathmandu", "America/St_Johns", "Africa/Cairo", "America/Santiago"}).Draw(rt, "zone")
		doc := parse(t, w.page(t, "/campaigns/spring?zone="+zone))

		mails := readTable(rt, doc, "delivered")
		if got := mails.foot[0].numbers[0]; got != delivered || sum(mails.body, 0) != delivered {
			rt.Fatalf("delivered %d, printed %d, parts %+v", delivered, got, mails.body)
		}
		events := readTable(rt, doc, "events")
		at := slices.IndexFunc(events.body, func(l line) bool { return l.class == "subtotal" })
		var all, received [2]uint64
		for _, n := range c.Counts {
			received[n.Kind-event.Open] += n.N
			if n.Reason == event.Counted {
				all[n.Kind-event.Open] += n.N
			}
		}
		for k, want := range all {
			if got := events.body[at].numbers[k]; got != want || sum(events.body[:at], k) != want {
				rt.Fatalf("counted %d, printed %d, parts %+v", want, got, events.body[:at])
			}
			if got := events.foot[0].numbers[k]; got != received[k] || sum(events.body[at:], k) != got {
				rt.Fatalf("received %d, printed %d, parts %+v", received[k], got, events.body[at:])
			}
		}
		opensAndClicks := func(doc *html.Node, id string) {
			if all == [2]uint64{} {
				return // there is no table
			}
			p := readTable(rt, doc, id)
			last := len(p.foot) - 1
			for k, want := range all {
				if p.foot[last].numbers[k] != want || sum(p.body, k)+sum(p.foot[:last], k) != want {
					rt.Fatalf("%s: %d counted, printed %+v", id, want, p)
				}
			}
		}
		opensAndClicks(doc, "clients")
		opensAndClicks(doc, "timeline")
		opensAndClicks(parse(t, w.page(t, "/campaigns/spring?by=day&zone="+zone)), "timeline")
		if len(links) > 0 || all[1] > 0 {
			p := readTable(rt, doc, "links")
			clicks := func(l line) uint64 { return l.numbers[0] }
			var n uint64
			for _, l := range p.body {
				n += l.numbers[len(l.numbers)-2] // after the position, before the people
			}
			last := len(p.foot) - 1
			for _, l := range p.foot[:last] {
				n += clicks(l)
			}
			if n != all[1] || clicks(p.foot[last]) != all[1] {
				rt.Fatalf("links: %d counted, printed %+v", all[1], p)
			}
		}
		// The list prints the same mails.
		list := all2(parse(t, w.page(t, "/campaigns")))
		if list[1] != count(delivered) || !strings.HasPrefix(list[2], count(mails.body[0].numbers[0])) {
			rt.Fatalf("the list has %q, the campaign %+v", list, mails)
		}
	})
}

// all2 are the cells of the list's first line.
func all2(doc *html.Node) (cells []string) {
	for _, td := range all(all(doc, "tbody", "tr")[0], "td") {
		cells = append(cells, text(td))
	}
	return cells
}

// TestSizes: no page of the largest campaigns with the longest words is over 200 kB.
func TestSizes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	title := strings.Repeat(`"`, campaign.MaxTitle) // five bytes each in a page
	for i := range 230 {
		n := w.campaigns.add(fmt.Sprintf("%03d-%s", i, strings.Repeat("n", 60)), title, now.AddDate(0, -i, 0), 1_000_000_000)
		hashes := []uint64{1, 2, 3}
		must(t, w.store.AddPopulation(t.Context(), []aggregate.Population{{Campaign: n, Hashes: hashes}, {Campaign: n, Member: aggregate.Member{Opens: event.OptedOut, Clicks: event.PlainText}, Hashes: []uint64{4}}}))
		var c aggregate.Commit
		for h := range uint32(168) {
			c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: n, Hour: 490_000 + h, Kind: event.Open}, N: 1_000_000_000 - uint64(h)})
		}
		w.commit(t, c)
	}
	var links []campaign.Link
	for range 3000 {
		links = append(links, campaign.Link{URL: "https://example.com/" + strings.Repeat(`"`, 8000), Label: strings.Repeat(`'`, campaign.MaxLabel), Advertiser: strings.Repeat(`"`, campaign.MaxAdvertiser)})
	}
	n := w.campaigns.add("large", title, now.Add(-time.Hour), 1_000_000_000, links...)
	var c aggregate.Commit
	for h := range uint32(20_000) {
		c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: n, Hour: 470_000 + h, Kind: event.Click, Link: uint16(h%3000) + 1, Client: event.Client(h % 12), Reason: event.Reason(h / 400 % 13)}, N: 1 << 40})
	}
	w.commit(t, c)
	for _, address := range []string{"/campaigns", "/campaigns?q=n", "/campaigns/large", "/campaigns/large?by=day", "/compare?n=200", "/compare?n=200&by=clicks", "/consent", "/system"} {
		size := len(w.page(t, address))
		t.Logf("%s: %d bytes", address, size)
		if size > 200_000 {
			t.Errorf("%s has %d bytes", address, size)
		}
	}
	files := 0
	for _, f := range []string{w.files.Style, w.files.Script, w.files.Icon} {
		files += w.get(t, f).Body.Len()
	}
	if t.Logf("files: %d bytes", files); files > 20_000 {
		t.Error("the files are large")
	}
}
