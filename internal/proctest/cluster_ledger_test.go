package proctest

import (
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/api"
)

// TestClusterLedger changes and imports by two admins, with the store killed meanwhile. Either tells of every
// change, in the same order, with who brought it, also of those that the ledger does not have yet.
func TestClusterLedger(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	c := newCluster(t)
	other := c.start("admin", 1)
	admins := []*server{c.admin, other}
	const who = "anna@example.com"
	want := 0
	for round := range 6 {
		if round == 3 {
			c.store.Kill()
		}
		s := admins[round%2]
		if _, err := s.client().SetConsent(t.Context(), api.Decision{Subject: who, Opens: []string{"granted", "refused"}[round%2], Source: "letter"}); err != nil {
			t.Fatal(err)
		}
		sum, err := s.client().ImportConsent(t.Context(), strings.NewReader("subject,clicks,text_version\n"+who+",refused,"+strings.Repeat("i", round+1)+"\n"), true, func(api.Imported) {})
		if err != nil || sum.Recorded != 1 || !sum.Effective {
			t.Fatalf("%+v, %v", sum, err)
		}
		want += 2
	}
	if err := c.store.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range admins {
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			p, err := s.client().ConsentReceipts(t.Context(), who)
			if err == nil && len(p.History) == want && p.Opens == "refused" && p.Clicks == "refused" && p.History[want-1].By == "key:(admin.key)" && p.History[0].Receipt != "" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v, %d changes, want %d: %+v", err, len(p.History), want, p)
			}
		}
		for deadline := time.Now().Add(patience); s.metric("mailbeacon_ledger_copied") < float64(want) || s.metric("mailbeacon_ledger_failing") != 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the ledger is at %v", s.metric("mailbeacon_ledger_copied"))
			}
		}
	}
}
