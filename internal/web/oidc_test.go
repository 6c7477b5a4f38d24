package web

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"mailbeacon/internal/api"
	"mailbeacon/internal/oidc"
	"mailbeacon/internal/oidc/oidctest"
)

const redirectURL = "http://beacon.example/sign-in/oidc"

// withProvider adds a provider to a house.
func withProvider(t *testing.T, issuer string, grants ...oidc.Grant) func(*Options) {
	t.Helper()
	p, err := oidc.New(oidc.Options{
		Issuer: issuer, ClientID: oidctest.ClientID, ClientSecret: oidctest.Secret, Redirect: redirectURL, RoleClaim: oidctest.RoleClaim,
		NameClaim: "preferred_username", Pseudonyms: []byte("secret"), Grants: grants,
	})
	must(t, err)
	t.Cleanup(p.Close)
	return func(o *Options) { o.OIDC, o.OIDCName = p, "localhost" }
}

var refresh = regexp.MustCompile(`content="0; url=([^"]+)"`)

// TestProvider signs people in by a real provider.
func TestProvider(t *testing.T) {
	t.Parallel()
	real := oidctest.Start(t, []string{redirectURL}, oidctest.User{Name: "ann", Group: "news"}, oidctest.User{Name: "eve", Group: "others"}, oidctest.User{Name: "buyer", Group: "acme"})
	grants := []oidc.Grant{{Value: "news", Role: "marketer"}, {Value: "acme", Role: "no-role"}}
	h := newHouse(t, withProvider(t, real.Issuer, grants...))
	// begin starts a sign-in and returns where the provider sends the browser back to.
	begin := func(b *browser, from, name string) string {
		t.Helper()
		link := regexp.MustCompile(`href="(/sign-in/oidc/start[^"]*)"`).FindStringSubmatch(b.get(from).Body.String())
		if link == nil {
			t.Fatal("the sign-in page has no way to the provider")
		}
		w := b.get(html.UnescapeString(link[1]))
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), real.Issuer) {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		back := real.Visit(t, w.Header().Get("Location"), name)
		if back.Scheme+"://"+back.Host+back.Path != redirectURL {
			t.Fatalf("sent back to %s", back)
		}
		return back.RequestURI()
	}
	b := h.browser()
	back := begin(b, "/sign-in?next=%2Freports%3Fa%3Db", "ann")
	// Strict cookies do not come along from another site.
	bare := h.browser()
	w := bare.get(back, "Sec-Fetch-Site", "cross-site")
	on := refresh.FindStringSubmatch(w.Body.String())
	if w.Code != 200 || on == nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	back = html.UnescapeString(on[1])
	if w := bare.get(back); w.Code != http.StatusForbidden || bare.isIn() {
		t.Errorf("in another browser than it began in: %d", w.Code)
	}
	if w := b.get(back); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/reports?a=b" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := b.get("/reports"); !strings.HasPrefix(w.Body.String(), "hello oidc:ann marketer ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.get("/people"); w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
	if w := h.browser().get(back); w.Code != http.StatusForbidden {
		t.Errorf("the address again: %d", w.Code)
	}
	// Somebody else's answer in this browser's attempt.
	victim := h.browser()
	begin(victim, "/sign-in", "ann")
	if w := victim.get(begin(h.browser(), "/sign-in", "ann")); w.Code != http.StatusForbidden || victim.isIn() {
		t.Errorf("signed in as somebody else: %d", w.Code)
	}
	for _, nobody := range []string{"eve", "buyer"} {
		n := h.browser()
		if w := n.get(begin(n, "/sign-in", nobody)); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "no role") || n.isIn() {
			t.Errorf("%s: %d %s", nobody, w.Code, w.Body)
		}
	}
	if w := b.get("/sign-in/oidc?" + url.Values{"state": {`"><script>`}, again: {"1"}}.Encode()); strings.Contains(w.Body.String(), "<script") {
		t.Errorf("%s", w.Body)
	}
	if w := b.get("/sign-in/oidc?" + url.Values{"state": {`"><script>`}}.Encode()); w.Code != 200 || strings.Contains(w.Body.String(), "<script") {
		t.Errorf("%s", w.Body)
	}
	for _, want := range []string{"sign-in oidc:ann oidc", "sign-in-refused oidc:eve oidc no role", "sign-in-refused  oidc an answer that was not asked for"} {
		if got := h.audited(); !strings.Contains(got, want) {
			t.Errorf("audited:\n%s\nwithout %s", got, want)
		}
	}
	if strings.Contains(h.audited()+h.log.String(), "somebody@example.com") {
		t.Error("an address was noted")
	}
	// A session is over once what gave it its role is another.
	if h.open(withProvider(t, real.Issuer, grants...)); !b.isIn() {
		t.Error("a restart ends the session")
	}
	if h.open(withProvider(t, real.Issuer, grants[1:]...)); b.isIn() {
		t.Error("the role is taken away, and the session goes on")
	}
	// The provider down: a key goes on working, and the page says so.
	real.Stop()
	h.open(withProvider(t, real.Issuer, grants...))
	n := h.browser()
	if w := n.get("/sign-in/oidc/start"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "does not answer") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := n.signIn(h.key("bob", api.RoleMarketer)); w.Code != http.StatusSeeOther || !n.isIn() {
		t.Errorf("by key: %d", w.Code)
	}
}

func TestWithoutProvider(t *testing.T) {
	t.Parallel()
	b := newHouse(t).browser()
	if w := b.get("/sign-in"); strings.Contains(w.Body.String(), "oidc") {
		t.Errorf("%s", w.Body)
	}
	for _, path := range []string{"/sign-in/oidc/start", "/sign-in/oidc"} {
		if w := b.get(path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
