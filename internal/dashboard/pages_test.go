package dashboard

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/heatmap"
)

// TestRoles: who may see what is data, and says of numbers no more than the API's access does.
func TestRoles(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"GET /{$}":                        "admin sender marketer privacy advertiser",
		"GET /campaigns":                  "admin marketer",
		"GET /campaigns/{name}":           "admin marketer",
		"GET /campaigns/{name}/heat":      "admin marketer",
		"GET /campaigns/{name}/heat/mail": "admin marketer",
		"GET /compare":                    "admin marketer",
		"GET /advertisers":                "admin marketer",
		"GET /advertisers/{name}":         "admin marketer advertiser",
		"GET /consent":                    "admin privacy",
		"GET /system":                     "admin sender marketer privacy",
	}
	w := newWorld(t)
	pages := w.Pages()
	for _, p := range pages {
		if got := strings.Join(p.Roles, " "); got != want[p.Path] {
			t.Errorf("%s is for %q, want %q", p.Path, got, want[p.Path])
		}
		delete(want, p.Path)
	}
	if len(want) > 0 {
		t.Errorf("no page is %v", want)
	}
	pages[0].Path = "changed"
	if w.Pages()[0].Path == "changed" {
		t.Error("the list is not the caller's own")
	}
}

// TestNavigation leads everybody to their own pages, and home to the first of them.
func TestNavigation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Entries = []Entry{{"Elsewhere", "/elsewhere", []string{"admin", "marketer"}}}
	})
	for role, want := range map[string]string{
		"admin":      "Campaigns Comparison Advertisers Consent System Elsewhere",
		"marketer":   "Campaigns Comparison Advertisers System Elsewhere",
		"privacy":    "Consent System",
		"sender":     "System",
		"advertiser": "Your report",
	} {
		w.viewer = Viewer{Name: "x", Role: role}
		if role == "advertiser" {
			w.viewer.Advertiser = "Alder/1"
		}
		r := httptest.NewRecorder()
		w.NotFound(r, httptest.NewRequestWithContext(t.Context(), "GET", "/nowhere", nil), w.viewer)
		var got []string
		for _, a := range all(parse(t, r.Body.String()), "nav", "a") {
			got = append(got, text(a))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s sees %q, want %q", role, got, want)
		}
		home := w.get(t, "/")
		if home.Code != http.StatusSeeOther || home.Header().Get("Location") == "" {
			t.Errorf("%s comes from home to %d %q", role, home.Code, home.Header().Get("Location"))
		}
	}
	w.viewer.Role = "guest"
	if home := w.get(t, "/"); home.Code != http.StatusForbidden || !strings.Contains(home.Body.String(), "mailbeacon key add") {
		t.Errorf("nobody's home: %d", home.Code)
	}
}

// TestAnswers has the status of addresses, good and bad, and what they say.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.season(t, 30)
	must(t, w.store.PutMail(t.Context(), 2, []byte("<p>Hello</p>")))
	for _, c := range []struct {
		address string
		status  int
		want    string
	}{
		{"/campaigns", 200, "letter-030"},
		{"/campaigns?before=6", 200, "letter-005"},
		{"/campaigns?before=6", 200, "Later campaigns"},
		{"/campaigns?before=1", 200, "There is no campaign further down"},
		{"/campaigns?before=x", 400, "number of a campaign"},
		{"/campaigns?before=-1", 400, "number of a campaign"},
		{"/campaigns?before=99999999999", 400, "number of a campaign"},
		{"/campaigns?q=LETTER-01", 200, "letter-013"},
		{"/campaigns?q=soil", 200, "Two minutes on soil"},
		{"/campaigns?q=%3Cscript%3E", 200, "“&lt;script&gt;”"},
		{"/campaigns?q=" + strings.Repeat("x", 301), 400, "too long"},
		{"/campaigns/letter-002", 200, "Heat map"},
		{"/campaigns/letter-003", 200, "Over time"},
		{"/campaigns/letter-002/heat", 200, `src="/campaigns/letter-002/heat/mail"`},
		{"/campaigns/letter-002/heat/mail", 200, "<p>Hello</p>"},
		{"/campaigns/letter-003/heat", 404, "mailbeacon campaign mail letter-003"},
		{"/campaigns/letter-003/heat/mail", 404, "No mail is kept"},
		{"/campaigns/none/heat", 404, "no such campaign"},
		{"/advertisers", 200, "/advertisers/Alder%2F1"},
		{"/advertisers", 200, "&lt;b&gt;Birch &amp; Co"},
		{"/advertisers?after=" + strings.Repeat("x", 301), 400, "too long"},
		{"/advertisers/Alder%2F1", 200, "withheld"},
		{"/advertisers/Alder%2F1?format=csv", 200, "'=cmd"},
		{"/advertisers/nobody", 404, "no such advertiser"},
		{"/campaigns/none", 404, "no such campaign"},
		{"/campaigns/%3Cscript%3E", 404, "&lt;script&gt;"},
		{"/campaigns/letter-003?by=week", 400, "hour, day"},
		{"/campaigns/letter-003?by=day", 200, "by day"},
		{"/compare", 200, "tied"},
		{"/compare?by=clicks&n=200", 200, "Click rate"},
		{"/compare?n=1000000", 400, "50, 100, 200"},
		{"/compare?by=profit", 400, "opens, clicks"},
		{"/consent", 200, "--basis subject"},
		{"/system", 200, "Ready: nothing is at fault"},
		{"/nowhere", 404, "no such page"},
		{"/campaigns?format=xml", 400, "CSV and as JSON"},
		{"/campaigns?format=csv&table=none", 404, "no such table"},
		{"/campaigns/none?format=csv", 404, "no such campaign"},
	} {
		answer := w.get(t, c.address)
		if body := answer.Body.String(); answer.Code != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d, want %d and %q in\n%s", c.address, answer.Code, c.status, c.want, body)
		}
		policy := Policy
		switch c.address {
		case "/campaigns/letter-002/heat":
			policy += "; frame-src 'self'"
		case "/campaigns/letter-002/heat/mail":
			policy = heatmap.Policy
		}
		if h := answer.Header(); h.Get("Content-Security-Policy") != policy || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", c.address, h)
		}
	}
	if strings.Contains(w.page(t, "/campaigns/letter-003"), "/heat") {
		t.Error("a link to a heat map that is not there")
	}
}

// TestPaging goes through the whole list and back: every campaign once, the latest first.
func TestPaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.season(t, 77)
	var forth, back []string
	address, last := "/campaigns", ""
	for address != "" {
		names, links := w.listed(t, address)
		forth = append(forth, names...)
		last, address = address, links["next"]
	}
	for address = last; address != ""; {
		names, links := w.listed(t, address)
		slices.Reverse(names)
		back = append(back, names...)
		address = links["prev"]
	}
	slices.Reverse(back)
	if len(forth) != 77 || forth[0] != "letter-077" || !slices.IsSortedFunc(forth, func(a, b string) int { return strings.Compare(b, a) }) || !slices.Equal(forth, back) {
		t.Errorf("forth %v\nback %v", forth, back)
	}
	var found []string
	for address = "/campaigns?q=news"; address != ""; {
		names, links := w.listed(t, address)
		found = append(found, names...)
		address = links["next"]
	}
	if len(found) != 13 { // every sixth of 77
		t.Errorf("%d found: %v", len(found), found)
	}
}

// listed are the names on a part of the list, and where it leads.
func (w *world) listed(t testing.TB, address string) (names []string, links map[string]string) {
	t.Helper()
	doc := parse(t, w.page(t, address))
	for _, tr := range all(doc, "tbody", "tr") {
		names = append(names, text(all(tr, "bdi")[1]))
	}
	links = map[string]string{}
	for _, a := range all(doc, "a") {
		if rel := attribute(a, "rel"); rel != "" {
			links[rel] = attribute(a, "href")
		}
	}
	return names, links
}

// TestEmpty says what to do.
func TestEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for address, want := range map[string]string{
		"/campaigns": "mailbeacon campaign add spring", "/compare": "How to make one", "/consent": "People who ever chose anything", "/system": "0 campaigns",
	} {
		if page := w.page(t, address); !strings.Contains(page, want) {
			t.Errorf("%s does not say %q:\n%s", address, want, page)
		}
	}
	w.campaigns.add("spring", "", now, 0)
	page := w.page(t, "/campaigns/spring")
	for _, want := range []string{"No deliveries are told yet", "mailbeacon delivery add spring", "Nothing is counted yet", "No link is registered yet"} {
		if !strings.Contains(page, want) {
			t.Errorf("an empty campaign does not say %q", want)
		}
	}
	if strings.Contains(page, "0.0\u202f%") || strings.Contains(page, "NaN") {
		t.Error("a rate of nothing")
	}
}

// TestStoreDown: the page says so and when it was last well, the list shows what was read last, and both recover by themselves.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	clock := now
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return clock } })
	w.season(t, 30)
	w.reader.err = errors.New("no route to it")
	if answer := w.get(t, "/campaigns/letter-030"); answer.Code != 503 || !strings.Contains(answer.Body.String(), "since this server was started") || answer.Header().Get("Retry-After") == "" {
		t.Errorf("never read: %d %s", answer.Code, answer.Body)
	}
	w.reader.err = nil
	w.page(t, "/campaigns")
	w.page(t, "/compare")
	w.reader.err = errors.New("no route to it")
	clock = clock.Add(20 * time.Minute)
	for _, address := range []string{"/campaigns", "/compare", "/campaigns/letter-030"} {
		answer := w.get(t, address)
		body := answer.Body.String()
		if answer.Code != 503 || !strings.Contains(body, "20 May 2026, 10:30:00 UTC") || !strings.Contains(body, `role="alert"`) || !strings.Contains(body, "data-stale") {
			t.Errorf("%s: %d %s", address, answer.Code, body)
		}
		if known := strings.Contains(body, "<table"); known != (address != "/campaigns/letter-030") {
			t.Errorf("%s: shows what it knew: %v", address, known)
		}
		if strings.Contains(body, "no route") {
			t.Errorf("%s shows the inside", address)
		}
		if file := w.get(t, address+"?format=csv"); file.Code != 503 {
			t.Errorf("%s: an old file, %d", address, file.Code)
		}
	}
	if page := w.page(t, "/system"); !strings.Contains(page, "20\u202fmin ago") || !strings.Contains(page, "Look at this") {
		t.Errorf("the system page: %s", page)
	}
	w.reader.err = nil
	for _, address := range []string{"/campaigns", "/compare", "/campaigns/letter-030"} {
		if page := w.page(t, address); strings.Contains(page, "data-stale") {
			t.Errorf("%s does not recover", address)
		}
	}
}

// TestSystem: what is at fault stands there, with what to do.
func TestSystem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.faults = []string{"the spool takes no events: disk <full>"}
	w.sys = System{
		&Spool{Healthy: false, Bytes: 3_400_000_000, Segments: 400, Age: 3 * time.Hour, FailedAppends: 12_345, Damaged: 2},
		&Fold{Waiting: 2_000_000, Lost: 3, FaultSince: now.Add(-time.Hour), Fault: "database is locked"},
		&Control{Failing: true, HasLease: true, ApplyErrors: 1},
	}
	page := w.page(t, "/system")
	for _, want := range []string{"disk &lt;full&gt;", "3.4\u202fGB in 400 segments", "3\u202fh", "12\u202f345", "2\u202f000\u202f000", "Database is locked", "run out", "mailbeacon doctor"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := strings.Count(page, "Look at this"); got != 10 {
		t.Errorf("%d lines to look at, want 10\n%s", got, page)
	}
	for _, r := range w.json(t, "/system?format=json")["system"] {
		if r["part"] == "Spool" && r["measure"] == "failed_appends" && r["value"] != 12345.0 {
			t.Errorf("%v", r)
		}
	}
}

// TestFrame is what others use: their own bodies, their errors, the sign-out form.
func TestFrame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.CSRFField = "token" })
	r, request := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/advertisers", nil)
	w.Frame(r, request, w.viewer, http.StatusTeapot, "A <b> title", "<p id=own>own</p>")
	body := r.Body.String()
	for _, want := range []string{"<title>A &lt;b&gt; title", "<p id=own>own</p>", `name="token" value="token-of-the-session"`, `action="/sign-out"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	if r.Code != http.StatusTeapot {
		t.Errorf("status %d", r.Code)
	}
	for _, f := range []string{w.Style(), w.files.Script, w.files.Icon} {
		if answer := w.get(t, f); answer.Code != 200 || !strings.Contains(answer.Header().Get("Cache-Control"), "immutable") || answer.Body.Len() == 0 {
			t.Errorf("%s: %d %v", f, answer.Code, answer.Header())
		}
	}
	for _, f := range []string{"style.css", "", "../dashboard.go"} {
		if answer := w.get(t, FilesPath+f); answer.Code == 200 {
			t.Errorf("%s is there", f)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	whole := func() Options {
		return Options{
			Campaigns: campaign.NewRegistry(), Counts: storetest.NewMemory(), Consent: consent.NewTable(consent.BasisNone), Advertisers: sponsors{},
			System: func() System { return System{} }, NotReady: func() []string { return nil },
		}
	}
	if _, err := New(whole()); err != nil {
		t.Fatal(err)
	}
	for name, without := range map[string]func(*Options){
		"campaigns": func(o *Options) { o.Campaigns = nil }, "counts": func(o *Options) { o.Counts = nil }, "consent": func(o *Options) { o.Consent = nil },
		"advertisers": func(o *Options) { o.Advertisers = nil }, "system": func(o *Options) { o.System = nil }, "readiness": func(o *Options) { o.NotReady = nil },
	} {
		o := whole()
		without(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	for query, want := range map[string]string{"": "", "?format=csv": "csv", "?format=json&table=x": "json", "?format=exe": ""} {
		if got := Export(httptest.NewRequestWithContext(t.Context(), "GET", "/campaigns"+query, nil)); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// TestNothingInline: the policy allows no style and no script but the files, so no page may have any.
func TestNothingInline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.season(t, 30)
	w.faults = []string{"x"}
	for _, address := range everyPage {
		for n := range parse(t, w.get(t, address).Body.String()).Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			for _, a := range n.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s: <%s %s=%q>", address, n.Data, a.Key, a.Val)
				}
			}
			if n.Data == "style" || n.Data == "script" && attribute(n, "src") == "" {
				t.Errorf("%s: an element <%s>", address, n.Data)
			}
			if n.Data == "table" && (len(all(n, "caption")) != 1 || len(all(n, "th")) == 0 || slices.ContainsFunc(all(n, "th"), func(h *html.Node) bool { return attribute(h, "scope") == "" })) {
				t.Errorf("%s: a table without caption or scope", address)
			}
			if n.Data == "svg" && (attribute(n, "width") == "" || attribute(n, "height") == "" || attribute(n, "aria-hidden") == "" && attribute(n, "aria-label") == "") {
				t.Errorf("%s: a drawing without size or words", address)
			}
		}
	}
	css, err := os.ReadFile("static/style.css")
	must(t, err)
	if strings.Contains(string(css), "url(") || strings.Contains(string(css), "@import") {
		t.Error("the style sheet fetches something")
	}
}

// everyPage is each page once, of a season of 30.
var everyPage = []string{
	"/campaigns", "/campaigns?before=3&q=letter", "/campaigns/letter-026", "/campaigns/letter-026?by=day&zone=Asia/Kolkata", "/campaigns/letter-021",
	"/compare", "/compare?by=clicks&n=200", "/consent", "/system", "/campaigns/none", "/nowhere",
}

func parse(t testing.TB, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	must(t, err)
	return doc
}

// all are the elements of a path of names below n, each anywhere below the one before.
func all(n *html.Node, names ...string) (found []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == names[0] {
			if len(names) == 1 {
				found = append(found, d)
			} else {
				found = append(found, all(d, names[1:]...)...)
			}
		}
	}
	return found
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
