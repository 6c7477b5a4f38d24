package classify

import "mailbeacon/ingest/event"

// Sighting is what the window rules look at of one event of a message.
type Sighting struct {
	Time    int64  // milliseconds since the Unix epoch, not negative
	Link    uint16 // 0 for an open
	Kind    event.Kind
	Signals event.Signals
}

// Rules are what may be set about the window rules.
type Rules struct {
	// Window is how far a message's events reach to each other, in milliseconds, both ways. An event
	// exactly so far away is out of reach.
	Window int64
}

// DefaultWindow is the window in milliseconds unless something else is set.
const DefaultWindow = 15_000

// The window rules in numbers: times in milliseconds.
const (
	burstLinks = 3      // this many distinct links ...
	burstSpan  = 2_000  // ... clicked in less than this
	sweepSpan  = 10_000 // every link clicked, within this
	instant    = 1_500  // a click sooner than this after the first sign of delivery
	flood      = 100    // more events than this of one message, seen from any of them
)

// Judge decides the class of events[target] from the events of the same message around it: those
// nearer than the window. It depends on nothing but the set of these, so events of the
// same millisecond may come in any order, and events beyond the window may be there or not.
//
// events are the counted events and probes of ONE message (same campaign, same subject), in the
// order of their times; for subject 0, which is nobody or anybody, pass the event alone. links is
// how many links the campaign has that a person can see; less than two, or not known, is 0.
//
// Nothing is allocated, and no more than a hundred neighbours on either side are looked at, however
// often a token is replayed. It may be called concurrently.
func Judge(target int, events []Sighting, links int, w Rules) Class {
	e := &events[target]
	class := ClassOf(e.Kind, e.Signals)
	if class != Human || len(events) == 1 {
		return class // nothing that happens around it says more
	}
	near, flooded := neighbours(target, events, w.Window)
	if len(near) == 1 {
		return class
	}
	seen := look(near)
	burst := flooded || seen.enough(links) && bursts(near, links)
	scanned := burst || seen.probed || seen.hidden
	switch {
	case e.Kind == event.Click && (scanned || seen.tooSoon(e.Time)):
		return Machine
	case e.Kind == event.Click:
		return class
	case burst && e.Signals&event.DataCentre != 0:
		return Machine
	case scanned || seen.rushed:
		return Unknown
	}
	return class
}

// JudgeDate is Judge for events of which only the day is known for certain (event.Event.Dated): their times are about
// right, and nothing is known of their links. Doubt costs the date: as many clicks as could be a burst are one, whatever
// their links were and how fast they came.
func JudgeDate(target int, events []Sighting, links int, w Rules) Class {
	e := &events[target]
	class := ClassOf(e.Kind, e.Signals)
	if class != Human || len(events) == 1 {
		return class
	}
	near, flooded := neighbours(target, events, w.Window)
	if seen := look(near); flooded || seen.probed || seen.hidden || seen.enough(links) {
		return Unknown
	}
	return class
}

// neighbours is the part of events within the window around the target, itself included. If it is longer than the
// flood limit, that is all there is to know: only so much of it is returned, and true.
func neighbours(target int, events []Sighting, window int64) ([]Sighting, bool) {
	t := events[target].Time
	lo, hi := target, target+1
	for lo > 0 && t-events[lo-1].Time < window && hi-lo <= flood {
		lo--
	}
	for hi < len(events) && events[hi].Time-t < window && hi-lo <= flood {
		hi++
	}
	return events[lo:hi], hi-lo > flood
}

// scene is what a message's events show at one glance.
type scene struct {
	opened int64 // when the first open came, or never
	clicks int
	probed bool
	hidden bool
	rushed bool // a click came at once after the first open
}

const never = -1

func look(near []Sighting) scene {
	s := scene{opened: never}
	for i := range near {
		switch n := &near[i]; n.Kind {
		case event.Open:
			if s.opened == never {
				s.opened = n.Time
			}
		case event.Click:
			s.clicks++
			s.hidden = s.hidden || n.Signals&event.HiddenLink != 0
		case event.Probe:
			s.probed = true
		}
	}
	if s.opened == never || s.clicks == 0 {
		return s
	}
	for i := range near {
		if near[i].Kind == event.Click && s.tooSoon(near[i].Time) {
			s.rushed = true
			break
		}
	}
	return s
}

// tooSoon tells whether a click at t came faster after the first open than a person reads.
func (s *scene) tooSoon(t int64) bool {
	return s.opened != never && t >= s.opened && t-s.opened < instant
}

// enough tells whether there are enough clicks for a burst, which nearly always there are not.
func (s *scene) enough(links int) bool {
	return s.clicks >= burstLinks || links >= 2 && s.clicks >= links
}

// bursts tells whether the clicks hold three distinct links in less than two seconds, or every one
// of two or more links within ten.
func bursts(near []Sighting, links int) bool {
	// The distinct links clicked so far, latest first: where the third was clicked a moment ago
	// three were clicked since, and where there are as many as the campaign has, all were.
	var recent [flood]struct {
		time int64
		link uint16
	}
	n := 0
	for i := range near {
		c := &near[i]
		if c.Kind != event.Click {
			continue
		}
		at := 0
		for at < n && recent[at].link != c.Link {
			at++
		}
		if at == n {
			n++
		}
		copy(recent[1:at+1], recent[:at])
		recent[0].time, recent[0].link = c.Time, c.Link
		if n >= burstLinks && c.Time-recent[burstLinks-1].time < burstSpan {
			return true
		}
		if links >= 2 && n >= links && c.Time-recent[links-1].time <= sweepSpan {
			return true
		}
	}
	return false
}
