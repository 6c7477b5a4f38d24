package kept

import (
	"testing"

	"mailbeacon/ingest/event"
)

// said is one answer for everybody.
type said struct {
	verdict event.Reason
	named   bool
}

func (s said) Allows(event.Kind, uint64) (event.Reason, bool) { return s.verdict, s.named }

// datesOf is the campaign of which dates alone are kept.
type datesOf uint32

func (c datesOf) DateOnly(campaign uint32) bool { return campaign == uint32(c) }

func TestRecheck(t *testing.T) {
	t.Parallel()
	const day, hour = 86_400_000, 3_600_000
	whole := event.Event{Time: 20*day + 7*hour + 5, Subject: 7, Campaign: 1, Link: 2, Signals: event.DataCentre, Kind: event.Click, Client: event.Gmail}
	robot := whole
	robot.Signals = event.Automaton
	date := event.Event{Time: 20 * day, Subject: 7, Campaign: 1, Kind: event.Click, Reason: event.DateOnly}
	mark := date
	mark.Signals = event.Automaton
	without := func(r event.Reason, at int64) event.Event {
		return event.Event{Time: at, Campaign: 1, Kind: event.Click, Reason: r}
	}
	of := func(campaign uint32, ev event.Event) event.Event {
		ev.Campaign = campaign
		return ev
	}
	nobody := whole
	nobody.Subject = 0
	prefetched := whole
	prefetched.Kind, prefetched.Link, prefetched.Signals = event.Open, 0, event.Prefetch
	machine := without(event.DateOnly, 20*day+7*hour)
	machine.Kind = event.Open
	for _, c := range []struct {
		name     string
		ev, want event.Event
		now      said
	}{
		{"counts, and still does", whole, whole, said{event.Counted, true}},
		{"counts, and may not be named: whom nobody names nobody asks about", whole, whole, said{event.Counted, false}},
		{"is refused now", whole, without(event.OptedOut, 20*day+7*hour), said{event.OptedOut, false}},
		{"has no basis now", whole, without(event.NoBasis, 20*day+7*hour), said{event.NoBasis, false}},
		{"is a date now", whole, date, said{event.DateOnly, true}},
		{"is a scanner's mark now", robot, mark, said{event.DateOnly, true}},
		{"a date, and still is", date, date, said{event.DateOnly, true}},
		{"a date of a campaign", date, date, said{event.Counted, true}},
		{"a mark stays one", mark, mark, said{event.DateOnly, true}},
		{"a date, refused now", date, without(event.DateOnly, 20*day), said{event.OptedOut, false}},
		{"a mark, refused now", mark, without(event.DateOnly, 20*day), said{event.OptedOut, false}},
		{"a date of somebody who may not be named now", date, without(event.DateOnly, 20*day), said{event.Counted, false}},
		{"what was said when it came stays", without(event.GPC, 20*day+hour), without(event.GPC, 20*day+hour), said{event.Counted, true}},
		{"of a campaign of dates", of(9, whole), of(9, date), said{event.Counted, true}},
		{"a scanner's, of one", of(9, robot), of(9, mark), said{event.Counted, true}},
		{"a machine's open, of one", of(9, prefetched), of(9, machine), said{event.Counted, true}},
		{"nobody's, of one", of(9, nobody), of(9, without(event.DateOnly, 20*day+7*hour)), said{event.Counted, false}},
		{"of one, of somebody who may not be named", of(9, whole), of(9, without(event.DateOnly, 20*day+7*hour)), said{event.Counted, false}},
		{"of one, refused now", of(9, whole), of(9, without(event.OptedOut, 20*day+7*hour)), said{event.OptedOut, false}},
		{"a date of one, and still is", of(9, date), of(9, date), said{event.Counted, true}},
		{"a date of nobody", without(event.DateOnly, 20*day+hour), without(event.DateOnly, 20*day+hour), said{event.OptedOut, false}},
	} {
		ev := c.ev
		rule := Rule{Consent: c.now, Campaigns: datesOf(9)}
		if named := rule.Recheck(&ev); named != (c.ev.Reason == event.Counted && c.now.named) || ev != c.want || ev.Check() != nil {
			t.Errorf("%s: %+v, want %+v; %v", c.name, ev, c.want, ev.Check())
		}
	}
}

func TestWithhold(t *testing.T) {
	t.Parallel()
	const day, hour = 86_400_000, 3_600_000
	whole := event.Event{Time: 20*day + 7*hour + 5, Subject: 7, Campaign: 1, Link: 2, Kind: event.Click}
	date := event.Event{Time: 20 * day, Subject: 7, Campaign: 1, Kind: event.Click, Reason: event.DateOnly}
	without := func(r event.Reason, at int64) event.Event {
		return event.Event{Time: at, Campaign: 1, Kind: event.Click, Reason: r}
	}
	for _, c := range []struct {
		ev, want event.Event
		reason   event.Reason
	}{
		{whole, whole, event.Counted},
		{whole, without(event.OptedOut, 20*day+7*hour), event.OptedOut},
		{whole, date, event.DateOnly},
		{date, date, event.Counted},
		{date, date, event.DateOnly},
		{date, without(event.DateOnly, 20*day), event.PlainText},
		{without(event.GPC, 20*day), without(event.GPC, 20*day), event.OptedOut},
	} {
		got := c.ev
		if Withhold(&got, c.reason); got != c.want {
			t.Errorf("%+v for %v: %+v, want %+v", c.ev, c.reason, got, c.want)
		}
	}
}
