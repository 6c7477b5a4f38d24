package proctest

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/demo"
)

// newDemo makes a process that fills a folder and serves it, and does not run yet.
func newDemo(t *testing.T, data string) *server {
	return newRole(t, built(t, plainBinary), data, "demo", "--listen", "127.0.0.1:0")
}

// TestDemo has the whole season happen, looks at it, and looks through what is left of it for those it is about.
func TestDemo(t *testing.T) {
	ctx, data := t.Context(), filepath.Join(t.TempDir(), "demo")
	s, began := newDemo(t, data), time.Now()
	s.run()
	s.ready()
	t.Logf("served %v after the start", time.Since(began).Round(10*time.Millisecond))
	for _, want := range []string{"21 campaigns, 10000 people", "report weekly-213", "private  http://"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &s.out)
		}
	}
	var all []api.Campaign
	must(t, s.client().Campaigns(ctx, func(c api.Campaign) error { all = append(all, c); return nil }))
	if len(all) != 21 {
		t.Errorf("there are %d campaigns", len(all))
	}
	for _, c := range all {
		r, err := s.client().Report(ctx, c.Name)
		must(t, err)
		if c.Delivered < 2000 && c.Name != "founders-circle" && c.Name != "trail-survey" || c.Delivered > 10_000 {
			t.Errorf("%s was delivered to %d", c.Name, c.Delivered)
		}
		if r.Opens.Received == 0 || r.Clicks.Received == 0 {
			t.Errorf("nobody did anything with %s: %d opens and %d clicks came", c.Name, r.Opens.Received, r.Clicks.Received)
		}
	}
	s.stop()
	if out := s.out.String(); !strings.Contains(out, "msg=stopped") {
		t.Errorf("it did not stop in order:\n%s", out)
	}

	n := needles{
		words: []string{"GoogleImageProxy", "YahooMailProxy", "BarracudaSentinel", "SamsungEmail", "AppleWebKit", "Trident/7.0", "Mozilla/5.0", "2001:db8:"},
		hosts: []netip.Addr{netip.MustParseAddr("2001:db8::19a:bcde:f012")},
	}
	people := demo.New(demo.Options{Seed: demo.DefaultSeed, Until: began}).People
	for i := 0; i < len(people); i += len(people) / 16 {
		n.words = append(n.words, people[i].Address)
		n.hashed = append(n.hashed, people[i].Address)
	}
	var left contents
	left.addFolder(t, data)
	left.add("log", s.out.String())
	left.mustNotHold(t, newHunt(n))
}

// TestDemoInterrupted ends a demo while its folder is being filled.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "demo")
	s := newDemo(t, data)
	s.run()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(data, "spool")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing is filled:\n%s", &s.out)
		}
	}
	s.signal(syscall.SIGINT)
	if code := s.wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if out := s.out.String(); !strings.Contains(out, "stopped before the season was over") || !strings.Contains(out, "rm -r "+data) || strings.Contains(out, "msg=ready") {
		t.Errorf("it said:\n%s", out)
	}
	if _, stderr, code := mailbeacon(t.Context(), t, "", "demo", "--data", data); code != 2 || !strings.Contains(stderr, "is not empty") {
		t.Errorf("once more, into the same folder: exit code %d: %s", code, stderr)
	}
	must(t, os.RemoveAll(data))
}
