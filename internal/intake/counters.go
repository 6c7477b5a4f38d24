package intake

import (
	"sync/atomic"

	"mailbeacon/ingest/event"
)

// kinds is the size of a table indexed by event.Kind, reasons by event.Reason. A test holds them
// against the closed sets.
const (
	kinds   = int(event.Probe) + 1
	reasons = int(event.DateOnly) + 1
)

// Counters is how many requests of each kind ended for which reason, since the start. Each request
// counts once: under Counted if its event is durable and counts, under the consent reason if its
// event is durable and does not, under SpoolFailed if an event of either sort was lost, and under
// Forged, Malformed or UnknownLink where there was nothing to keep.
type Counters [kinds][reasons]uint64

// Get is one number; 0 outside the sets.
func (c *Counters) Get(kind event.Kind, reason event.Reason) uint64 {
	if int(kind) >= kinds || int(reason) >= reasons {
		return 0
	}
	return c[kind][reason]
}

// Each calls fn for every pair of kind and reason in a fixed order, zeros too, so that a metric
// exists before it first counts.
func (c *Counters) Each(fn func(kind event.Kind, reason event.Reason, n uint64)) {
	for k := event.Open; int(k) < kinds; k++ {
		for r := range reasons {
			fn(k, event.Reason(r), c[k][r])
		}
	}
}

// tally is the live form of Counters.
type tally [kinds][reasons]atomic.Uint64

func (t *tally) add(kind event.Kind, reason event.Reason) {
	t[kind][reason].Add(1)
}

func (t *tally) snapshot() (c Counters) {
	for k := range t {
		for r := range t[k] {
			c[k][r] = t[k][r].Load()
		}
	}
	return c
}
