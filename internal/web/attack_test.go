package web

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
)

// TestForgedSessions: whatever is not this install's own signature over a session leads to the sign-in page.
func TestForgedSessions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.in(h.key("ann", api.RoleMarketer))
	name, good := b.session()
	text, mac, _ := strings.Cut(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(text)
	must(t, err)
	promoted := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "marketer", "admin", 1)))
	var s session
	must(t, json.Unmarshal(payload, &s))
	other := newHouse(t)
	sealed := func(by seal, change func(*session)) string {
		one := s
		change(&one)
		return by.sign(&one)
	}
	same := func(*session) {}
	for what, value := range map[string]string{
		"empty": "", "a dot": ".", "no signature": text, "an empty signature": text + ".", "another's text": promoted + "." + mac,
		"truncated": good[:len(good)-1], "text truncated": text[:len(text)-4] + "." + mac, "longer": good + "A", "a second signature": good + "." + mac,
		"huge": strings.Repeat("A", 1<<14) + "." + mac, "of another install": sealed(other.site.sessions, same),
		"signed as a form": sealed(h.site.forms, same), "signed as an attempt": sealed(h.site.attempts, same),
		"without an id": sealed(h.site.sessions, func(s *session) { s.ID = "" }), "with no mark": sealed(h.site.sessions, func(s *session) { s.Mark = "" }),
		"of the provider, without one": sealed(h.site.sessions, func(s *session) { s.Via, s.Role = viaOIDC, api.RoleAdmin }),
		"a form of its own":            h.site.forms.sign(form{"x", 1}),
	} {
		b.cookies[name] = value
		if w := b.get("/reports?a=b"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/sign-in?next=%2Freports%3Fa%3Db" {
			t.Errorf("%s: %d %v", what, w.Code, w.Header())
		}
		if w := b.post("/change", "csrf", h.site.csrf(s.ID)); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/sign-in" {
			t.Errorf("%s: %d %v", what, w.Code, w.Header())
		}
	}
	// A role that the cookie claims counts for nothing: the key says it.
	b.cookies[name] = sealed(h.site.sessions, func(s *session) { s.Role = api.RoleAdmin })
	if w := b.get("/people"); w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
	b.cookies[name] = good
	if !b.isIn() {
		t.Error("the good one is refused")
	}
}

func FuzzSession(f *testing.F) {
	s := newSeal(make([]byte, keyBytes), "session")
	f.Add(s.sign(session{ID: "x", Name: "ann"}))
	f.Add("e30.")
	f.Fuzz(func(t *testing.T, sealed string) {
		one := session{}
		if s.open(sealed, &one) && !strings.HasSuffix(sealed, "."+s.word(strings.SplitN(sealed, ".", 2)[0])) {
			t.Errorf("%q was taken", sealed)
		}
	})
}

func TestCSRF(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.key("ann", api.RoleMarketer)
	b, other := h.in(key), h.in(key)
	mine, others := token(b.get("/reports")), token(other.get("/reports"))
	if mine == "" || mine == others {
		t.Fatal("sessions share a token")
	}
	before := token(h.browser().get("/sign-in"))
	for what, c := range map[string]struct {
		token  string
		header []string
		want   int
	}{
		"right":                                {mine, nil, 200},
		"none":                                 {"", nil, 403},
		"of another session":                   {others, nil, 403},
		"of a form before":                     {before, nil, 403},
		"cross-site":                           {mine, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"of a sister site":                     {mine, []string{"Sec-Fetch-Site", "same-site"}, 403},
		"another origin":                       {mine, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, 403},
		"no origin that may be told":           {mine, []string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		"an old browser":                       {mine, []string{"Sec-Fetch-Site", "", "Origin", ""}, 200},
		"an old browser without a token":       {"", []string{"Sec-Fetch-Site", "", "Origin", ""}, 403},
		"a browser over http":                  {mine, []string{"Sec-Fetch-Site", ""}, 200},
		"in another form of body":              {mine, []string{"Content-Type", "text/plain"}, 403},
		"a body that can't be read as a form":  {mine, []string{"Content-Type", "application/x-www-form-urlencoded; %"}, 400},
		"a token in the address and not in it": {"", []string{"X-Address", "1"}, 403},
	} {
		path := "/change"
		if strings.HasPrefix(what, "a token in the address") {
			path += "?csrf=" + mine
		}
		w := b.send(http.MethodPost, path, url.Values{"csrf": {c.token}, "what": {"x"}}.Encode(), c.header...)
		if w.Code != c.want || (w.Body.String() == "changed x") != (c.want == 200) {
			t.Errorf("%s: %d %.200s", what, w.Code, w.Body)
		}
	}
	if w := b.send(http.MethodPost, SignOutPath, "csrf="+others); w.Code != 403 || !b.isIn() {
		t.Errorf("signed out by another session's token: %d", w.Code)
	}
	if w := b.get("/change"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %s", w.Code, w.Header().Get("Allow"))
	}
	if w := b.send(http.MethodPost, "/change", "csrf="+mine+"&x="+strings.Repeat("x", mostForm)); w.Code != http.StatusBadRequest {
		t.Errorf("a huge form: %d", w.Code)
	}
}

// TestSignInNeedsItsForm: a right key sent from elsewhere signs nobody in as somebody else.
func TestSignInNeedsItsForm(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for what, send := range map[string]func(b *browser) *httptest.ResponseRecorder{
		"without a form": func(b *browser) *httptest.ResponseRecorder { return b.post("/sign-in", "key", h.admin) },
		"with a form of another's": func(b *browser) *httptest.ResponseRecorder {
			b.get("/sign-in")
			return b.post("/sign-in", "key", h.admin, "csrf", token(h.browser().get("/sign-in")))
		},
		"from another site, with it": func(b *browser) *httptest.ResponseRecorder {
			return b.send("POST", "/sign-in", "key="+h.admin+"&csrf="+token(b.get("/sign-in")), "Sec-Fetch-Site", "cross-site")
		},
		"with one that is too old": func(b *browser) *httptest.ResponseRecorder {
			f := token(b.get("/sign-in"))
			h.clock.pass(formLife)
			return b.post("/sign-in", "key", h.admin, "csrf", f)
		},
	} {
		b := h.browser()
		if w := send(b); w.Code != http.StatusForbidden || b.isIn() {
			t.Errorf("%s: %d", what, w.Code)
		}
	}
}

// TestFixation: what a browser had before the sign-in, planted or not, is worth nothing after it.
func TestFixation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	attacker := h.in(h.key("mallory", api.RoleSender))
	name, planted := attacker.session()
	b := h.browser()
	b.cookies[name] = planted
	w := b.post("/sign-in", "csrf", token(h.formOf(b)), "key", h.admin)
	_, mine := b.session()
	if w.Code != http.StatusSeeOther || mine == planted || !strings.Contains(b.get("/").Body.String(), "(admin.key)") {
		t.Fatalf("%d", w.Code)
	}
	if attacker.isIn() {
		t.Error("the planted session goes on")
	}
	// The form's cookie, which may have been planted too, is gone, and its token opens no session's form.
	if w := b.post("/change", "csrf", token(w)); w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
	for name := range b.cookies {
		if strings.Contains(name, "-form-") {
			t.Errorf("%s is left", name)
		}
	}
}

func TestLockout(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	inside := h.in(h.admin)
	b := h.browser()
	f := token(b.get("/sign-in"))
	try := func(key string) (status int, wait string) {
		t.Helper()
		w := b.post("/sign-in", "csrf", f, "key", key)
		return w.Code, w.Header().Get("Retry-After")
	}
	// A client waits longer each time, and a right key helps nothing meanwhile.
	for range freeTries {
		if status, _ := try("mbk_wrong"); status != http.StatusForbidden {
			t.Fatalf("%d", status)
		}
	}
	for _, seconds := range []int{1, 2, 4, 8} {
		if status, wait := try(h.admin); status != http.StatusTooManyRequests || wait != fmt.Sprint(seconds+1) {
			t.Errorf("%d, wait %s, want %d", status, wait, seconds+1)
		}
		h.clock.pass(time.Duration(seconds) * time.Second)
		if status, _ := try("mbk_wrong"); status != http.StatusForbidden {
			t.Errorf("after waiting: %d", status)
		}
	}
	h.clock.pass(16 * time.Second)
	if status, _ := try(h.admin); status != http.StatusSeeOther {
		t.Errorf("a right key after waiting: %d", status)
	}
	// Clients that drop their cookies empty the bucket.
	h.clock.pass(time.Hour)
	refused := 0
	for range 100 {
		if w := h.browser().signIn("mbk_wrong"); w.Code == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 100-bucketSize {
		t.Errorf("%d of 100 were not looked at", refused)
	}
	if w := h.browser().signIn(h.admin); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "one-time link") {
		t.Errorf("a right key meanwhile: %d", w.Code)
	}
	// The owner has the link, and who is in stays in.
	path, _, err := h.site.Link(api.AdminHolder)
	must(t, err)
	owner := h.browser()
	if w := owner.post(path, "csrf", token(owner.get(path))); w.Code != http.StatusSeeOther || !owner.isIn() || !inside.isIn() {
		t.Errorf("the owner is locked out: %d", w.Code)
	}
	h.clock.pass(bucketEvery)
	if w := h.browser().signIn(h.admin); w.Code != http.StatusSeeOther {
		t.Errorf("later: %d", w.Code)
	}
	// Refusals fill no disk.
	entries, alike := 0, uint64(0)
	h.clock.pass(2 * time.Minute)
	h.browser().signIn("mbk_wrong")
	_, err = audit.Read(h.dir, func(e audit.Entry) error {
		if e.Event == audit.Refused {
			entries++
			alike += e.Alike
		}
		return nil
	})
	must(t, err)
	if entries > 2*mostRefusals || entries+int(alike) < 100 {
		t.Errorf("%d refusals have a line, and stand for %d more", entries, alike)
	}
	if got := h.audited() + h.log.String(); strings.Contains(got, "192.0.2.1") || strings.Contains(got, "mbk_") {
		t.Error("an address or a key was noted") // httptest's client has that address
	}
}

// TestGuardForgets: clients without number take no memory without bound.
func TestGuardForgets(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Unix(1e9, 0)}
	g := newGuard(c.now)
	for i := range 3 * mostClients {
		c.pass(bucketEvery)
		if wait := g.admit(fmt.Sprint(i)); wait != 0 {
			t.Fatalf("client %d waits %v", i, wait)
		}
	}
	if len(g.clients) > mostClients {
		t.Errorf("%d clients are kept in mind", len(g.clients))
	}
	c.pass(-time.Hour)
	if wait := g.admit("back in time"); wait > time.Minute {
		t.Errorf("a clock that was set back: %v", wait)
	}
}

// TestRefusalsAreAlike: of a wrong key neither the answer nor its time tells what was wrong.
func TestRefusalsAreAlike(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	revoked := h.key("gone", api.RoleAdmin)
	must(t, api.RevokeKey(h.dir, "gone"))
	for what, key := range map[string]string{
		"none": "", "no key at all": "anna@example.com", "nearly": h.admin[:len(h.admin)-1] + "!", "revoked": revoked, "the name": "(admin.key)",
		"long": strings.Repeat("x", 10_000), "bytes": "\x00\xff",
	} {
		synctest.Test(t, func(t *testing.T) {
			h.T = t
			h.clock.pass(time.Hour) // nobody waits
			b := h.browser()
			f := token(b.get("/sign-in"))
			began := time.Now()
			w := b.post("/sign-in", "csrf", f, "key", key)
			if took := time.Since(began); took != refusal {
				t.Errorf("%s: answered after %v", what, took)
			}
			if body := strings.ReplaceAll(w.Body.String(), f, ""); w.Code != http.StatusForbidden || body != refusedPage(h) {
				t.Errorf("%s: %d %s", what, w.Code, body)
			}
		})
	}
	h.T = t
	if got := h.audited(); strings.Contains(got, "anna") || strings.Count(got, "sign-in-refused  key wrong key") != 7 {
		t.Errorf("audited:\n%s", got)
	}
}

// refusedPage is the page of a wrong key, less its token.
func refusedPage(h *house) string {
	w := httptest.NewRecorder()
	h.site.views.show(w, http.StatusForbidden, "sign-in", "Sign in", signInBody{Wrong: "This key opens nothing here."})
	return w.Body.String()
}

// TestNext: nobody is sent elsewhere after the sign-in, nor to an address that holds a header.
func TestNext(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for next, want := range map[string]string{
		"/reports": "/reports", "/reports/spring?zone=Europe%2FBerlin&a=b": "/reports/spring?zone=Europe%2FBerlin&a=b", "/": "/", "": "/",
		"https://evil.example": "/", "//evil.example": "/", "//evil.example/reports": "/", "https://evil.example/reports": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "/%2f/evil.example": "/",
		"/%5cevil.example": "/", "evil.example": "/", "javascript:alert(1)": "/", "/reports\r\nSet-Cookie: a=b": "/", "/reports\t": "/", "/reports#x": "/",
		"/reports/%0d%0aSet-Cookie:a": "/reports/%0D%0ASet-Cookie:a", "http:/reports": "/", "http:///reports": "/", "/../reports": "/", "/reports/..//evil.example": "/",
		"/sign-in/link/x": "/", "/sign-in?next=/": "/", "/nothing": "/", "/v1/campaigns": "/", "/change": "/", "//reports": "/", " /reports": "/", "@evil.example": "/",
		"/reports?" + strings.Repeat("x", 2000): "/", "/reports/\u2028": "/reports/%E2%80%A8",
	} {
		b := h.browser()
		page := b.get("/sign-in?next=" + url.QueryEscape(next))
		if hidden := strings.Contains(page.Body.String(), `name="next"`); hidden != (want != "/") {
			t.Errorf("%q: the form has it: %v", next, hidden)
		}
		w := b.post("/sign-in", "csrf", token(page), "key", h.admin, "next", next)
		if got := w.Header().Get("Location"); got != want || w.Code != http.StatusSeeOther {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
		if c := w.Header().Values("Set-Cookie"); len(c) != 2 {
			t.Errorf("%q: cookies %q", next, c)
		}
	}
}

// TestHeaders: every answer forbids frames, scripts of others and caches, whatever the answer is.
func TestHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.in(h.admin)
	for _, w := range []*httptest.ResponseRecorder{
		b.get("/"), b.get("/nothing"), b.get("/sign-in/link/x"), b.get("/panic"), h.browser().get("/sign-in"), h.browser().get("/"), b.post("/change"),
		b.get("/signed-out"), b.get("//evil.example/.."), b.send("DELETE", "/", ""), h.browser().signIn("wrong"),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin", "Referrer-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%d: %s is %q", w.Code, name, got)
			}
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "base-uri 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %s", csp)
		}
	}
	if w := b.get("//evil.example/.."); w.Code != http.StatusNotFound {
		t.Errorf("an unclean path: %d %v", w.Code, w.Header())
	}
}

// TestCookies have what keeps them from others, and over https a name that no other host can set.
func TestCookies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, https := range []bool{false, true} {
		b := h.browser()
		b.https = https
		header := []string{}
		if https {
			header = []string{"Origin", "https://beacon.example"}
		}
		page := b.get("/sign-in")
		w := b.send(http.MethodPost, "/sign-in", url.Values{"csrf": {token(page)}, "key": {h.admin}}.Encode(), header...)
		cookies := append(page.Result().Cookies(), w.Result().Cookies()...)
		if len(cookies) != 3 || w.Code != http.StatusSeeOther {
			t.Fatalf("%d %v", w.Code, cookies)
		}
		for _, c := range cookies {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.Secure != https || strings.HasPrefix(c.Name, "__Host-") != https {
				t.Errorf("https %v: %s", https, c)
			}
		}
		// A session of https does not go on over http, where others could have set it.
		if !b.isIn() {
			t.Error("not in")
		}
		b.https = !https
		if b.isIn() {
			t.Error("the other way's cookie is taken")
		}
	}
}

// TestPathsStayOutOfTheLog: a path may hold anything.
func TestPathsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.in(h.admin)
	for _, path := range []string{"/reports/anna@example.com", "/anna@example.com", "/sign-in?next=/reports/anna@example.com", "/door/anna@example.com", "//anna@example.com"} {
		b.get(path)
	}
	log := h.log.String()
	if strings.Contains(log, "anna") || !strings.Contains(log, "route=/reports/{name} status=200") || !strings.Contains(log, "method=GET route=none status=404") {
		t.Errorf("%s", log)
	}
}
