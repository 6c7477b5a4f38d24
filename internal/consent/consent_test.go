package consent

import (
	"testing"

	"mailbeacon/ingest/event"
)

// TestRule is the whole rule, by example: who chose what, on which basis, and what follows.
func TestRule(t *testing.T) {
	t.Parallel()
	const (
		counted   = event.Counted
		optedOut  = event.OptedOut
		plainText = event.PlainText
		noBasis   = event.NoBasis
		aggregate = event.AggregateOnly
		dateOnly  = event.DateOnly
	)
	nothing := Choice{}
	for _, c := range []struct {
		name   string
		basis  Basis
		choice Choice
		// What an open, a click and a probe are.
		open, click, probe event.Reason
		// How the mail is made.
		planOpens, planClicks event.Reason
	}{
		{"unknown", BasisSubject, nothing, counted, counted, counted, counted, counted},
		{"unknown", BasisAggregate, nothing, counted, counted, counted, aggregate, aggregate},
		{"unknown", BasisNone, nothing, noBasis, noBasis, noBasis, noBasis, noBasis},
		{"all granted", BasisNone, Choice{Opens: Granted, Clicks: Granted}, counted, counted, counted, counted, counted},
		{"all granted", BasisAggregate, Choice{Opens: Granted, Clicks: Granted}, counted, counted, counted, counted, counted},
		{"opens granted", BasisNone, Choice{Opens: Granted}, counted, noBasis, noBasis, counted, noBasis},
		{"opens granted", BasisAggregate, Choice{Opens: Granted}, counted, counted, counted, counted, aggregate},
		{"clicks granted", BasisSubject, Choice{Clicks: Granted}, counted, counted, counted, counted, counted},
		{"opens refused", BasisSubject, Choice{Opens: Refused}, optedOut, counted, optedOut, optedOut, counted},
		{"opens refused", BasisAggregate, Choice{Opens: Refused}, optedOut, counted, optedOut, optedOut, aggregate},
		{"opens refused", BasisNone, Choice{Opens: Refused}, optedOut, noBasis, optedOut, optedOut, noBasis},
		{"clicks refused", BasisSubject, Choice{Clicks: Refused}, counted, optedOut, optedOut, counted, optedOut},
		{"clicks refused, opens granted", BasisNone, Choice{Opens: Granted, Clicks: Refused}, counted, optedOut, optedOut, counted, optedOut},
		{"all refused", BasisSubject, Choice{Opens: Refused, Clicks: Refused}, optedOut, optedOut, optedOut, optedOut, optedOut},
		{"plain", BasisSubject, Choice{Format: Plain}, plainText, plainText, plainText, plainText, plainText},
		{"plain, all granted", BasisNone, Choice{Opens: Granted, Clicks: Granted, Format: Plain}, plainText, plainText, plainText, plainText, plainText},
		{"plain, refused, gone", BasisSubject, Choice{Opens: Refused, Format: Plain, Unsubscribed: true}, plainText, plainText, plainText, plainText, plainText},
		{"html", BasisNone, Choice{Format: HTML}, noBasis, noBasis, noBasis, noBasis, noBasis},
		{"date-only", BasisSubject, Choice{DateOnly: true}, dateOnly, dateOnly, dateOnly, dateOnly, dateOnly},
		{"date-only", BasisAggregate, Choice{DateOnly: true}, noBasis, noBasis, noBasis, noBasis, noBasis},
		{"date-only", BasisNone, Choice{DateOnly: true}, noBasis, noBasis, noBasis, noBasis, noBasis},
		{"date-only, opens granted", BasisAggregate, Choice{Opens: Granted, DateOnly: true}, dateOnly, noBasis, noBasis, dateOnly, noBasis},
		{"date-only, all granted", BasisNone, Choice{Opens: Granted, Clicks: Granted, DateOnly: true}, dateOnly, dateOnly, dateOnly, dateOnly, dateOnly},
		{"date-only, clicks refused", BasisSubject, Choice{Clicks: Refused, DateOnly: true}, dateOnly, optedOut, optedOut, dateOnly, optedOut},
		{"date-only, plain", BasisSubject, Choice{Format: Plain, DateOnly: true}, plainText, plainText, plainText, plainText, plainText},
		{"date-only, gone", BasisSubject, Choice{Unsubscribed: true, DateOnly: true}, optedOut, optedOut, optedOut, optedOut, optedOut},
		{"unsubscribed", BasisSubject, Choice{Unsubscribed: true}, optedOut, optedOut, optedOut, optedOut, optedOut},
		{"unsubscribed", BasisNone, Choice{Unsubscribed: true}, optedOut, optedOut, optedOut, optedOut, optedOut},
		{"unsubscribed, all granted", BasisAggregate, Choice{Opens: Granted, Clicks: Granted, Unsubscribed: true}, optedOut, optedOut, optedOut, optedOut, optedOut},
	} {
		table := NewTable(c.basis)
		table.set(1, c.choice)
		for kind, want := range map[event.Kind]event.Reason{event.Open: c.open, event.Click: c.click, event.Probe: c.probe} {
			if got := table.Verdict(kind, 1); got != want {
				t.Errorf("%s, basis %v: %v is %v, want %v", c.name, c.basis, kind, got, want)
			}
			if table.Attributed(kind, 1) && want != counted && want != dateOnly {
				t.Errorf("%s, basis %v: %v is attributed, and neither counted nor dated", c.name, c.basis, kind)
			}
		}
		opens, clicks := table.Plan(1)
		if opens != c.planOpens || clicks != c.planClicks {
			t.Errorf("%s, basis %v: planned %v and %v, want %v and %v", c.name, c.basis, opens, clicks, c.planOpens, c.planClicks)
		}
		named := func(r event.Reason) bool { return r == counted || r == dateOnly }
		if table.Attributed(event.Open, 1) != named(opens) || table.Attributed(event.Click, 1) != named(clicks) {
			t.Errorf("%s, basis %v: attribution and plan differ", c.name, c.basis)
		}
	}
}

// TestNobody: mail that names nobody was made under BasisAggregate for somebody who had said nothing. What is done with it
// belongs to nobody, and counts until the basis is that such people are not measured.
func TestNobody(t *testing.T) {
	t.Parallel()
	for basis, want := range map[Basis]event.Reason{BasisSubject: event.Counted, BasisAggregate: event.Counted, BasisNone: event.NoBasis} {
		table := NewTable(basis)
		for _, kind := range []event.Kind{event.Open, event.Click, event.Probe} {
			if r := table.Verdict(kind, 0); r != want {
				t.Errorf("basis %v: %v", basis, r)
			}
		}
		if table.Attributed(event.Open, 0) || table.Look(0) != (Choice{}) {
			t.Errorf("basis %v: somebody", basis)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]State{"": Unset, "granted": Granted, "refused": Refused} {
		if got, err := ParseState(s); got != want || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]Format{"": FormatUnset, "html": HTML, "plain": Plain} {
		if got, err := ParseFormat(s); got != want || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]Basis{"": BasisSubject, "subject": BasisSubject, "aggregate": BasisAggregate, "none": BasisNone} {
		if got, err := ParseBasis(s); got != want || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"unset", "Granted", "yes", "invalid", " "} {
		if _, err := ParseState(s); err == nil {
			t.Errorf("state %q", s)
		}
		if _, err := ParseFormat(s); err == nil {
			t.Errorf("format %q", s)
		}
		if _, err := ParseBasis(s); err == nil {
			t.Errorf("basis %q", s)
		}
	}
	if s := State(9).String() + Format(9).String() + Basis(9).String(); s != "invalidinvalidinvalid" {
		t.Error(s)
	}
}
