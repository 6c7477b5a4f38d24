package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/api"
	"mailbeacon/internal/classify"
)

// addKey makes a key of any role; that of an advertiser is of "nothing", which the tests of roles ask for.
func (h *house) addKey(name string, role api.Role) (string, error) {
	if role == api.RoleAdvertiser {
		return api.AddAdvertiserKey(h.dir, name, "nothing", time.Now())
	}
	return api.AddKey(h.dir, name, role, time.Now())
}

// advertised makes a campaign with a link of an advertiser, and has people click it.
func (h *house) advertised(t *testing.T, campaign, title, name string, people int, offset uint64) {
	t.Helper()
	var made api.Campaign
	title, name = quoted(title), quoted(name)
	good(t, h.post(t, "/v1/campaigns", fmt.Sprintf(`{"name":%q,"title":%s}`, campaign, title)), 201, &made)
	good(t, h.post(t, "/v1/campaigns/"+campaign+"/links", fmt.Sprintf(`{"url":"https://example.com/","advertiser":%s}`, name)), 201, nil)
	good(t, h.post(t, "/v1/campaigns/"+campaign+"/deliveries", `{"id":"b","delivered":9000}`), 200, nil)
	who := make([]uint64, people)
	for i := range who {
		who[i] = uint64(i+1) * 0x9e3779b97f4a7c15
	}
	key := aggregate.UniqueKey{Campaign: made.Number, Link: 1, Kind: event.Click, Class: classify.Human}
	must(t, h.counts.Commit(t.Context(), &aggregate.Commit{Before: offset, After: aggregate.Progress{Offset: offset + 1}, Uniques: []aggregate.Uniques{{UniqueKey: key, Hashes: who}}}))
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// released closes epochs until an advertiser has a cell.
func (h *house) released(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		must(t, h.reports.Close(t.Context()))
		if chain, err := h.counts.Closings(t.Context(), name); err == nil && len(chain) > 0 && len(chain[len(chain)-1].Releases) > 0 {
			return
		}
	}
	t.Fatal("no epoch was closed")
}

func TestAdvertiserReport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if p := h.get(t, "/v1/advertisers/ACME/report").problem(t); p.Status != 404 || !strings.Contains(p.Detail, "no such advertiser") {
		t.Errorf("nobody: %+v", p)
	}
	const odd = "=1+1 Söhne & Co?"
	h.advertised(t, "spring", "=SUM(A1)", "ACME", 1234, 0)
	h.advertised(t, "summer", "", odd, 400, 1)
	h.released(t, "ACME")
	h.released(t, odd)
	first := h.get(t, "/v1/advertisers/ACME/report")
	var r advertiser.Report
	good(t, first, 200, &r)
	if r.Advertiser != "ACME" || len(r.Campaigns) != 1 || r.Campaigns[0].Title != "=SUM(A1)" || r.People < 1150 || r.People > 1300 || r.People%5 != 0 || r.Ledger[0].Spent != fmt.Sprint(r.Ledger[0].Releases) {
		t.Errorf("%s", first.body)
	}
	if bytes.Contains(first.body, []byte("1234")) {
		t.Errorf("the true number is told: %s", first.body)
	}
	for range 50 {
		if again := h.get(t, "/v1/advertisers/ACME/report"); !bytes.Equal(again.body, first.body) {
			t.Fatalf("asked again: %s, was %s", again.body, first.body)
		}
	}
	path := "/v1/advertisers/" + url.PathEscape(odd) + "/report"
	for _, c := range []struct {
		query, accept string
		csv           bool
	}{
		{"", "", false}, {"?format=csv", "", true}, {"?format=json", "text/csv", false}, {"", "text/csv", true}, {"", "text/csv;q=0.9, application/json", true},
		{"", "application/json, text/csv", false}, {"", "*/*", false}, {"", "text/html", false},
	} {
		a := h.do(t, http.MethodGet, path+c.query, nil, "Accept", c.accept)
		if got := a.header.Get("Content-Type"); a.status != 200 || (got == "text/csv") != c.csv || (got == "application/json") == c.csv {
			t.Errorf("%+v: %d %s", c, a.status, got)
		}
		if c.csv && (!bytes.Contains(a.body, []byte("\n'"+odd+",summer,,")) || !bytes.HasPrefix(a.body, []byte("advertiser,campaign,"))) {
			t.Errorf("%+v: %s", c, a.body)
		}
	}
	for _, query := range []string{"?format=xml", "?epsilon=100", "?from=2020-01-01"} {
		if p := h.get(t, "/v1/advertisers/ACME/report"+query).problem(t); p.Status != 422 {
			t.Errorf("%s: %+v", query, p)
		}
	}
	var page api.AdvertiserPage
	good(t, h.get(t, "/v1/advertisers?limit=1"), 200, &page)
	if len(page.Advertisers) != 1 || page.Advertisers[0] != (advertiser.Listed{Name: odd, Campaigns: 1, Links: 1}) || page.Next != odd {
		t.Errorf("%+v", page)
	}
	after := url.QueryEscape(page.Next)
	page = api.AdvertiserPage{}
	good(t, h.get(t, "/v1/advertisers?after="+after), 200, &page)
	if len(page.Advertisers) != 1 || page.Advertisers[0].Name != "ACME" || page.Next != "" {
		t.Errorf("%+v", page)
	}
	if log := h.log.String(); strings.Contains(log, "1234") || strings.Contains(log, "ACME") {
		t.Errorf("the log tells:\n%s", log)
	}
}

// TestAdvertisersKey: a key of one advertiser sees that one's report. Another's is refused with the same bytes whether there is
// such an advertiser or not, and so is everything else.
func TestAdvertisersKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.advertised(t, "spring", "", "ACME", 300, 0)
	h.advertised(t, "summer", "", "Bolt", 300, 1)
	h.released(t, "ACME")
	key, err := api.AddAdvertiserKey(h.dir, "acme", "ACME", time.Now())
	must(t, err)
	h.awaitKey(t, key)
	with := func(method, path string) *answer {
		t.Helper()
		return h.do(t, method, path, nil, "Authorization", "Bearer "+key)
	}
	var r advertiser.Report
	good(t, with(http.MethodGet, "/v1/advertisers/ACME/report"), 200, &r)
	good(t, with(http.MethodGet, "/v1/advertisers/ACME/report?format=csv"), 200, nil)
	if r.Advertiser != "ACME" || len(r.Campaigns) != 1 {
		t.Errorf("%+v", r)
	}
	there := with(http.MethodGet, "/v1/advertisers/Bolt/report")
	for _, name := range []string{"Bolt", "Nobody", "acme", "ACME%20", "%00ACME", "ACM", "ACME%3Bx", strings.Repeat("x", 500)} {
		a := with(http.MethodGet, "/v1/advertisers/"+name+"/report")
		if p := a.problem(t); p.Status != 403 || !bytes.Equal(a.body, there.body) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, path := range []string{"/v1/advertisers", "/v1/campaigns", "/v1/campaigns/spring", "/v1/campaigns/spring/report", "/v1/overview", "/v1/consent/changes"} {
		if p := with(http.MethodGet, path).problem(t); p.Status != 403 {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, wrong := range []string{"", " ACME", "a/b", strings.Repeat("x", 101), "a\nb"} {
		if _, err := api.AddAdvertiserKey(h.dir, "wrong", wrong, time.Now()); err == nil {
			t.Errorf("a key of %q is made", wrong)
		}
	}
	if _, err := api.AddKey(h.dir, "wrong", api.RoleAdvertiser, time.Now()); err == nil {
		t.Error("a key of nobody is made")
	}
	// At rest there is the hash, and a key without its advertiser is damage, not a key that sees everything.
	file := filepath.Join(h.dir, "keys.json")
	content, err := os.ReadFile(file)
	must(t, err)
	if bytes.Contains(content, []byte(key)) || !bytes.Contains(content, []byte(`"advertiser": "ACME"`)) {
		t.Errorf("%s", content)
	}
	must(t, os.WriteFile(file, bytes.Replace(content, []byte(`"advertiser": "ACME",`), nil, 1), 0o600))
	if _, err := api.ListKeys(h.dir); err == nil {
		t.Error("a key of the role advertiser without a name is taken")
	}
}
