package aggregate

import (
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Recheck has an event that was let through earlier keep no more than consent allows now. What was said of it when it
// came stays; a date that may not be kept any more goes.
func Recheck(c Consent, ev *event.Event) {
	switch {
	case ev.Reason == event.Counted:
		if reason := c.Verdict(ev.Kind, ev.Subject); reason != event.Counted {
			classify.Suppress(ev, reason)
		}
	case ev.Subject != 0 && !datable(c, ev):
		ev.Suppress(ev.Reason)
	}
}

// Withhold has an event that was let through keep no more than a reason allows that was found since; event.Counted allows
// all of it.
func Withhold(ev *event.Event, r event.Reason) {
	switch {
	case r == event.Counted:
	case ev.Reason == event.Counted:
		classify.Suppress(ev, r)
	case r != event.DateOnly && ev.Subject != 0:
		ev.Suppress(ev.Reason)
	}
}

// datable says whether the date of an event may be kept.
func datable(c Consent, ev *event.Event) bool {
	r := c.Verdict(ev.Kind, ev.Subject)
	return ev.Subject != 0 && (r == event.Counted || r == event.DateOnly) && c.Attributed(ev.Kind, ev.Subject)
}
