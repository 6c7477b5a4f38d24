package classify

import (
	"testing"

	"mailbeacon/ingest/event"
)

func TestSuppress(t *testing.T) {
	t.Parallel()
	const day, at = 86_400_000, 20*86_400_000 + 7_201_234
	for _, c := range []struct {
		name    string
		kind    event.Kind
		signals event.Signals
		reason  event.Reason
		subject uint64
		left    event.Signals
	}{
		{"a person's open", event.Open, 0, event.DateOnly, 7, 0},
		{"a proxy's open", event.Open, event.GoogleProxy, event.DateOnly, 7, 0},
		{"a machine's open", event.Open, event.Automaton, event.DateOnly, 0, 0},
		{"a person's click", event.Click, event.AppleEgress | event.DataCentre, event.DateOnly, 7, 0},
		{"a machine's click", event.Click, event.NoAgent | event.DataCentre, event.DateOnly, 7, event.Automaton},
		{"a hidden link", event.Click, event.HiddenLink | event.Automaton, event.DateOnly, 7, event.HiddenLink},
		{"a HEAD request", event.Probe, event.Automaton, event.DateOnly, 7, 0},
		{"refused", event.Click, 0, event.OptedOut, 0, 0},
		{"refused, a scanner", event.Click, event.HiddenLink, event.GPC, 0, 0},
	} {
		ev := event.Event{Time: at, Subject: 7, Campaign: 3, Link: 2, Signals: c.signals, Kind: c.kind, Client: event.Gmail}
		Suppress(&ev, c.reason)
		want := event.Event{Time: at - at%3_600_000, Subject: c.subject, Campaign: 3, Signals: c.left, Kind: c.kind, Reason: c.reason}
		if c.subject != 0 {
			want.Time = at - at%day
		}
		if ev != want || ev.Check() != nil {
			t.Errorf("%s: %+v is left, want %+v; %v", c.name, ev, want, ev.Check())
		}
		nobody := event.Event{Time: at, Campaign: 3, Signals: c.signals, Kind: c.kind}
		if Suppress(&nobody, c.reason); nobody.Signals != 0 || nobody.Check() != nil {
			t.Errorf("%s, of nobody: %+v is left; %v", c.name, nobody, nobody.Check())
		}
	}
}

func TestJudgeDate(t *testing.T) {
	t.Parallel()
	open := Sighting{Kind: event.Open}
	click := Sighting{Kind: event.Click}
	later := Sighting{Kind: event.Click, Time: 15_000}
	many := make([]Sighting, flood+1)
	for i := range many {
		many[i] = open
	}
	for _, c := range []struct {
		name  string
		links int
		all   []Sighting
		want  Class // of the first
	}{
		{"alone", 5, []Sighting{open}, Human},
		{"open and click at once", 5, []Sighting{open, click}, Human},
		{"two clicks", 5, []Sighting{open, click, click}, Human},
		{"three clicks", 5, []Sighting{open, click, click, click}, Unknown},
		{"three clicks, of a click", 0, []Sighting{click, click, click}, Unknown},
		{"every link", 2, []Sighting{click, click}, Unknown},
		{"the only link twice", 1, []Sighting{click, click}, Human},
		{"three, but one is far off", 5, []Sighting{click, click, later}, Human},
		{"a HEAD request", 5, []Sighting{open, {Kind: event.Probe}}, Unknown},
		{"a hidden link", 5, []Sighting{click, {Kind: event.Click, Signals: event.HiddenLink}}, Unknown},
		{"the hidden link", 5, []Sighting{{Kind: event.Click, Signals: event.HiddenLink}}, Machine},
		{"a machine's click beside", 5, []Sighting{open, {Kind: event.Click, Signals: event.Automaton}}, Human},
		{"a machine's clicks beside", 2, []Sighting{open, {Kind: event.Click, Signals: event.Automaton}, {Kind: event.Click, Signals: event.Automaton}}, Unknown},
		{"a machine's click", 5, []Sighting{{Kind: event.Click, Signals: event.Automaton}}, Machine},
		{"a flood", 0, many, Unknown},
	} {
		if got := JudgeDate(0, c.all, c.links, Rules{Window: DefaultWindow}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
