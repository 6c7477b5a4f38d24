package web

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
)

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	if b.isIn() {
		t.Fatal("in without a key")
	}
	if w := b.signIn(h.key("ann", api.RoleMarketer)); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	start := b.get("/")
	for text, want := range map[string]bool{"<strong>ann</strong>": true, `href="/reports"`: true, "/people": false} {
		if strings.Contains(start.Body.String(), text) != want {
			t.Errorf("%s on the start page: %v\n%s", text, !want, start.Body)
		}
	}
	if w := b.get("/reports/spring"); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "hello ann marketer ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.get("/people"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "role is marketer") || !strings.Contains(w.Body.String(), "admin, privacy") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.get("/file"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if w := b.get("/sign-in"); w.Code != http.StatusSeeOther {
		t.Errorf("the sign-in page for who is in: %d", w.Code)
	}
	name, value := b.session()
	if w := b.post(SignOutPath, "csrf", token(start)); w.Header().Get("Location") != "/signed-out" || b.isIn() {
		t.Errorf("still in: %d", w.Code)
	}
	b.cookies[name] = value
	if b.isIn() {
		t.Error("a session that was signed out goes on with its old cookie")
	}
	h.open()
	if b.isIn() {
		t.Error("a session that was signed out goes on after a restart")
	}
	want := "sign-in ann key\nnot-allowed ann key GET /people\nexport ann key file.csv\nsign-out ann key"
	if got := h.audited(); got != want {
		t.Errorf("audited:\n%s\nwant\n%s", got, want)
	}
}

func TestRolesSignIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, role := range api.Roles {
		if role == roleAdvertiser {
			continue // whose keys are bound to a name
		}
		b := h.in(h.key("of-"+string(role), role))
		if w := b.get("/"); !strings.Contains(w.Body.String(), "role is "+string(role)) {
			t.Errorf("%s: %s", role, w.Body)
		}
	}
	for _, bad := range []api.Holder{
		{Name: "x", Role: "god"}, {Name: "x", Role: ""}, {Name: "x", Role: roleAdvertiser}, {Name: "x", Role: api.RoleMarketer, Advertiser: "acme"},
	} {
		if signsIn(bad) {
			t.Errorf("%+v may sign in", bad)
		}
	}
}

// TestSessionsEnd with their time, without use, with their key, and with another one of the same name.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.key("ann", api.RoleMarketer)
	t.Run("idle", func(t *testing.T) {
		b := h.in(key)
		h.clock.pass(sessionIdle - time.Second)
		if !b.isIn() {
			t.Error("over too soon")
		}
		h.clock.pass(sessionIdle - time.Second)
		if !b.isIn() {
			t.Error("use does not count")
		}
		h.clock.pass(sessionIdle)
		if b.isIn() {
			t.Error("not over")
		}
	})
	t.Run("an old cookie of one in use", func(t *testing.T) {
		b := h.in(key)
		name, first := b.session()
		h.clock.pass(sessionIdle - time.Second)
		b.isIn()
		h.clock.pass(2 * time.Second)
		if !b.isIn() {
			t.Error("use does not count")
		}
		b.cookies[name] = first
		if b.isIn() {
			t.Error("a cookie that was not used for so long holds")
		}
	})
	t.Run("life", func(t *testing.T) {
		b := h.in(key)
		for range 11 {
			h.clock.pass(time.Hour)
			if !b.isIn() {
				t.Fatal("over too soon")
			}
		}
		h.clock.pass(time.Hour)
		if b.isIn() {
			t.Error("not over")
		}
	})
	t.Run("clock set back", func(t *testing.T) {
		b := h.in(key)
		h.clock.pass(-time.Hour)
		if b.isIn() {
			t.Error("a session from the future holds")
		}
		h.clock.pass(time.Hour)
	})
	t.Run("restart", func(t *testing.T) {
		b := h.in(key)
		h.open()
		if !b.isIn() {
			t.Error("over")
		}
	})
	t.Run("revoked and made anew", func(t *testing.T) {
		b := h.in(key)
		must(t, api.RevokeKey(h.dir, "ann"))
		if b.isIn() {
			t.Error("a revoked key's session holds")
		}
		h.key("ann", api.RoleAdmin)
		if b.isIn() {
			t.Error("it is another key's now")
		}
	})
	t.Run("the admin key made anew", func(t *testing.T) {
		b := h.in(h.admin)
		must(t, os.Remove(filepath.Join(h.dir, api.AdminKeyFile)))
		_, err := api.EnsureAdminKey(h.dir)
		must(t, err)
		if b.isIn() {
			t.Error("the session of the former one holds")
		}
	})
}

func TestLink(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	make := func() string {
		t.Helper()
		path, expires, err := h.site.Link(api.AdminHolder)
		must(t, err)
		if !expires.Equal(h.clock.now().Add(10*time.Minute)) || len(path) < len("/sign-in/link/")+43 {
			t.Errorf("%s until %v", path, expires)
		}
		return path
	}
	b, path := h.browser(), make()
	for range 3 { // previews
		if w := h.browser().get(path); w.Code != 200 || token(w) == "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	page := b.get(path)
	if w := b.post(path, "csrf", token(page)); w.Code != http.StatusSeeOther || !b.isIn() {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := b.get("/"); !strings.Contains(w.Body.String(), "(admin.key)") {
		t.Errorf("%s", w.Body)
	}
	// Replayed, by the same browser and by another, it is spent, and says so.
	for _, again := range []*browser{b, h.browser()} {
		f := token(again.get("/sign-in/link/nothing"))
		if f != "" {
			t.Error("a link that is none has a button")
		}
		f = token(h.formOf(again))
		if w := again.post(path, "csrf", f); w.Code != http.StatusGone || again != b && again.isIn() {
			t.Errorf("replayed: %d", w.Code)
		}
	}
	// Not without the form's token, and trying does not burn it.
	path, b = make(), h.browser()
	page = b.get(path)
	if w := b.post(path); w.Code != http.StatusForbidden || b.isIn() {
		t.Errorf("without a token: %d", w.Code)
	}
	if w := b.send(http.MethodPost, path, "csrf="+token(page), "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from elsewhere: %d", w.Code)
	}
	h.clock.pass(10*time.Minute - time.Second)
	if w := b.post(path, "csrf", token(page)); w.Code != http.StatusSeeOther {
		t.Errorf("within its time: %d", w.Code)
	}
	path, b = make(), h.browser()
	page = b.get(path)
	h.clock.pass(10 * time.Minute)
	if w := b.post(path, "csrf", token(page)); w.Code != http.StatusGone || b.isIn() {
		t.Errorf("too old: %d", w.Code)
	}
	// With the key that it is as good as, it is over.
	key := h.key("boss", api.RoleAdmin)
	_ = key
	bossPath, _, err := h.site.Link(api.Holder{Name: "boss", Role: api.RoleAdmin})
	must(t, err)
	b = h.browser()
	page = b.get(bossPath)
	must(t, api.RevokeKey(h.dir, "boss"))
	if w := b.post(bossPath, "csrf", token(page)); w.Code != http.StatusGone || b.isIn() {
		t.Errorf("of a revoked key: %d", w.Code)
	}
	if _, _, err := h.site.Link(api.Holder{Name: "boss"}); err == nil {
		t.Error("a key that is gone made a link")
	}
	if _, err := os.Stat(filepath.Join(h.dir, "links")); err == nil || strings.Contains(h.log.String(), strings.TrimPrefix(path, "/sign-in/link/")) {
		t.Error("a link was kept or logged")
	}
}

// formOf has a browser load a page with a form of before the sign-in, whoever it is.
func (h *house) formOf(b *browser) *httptest.ResponseRecorder {
	name, value := b.session()
	delete(b.cookies, name)
	w := b.get("/sign-in")
	if name != "" {
		b.cookies[name] = value
	}
	return w
}

func TestLinksAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var all []string
	for range mostLinks + 5 {
		path, _, err := h.site.Link(api.AdminHolder)
		must(t, err)
		all = append(all, path)
		h.clock.pass(time.Second)
	}
	for i, path := range all {
		if w := h.browser().get(path); (w.Code == http.StatusGone) != (i < 5) {
			t.Errorf("link %d of %d: %d", i+1, len(all), w.Code)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	keys, err := api.LoadKeys(h.dir, nil)
	must(t, err)
	good := Options{Data: h.dir, Keys: keys, Audit: h.audit}
	for want, change := range map[string]func(*Options){
		"no data folder":      func(o *Options) { o.Data = "" },
		"no keys":             func(o *Options) { o.Keys = nil },
		"no audit log":        func(o *Options) { o.Audit = nil },
		"neither of GET nor":  func(o *Options) { o.Pages = []Page{{Path: "/x", Handler: hello}} },
		"has no handler":      func(o *Options) { o.Pages = []Page{{Path: "GET /x"}} },
		"conflicts with":      func(o *Options) { o.Pages = []Page{{Path: "GET /sign-in", Handler: hello}} },
		"make the key of ses": func(o *Options) { o.Data = filepath.Join(h.dir, "none") },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for name, c := range map[string]struct {
		file, content string
		mode          os.FileMode
	}{
		"for all": {KeyFile, strings.Repeat("ab", 32), 0o640}, "short": {KeyFile, "abcd", 0o600}, "no hex": {KeyFile, strings.Repeat("x", 64), 0o600},
		"ended": {endedFile, "[", 0o600},
	} {
		o := good
		o.Data = t.TempDir()
		must(t, os.WriteFile(filepath.Join(o.Data, c.file), []byte(c.content), c.mode))
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st, err := os.Stat(filepath.Join(h.dir, KeyFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	must(t, Examine(h.dir))
}

// A panic tells nobody what was sent, and the log neither.
func TestPanic(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.in(h.admin).get("/panic")
	if w.Code != 500 || strings.Contains(w.Body.String()+h.log.String(), "anna") || !strings.Contains(h.log.String(), "a handler panicked") {
		t.Errorf("%d %s\n%s", w.Code, w.Body, h.log)
	}
}

// A full disk keeps nobody out; that the notes lack something is in the log.
func TestAuditThatFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *Options) { o.Audit = fullDisk{} })
	if !h.in(h.admin).isIn() || !strings.Contains(h.log.String(), "audit log lacks an entry") {
		t.Errorf("%s", h.log)
	}
}

type fullDisk struct{}

func (fullDisk) Note(audit.Entry) error { return os.ErrPermission }
