package proctest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailbeacon/internal/client"
)

// TestClusterWithoutAdmin: while no admin beats, edges answer and keep what they are asked, ship nothing, and
// consumers count nothing, though Kafka answers all the time; then all of it is counted.
func TestClusterWithoutAdmin(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c := newCluster(t)
	admin := c.admin.client()
	lanes := c.lanesOf(admin, "alone", 3)
	roles := append(append([]*server{}, c.edges...), c.consumers...)
	const held = "mailbeacon_control_lease_held"
	await(t, "every role holds its lease", func() bool { return sum(roles, held) == float64(len(roles)) })
	c.admin.signal(syscall.SIGSTOP)
	stopped := true
	defer func() {
		if stopped {
			c.admin.signal(syscall.SIGCONT)
		}
	}()
	began := time.Now()
	await(t, "every lease ends", func() bool { return sum(roles, held) == 0 })
	t.Logf("every lease ended after %v", time.Since(began).Round(10*time.Millisecond))

	shipped, counted := sum(c.edges, "mailbeacon_ship_events_total"), sum(c.consumers, "mailbeacon_fold_events_total")
	c.drive(lanes, func() { time.Sleep(3 * time.Second) })
	if now := sum(c.edges, "mailbeacon_ship_events_total"); now != shipped {
		t.Errorf("%v events were shipped without an admin", now-shipped)
	}
	if now := sum(c.consumers, "mailbeacon_fold_events_total"); now != counted {
		t.Errorf("%v events were counted without an admin", now-counted)
	}
	if waiting := sum(c.edges, "mailbeacon_ship_waiting_events"); waiting == 0 {
		t.Error("no event waits in a spool")
	}
	for _, s := range c.edges {
		if ready, reasons := readiness(t, s); !ready {
			t.Errorf("an edge is not ready: %s", reasons)
		}
	}
	for _, s := range c.consumers {
		if ready, reasons := readiness(t, s); ready || !strings.Contains(reasons, "no heartbeat of an admin for") {
			t.Errorf("a consumer is ready %v: %s", ready, reasons)
		}
	}
	c.admin.signal(syscall.SIGCONT)
	stopped = false
	await(t, "every role holds its lease again", func() bool { return sum(roles, held) == float64(len(roles)) })
	c.check(t, admin, lanes)
}

// readiness asks a role that may have no key.
func readiness(t *testing.T, s *server) (ready bool, reasons string) {
	t.Helper()
	addr, err := os.ReadFile(filepath.Join(s.data, client.AddrFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(strings.TrimSpace(string(addr)), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Ready, strings.Join(r.Reasons, "; ")
}
