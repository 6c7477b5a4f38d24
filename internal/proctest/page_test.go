package proctest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mailbeacon/internal/engines/browsertest"
)

// reads sets what the browser says of its reader.
func reads(language string, more ...string) chromedp.Action[chromedp.Void] {
	headers := network.Headers{"Accept-Language": language}
	for i := 0; i < len(more); i += 2 {
		headers[more[i]] = more[i+1]
	}
	return browsertest.Call(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers})
}

// tester drives the browser and ends the test where that fails.
type tester struct {
	*testing.T
	ctx context.Context
}

func (b tester) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// accessible keeps a picture of the page at hand, and has axe-core check it; it must be no wider than the screen.
func (b tester) accessible(checker string, l look, page, state string) {
	b.Helper()
	browsertest.Shoot(b.ctx, b.T, fmt.Sprintf("%s-%v-%s", page, l, state))
	found, err := browsertest.Violations(b.ctx, checker)
	must(b.T, err)
	if found != "" {
		b.Errorf("%v, %s:\n%s", l, state, found)
	}
	if wide := b.shown(`String(document.documentElement.scrollWidth - document.documentElement.clientWidth)`); wide != "0" {
		b.Errorf("%v, %s: the page is %s pixels wider than the screen", l, state, wide)
	}
}

// shown evaluates an expression. The browser's tools may do so whatever the page's policy says.
func (b tester) shown(expression string) string {
	b.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// look is one way of looking at the page.
type look struct {
	language, colours string
	width, height     int64
}

func (l look) String() string { return fmt.Sprintf("%s-%s-%d", l.language, l.colours, l.width) }

// TestPageIsAccessible shows the page in both languages, on a phone and a wide screen, light and dark,
// in each of its states, and has axe-core check it.
func TestPageIsAccessible(t *testing.T) {
	checker, b := browsertest.Axe(t), tester{t, chromium(t)}
	s := start(t, t.TempDir(), quick...)
	c := s.client()
	newLane(t.Context(), t, c, "spring")
	var looks []look
	for _, language := range []string{"en", "de"} {
		for _, colours := range []string{"light", "dark"} {
			looks = append(looks, look{language, colours, 390, 844}, look{language, colours, 1200, 900})
		}
	}
	// No state is what somebody else's test left behind: each look has a person of its own.
	for i, l := range looks {
		page := "http://" + s.public + pathOf(t, mint(t.Context(), t, c, "spring", fmt.Sprintf("reader%d@example.org", i)).UnsubscribeURL)
		check := func(state string) {
			t.Helper()
			b.accessible(checker, l, "page", state)
			if got := b.shown(`document.documentElement.lang`); got != l.language {
				t.Errorf("%v, %s: the page is in %s", l, state, got)
			}
		}
		b.do(reads(l.language, "Sec-GPC", "1"), browsertest.Scheme(l.colours), chromedp.EmulateViewport(l.width, l.height), chromedp.Navigate(page))
		check("first")
		b.do(chromedp.Click(`input[name="opens"][value="refused"]`), chromedp.Click(`input[name="format"][value="plain"]`),
			chromedp.Click(`button:not([name])`), chromedp.WaitVisible(`[role="status"]`))
		check("saved")
		b.do(chromedp.Click(`main > details > summary`), chromedp.WaitVisible(`textarea#receipt`))
		check("receipt")
		b.do(chromedp.Click(`button[value="unsubscribed"]`), chromedp.WaitVisible(`button[value="subscribed"]`))
		check("unsubscribed")
		b.shown(`document.querySelector('input[name="opens"]').value = "x"; ""`)
		b.do(chromedp.Click(`input[value="x"]`), chromedp.Click(`button:not([name])`), chromedp.WaitVisible(`[role="alert"]`))
		check("wrong")
		b.do(chromedp.Navigate("http://" + s.public + "/u/forged"))
		check("not-found")
	}
	s.stop()
}

// TestOwnPages starts with an operator's folder: its words, template and logo are on the page for addresses that lead
// nowhere too, in the reader's language, whatever it is that leads nowhere.
func TestOwnPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"not-found.html": `<!doctype html><html lang="{{.T.Lang}}"><title>x</title><img src="{{.Logo}}" alt="{{.T.Logo}}"><h1>{{.T.NotFoundTitle}}</h1><p>Call us</p></html>`,
		"de.yaml":        "not_found_title: Hier ist nichts\n", "logo.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>`,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	s := start(t, t.TempDir(), append([]string{"--preference-page", dir}, quick...)...)
	for language, want := range map[string]string{"de-AT, en;q=0.5": "<h1>Hier ist nichts</h1>", "en": "<h1>This link leads nowhere</h1>"} {
		for _, path := range []string{"/c/forged", "/u/forged", "/nowhere", "/"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.public+path, nil)
			must(t, err)
			r.Header.Set("Accept-Language", language)
			resp, err := http.DefaultClient.Do(r)
			must(t, err)
			b, err := io.ReadAll(resp.Body)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound || !strings.Contains(string(b), want) || !strings.Contains(string(b), "<p>Call us</p>") || !strings.Contains(string(b), `src="data:image/svg`) {
				t.Errorf("%s in %q: %d %s", path, language, resp.StatusCode, b)
			}
		}
	}
	s.stop()
}

// TestPageByKeyboardWithoutScript goes through the whole form with keys alone, in a browser that runs no
// script.
func TestPageByKeyboardWithoutScript(t *testing.T) {
	b := tester{t, chromium(t)}
	s := start(t, t.TempDir(), quick...)
	c := s.client()
	newLane(t.Context(), t, c, "spring")
	page := "http://" + s.public + pathOf(t, mint(t.Context(), t, c, "spring", reader).UnsubscribeURL)
	keys := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			b.do(chromedp.KeyEvent(k))
		}
	}
	recorded := func(want string) {
		t.Helper()
		who, err := c.Consent(t.Context(), reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %s %v", who.Opens, who.Clicks, who.Format, who.Unsubscribed); got != want {
			t.Errorf("recorded %s, want %s", got, want)
		}
	}
	b.do(browsertest.Call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}), reads("en"), chromedp.Navigate(page))
	keys(kb.Tab, " ", kb.ArrowDown) // opens: granted, then refused
	keys(kb.Tab, " ")               // clicks: granted
	keys(kb.Tab, " ", kb.ArrowDown) // html, then plain
	keys(kb.Tab, kb.Enter)
	b.do(chromedp.WaitVisible(`[role="status"]`))
	recorded("refused granted plain false")
	// What became of it has the focus, and is read out first; the receipt is next, to be opened and copied.
	keys(kb.Tab, kb.Enter, kb.Tab)
	b.do(chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	copied := b.shown(`String(getSelection())`)
	newVerifier(t, filepath.Join(s.data, "keyring.json")).verify("copied", copied, "\n  opens: refused\n  clicks: granted\n  format: plain\n")
	keys(kb.Tab, kb.Tab, kb.Tab, kb.Tab, kb.Tab, kb.Enter)
	b.do(chromedp.WaitVisible(`button[value="subscribed"]`))
	recorded("refused granted plain true")
	keys(kb.Tab, kb.Tab, kb.Tab, kb.Tab, kb.Tab, kb.Tab, kb.Enter)
	b.do(chromedp.WaitVisible(`button[value="unsubscribed"]`))
	recorded("refused granted plain false")
	s.stop()
}

// TestScannerChangesNothing fetches every address of every mail in every way that a scanner may: nobody
// is unsubscribed, and no choice changes.
func TestScannerChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), quick...)
	c := s.client()
	newLane(t.Context(), t, c, "spring")
	const people = 20
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	for i := range people {
		m := mint(t.Context(), t, c, "spring", fmt.Sprintf("reader%d@example.org", i))
		addresses := []string{m.UnsubscribeURL, m.PixelURL}
		for _, u := range m.Links {
			addresses = append(addresses, u)
		}
		for _, address := range addresses {
			path := "http://" + s.public + pathOf(t, address)
			for _, u := range []string{path, path + "/", path + "?List-Unsubscribe=One-Click", path + "?mail=unsubscribed&opens=refused", path + "?_method=POST"} {
				for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} {
					body := url.Values{"List-Unsubscribe": {"One-Click"}}.Encode()
					r, err := http.NewRequestWithContext(t.Context(), method, u, strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					r.Header.Set("X-HTTP-Method-Override", "POST")
					answer, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					answer.Body.Close()
					if refused := method != "GET" && method != "HEAD"; refused != (answer.StatusCode == http.StatusMethodNotAllowed) {
						t.Errorf("%s answers %d", method, answer.StatusCode)
					}
					if len(answer.Cookies()) > 0 {
						t.Errorf("%s sets a cookie", method)
					}
				}
			}
		}
	}
	changes := 0
	for i := range people {
		who, err := c.Consent(t.Context(), fmt.Sprintf("reader%d@example.org", i))
		if err != nil {
			t.Fatal(err)
		}
		changes += len(who.History)
	}
	if changes > 0 {
		t.Errorf("%d changes were recorded", changes)
	}
	s.stop()
}

// TestGPC opens and follows with Sec-GPC: 1: the image and the link are as ever, and the report has both
// under that reason, with nobody.
func TestGPC(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), quick...)
	c := s.client()
	l := newLane(t.Context(), t, c, "spring")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	for _, gpc := range []string{"1", "", "0"} {
		for kind, path := range map[int]string{open: l.path[open], click: l.path[click]} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.public+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("User-Agent", browser)
			if gpc != "" {
				r.Header.Set("Sec-GPC", gpc)
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != wantStatus[kind] {
				t.Errorf("status %d", answer.StatusCode)
			}
		}
	}
	s.drain()
	r, err := c.Report(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	if r.Opens.Total != 2 || r.Opens.Suppressed["gpc"] != 1 || r.Clicks.Total != 2 || r.Clicks.Suppressed["gpc"] != 1 {
		t.Errorf("opens %d, %v, clicks %d, %v; want 2 and 1 under gpc", r.Opens.Total, r.Opens.Suppressed, r.Clicks.Total, r.Clicks.Suppressed)
	}
	s.stop()
}
