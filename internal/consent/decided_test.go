package consent

import (
	"testing"
	"time"

	"mailbeacon/internal/control"
)

// Who decided since a moment, alone or in an import, is found whether the ledger is the log, an archive, or partly
// either; who decided before is not.
func TestDecidedSince(t *testing.T) {
	t.Parallel()
	const days = 40
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	log := control.NewMemory()
	decided := map[uint64]uint64{} // the day of each
	for d := range uint64(days) {
		at := began.AddDate(0, 0, int(d))
		one := Change{Subject: d + 1, Opens: Granted}
		decided[one.Subject] = d
		records, err := one.records(at)
		must(t, err)
		if d%10 == 5 {
			many, _, err := bulkOf([]Change{{Subject: 1000 + d, Clicks: Refused}, {Subject: 2000 + d, Format: HTML}}, at)
			must(t, err)
			records = append(records, many)
			decided[1000+d], decided[2000+d] = d, d
		}
		records = append(records, control.Record{Kind: control.KindCampaign, Key: "spring", Time: at, Body: []byte("{}")})
		_, err = log.Append(t.Context(), records...)
		must(t, err)
	}
	for _, copied := range []int{-1, 0, 3, 7, 200} { // entries in the archive; -1: there is none
		w := NewWriter(log, nil, NewTable(BasisSubject))
		if copied >= 0 {
			a := &memoryArchive{}
			entries, err := log.Read(t.Context(), 0, copied)
			must(t, err)
			for i := range entries {
				if entries[i].Kind == control.KindConsent {
					must(t, a.Add(t.Context(), entries[i:i+1], [][]uint64{subjectsOf(&entries[i])}))
				}
			}
			w = w.Archived(a, nil)
		}
		for since := range uint64(days + 2) {
			got, err := w.DecidedSince(t.Context(), began.AddDate(0, 0, int(since)))
			must(t, err)
			n := 0
			for who, d := range decided {
				if got.Has(who) != (d >= since) {
					t.Errorf("%d copied, since day %d: %d, who decided on day %d: %v", copied, since, who, d, got.Has(who))
				}
				if d >= since {
					n++
				}
			}
			if got.Len() != n || got.Has(0) || got.Has(5000) {
				t.Errorf("since day %d: %d people, want %d", since, got.Len(), n)
			}
		}
	}
}
