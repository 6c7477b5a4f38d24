package proctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbeacon/internal/api"
)

// TestClusterOlderSnapshot puts, one role after the other, a snapshot of the control log back that is older than
// a refusal. An edge answers by it without Kafka, and what it took then is checked again before it is counted; a
// consumer and an admin know better before they do anything.
func TestClusterOlderSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c := newWiredCluster(t)
	admin := c.admin.client()
	const campaign = "restored"
	l := newLane(t.Context(), t, admin, campaign)
	c.agree()

	older := map[string][]byte{}
	for _, s := range c.all() {
		s.stop()
		older[s.data] = snapshot(t, s)
	}
	c.startAll()
	admin = c.admin.client()
	visit(t, c.edges[0], l.path[open], 5)
	visit(t, c.edges[1], l.path[click], 5)
	await(t, "what was asked before the refusal is counted", func() bool {
		r, err := admin.Report(t.Context(), campaign)
		return err == nil && r.Opens.Total == 5 && r.Clicks.Total == 5
	})
	no := "refused"
	if d, err := admin.SetConsent(t.Context(), api.Decision{Subject: reader, Opens: no, Clicks: no}); err != nil || !d.Effective {
		t.Fatalf("%+v, %v", d, err)
	}
	c.agree()

	for _, s := range c.all() {
		s.stop()
		if newer := snapshot(t, s); len(newer) == len(older[s.data]) {
			t.Errorf("the snapshot in %s does not hold the refusal", s.data)
		}
		overwrite("control.snapshot", string(older[s.data]))(t, s.data)
	}
	c.brokerWay.block(true)
	for i := range c.edges {
		c.edges[i] = c.start("edge", i)
		visit(t, c.edges[i], l.path[open], 7)
		visit(t, c.edges[i], l.path[click], 7)
	}
	for _, s := range c.edges {
		if !strings.Contains(s.scrape(), `reason="counted"} 7`) {
			t.Fatalf("an edge knows of the refusal, so that nothing is shown here:\n%s", s.scrape())
		}
	}
	c.brokerWay.unblock()
	c.admin = c.start("admin", 0)
	admin = c.admin.client()
	if m := mint(t.Context(), t, admin, campaign, reader); m.PixelURL != "" {
		t.Errorf("mail has a pixel for somebody who refused: %+v", m)
	}
	for i := range c.consumers {
		c.consumers[i] = c.start("consume", i)
	}
	c.drain()
	r, err := admin.Report(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	if r.Opens.Total != 5 || r.Clicks.Total != 5 || r.Opens.Suppressed["opted_out"] != 14 || r.Clicks.Suppressed["opted_out"] != 14 {
		t.Errorf("opens %+v, clicks %+v", r.Opens, r.Clicks)
	}
	addsUp(t, r)
}

// snapshot is what a role that has stopped knows.
func snapshot(t *testing.T, s *server) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data, "control.snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// visit asks an edge for a path n times.
func visit(t *testing.T, s *server, path string, n int) {
	t.Helper()
	conn, err := dial(s.public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	for range n {
		if status, err := conn.get(path); err != nil || (status != 200 && status != 302) {
			t.Fatalf("%s: status %d, %v", path, status, err)
		}
	}
}
