package aggregate

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

// refuses is the rule in the test's own words: why something that a person did may not be counted.
func refuses(b consent.Basis, c consent.Choice, kind event.Kind) event.Reason {
	state := c.Opens
	if kind == event.Click {
		state = c.Clicks
	}
	switch {
	case c.Format == consent.Plain:
		return event.PlainText
	case c.Unsubscribed, state == consent.Refused:
		return event.OptedOut
	case state == consent.Unset && (b == consent.BasisNone || b == consent.BasisAggregate && c.DateOnly):
		return event.NoBasis
	case c.DateOnly:
		return event.DateOnly
	}
	return event.Counted
}

// named says, in the same way, whether the person of what is not refused may be kept.
func named(b consent.Basis, c consent.Choice, kind event.Kind) bool {
	return b != consent.BasisAggregate || kind == event.Open && c.Opens == consent.Granted || kind == event.Click && c.Clicks == consent.Granted
}

// dated are campaigns of which every fourth keeps dates alone.
type dated struct{ campaigns }

func (dated) DateOnly(n uint32) bool { return n%4 == 0 }

// office is the real table, filled from records of the log, beside a model of what people chose.
type office struct {
	basis  consent.Basis
	log    *control.Memory
	writer *consent.Writer
	table  *consent.Table
	folded control.Position
	model  map[uint64]consent.Choice
}

func newOffice(t *rapid.T) *office {
	o := &office{basis: consent.Basis(rapid.IntRange(0, 2).Draw(t, "basis")), log: control.NewMemory(), model: map[uint64]consent.Choice{}}
	o.table = consent.NewTable(o.basis)
	o.writer = consent.NewWriter(o.log, nil, o.table)
	return o
}

// change records what some people decided, as an import does or in the records of one decision, and folds it.
func (o *office) change(t *rapid.T) {
	var all []consent.Change
	before, imported := maps.Clone(o.model), rapid.Bool().Draw(t, "imported")
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		c := consent.Change{
			Subject: rapid.Uint64Range(1, 6).Draw(t, "who"), Opens: consent.State(rapid.IntRange(0, 2).Draw(t, "opens")),
			Clicks: consent.State(rapid.IntRange(0, 2).Draw(t, "clicks")), Format: consent.Format(rapid.IntRange(0, 2).Draw(t, "format")),
		}
		if mail := rapid.IntRange(0, 3).Draw(t, "mail"); mail > 1 {
			c.Unsubscribed = new(mail == 3)
		}
		if c.Check() != nil {
			continue
		}
		all = append(all, c)
		m := o.model[c.Subject]
		if was := before[c.Subject]; imported { // which takes no refusal back
			if was.Opens == consent.Refused {
				c.Opens = consent.Unset
			}
			if was.Clicks == consent.Refused {
				c.Clicks = consent.Unset
			}
			if was.Format == consent.Plain {
				c.Format = consent.FormatUnset
			}
			if was.Unsubscribed {
				c.Unsubscribed = nil
			}
		}
		if c.Opens != consent.Unset {
			m.Opens = c.Opens
		}
		if c.Clicks != consent.Unset {
			m.Clicks = c.Clicks
		}
		if c.Format != consent.FormatUnset {
			m.Format = c.Format
		}
		if c.Unsubscribed != nil {
			m.Unsubscribed = *c.Unsubscribed
		}
		o.model[c.Subject] = m
	}
	if imported {
		if _, _, err := o.writer.Import(context.Background(), all); err != nil {
			t.Fatal(err)
		}
	} else {
		o.decide(t, all)
	}
	if tracking := rapid.IntRange(0, 4).Draw(t, "tracking"); tracking > 2 {
		who, said := rapid.Uint64Range(1, 6).Draw(t, "whose"), consent.Tracking(tracking-2)
		if _, err := o.log.Append(context.Background(), control.Record{
			Kind: control.KindConsent, Key: fmt.Sprintf("%016x/tracking", who), Time: time.Now(), Body: fmt.Appendf(nil, `{"value":%q}`, said),
		}); err != nil {
			t.Fatal(err)
		}
		m := o.model[who]
		m.DateOnly = said == consent.DateOnly
		o.model[who] = m
	}
	entries, err := o.log.Read(context.Background(), o.folded, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := o.table.Apply(e); err != nil {
			t.Fatal(err)
		}
		o.folded = e.Position
	}
}

// decide records decisions as people make them, in the form of internal/consent/FORMAT.md.
func (o *office) decide(t *rapid.T, all []consent.Change) {
	for _, c := range all {
		values := map[string]string{}
		if c.Opens != consent.Unset {
			values["opens"] = c.Opens.String()
		}
		if c.Clicks != consent.Unset {
			values["clicks"] = c.Clicks.String()
		}
		if c.Format != consent.FormatUnset {
			values["format"] = c.Format.String()
		}
		if c.Unsubscribed != nil {
			values["mail"] = map[bool]string{true: "unsubscribed", false: "subscribed"}[*c.Unsubscribed]
		}
		for field, value := range values {
			if _, err := o.log.Append(context.Background(), control.Record{
				Kind: control.KindConsent, Key: fmt.Sprintf("%016x/%s", c.Subject, field), Time: time.Now(), Body: fmt.Appendf(nil, `{"value":%q}`, value),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whatever the order of decisions and events, received = counted + each reason, every event stands in one
// place once, and none whose person refuses when it leaves is counted, or names its person anywhere.
func TestReceivedIsCountedAndEachReason(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := newOffice(t)
		const most = 1 << 20
		f := newFold(t, Progress{}, FoldOptions{Consent: o.table, Campaigns: dated{campaigns(most)}, Window: testWindow})
		received := []event.Event{{}} // each of a campaign of its own: a count tells which
		stands := map[uint32]event.Reason{}
		days, known := map[uint64]bool{}, map[uint64]bool{}
		now := clock(10_000)
		commit := func() {
			c := f.Take(now)
			if c == nil {
				return
			}
			var left []uint32
			for _, n := range c.Counts {
				ev := received[n.Campaign]
				if _, twice := stands[n.Campaign]; twice || n.N != 1 || n.Kind != ev.Kind {
					t.Fatalf("%+v again, or not what came: %+v", n, ev)
				}
				stands[n.Campaign] = n.Reason
				want := ev.Reason // what was said when it came stays
				if want == event.Counted {
					want = refuses(o.basis, o.model[ev.Subject], ev.Kind)
				}
				if want == event.Counted && n.Campaign%4 == 0 {
					want = event.DateOnly
				}
				if n.Reason != want {
					t.Fatalf("%+v of somebody with %+v stands under %v, want %v", ev, o.model[ev.Subject], n.Reason, want)
				}
				if n.Reason == event.Counted || n.Reason == event.DateOnly {
					left = append(left, n.Campaign)
				}
			}
			may := map[uint64]bool{}
			for _, n := range left {
				ev := received[n]
				now := refuses(o.basis, o.model[ev.Subject], ev.Kind)
				may[ev.Subject] = may[ev.Subject] || ev.Subject != 0 && (now == event.Counted || now == event.DateOnly) && named(o.basis, o.model[ev.Subject], ev.Kind)
			}
			for _, u := range c.Uniques {
				if stands[u.Campaign] != event.Counted {
					t.Fatalf("somebody who refused is among the people of %+v", u.UniqueKey)
				}
			}
			for _, a := range c.LastActive {
				if !may[a.Subject] {
					t.Fatalf("the day of %d is kept, and nothing of them was counted", a.Subject)
				}
			}
			// Whose last event left, and may be named, and whose event is no repetition of the day: the day is there.
			for who := range may {
				if may[who] {
					days[who] = true
				}
			}
			for _, a := range c.LastActive {
				delete(days, a.Subject)
				known[a.Subject] = true
			}
			for who := range days {
				if !known[who] {
					t.Fatalf("nothing is known of the day of %d, who did something that may be kept", who)
				}
			}
		}
		seq := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"decide": func(t *rapid.T) { o.change(t) },
			"events": func(t *rapid.T) {
				b := Batch{Edge: 1, Epoch: 1, First: seq, Offset: seq}
				for range rapid.IntRange(1, 5).Draw(t, "events") {
					ev := event.Event{
						Time: now.UnixMilli(), Subject: rapid.Uint64Range(0, 6).Draw(t, "subject"), Campaign: uint32(len(received)),
						Kind: rapid.SampledFrom([]event.Kind{event.Open, event.Click}).Draw(t, "kind"),
					}
					if ev.Kind == event.Click {
						ev.Link = 1
					}
					// An edge that knows what is known; or one that is behind, and knows nothing.
					if !rapid.Bool().Draw(t, "behind") {
						f.rule.Recheck(&ev)
					}
					told := ev // what the fold says at its door stays as well
					if ev.Reason == event.Counted {
						told.Reason = refuses(o.basis, o.model[ev.Subject], ev.Kind)
					}
					if told.Reason == event.Counted && ev.Campaign%4 == 0 {
						told.Reason = event.DateOnly
					}
					if told.Reason != event.Counted && (told.Reason != event.DateOnly || !named(o.basis, o.model[ev.Subject], ev.Kind)) {
						told.Subject = 0 // for good: a word that comes later speaks of later events
					}
					received = append(received, told)
					b.Events = append(b.Events, ev)
				}
				seq += uint64(len(b.Events))
				f.Add(b, now)
			},
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 150).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(*rapid.T) { commit() },
		})
		now = now.Add(2 * testWindow)
		commit()
		if len(stands) != len(received)-1 || f.Held() != 0 {
			t.Fatalf("%d of %d events stand somewhere, %d are held", len(stands), len(received)-1, f.Held())
		}
	})
}
