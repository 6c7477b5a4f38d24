package web

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is one that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// sink is a log that a test can read.
type sink struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// house is the door over real keys and a real audit log.
type house struct {
	*testing.T
	dir   string
	clock *clock
	site  *Site
	log   *sink
	audit *audit.Log
	admin string // the admin key
}

func newHouse(t *testing.T, change ...func(*Options)) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir(), clock: &clock{at: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}, log: &sink{}}
	_, err := api.EnsureAdminKey(h.dir)
	must(t, err)
	h.admin, err = api.ReadAdminKey(h.dir)
	must(t, err)
	h.audit, err = audit.Open(h.dir)
	must(t, err)
	t.Cleanup(func() { must(t, h.audit.Close()) })
	h.open(change...)
	return h
}

// open starts the site, as a process that starts anew does.
func (h *house) open(change ...func(*Options)) {
	h.Helper()
	keys, err := api.LoadKeys(h.dir, nil)
	must(h, err)
	o := Options{
		Data: h.dir, Keys: keys, Audit: h.audit, Now: h.clock.now, Logger: slog.New(slog.NewTextHandler(h.log, nil)),
		Pages: []Page{
			{Title: "Reports", Path: "GET /reports", Roles: api.RolesOf("show-report"), Handler: hello},
			{Path: "GET /reports/{name}", Roles: api.RolesOf("show-report"), Handler: hello},
			{Title: "People", Path: "GET /people", Roles: api.RolesOf("look-up-consent"), Handler: hello},
			{Path: "POST /change", Handler: func(w http.ResponseWriter, r *http.Request, v *Visit) {
				_, _ = io.WriteString(w, "changed "+r.PostForm.Get("what")) //nolint:gosec // the test's own page
			}},
			{Path: "GET /file", Handler: func(w http.ResponseWriter, _ *http.Request, v *Visit) { v.NoteExport("file.csv") }},
			{Path: "GET /panic", Handler: func(http.ResponseWriter, *http.Request, *Visit) { panic("anna@example.com") }},
		},
	}
	for _, c := range change {
		c(&o)
	}
	h.site, err = New(o)
	must(h, err)
}

func hello(w http.ResponseWriter, r *http.Request, v *Visit) {
	_, _ = io.WriteString(w, "hello "+v.Name+" "+string(v.Role)+" csrf="+v.CSRF+" at "+r.URL.Path) //nolint:gosec // as above
}

// key adds a key.
func (h *house) key(name string, role api.Role) string {
	h.Helper()
	key, err := api.AddKey(h.dir, name, role, time.Now())
	must(h, err)
	return key
}

// audited is what the audit log has, an entry a line: event, who, way.
func (h *house) audited() string {
	h.Helper()
	var all []string
	_, err := audit.Read(h.dir, func(e audit.Entry) error {
		all = append(all, strings.TrimSpace(string(e.Event)+" "+e.Who+" "+e.Via+" "+e.What))
		return nil
	})
	must(h, err)
	return strings.Join(all, "\n")
}

// browser keeps cookies, and says where a form comes from as browsers do.
type browser struct {
	*house
	cookies map[string]string
	https   bool
}

func (h *house) browser() *browser { return &browser{house: h, cookies: map[string]string{}} }

// send sends a request; header is name, value, name, value.
func (b *browser) send(method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequestWithContext(b.Context(), method, "http://beacon.example"+path, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", "http://beacon.example")
	}
	if b.https {
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.site.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *browser) get(path string, header ...string) *httptest.ResponseRecorder {
	b.Helper()
	return b.send(http.MethodGet, path, "", header...)
}

var tokenField = regexp.MustCompile(`name="csrf" value="([^"]+)"|csrf=(\S+)`)

// token is the CSRF token of a page.
func token(w *httptest.ResponseRecorder) string {
	m := tokenField.FindStringSubmatch(w.Body.String())
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// post sends a form.
func (b *browser) post(path string, fields ...string) *httptest.ResponseRecorder {
	b.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, path, v.Encode())
}

// signIn goes to the sign-in page and sends a key.
func (b *browser) signIn(key string, fields ...string) *httptest.ResponseRecorder {
	b.Helper()
	return b.post("/sign-in", append([]string{"csrf", token(b.get("/sign-in")), "key", key}, fields...)...)
}

// in is a browser that is signed in.
func (h *house) in(key string) *browser {
	h.Helper()
	b := h.browser()
	if w := b.signIn(key); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
		h.Fatalf("sign-in: %d %s", w.Code, w.Body)
	}
	return b
}

// session is the browser's session cookie.
func (b *browser) session() (name, value string) {
	for name, value := range b.cookies {
		if strings.Contains(name, "mailbeacon-session-") {
			return name, value
		}
	}
	return "", ""
}

// isIn says whether the browser has a session that holds.
func (b *browser) isIn() bool {
	b.Helper()
	w := b.get("/")
	if w.Code != http.StatusOK && w.Header().Get("Location") != "/sign-in" {
		b.Fatalf("%d %v", w.Code, w.Header())
	}
	return w.Code == http.StatusOK
}
