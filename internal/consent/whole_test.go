package consent

import (
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/control"
)

// TestRepetitionIsOfOneDecision: what was said in several decisions, or in one that said more, has no receipt of its own, and is recorded.
func TestRepetitionIsOfOneDecision(t *testing.T) {
	t.Parallel()
	opens, clicks := Change{Subject: 7, Opens: Refused, Source: "page"}, Change{Subject: 7, Clicks: Refused, Source: "page"}
	both := Change{Subject: 7, Opens: Refused, Clicks: Refused, Source: "page"}
	granted := Change{Subject: 7, Clicks: Granted, Source: "page"}
	for _, c := range []struct {
		name  string
		said  []Change
		again Change
		known bool
	}{
		{"one field", []Change{opens}, opens, true},
		{"two at once", []Change{both}, both, true},
		{"two in two decisions", []Change{opens, clicks}, both, false},
		{"a part of one", []Change{both}, opens, false},
		{"a part of one, of which the other changed since", []Change{both, granted}, opens, false},
		{"the first of two", []Change{opens, clicks}, opens, true},
		{"the last of two", []Change{opens, clicks}, clicks, true},
	} {
		for _, compacted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w, table := office(t, control.NewMemory())
				if compacted {
					table.Remember(10)
					w = w.Compacted()
				}
				var last control.Position
				for _, said := range c.said {
					said.By = "key:a"
					time.Sleep(time.Second)
					last = record(t, w, said)
				}
				ask := c.again
				ask.By = "key:b"
				r, _, err := w.Record(t.Context(), ask)
				must(t, err)
				if known := r.By == "key:a"; known != c.known || known && r.Position > last || !r.speaksAs(&c.again) {
					t.Errorf("%s, compacted %v: %+v", c.name, compacted, r)
				}
				// The ledger has what the receipt says.
				p, err := w.Lookup(t.Context(), 7)
				must(t, err)
				found := false
				for i := range p.History {
					h := &p.History[i]
					found = found || h.Position == r.Position && h.speaksAs(&r.Change) && h.By == r.By && h.Time.Equal(r.Time)
				}
				if !found {
					t.Errorf("%s, compacted %v: %+v is not in %+v", c.name, compacted, r, p.History)
				}
			})
		}
	}
}
