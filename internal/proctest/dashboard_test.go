package proctest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"mailbeacon/internal/engines/browsertest"
)

// TestDashboard goes through the real server's pages over a demo's season, from the link that the start prints: each is there, has what
// it is for, is accessible, and no wider than a phone.
func TestDashboard(t *testing.T) {
	checker, b := browsertest.Axe(t), tester{t, chromium(t)}
	s := newDemo(t, filepath.Join(t.TempDir(), "demo"))
	s.run()
	s.ready()
	b.do(chromedp.Navigate(s.link()), chromedp.Click("main form button"), chromedp.WaitVisible(".leave"))
	url := s.dashboardOf(s.link())
	for _, l := range []look{{"en", "light", 1280, 900}, {"en", "dark", 360, 740}} {
		b.do(browsertest.Scheme(l.colours), chromedp.EmulateViewport(l.width, l.height))
		for _, p := range []struct{ path, has string }{
			{"/", "weekly-213"},
			{"/campaigns", "founders-circle"},
			{"/campaigns/gift-guide", "Heat map"},
			{"/campaigns/founders-circle", "too few"},
			{"/campaigns/members-notice", "date of each person"},
			{"/campaigns/gift-guide/heat", "share of"},
			{"/compare", "tied"},
			{"/compare?by=clicks", "trail-survey"},
			{"/advertisers", "Birch Coffee Roasters"},
			{"/advertisers/Alder%20Outfitters", "How these numbers come to be"},
			{"/consent", "refuse"},
			{"/system", "Ready: nothing is at fault"},
		} {
			b.do(chromedp.Navigate(url + p.path))
			if text := b.shown(`document.body.innerText`); !strings.Contains(text, p.has) {
				t.Errorf("%s does not say %q:\n%s", p.path, p.has, text)
			}
			name := strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(p.path)
			b.accessible(checker, l, "dashboard", name)
		}
	}
	// Files are taken away by whoever is signed in, and noted.
	csv := b.shown(`fetch("/campaigns?format=csv").then(a => a.text())`)
	if !strings.Contains(csv, "gift-guide") || strings.Contains(csv, "\n=") {
		t.Errorf("the table as a file:\n%.300s", csv)
	}
	out, stderr, code := mailbeacon(t.Context(), t, "", "audit", "--data", s.data)
	if code != 0 || !strings.Contains(out, "csv of GET /campaigns") {
		t.Errorf("the audit log: exit code %d, %s%s", code, out, stderr)
	}
	s.stop()
}
