package demo

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/subject"
)

var until = time.Date(2026, 11, 20, 17, 23, 0, 0, time.UTC)

func TestSameSeedSameSeason(t *testing.T) {
	t.Parallel()
	o := Options{Seed: 3, Until: until, Scale: 0.12}
	if !reflect.DeepEqual(New(o), New(o)) {
		t.Error("the same options make two seasons")
	}
	one := New(o)
	o.Seed = 4
	if other := New(o); reflect.DeepEqual(one.Acts, other.Acts) || one.People[0] == other.People[0] {
		t.Error("two seeds make the same season")
	}
}

// TestSeason holds the plan of the season that everybody sees to what it is to show.
func TestSeason(t *testing.T) {
	t.Parallel()
	s := New(Options{Seed: DefaultSeed, Until: until})
	for i := range s.People {
		address := s.People[i].Address
		if _, err := subject.Normalise(address); err != nil {
			t.Fatalf("%q is no address: %v", address, err)
		}
		if _, domain, _ := strings.Cut(address, "@"); !strings.HasSuffix("."+domain, ".example") && !strings.HasPrefix(domain, "example.") {
			t.Fatalf("%s may be somebody's", address)
		}
	}
	advertisers, classes, reasons, dos := map[string]int{}, map[classify.Class]uint64{}, map[event.Reason]uint64{}, map[Do]int{}
	middling := 0
	for i := range s.Mailings {
		m, sum := &s.Mailings[i], s.Tally(i)
		if i > 0 && m.Sent.Before(s.Mailings[i-1].Sent) || m.Sent.After(until) || until.Sub(m.Sent) > 100*24*time.Hour {
			t.Errorf("%s is sent at %v", m.Name, m.Sent)
		}
		if err := campaign.CheckName(m.Name); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		for _, l := range m.Links {
			if err := campaign.CheckURL(l.URL); err != nil {
				t.Errorf("%s: %s: %v", m.Name, l.URL, err)
			}
			if l.Advertiser != "" {
				advertisers[l.Advertiser]++
			}
		}
		if sum.Delivered >= 2000 && sum.Delivered <= 10_000 {
			middling++
		}
		for _, of := range []*Sum{&sum.Opens, &sum.Clicks} {
			for c, n := range of.ByClass {
				classes[c] += n
			}
			for r, n := range of.Suppressed {
				reasons[r] += n
			}
		}
		switch m.Name {
		case "founders-circle":
			if sum.Delivered >= 50 {
				t.Errorf("%d are not too few", sum.Delivered)
			}
		case "trail-survey":
			if sum.Delivered != 499 {
				t.Errorf("the survey was delivered to %d", sum.Delivered)
			}
		}
	}
	for i := range s.Acts {
		dos[s.Acts[i].Do]++
	}
	t.Logf("%d acts %v; classes %v; not counted %v", len(s.Acts), dos, classes, reasons)
	if len(advertisers) != 2 || middling < 15 || len(classes) != 4 || len(dos) != 6 {
		t.Errorf("%d advertisers, %d mailings of middling size, classes %v, acts %v", len(advertisers), middling, classes, dos)
	}
	for _, r := range []event.Reason{event.OptedOut, event.PlainText, event.GPC, event.DateOnly} {
		if reasons[r] < 20 {
			t.Errorf("%d are %v", reasons[r], r)
		}
	}
}

// TestVisitsKeepApart: what the fold judges together is one visit, and all of a visit; nobody whose mind changes has done
// anything before; and everything happens after its mail and before the end.
func TestVisitsKeepApart(t *testing.T) {
	t.Parallel()
	s := New(Options{Seed: 9, Until: until, Scale: 0.3})
	type message struct{ mailing, person int }
	last := map[message]int64{}
	first := never // of those that Fill waits for
	for n, i := range s.order {
		a := &s.Acts[i]
		if n > 0 && a.At < s.Acts[s.order[n-1]].At {
			t.Fatal("the order is not that of time")
		}
		m := &s.Mailings[a.Mailing]
		if int(i) < m.first || int(i) >= m.end {
			t.Fatalf("act %d is not among those of %s", i, m.Name)
		}
		if at := time.UnixMilli(a.At); at.Before(m.Sent) || at.After(until) {
			t.Fatalf("%s was sent %v and read %v", m.Name, m.Sent, at)
		}
		if c := s.People[a.Person].change; c != nil && a.At < c.at {
			t.Fatalf("person %d does something before the change", a.Person)
		}
		if a.At-window >= first {
			first = never
		}
		if a.Together {
			first = min(first, a.At)
		} else if first != never {
			t.Fatalf("an act %d ms into its slot does not wait for one that is %d ms into it", a.At%slot, first%slot)
		}
		if a.At%slot+window > slot {
			t.Fatalf("an act is %d ms into its slot, near the next", a.At%slot)
		}
		of := message{a.Mailing, a.Person}
		if before, ok := last[of]; ok && a.At-before < window && a.At/slot != before/slot {
			t.Fatalf("two visits to a mail are %d ms apart", a.At-before)
		}
		last[of] = a.At
	}
}

// TestAgents: each says by itself what it is planned as.
func TestAgents(t *testing.T) {
	t.Parallel()
	var edge classify.Edge
	class := func(agent int, kind event.Kind) classify.Class {
		r := classify.Request{UserAgent: []byte(agents[agent].name)}
		if name, value, ok := strings.Cut(agents[agent].header, ": "); ok && name == "Sec-Purpose" {
			r.SecPurpose = []byte(value)
		}
		signals, _ := edge.Signals(r)
		return classify.ClassOf(kind, signals)
	}
	share := 0
	for i, c := range clients {
		share += c.share
		if c.loads != none && class(c.loads, event.Open) != c.class {
			t.Errorf("client %d loads as %v, want %v", i, class(c.loads, event.Open), c.class)
		}
		if c.prefetch != none && class(c.prefetch, event.Open) != classify.Machine {
			t.Errorf("client %d loads beforehand as %v", i, class(c.prefetch, event.Open))
		}
		if class(c.follows, event.Click) != classify.Human {
			t.Errorf("client %d follows as %v", i, class(c.follows, event.Click))
		}
	}
	for _, n := range scanners {
		share += n
	}
	if share != 2000 {
		t.Errorf("the shares of clients and scanners are %d of 2000", share)
	}
	if class(linkPrefetch, event.Click) != classify.Machine || class(barracuda, event.Open) != classify.Machine {
		t.Error("a machine is none")
	}
}

func TestTimeOf(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{0, 1, until.UnixMilli()} {
		if got := TimeOf(addressOf(at)).UnixMilli(); got != at {
			t.Errorf("%d became %d", at, got)
		}
	}
	if early := TimeOf(addressOf(1).Prev().Prev()); time.Since(early) > time.Minute {
		t.Errorf("an address of somebody else is from %v", early)
	}
}

// TestTally adds up a few acts by hand.
func TestTally(t *testing.T) {
	t.Parallel()
	s := &Season{
		People:   []Person{{}, {Before: consent.Choice{Opens: consent.Refused}}, {change: &change{at: 50, to: consent.Choice{Format: consent.Plain}}}},
		Mailings: []Mailing{{Links: make([]campaign.Link, 2), To: []int{0, 1, 2}, Bounced: 1, end: 8}},
		Acts: []Act{
			{At: 10, Person: 0, Do: Open, Class: classify.Human}, {At: 11, Person: 0, Do: Open, Class: classify.Machine},
			{At: 12, Person: 1, Do: Open, Class: classify.Human}, {At: 13, Person: 1, Do: Click, Link: 1, Class: classify.Human},
			{At: 49, Person: 2, Do: Open, Class: classify.Proxied}, {At: 50, Person: 2, Do: Click, Class: classify.Human},
			{At: 51, Person: 0, Do: Click, Class: classify.Human, GPC: true}, {At: 52, Person: 0, Do: ProbeLink},
		},
	}
	want := Tally{
		Delivered: 2, Bounced: 1,
		Opens: Sum{
			ByClass:    map[classify.Class]uint64{classify.Human: 1, classify.Machine: 1, classify.Proxied: 1},
			Suppressed: map[event.Reason]uint64{event.OptedOut: 1}, People: 2, Certain: 1,
		},
		Clicks: Sum{
			ByClass:    map[classify.Class]uint64{classify.Human: 1},
			Suppressed: map[event.Reason]uint64{event.PlainText: 1, event.GPC: 1}, People: 1, Certain: 1,
		},
		Links: []uint64{0, 1},
	}
	if got := s.Tally(0); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
