// Package kept is the one rule of what may be kept of an event: by what its person chose, and by what its campaign keeps.
// It is asked when the event is recorded, again before it leaves the edge, and again by the fold.
package kept

import (
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Consent is what people chose. Its methods may be called concurrently, with its updates too, and do not allocate.
type Consent interface {
	// Verdict says whether what a person did may be counted: event.Counted, or why not.
	Verdict(kind event.Kind, subject uint64) event.Reason
	// Attributed says whether what counts, or its date, may be kept with the person.
	Attributed(kind event.Kind, subject uint64) bool
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

// Verdict says whether an event may be counted: event.Counted, or why not. Of a person it is the person's own word first.
func (r *Rule) Verdict(kind event.Kind, subject uint64, campaign uint32) event.Reason {
	reason := r.Consent.Verdict(kind, subject)
	if reason == event.Counted && r.Campaigns.DateOnly(campaign) {
		return event.DateOnly
	}
	return reason
}

// Datable says whether the date of an event may be kept.
func (r *Rule) Datable(ev *event.Event) bool {
	if ev.Subject == 0 {
		return false
	}
	v := r.Consent.Verdict(ev.Kind, ev.Subject)
	return (v == event.Counted || v == event.DateOnly) && r.Consent.Attributed(ev.Kind, ev.Subject)
}

// Recheck has an event that was let through earlier keep no more than is allowed now. What was said of it when it
// came stays; a date that may not be kept any more goes. Whether what counts may be named is not looked at.
func (r *Rule) Recheck(ev *event.Event) {
	if ev.Reason != event.Counted {
		if ev.Subject != 0 && !r.Datable(ev) {
			ev.Suppress(ev.Reason)
		}
		return
	}
	switch v := r.Verdict(ev.Kind, ev.Subject, ev.Campaign); v {
	case event.Counted:
	case event.DateOnly:
		if !r.Datable(ev) {
			ev.Subject = 0
		}
		classify.Suppress(ev, v)
	default:
		classify.Suppress(ev, v)
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
