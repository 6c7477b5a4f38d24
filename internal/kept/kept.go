// Package kept is the one rule of what may be kept of an event: by what its person chose, and by what its campaign keeps.
// It is asked when the event is recorded, again before it leaves the edge, and again by the fold.
package kept

import (
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Consent is what people chose. It may be called concurrently, with its updates too, and does not allocate.
type Consent interface {
	// Allows says whether what a person did may be counted: event.Counted, or why not; and whether what counts, or its
	// date, may be kept with the person. Nobody (subject 0) is never named.
	Allows(kind event.Kind, subject uint64) (verdict event.Reason, named bool)
}

// Campaigns says of which campaigns nothing but dates of activity is kept; false where one is not known. It may be called
// concurrently, with its updates too, and does not allocate.
type Campaigns interface {
	DateOnly(campaign uint32) bool
}

// Rule is what is asked. Both are needed. Its methods may be called concurrently and do not allocate.
type Rule struct {
	Consent   Consent
	Campaigns Campaigns
}

// Allows says whether an event may be counted: event.Counted, or why not, the person's own word before the campaign's;
// and whether it, or its date, may be kept with the person.
func (r *Rule) Allows(kind event.Kind, subject uint64, campaign uint32) (verdict event.Reason, named bool) {
	verdict, named = r.Consent.Allows(kind, subject)
	if verdict == event.Counted && r.Campaigns.DateOnly(campaign) {
		verdict = event.DateOnly
	}
	return verdict, named
}

// Datable says whether the date of an event may be kept.
func (r *Rule) Datable(ev *event.Event) bool {
	if ev.Subject == 0 {
		return false
	}
	v, named := r.Consent.Allows(ev.Kind, ev.Subject)
	return named && (v == event.Counted || v == event.DateOnly)
}

// Recheck has an event that was let through earlier keep no more than is allowed now. What was said of it when it
// came stays; a date that may not be kept any more goes. named says whether what still counts may go on with its person:
// it is left to the caller to let the person go, who may be asked about again.
func (r *Rule) Recheck(ev *event.Event) (named bool) {
	if ev.Reason != event.Counted {
		if ev.Subject != 0 && !r.Datable(ev) {
			ev.Suppress(ev.Reason)
		}
		return false
	}
	verdict, named := r.Allows(ev.Kind, ev.Subject, ev.Campaign)
	if verdict != event.Counted {
		if !named {
			ev.Subject = 0
		}
		classify.Suppress(ev, verdict)
	}
	return named
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
