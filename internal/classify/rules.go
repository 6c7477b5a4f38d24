package classify

import (
	"fmt"

	"mailbeacon/ingest/event"
)

// Confidence says how sure a rule's verdict is, as far as published measurements tell.
type Confidence string

const (
	High         Confidence = "high"
	MediumToHigh Confidence = "medium to high"
	Medium       Confidence = "medium"
	Low          Confidence = "low"
)

// Rule is one row of the table: a sign and the class it speaks for.
type Rule struct {
	// Sign is the row's first column, in words.
	Sign string
	// Class is the verdict.
	Class Class
	// Confidence is how sure it is.
	Confidence Confidence

	kinds   kindSet       // which events the row is about
	signals event.Signals // all of these must be there; none for every event of the kinds
}

type kindSet uint8

func setOf(kinds ...event.Kind) (s kindSet) {
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

func (s kindSet) has(k event.Kind) bool { return s&(1<<k) != 0 }

var (
	opens  = setOf(event.Open)
	clicks = setOf(event.Click)
	probes = setOf(event.Probe)
	either = opens | clicks
)

// Rules for one event by itself. The first row that fits decides.
var alone = []Rule{
	{"HEAD request", Machine, High, probes, 0},
	{"hidden link followed", Machine, High, clicks, event.HiddenLink},
	{"User-Agent exactly `Mozilla/5.0`, address in Apple's egress list", Machine, High, opens, event.BareMozilla | event.AppleEgress},
	{"User-Agent exactly `Mozilla/5.0`", Machine, MediumToHigh, either, event.BareMozilla},
	{"User-Agent of Gmail's prefetch", Machine, High, either, event.GmailPrefetch},
	{"`Sec-Purpose`, `Purpose` or `X-Moz` says prefetch, `X-Purpose` says preview", Machine, High, either, event.Prefetch},
	{"a library, crawler or security scanner by its own name", Machine, High, either, event.Automaton},
	{"User-Agent empty or missing", Machine, High, either, event.NoAgent},
	{"open through Google's image proxy", Proxied, High, opens, event.GoogleProxy},
	{"open through Yahoo's image proxy", Proxied, Medium, opens, event.YahooProxy},
	{"open through another provider's image proxy", Proxied, Medium, opens, event.OtherProxy},
	{"click through Google's image proxy", Machine, Low, clicks, event.GoogleProxy},
	{"click through Yahoo's image proxy", Machine, Low, clicks, event.YahooProxy},
	{"click through another provider's image proxy", Machine, Low, clicks, event.OtherProxy},
	{"click from Apple's egress list (Private Relay)", Human, Medium, clicks, event.AppleEgress},
	{"none of these", Human, Low, either, 0},
}

// inWindow are the rules for what a message does within the window, which Judge applies to events
// that are a person's by themselves. The first row that fits decides.
var inWindow = []Rule{
	{"click, and next to it a scan: a HEAD request", Machine, High, clicks, 0},
	{"click, and next to it a scan: a hidden link followed", Machine, High, clicks, 0},
	{fmt.Sprintf("click, and next to it a burst: %d or more distinct links clicked in under %s", burstLinks, seconds(burstSpan)), Machine, High, clicks, 0},
	{"click, and next to it a burst: every one of two or more links clicked within " + seconds(sweepSpan), Machine, High, clicks, 0},
	{fmt.Sprintf("click, and next to it a burst: more than %d events of the message", flood), Machine, MediumToHigh, clicks, 0},
	{"click under " + seconds(instant) + " after the first sign of delivery, the message's first open in the window", Machine, High, clicks, 0},
	{"open from a data centre's address, next to a burst", Machine, Medium, opens, event.DataCentre},
	{"open next to any scan or burst", Unknown, Medium, opens, 0},
	{"open next to a click that came too soon", Unknown, Medium, opens, 0},
}

// seconds writes milliseconds as "1.5 s".
func seconds(ms int) string { return fmt.Sprintf("%g s", float64(ms)/1000) }

const allSignals = event.HiddenLink<<1 - 1

// verdicts is the table unrolled: the class of every kind with every set of signals.
var verdicts = func() (v [event.Probe + 1][allSignals + 1]Class) {
	for k := event.Open; k <= event.Probe; k++ {
		for s := range v[k] {
			v[k][s] = firstFit(k, event.Signals(s))
		}
	}
	return v
}()

func firstFit(k event.Kind, s event.Signals) Class {
	for i := range alone {
		if r := &alone[i]; r.kinds.has(k) && s&r.signals == r.signals {
			return r.Class
		}
	}
	return Unknown
}

// ClassOf is the class of one event by itself: Human, Proxied or Machine. It is Unknown for a kind
// outside the set; signal bits outside the set are ignored. It does not allocate.
func ClassOf(kind event.Kind, s event.Signals) Class {
	if kind > event.Probe {
		return Unknown
	}
	return verdicts[kind][s&allSignals]
}
