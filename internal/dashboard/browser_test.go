package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/engines/browsertest"
)

// tab is a browser on a season's dashboard.
type tab struct {
	*testing.T
	*world
	ctx  context.Context
	base string
}

func newTab(t *testing.T, change ...func(*Options)) *tab {
	t.Helper()
	ctx := browsertest.Open(t, "", 3*time.Minute)
	w := newWorld(t, change...)
	w.season(t, 60)
	w.consents(t, 12_345)
	w.sys = System{
		&Spool{Healthy: true, Bytes: 8 << 20, Segments: 3, Age: 40 * time.Second, Damaged: 1},
		&Fold{Waiting: 1_200, Held: 800, LastCommit: now.Add(-time.Second)}, &Control{Position: 4_711, LastContact: now.Add(-time.Second)},
	}
	s := httptest.NewServer(w.mux)
	t.Cleanup(s.Close)
	return &tab{t, w, ctx, s.URL}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	must(b, chromedp.Do(b.ctx, steps...))
}

func (b *tab) open(address string) { b.Helper(); b.do(chromedp.Navigate(b.base + address)) }

// shown evaluates an expression. The browser's tools may do so whatever the page's policy says.
func (b *tab) shown(expression string) string {
	b.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	must(b, err)
	return s
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); b.shown("String("+expression+")") != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("it does not come to %s", expression)
		}
	}
}

// shifted is what has moved of what was drawn, and how much, in the measure of Chromium.
const shifted = `new Promise(done => {
	const all = [];
	new PerformanceObserver(l => l.getEntries().forEach(e => all.push(e.value + " of " + e.sources.map(s => s.node && s.node.nodeName))))
		.observe({ type: "layout-shift", buffered: true });
	setTimeout(() => done(all.join(';')), 100);
})`

// looks are the pages that a person's eye has seen in both colours, on a phone and on a wide screen.
var looks = map[string]string{
	"campaigns": "/campaigns", "found": "/campaigns?q=nothing-of-that-name", "campaign": "/campaigns/letter-054", "campaign-days": "/campaigns/letter-054?by=day&zone=Asia/Kolkata",
	"campaign-empty": "/campaigns/letter-047", "campaign-few": "/campaigns/letter-056", "compare": "/compare", "compare-clicks": "/compare?by=clicks&n=100", "consent": "/consent", "system": "/system", "not-found": "/nowhere",
}

// TestAccessible shows every page, light and dark, from a small phone to a wide screen: the checker finds nothing, the page does
// not scroll sideways, and nothing moves while it comes.
func TestAccessible(t *testing.T) {
	t.Parallel()
	checker, b := browsertest.Axe(t), newTab(t)
	for name, address := range looks {
		for _, colours := range []string{"light", "dark"} {
			for _, width := range []int64{320, 360, 1280, 1920} {
				checked := width == 360 || width == 1280
				if !checked && colours == "dark" {
					continue // the layout is that of light
				}
				at := fmt.Sprintf("%s-%s-%d", name, colours, width)
				b.do(browsertest.Scheme(colours), chromedp.EmulateViewport(width, 900))
				b.open(address)
				if moved := b.shown(shifted); moved != "" {
					t.Errorf("%s: the layout shifts by %s", at, moved)
				}
				if wide := b.shown(`String(document.documentElement.scrollWidth - document.documentElement.clientWidth)`); wide != "0" {
					t.Errorf("%s: the page is %s pixels wider than the screen", at, wide)
				}
				if !checked {
					continue
				}
				browsertest.Shoot(b.ctx, t, at)
				b.shown(`document.querySelectorAll("details").forEach(d => d.open = true); ""`)
				found, err := browsertest.Violations(b.ctx, checker)
				must(t, err)
				if found != "" {
					t.Errorf("%s:\n%s", at, found)
				}
			}
		}
	}
}

// TestSlowly has pages come in pieces, as over a bad line: what is shown already stays where it is.
func TestSlowly(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whole := httptest.NewRecorder()
		b.mux.ServeHTTP(whole, r)
		maps.Copy(w.Header(), whole.Header())
		w.WriteHeader(whole.Code)
		for piece := range slices.Chunk(whole.Body.Bytes(), 3000) {
			if _, err := w.Write(piece); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(30 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	b.base = s.URL
	for _, address := range []string{"/campaigns", "/compare?n=200", "/campaigns/letter-054", "/consent", "/advertisers", "/advertisers/Alder%2F1", "/system"} {
		for _, width := range []int64{360, 1280} {
			b.do(chromedp.EmulateViewport(width, 900))
			b.open(address)
			moved := b.shown(shifted)
			// A word that is cut in two may move by itself when the rest of it comes.
			for _, m := range strings.Split(moved, ";") {
				by, _, _ := strings.Cut(m, " ")
				if f, err := strconv.ParseFloat(by, 64); moved != "" && (err != nil || f > 0.0002) {
					t.Errorf("%s at %d: the layout shifts by %s", address, width, m)
				}
			}
		}
	}
}

// TestKeyboard goes through a page with keys alone, in a browser that runs no script: to what matters first, in the order of
// the page, and always seen.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	b.do(browsertest.Call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.open("/campaigns")
	const focus = `(() => { const e = document.activeElement; return (e.textContent || e.id).trim().slice(0, 19).trim() + "|" + getComputedStyle(e).outlineStyle; })()`
	var order []string
	press := func(key string) string {
		t.Helper()
		b.do(chromedp.KeyEvent(key))
		name, outline, _ := strings.Cut(b.shown(focus), "|")
		if outline != "solid" && key == kb.Tab {
			t.Errorf("the focus on %q is not to be seen: %s", name, outline)
		}
		order = append(order, name)
		return name
	}
	for range 9 {
		press(kb.Tab)
	}
	if got, want := strings.Join(order, ", "), "Skip to the page, mailbeacon, Campaigns, Comparison, Advertisers, Consent, System, Sign out, q"; got != want {
		t.Errorf("the order is %s, want %s", got, want)
	}
	b.open("/campaigns")
	press(kb.Tab)
	press(kb.Enter)
	if got := press(kb.Tab); got != "q" {
		t.Errorf("after the skip link comes %q", got)
	}
	for _, key := range "soil" {
		b.do(chromedp.KeyEvent(string(key)))
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`location.search === "?q=soil" && document.readyState === "complete"`)
	if got := b.shown(`[...document.querySelectorAll("tbody tr th a")].map(a => a.textContent).filter((t, i, all) => all.indexOf(t) === i).join()`); got != "Two minutes on soil" {
		t.Errorf("found %q", got)
	}
	for press(kb.Tab) != "Two minutes on soil" {
		if len(order) > 40 {
			t.Fatalf("no key leads to the campaign: %q", order)
		}
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`location.pathname === "/campaigns/letter-059" && document.readyState === "complete"`)
	for press(kb.Tab) != "The numbers of this" {
		if len(order) > 80 {
			t.Fatalf("no key leads to the table: %q", order)
		}
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("#timeline").offsetHeight > 0`)
}

// TestZoneInBrowser: the form sets the zone for every page; the script offers the browser's own.
func TestZoneInBrowser(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	b.do(browsertest.Call(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Colombo"}))
	b.open("/campaigns/letter-054?by=day")
	if got := b.shown(`document.querySelector("#zone-name option").value + " " + document.querySelector("#zone-name").value`); got != "Asia/Colombo UTC" {
		t.Errorf("offered and chosen: %s", got)
	}
	b.shown(`document.querySelector("#zone-name").value = "Asia/Colombo"; ""`)
	b.do(chromedp.Click(`#zone button`))
	b.until(`location.search.includes("zone=") && document.querySelector("svg.plot") !== null`)
	b.open("/campaigns/letter-054")
	if got := b.shown(`document.querySelector("#timeline-caption").textContent + document.cookie`); got != "Opens and clicks by hour, times in Asia/Colombo" {
		t.Errorf("the zone does not stay, or script can read the cookie: %s", got)
	}
}

// TestPrintAndMotion: on paper there is nothing to press and everything to read; who wants no motion has none.
func TestPrintAndMotion(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	b.do(browsertest.Media(&emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"}))
	b.open("/campaigns/letter-054")
	if got := b.shown(`getComputedStyle(document.querySelector("button")).transitionDuration`); got != "0s" {
		t.Errorf("something moves for %s", got)
	}
	b.do(browsertest.Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	if got := b.shown(`[...document.querySelectorAll("nav, form, .skip, summary, .files")].filter(e => e.checkVisibility()).map(e => e.outerHTML).join()`); got != "" {
		t.Errorf("printed: %s", got)
	}
	if got := b.shown(`String([...document.querySelectorAll("table")].every(t => t.checkVisibility({ contentVisibilityAuto: true }) && t.offsetHeight > 0))`); got != "true" {
		t.Error("a table is not printed")
	}
}

// TestRecovers: a page that could not be made, and one that shows what was read before, look again by themselves.
func TestRecovers(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	b := newTab(t, func(o *Options) { o.Counts = &outage{o.Counts, &down} })
	for _, address := range []string{"/campaigns/letter-054", "/campaigns"} {
		down.Store(false)
		b.open("/campaigns")
		down.Store(true)
		b.open(address)
		if got := b.shown(`document.querySelector("[role=alert]").textContent`); !strings.Contains(got, "20 May 2026, 10:30:00 UTC") {
			t.Errorf("%s: %s", address, got)
		}
		down.Store(false)
		b.do(chromedp.WaitVisible(`body:not([data-stale])`))
	}
}

// outage is a store that can be down while it is asked.
type outage struct {
	aggregate.Reader
	down *atomic.Bool
}

func (o *outage) Counts(ctx context.Context, c uint32) ([]aggregate.Count, error) {
	if o.down.Load() {
		return nil, errors.New("down")
	}
	return o.Reader.Counts(ctx, c)
}

func (o *outage) Summaries(ctx context.Context, cs []uint32, hours uint32) ([]aggregate.Summary, error) {
	if o.down.Load() {
		return nil, errors.New("down")
	}
	return o.Reader.Summaries(ctx, cs, hours)
}
