package classify

import "mailbeacon/ingest/event"

// Active says whether an event, by itself, shows that its person did something: whether its day may be kept.
func Active(kind event.Kind, s event.Signals) bool {
	c := ClassOf(kind, s)
	return kind != event.Probe && (c == Human || c == Proxied)
}

// Suppress turns ev into what may be kept of an event that is not counted for a reason. For DateOnly that is the person
// and the day, if the person did something; in every other case nobody.
func Suppress(ev *event.Event, r event.Reason) {
	if r == event.DateOnly && ev.Subject != 0 && Active(ev.Kind, ev.Signals) {
		ev.SuppressToDate()
		return
	}
	ev.Suppress(r)
}
