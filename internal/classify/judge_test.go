package classify

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
)

var byDefault = Rules{Window: DefaultWindow}

func open(at int64, s ...event.Signals) Sighting {
	return Sighting{Time: at, Kind: event.Open, Signals: union(s)}
}

func click(at int64, link uint16, s ...event.Signals) Sighting {
	return Sighting{Time: at, Link: link, Kind: event.Click, Signals: union(s)}
}

func probe(at int64, link uint16) Sighting {
	return Sighting{Time: at, Link: link, Kind: event.Probe}
}

func union(all []event.Signals) (u event.Signals) {
	for _, s := range all {
		u |= s
	}
	return u
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind event.Kind
		s    event.Signals
		want Class
	}{
		{event.Open, 0, Human},
		{event.Click, 0, Human},
		{event.Probe, 0, Machine},
		{event.Probe, event.AppleEgress, Machine},
		{event.Open, event.BareMozilla, Machine},
		{event.Open, event.BareMozilla | event.AppleEgress, Machine},
		{event.Click, event.BareMozilla, Machine},
		{event.Click, event.BareMozilla | event.AppleEgress, Machine},
		{event.Open, event.AppleEgress, Human},
		{event.Click, event.AppleEgress, Human},
		{event.Open, event.GmailPrefetch, Machine},
		{event.Open, event.GoogleProxy, Proxied},
		{event.Open, event.YahooProxy, Proxied},
		{event.Open, event.OtherProxy, Proxied},
		{event.Open, event.GoogleProxy | event.DataCentre, Proxied},
		{event.Open, event.GoogleProxy | event.Prefetch, Machine},
		{event.Click, event.GoogleProxy, Machine},
		{event.Click, event.YahooProxy, Machine},
		{event.Click, event.OtherProxy, Machine},
		{event.Open, event.Prefetch, Machine},
		{event.Click, event.Prefetch | event.AppleEgress, Machine},
		{event.Open, event.Automaton, Machine},
		{event.Click, event.Automaton, Machine},
		{event.Open, event.NoAgent, Machine},
		{event.Click, event.NoAgent | event.AppleEgress, Machine},
		{event.Open, event.DataCentre, Human},
		{event.Click, event.DataCentre, Human},
		{event.Click, event.HiddenLink, Machine},
		{event.Open, 1 << 15, Human},
		{0, 0, Unknown},
		{99, event.Automaton, Unknown},
	}
	for _, tt := range tests {
		if got := ClassOf(tt.kind, tt.s); got != tt.want {
			t.Errorf("%v with %b is %v, want %v", tt.kind, tt.s, got, tt.want)
		}
	}
}

// Every row of the table decides something: none stands behind one that takes all it fits.
func TestEveryRowDecides(t *testing.T) {
	t.Parallel()
	decides := make([]bool, len(alone))
	for k := event.Open; k <= event.Probe; k++ {
		for s := range allSignals + 1 {
			i := slices.IndexFunc(alone, func(r Rule) bool { return r.kinds.has(k) && s&r.signals == r.signals })
			if i < 0 {
				t.Fatalf("no row for %v with %b", k, s)
			}
			decides[i] = true
		}
	}
	for i, ok := range decides {
		if !ok {
			t.Errorf("%q never decides", alone[i].Sign)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		h, m, u, p = Human, Machine, Unknown, Proxied
	)
	tests := []struct {
		name   string
		links  int
		events []Sighting
		want   []Class
	}{
		{"an open", 3, []Sighting{open(0)}, []Class{h}},
		{"a click", 3, []Sighting{click(0, 1)}, []Class{h}},
		{"a probe", 3, []Sighting{probe(0, 1)}, []Class{m}},
		{"open and click", 3, []Sighting{open(0), click(1500, 1)}, []Class{h, h}},
		{"click too soon", 3, []Sighting{open(0), click(1499, 1)}, []Class{u, m}},
		{"click at once", 3, []Sighting{open(0), click(0, 1)}, []Class{u, m}},
		{"click soon after a second open", 3, []Sighting{open(0), open(5000), click(5001, 1)}, []Class{h, h, h}},
		{"click too soon after a prefetch", 3, []Sighting{open(0, event.BareMozilla), click(1000, 1)}, []Class{m, m}},
		{"click later", 3, []Sighting{open(0), click(1000, 1), click(9000, 2)}, []Class{u, m, h}},
		{"click before the open", 3, []Sighting{click(0, 1), open(100)}, []Class{h, h}},
		{"open out of reach", 3, []Sighting{open(0), click(15_000, 1)}, []Class{h, h}},
		{"too soon on a proxied open", 3, []Sighting{open(0, event.GoogleProxy), click(100, 1)}, []Class{p, m}},

		{"three links in under 2 s", 9, []Sighting{click(0, 1), click(1000, 2), click(1999, 3)}, []Class{m, m, m}},
		{"three links in 2 s", 9, []Sighting{click(0, 1), click(1000, 2), click(2000, 3)}, []Class{h, h, h}},
		{"one link three times", 9, []Sighting{click(0, 1), click(1, 1), click(2, 1)}, []Class{h, h, h}},
		{"two links", 9, []Sighting{click(0, 1), click(1, 2), click(2, 1), click(3, 2)}, []Class{h, h, h, h}},
		{"a burst among repetitions", 9, []Sighting{click(0, 1), click(1500, 2), click(1600, 2), click(1700, 1), click(1900, 3)}, []Class{m, m, m, m, m}},
		{"third link too late for the first", 9, []Sighting{click(0, 1), click(1900, 2), click(2500, 3)}, []Class{h, h, h}},
		{"a burst and a click beside it", 9, []Sighting{click(0, 1), click(1, 2), click(2, 3), click(12_000, 4)}, []Class{m, m, m, m}},
		{"a burst partly out of reach", 9, []Sighting{click(0, 1), click(1, 2), click(2, 3), click(15_001, 4)}, []Class{m, m, m, h}},
		{"a burst on Private Relay", 9, []Sighting{click(0, 1, event.AppleEgress), click(1, 2), click(2, 3)}, []Class{m, m, m}},
		{"opens next to a burst", 9, []Sighting{open(0), click(4000, 1), click(4001, 2), click(4002, 3), open(9000)}, []Class{u, m, m, m, u}},
		{"a proxied open next to a burst", 9, []Sighting{open(0, event.YahooProxy), click(4000, 1), click(4001, 2), click(4002, 3)}, []Class{p, m, m, m}},
		{"a data centre's open next to a burst", 9, []Sighting{open(0, event.DataCentre), click(4000, 1), click(4001, 2), click(4002, 3)}, []Class{m, m, m, m}},
		{"a data centre alone", 9, []Sighting{open(0, event.DataCentre), click(4000, 1, event.DataCentre)}, []Class{h, h}},
		{"machines burst too", 9, []Sighting{click(0, 1, event.Automaton), click(1, 2, event.Automaton), click(2, 3)}, []Class{m, m, m}},

		{"both links within 10 s", 2, []Sighting{click(0, 1), click(10_000, 2)}, []Class{m, m}},
		{"both links later", 2, []Sighting{click(0, 1), click(10_001, 2)}, []Class{h, h}},
		{"two of three", 3, []Sighting{click(0, 1), click(9000, 2)}, []Class{h, h}},
		{"all four within 10 s", 4, []Sighting{click(0, 4), click(3000, 3), click(6000, 2), click(10_000, 1)}, []Class{m, m, m, m}},
		{"the only link", 1, []Sighting{click(0, 1), click(5, 1)}, []Class{h, h}},
		{"links not known", 0, []Sighting{click(0, 1), click(5, 2)}, []Class{h, h}},
		{"links make no sense", -1, []Sighting{click(0, 1), click(5, 2)}, []Class{h, h}},

		{"a probed click", 9, []Sighting{probe(0, 1), click(14_999, 1)}, []Class{m, m}},
		{"a probe out of reach", 9, []Sighting{probe(0, 1), click(15_000, 1)}, []Class{m, h}},
		{"a probe afterwards", 9, []Sighting{open(0), click(5000, 1), probe(9000, 0)}, []Class{u, m, m}},
		{"a data centre's open next to a probe", 9, []Sighting{open(0, event.DataCentre), probe(9000, 0)}, []Class{u, m}},
		{"probes are no clicks", 2, []Sighting{click(0, 1), probe(20_000, 2)}, []Class{h, m}},

		{"a hidden link", 9, []Sighting{open(0), click(5000, 1), click(9000, 7, event.HiddenLink)}, []Class{u, m, m}},
		{"a hidden link before", 9, []Sighting{click(0, 7, event.HiddenLink), click(14_000, 1)}, []Class{m, m}},
		{"a hidden link out of reach", 9, []Sighting{click(0, 7, event.HiddenLink), click(15_000, 1)}, []Class{m, h}},
	}
	for _, tt := range tests {
		for i := range tt.events {
			if got := Judge(i, tt.events, tt.links, byDefault); got != tt.want[i] {
				t.Errorf("%s: event %d is %v, want %v", tt.name, i, got, tt.want[i])
			}
		}
	}
}

func TestFlood(t *testing.T) {
	t.Parallel()
	for n, want := range map[int][2]Class{flood: {Human, Human}, flood + 1: {Machine, Unknown}, 100_000: {Machine, Unknown}} {
		events := make([]Sighting, n)
		for i := range events {
			if events[i] = click(5000, 1); i%2 == 0 {
				events[i] = open(5000 - 2*instant)
			}
		}
		slices.SortStableFunc(events, func(a, b Sighting) int { return int(a.Time - b.Time) })
		for _, i := range []int{0, n/2 - 1, n/2 + 1, n - 1} {
			class := want[1]
			if events[i].Kind == event.Click {
				class = want[0]
			}
			if got := Judge(i, events, 9, byDefault); got != class {
				t.Errorf("%d events: the %v at %d is %v, want %v", n, events[i].Kind, i, got, class)
			}
		}
	}
	proxied := slices.Repeat([]Sighting{open(0, event.GoogleProxy)}, 500)
	if got := Judge(250, proxied, 9, byDefault); got != Proxied {
		t.Errorf("a proxied open among many is %v", got)
	}
	centre := slices.Repeat([]Sighting{open(0, event.DataCentre)}, 500)
	if got := Judge(250, centre, 9, byDefault); got != Machine {
		t.Errorf("a data centre's open among many is %v", got)
	}
}

// judgeSlowly says the rules once more, each by itself and in the plainest way.
func judgeSlowly(target int, all []Sighting, links int, w Rules) Class {
	e := all[target]
	class := ClassOf(e.Kind, e.Signals)
	if class != Human {
		return class
	}
	var near, pressed []Sighting
	for i, o := range all {
		if i == target || o.Time-e.Time < w.Window && e.Time-o.Time < w.Window {
			near = append(near, o)
			if o.Kind == event.Click {
				pressed = append(pressed, o)
			}
		}
	}
	distinct := func(from, to int64) int {
		set := map[uint16]bool{}
		for _, c := range pressed {
			if c.Time >= from && c.Time <= to {
				set[c.Link] = true
			}
		}
		return len(set)
	}
	burst := len(near) > flood
	for _, c := range pressed {
		burst = burst || distinct(c.Time, c.Time+burstSpan-1) >= burstLinks
		burst = burst || links >= 2 && distinct(c.Time, c.Time+sweepSpan) >= links
	}
	scan, firstOpen := burst, int64(-1)
	for _, o := range near {
		scan = scan || o.Kind == event.Probe || o.Kind == event.Click && o.Signals&event.HiddenLink != 0
		if o.Kind == event.Open && (firstOpen < 0 || o.Time < firstOpen) {
			firstOpen = o.Time
		}
	}
	soon := func(t int64) bool { return firstOpen >= 0 && t >= firstOpen && t-firstOpen < instant }
	if e.Kind == event.Click {
		if scan || soon(e.Time) {
			return Machine
		}
		return Human
	}
	switch {
	case burst && e.Signals&event.DataCentre != 0:
		return Machine
	case scan || slices.ContainsFunc(pressed, func(c Sighting) bool { return soon(c.Time) }):
		return Unknown
	}
	return Human
}

func drawEvents(r *rapid.T) []Sighting {
	// Mostly quiet signals, since loud ones decide by themselves; times dense or sparse.
	signals := rapid.SampledFrom([]event.Signals{0, 0, 0, 0, event.DataCentre, event.AppleEgress, event.GoogleProxy, event.Automaton, event.HiddenLink})
	kinds := rapid.SampledFrom([]event.Kind{event.Open, event.Click, event.Click, event.Click})
	if rapid.IntRange(0, 3).Draw(r, "probes") == 0 {
		kinds = rapid.SampledFrom([]event.Kind{event.Open, event.Click, event.Probe})
	}
	step := rapid.SampledFrom([]int64{0, 0, 1, 499, 500, 999, 1000, 1499, 1500, 3333, 5000, 10_000})
	n := rapid.IntRange(1, 12).Draw(r, "events")
	if rapid.IntRange(0, 9).Draw(r, "many") == 0 {
		n = rapid.IntRange(90, 130).Draw(r, "events")
		step = rapid.SampledFrom([]int64{0, 0, 0, 1, 300})
	}
	hidden := rapid.IntRange(0, 4).Draw(r, "hidden") == 0
	events := make([]Sighting, n)
	var now int64
	for i := range events {
		now += step.Draw(r, "step")
		s := signals.Draw(r, "signals")
		if !hidden {
			s &^= event.HiddenLink
		}
		events[i] = Sighting{Time: now, Kind: kinds.Draw(r, "kind"), Signals: s}
		if events[i].Kind != event.Open {
			events[i].Link = rapid.Uint16Range(1, 5).Draw(r, "link")
		}
	}
	return events
}

// Judge is what the rules say, does not depend on what is beyond the window nor on the order of
// events at the same time, and changes nothing.
func TestJudgeIsTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		events := drawEvents(r)
		links := rapid.IntRange(0, 6).Draw(r, "links")
		w := Rules{Window: rapid.SampledFrom([]int64{0, 1, 1000, 5000, DefaultWindow}).Draw(r, "window")}
		before := slices.Clone(events)
		classes := make([]Class, len(events))
		for i := range events {
			classes[i] = Judge(i, events, links, w)
			if want := judgeSlowly(i, events, links, w); classes[i] != want {
				r.Fatalf("event %d of %+v with %d links is %v, want %v", i, events, links, classes[i], want)
			}
		}
		if !slices.Equal(events, before) {
			r.Fatal("the events were changed")
		}

		target := rapid.IntRange(0, len(events)-1).Draw(r, "target")
		order := rapid.Permutation(indices(len(events))).Draw(r, "order")
		slices.SortStableFunc(order, func(a, b int) int { return int(events[a].Time - events[b].Time) })
		shuffled := make([]Sighting, len(events))
		for i, from := range order {
			shuffled[i] = events[from]
		}
		if got := Judge(slices.Index(order, target), shuffled, links, w); got != classes[target] {
			r.Fatalf("event %d of %+v is %v, in another order of the same times %v", target, events, classes[target], got)
		}

		lo, hi := target, target+1
		for lo > 0 && events[target].Time-events[lo-1].Time < w.Window {
			lo--
		}
		for hi < len(events) && events[hi].Time-events[target].Time < w.Window {
			hi++
		}
		if got := Judge(target-lo, events[lo:hi], links, w); got != classes[target] {
			r.Fatalf("event %d of %+v is %v, without what is beyond the window %v", target, events, classes[target], got)
		}
	})
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Any bytes are some events: Judge takes times of any size without a panic and without a verdict
// outside the set.
func FuzzJudge(f *testing.F) {
	f.Add([]byte{1, 0, 0, 2, 1, 5, 3, 2, 9}, 0, 2, int64(DefaultWindow))
	f.Add([]byte{2, 1, 0, 2, 2, 0, 2, 3, 0}, 2, 3, int64(1)<<62)
	f.Fuzz(func(t *testing.T, raw []byte, target, links int, window int64) {
		var events []Sighting
		var now int64
		for ; len(raw) >= 3; raw = raw[3:] {
			now += int64(raw[2]) << (raw[2] & 31)
			if now < 0 {
				break
			}
			events = append(events, Sighting{Time: now, Kind: event.Kind(raw[0] & 3), Link: uint16(raw[1] & 7), Signals: event.Signals(raw[0]>>2) << 5})
		}
		if target < 0 || target >= len(events) {
			return
		}
		w := Rules{Window: window}
		got := Judge(target, events, links, w)
		if want := judgeSlowly(target, events, links, w); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func burstOf(n int) []Sighting {
	events := make([]Sighting, n)
	for i := range events {
		events[i] = click(int64(i)*2500, uint16(i%9+1))
	}
	return events
}

func TestJudgeDoesNotAllocate(t *testing.T) {
	for name, events := range benchmarkEvents() {
		if n := testing.AllocsPerRun(100, func() { Judge(len(events)/2, events, 12, byDefault) }); n != 0 {
			t.Errorf("%s: allocates %v times", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { ClassOf(event.Click, event.AppleEgress) }); n != 0 {
		t.Errorf("ClassOf allocates %v times", n)
	}
}

func benchmarkEvents() map[string][]Sighting {
	hammered := slices.Repeat([]Sighting{click(0, 1)}, 1_000_000)
	near := slices.Repeat([]Sighting{click(0, 1), click(0, 2)}, flood/2)
	return map[string][]Sighting{
		"one":            {open(0)},
		"one_proxied":    {open(0, event.GoogleProxy)},
		"open_and_click": {open(0), click(4000, 1)},
		"two_clicks":     {click(0, 1), click(4000, 2)},
		"ten_clicks":     burstOf(10),
		"just_no_flood":  near,
		"hammered":       hammered,
	}
}

func BenchmarkJudge(b *testing.B) {
	for name, events := range benchmarkEvents() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Judge(len(events)/2, events, 12, byDefault)
			}
		})
	}
}
