package classify

import "mailbeacon/ingest/event"

// Suppress turns ev into what may be kept of an event that is not counted for a reason. For DateOnly that is the person,
// the day, and whether a machine did it, where that speaks of the message; in every other case nobody.
func Suppress(ev *event.Event, r event.Reason) {
	machine := ClassOf(ev.Kind, ev.Signals) == Machine
	if r != event.DateOnly || ev.Subject == 0 || machine && ev.Kind == event.Open {
		ev.Suppress(r)
		return
	}
	signals := ev.Signals & event.HiddenLink
	ev.SuppressToDate()
	switch {
	case ev.Kind != event.Click || !machine:
	case signals != 0:
		ev.Signals = signals
	default:
		ev.Signals = event.Automaton
	}
}
