package proctest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mailbeacon/internal/engines/browsertest"
)

// chromium opens a browser that says it is one: headless Chromium's own User-Agent names an
// automaton, and as such it would be counted.
func chromium(t *testing.T) context.Context { return browsertest.Open(t, browser, 5*patience) }

// shop is where the mail's link leads: it shows its own address.
func shop(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<title>shop</title><p id=arrived>%s</p>", r.URL.RequestURI()) //nolint:gosec // the test's own page
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestMailToReport goes the whole way: a mail is rendered by the command, opened in a browser, its
// link clicked, and the report shows one open and one click.
func TestMailToReport(t *testing.T) {
	browsing, ctx := chromium(t), t.Context()
	data, files, target := t.TempDir(), t.TempDir(), shop(t)
	s := start(t, data, "--classify-window=500ms", "--commit-interval=50ms")
	run := func(args ...string) string {
		out, stderr, code := mailbeacon(ctx, t, "", append(args, "--data", data)...)
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, stderr)
		}
		return out
	}
	in, out := filepath.Join(files, "mail.html"), filepath.Join(files, "ann.html")
	destination := target.URL + "/offer?a=1&b=%C3%BC"
	html := `<html><body><p>Hello! <a id="offer" href="` + target.URL + `/offer?a=1&amp;b=%C3%BC">Our offer</a></p></body></html>`
	if err := os.WriteFile(in, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	run("campaign", "add", "spring", "--title", "Spring news")
	run("message", "render", "spring", "--to", reader, "--html", in, "--out", out)
	run("delivery", "add", "spring", "--id", "one", "--delivered", "1")

	err := chromedp.Do(browsing,
		chromedp.Navigate("file://"+out), // loads the pixel
		// Who clicks within a moment of opening is no person.
		chromedp.Sleep(2*time.Second),
		chromedp.Click("#offer"),
	)
	if err != nil {
		t.Fatal(err)
	}
	arrived, err := chromedp.Run(browsing, chromedp.Text("#arrived"))
	if err != nil {
		t.Fatal(err)
	}
	if want := destination[len(target.URL):]; arrived != want {
		t.Errorf("the click arrived at %q, want %q", arrived, want)
	}
	s.drain()
	r, err := s.client().Report(ctx, "spring")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][2]uint64{
		"opens": {r.Opens.Total, r.Opens.ByClass.Human}, "opening people": {r.Opens.Unique, r.Opens.Certain},
		"clicks": {r.Clicks.Total, r.Clicks.ByClass.Human}, "clicking people": {r.Clicks.Unique, r.Clicks.Certain},
	} {
		if got != [2]uint64{1, 1} {
			t.Errorf("%s: %v, want one, and certain", name, got)
		}
	}
	if r.Opens.Rate == nil || r.Opens.Rate.Low != 1 || r.Opens.Rate.High != 1 {
		t.Errorf("open rate %v", r.Opens.Rate)
	}
	t.Log("\n" + run("report", "spring"))
	s.stop()
}

// TestPreferencesInBrowser refuses opens on the preference page: mail already sent is not counted
// any more.
func TestPreferencesInBrowser(t *testing.T) {
	browsing, ctx := chromium(t), t.Context()
	s := start(t, t.TempDir(), quick...)
	c := s.client()
	l := newLane(ctx, t, c, "spring")
	look := func() {
		t.Helper()
		if status, err := fetch(s.public, l.path[open]); err != nil || status != 200 {
			t.Fatalf("status %d, %v", status, err)
		}
	}
	look()
	page := "http://" + s.public + pathOf(t, mint(ctx, t, c, "spring", reader).UnsubscribeURL)
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(browsing, steps...); err != nil {
			t.Fatal(err)
		}
	}
	do(chromedp.EmulateViewport(390, 844), chromedp.Navigate(page))
	browsertest.Shoot(browsing, t, "preferences-phone")
	do(chromedp.EmulateViewport(1200, 900), chromedp.Navigate(page))
	browsertest.Shoot(browsing, t, "preferences")
	look()    // to look at the page changes nothing
	s.drain() // what is not counted yet would fall under the refusal too
	do(chromedp.Click(`input[name="opens"][value="refused"]`), chromedp.Click(`button:not([name])`),
		chromedp.WaitVisible(`input[name="opens"][value="refused"][checked]`))
	browsertest.Shoot(browsing, t, "preferences-saved")
	look()
	s.drain()
	r, err := c.Report(ctx, "spring")
	if err != nil {
		t.Fatal(err)
	}
	if r.Opens.Total != 2 || r.Opens.Suppressed["opted_out"] != 1 {
		t.Errorf("%d opens counted and %v not, want 2 and 1 opted_out", r.Opens.Total, r.Opens.Suppressed)
	}
	who, err := c.Consent(ctx, reader)
	if err != nil {
		t.Fatal(err)
	}
	if who.Opens != "refused" || who.Clicks != "unset" || who.Unsubscribed {
		t.Errorf("recorded: %+v", who)
	}
	s.stop()
}
