package proctest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mailbeacon/internal/engines/browsertest"
	"mailbeacon/internal/oidc/oidctest"
)

var firstLink = regexp.MustCompile(`browser +(http://\S+/sign-in/link/\S+)`)

// link is the one-time link that the server prints at its start, a moment after it is ready.
func (s *server) link() string {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if m := firstLink.FindStringSubmatch(s.out.String()); m != nil {
			return m[1]
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the server prints no link:\n%s", &s.out)
		}
	}
}

// dashboard is the private side's address.
func (s *server) dashboard() string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data, "admin.addr"))
	must(s.t, err)
	return strings.TrimSpace(string(b))
}

// add makes a key and has the server take it.
func (s *server) key(name, role string) string {
	s.t.Helper()
	out, stderr, code := mailbeacon(s.t.Context(), s.t, "", "key", "add", name, "--role", role, "--data", s.data)
	if code != 0 {
		s.t.Fatal(stderr)
	}
	return strings.TrimSpace(out)
}

// TestDoorIsAccessible shows every page of the door on a phone and a wide screen, light and dark, and has axe-core check it.
func TestDoorIsAccessible(t *testing.T) {
	checker, b := browsertest.Axe(t), tester{t, chromium(t)}
	s := start(t, t.TempDir(), append([]string{"--oidc-issuer", "http://localhost:1/", "--oidc-client-id", "web", "--oidc-roles", "news=marketer"}, quick...)...)
	key := s.key("ann", "marketer")
	for _, colours := range []string{"light", "dark"} {
		for _, l := range []look{{"en", colours, 320, 640}, {"en", colours, 1200, 900}} {
			check := func(state string) {
				t.Helper()
				b.accessible(checker, l, "door", state)
				if got := b.shown(`getComputedStyle(document.querySelector("h1")).fontWeight`); got == "" {
					t.Errorf("%v, %s: no heading", l, state)
				}
			}
			url := s.dashboard()
			b.do(browsertest.Scheme(l.colours), chromedp.EmulateViewport(l.width, l.height), chromedp.Navigate(url+"/reports"))
			check("not-found")
			b.do(chromedp.Navigate(url + "/"))
			check("sign-in")
			b.do(chromedp.Click("summary"), chromedp.SendKeys("#key", "mbk_wrong"), chromedp.Click("main form button"), chromedp.WaitVisible("[role=alert]"))
			check("wrong")
			b.do(chromedp.Navigate(url + "/sign-in/oidc/start"))
			check("provider-down")
			b.do(chromedp.SendKeys("#key", key), chromedp.Click("main form button"), chromedp.WaitVisible(".leave"))
			check("start")
			b.do(chromedp.Navigate(url + "/nothing"))
			check("problem")
			b.do(chromedp.Navigate(url+"/"), chromedp.Click(".leave button"), chromedp.WaitVisible(`a[href="/sign-in"]`))
			check("signed-out")
			link, stderr, code := mailbeacon(t.Context(), t, "", "sign-in", "--server", url, "--data", s.data)
			if code != 0 {
				t.Fatal(stderr)
			}
			b.do(chromedp.Navigate(strings.TrimSpace(link)))
			check("link")
			b.do(chromedp.Click("main form button"), chromedp.WaitVisible(".leave"), chromedp.Navigate(strings.TrimSpace(link)))
			check("link-spent")
			b.do(chromedp.Navigate(url+"/"), chromedp.Click(".leave button"), chromedp.WaitVisible(`a[href="/sign-in"]`))
		}
	}
	s.stop()
}

// TestDoorByKeyboardWithoutScript comes in by the link that the start printed, goes, and comes in by key, with keys alone and no script.
func TestDoorByKeyboardWithoutScript(t *testing.T) {
	b := tester{t, chromium(t)}
	s := start(t, t.TempDir(), quick...)
	key := s.key("ann", "privacy")
	press := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			b.do(chromedp.KeyEvent(k))
		}
	}
	focused := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(patience); b.shown(`document.activeElement.tagName`) != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the focus is on no %s but on %s", want, b.shown(`document.activeElement.outerHTML.slice(0, 200)`))
			}
		}
	}
	b.do(browsertest.Call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}), chromedp.Navigate(s.link()))
	focused("BUTTON") // by itself
	press(kb.Enter)
	b.do(chromedp.WaitVisible(".leave"))
	if who := b.shown(`document.querySelector(".who strong").textContent`); who != "(admin.key)" {
		t.Errorf("signed in as %s", who)
	}
	for n := 0; b.shown(`String(document.activeElement.matches(".leave button"))`) != "true"; n++ {
		if press(kb.Tab); n > 20 {
			t.Fatal("no key leads to the way out")
		}
	}
	press(kb.Enter)
	b.do(chromedp.WaitVisible(`a[href="/sign-in"]`), chromedp.Navigate(s.dashboardOf(s.link())+"/nothing"), chromedp.WaitVisible(`a[href="/sign-in"]`))
	press(kb.Tab, kb.Tab, kb.Enter)
	b.do(chromedp.WaitVisible("#key"))
	focused("INPUT")
	press(key, kb.Enter)
	b.do(chromedp.WaitVisible(".leave"))
	if who := b.shown(`document.querySelector(".who strong").textContent`); who != "ann" {
		t.Errorf("signed in as %s", who)
	}
	s.stop()
	if strings.Contains(s.out.String(), key) || strings.Count(s.out.String(), "/sign-in/link/") != 1+strings.Count(s.out.String(), "/sign-in/link/{token}") {
		t.Errorf("a secret is in the log:\n%s", &s.out)
	}
}

// dashboardOf is the address that a link begins with.
func (s *server) dashboardOf(link string) string {
	base, _, _ := strings.Cut(link, "/sign-in/")
	return base
}

// TestDoorByProvider comes in by a real provider at another site than the dashboard's: what the browser keeps to itself on the way
// back from there is there all the same.
func TestDoorByProvider(t *testing.T) {
	b := tester{t, chromium(t)}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	address := ln.Addr().String()
	ln.Close()
	provider := oidctest.Start(t, []string{"http://" + address + "/sign-in/oidc"}, oidctest.User{Name: "ann", Group: "news"})
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte(oidctest.Secret+"\n"), 0o600))
	s := newServer(t, binary(t), t.TempDir(), append([]string{
		"--dashboard-url", "http://" + address, "--oidc-issuer", provider.Issuer, "--oidc-client-id", oidctest.ClientID,
		"--oidc-client-secret-file", secret, "--oidc-role-claim", oidctest.RoleClaim, "--oidc-roles", "news=marketer",
	}, quick...)...)
	s.cmd.Args[len(s.cmd.Args)-1] = address
	s.launch()
	s.ready()
	b.do(chromedp.Navigate("http://"+address+"/"), chromedp.Click("a.button"), chromedp.WaitVisible("#username"),
		chromedp.SendKeys("#username", "ann"), chromedp.SendKeys("#password", oidctest.Password), chromedp.Click("button"), chromedp.WaitVisible(".leave"))
	if who := b.shown(`document.querySelector(".who strong").textContent + location`); who != "oidc:annhttp://"+address+"/campaigns" {
		t.Errorf("signed in: %s", who)
	}
	s.stop()
	out, stderr, code := mailbeacon(t.Context(), t, "", "audit", "--json", "--data", s.data)
	var last struct{ Event, Who, Role, Via string }
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); code != 0 || err != nil || last.Who != "oidc:ann" || last.Via != "oidc" || last.Role != "marketer" || last.Event != "sign-in" {
		t.Errorf("audit: %d %v %+v %s", code, err, last, stderr)
	}
	if out, _, code := mailbeacon(t.Context(), t, "", "audit", "--data", s.data); code != 0 || !strings.Contains(out, "link-made") {
		t.Errorf("audit: %d %s", code, out)
	}
	if out, _, code := mailbeacon(t.Context(), t, "", "doctor", "--data", s.data); code != 0 || !strings.Contains(out, "dashboard") {
		t.Errorf("doctor: %d %s", code, out)
	}
}

// TestPrivateSide: the API has its addresses, and the dashboard all others; a key of another role than admin makes no link.
func TestPrivateSide(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), quick...)
	for path, want := range map[string]string{
		"/healthz": "200 application/json", "/v1": "401 application/problem+json", "/v1/nothing": "401 application/problem+json", "/openapi.json": "200 application/openapi+json",
		"/": "303 ", "/sign-in": "200 text/html; charset=utf-8", "/v2": "404 text/html; charset=utf-8", "/readyz/": "404 text/html; charset=utf-8",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.dashboard()+path, nil)
		must(t, err)
		resp, err := http.DefaultTransport.RoundTrip(r)
		must(t, err)
		resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	key := s.key("ann", "marketer")
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) { // the API looks for new keys every second
		_, stderr, code := mailbeacon(t.Context(), t, "", "sign-in", "--server", s.dashboard(), "--key", key)
		if code == 1 && strings.Contains(stderr, "role is marketer") {
			break
		}
		if code == 0 || time.Now().After(deadline) {
			t.Fatalf("%d %s", code, stderr)
		}
	}
	s.stop()
}

// TestProviderSettings: what is missing or wrong stops the start with the setting's name.
func TestProviderSettings(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("x"), 0o600))
	must(t, os.Chmod(secret, 0o644))
	for _, c := range []struct {
		args string
		want string
	}{
		{"--oidc-client-id=x", "setting --oidc-issuer is not set"},
		{"--oidc-issuer=https://id.example", "setting --oidc-client-id is not set"},
		{"--oidc-issuer=https://id.example --oidc-client-id=x", "setting --oidc-roles"},
		{"--oidc-issuer=https://id.example --oidc-client-id=x --oidc-roles=a=god", "right would be one of admin"},
		{"--oidc-issuer=https://id.example --oidc-client-id=x --oidc-roles=a=admin --oidc-client-secret-file=" + secret, "setting oidc-client-secret-file"},
	} {
		s := launch(t, binary(t), t.TempDir(), strings.Fields(c.args)...)
		if code := s.wait(); code == 0 || !strings.Contains(s.out.String(), c.want) {
			t.Errorf("%s: %d %s", c.args, code, &s.out)
		}
	}
}
