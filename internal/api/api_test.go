package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mailbeacon/internal/api"
	"mailbeacon/internal/report"
)

func TestCampaignsAndLinks(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var c api.Campaign
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring","title":"Spring news"}`), 201, &c)
	if c.Name != "spring" || c.Number == 0 || c.Title != "Spring news" || c.Created.IsZero() {
		t.Errorf("%+v", c)
	}
	if p := h.post(t, "/v1/campaigns", `{"name":"spring"}`).problem(t); p.Status != 409 {
		t.Errorf("%+v", p)
	}
	var l api.Link
	good(t, h.post(t, "/v1/campaigns/spring/links", `{"url":"https://example.com/a?b=c&d=<e>","label":"one","advertiser":"acme"}`), 201, &l)
	if l != (api.Link{Link: 1, URL: "https://example.com/a?b=c&d=<e>", Label: "one", Advertiser: "acme"}) {
		t.Errorf("%+v", l)
	}
	good(t, h.do(t, http.MethodPut, "/v1/campaigns/spring/links/1", strings.NewReader(`{"url":"https://example.com/b"}`)), 200, &l)
	if l != (api.Link{Link: 1, URL: "https://example.com/b", Label: "one", Advertiser: "acme"}) {
		t.Errorf("mended: %+v", l)
	}
	good(t, h.do(t, http.MethodPut, "/v1/campaigns/spring/links/1", strings.NewReader(`{"url":"https://example.com/b","label":"","hidden":true}`)), 200, &l)
	if l.Label != "" || !l.Hidden || l.Advertiser != "acme" {
		t.Errorf("mended again: %+v", l)
	}
	var d api.Delivery
	for range 2 {
		good(t, h.post(t, "/v1/campaigns/spring/deliveries", `{"id":"b1","delivered":90,"bounced":10}`), 200, &d)
	}
	good(t, h.get(t, "/v1/campaigns/spring"), 200, &c)
	if c.Links != 1 || c.Delivered != 90 || c.Bounced != 10 {
		t.Errorf("%+v", c)
	}
	for _, path := range []string{"/v1/campaigns/autumn", "/v1/campaigns/autumn/links", "/v1/campaigns/autumn/report"} {
		if p := h.get(t, path).problem(t); p.Status != 404 {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if p := h.do(t, http.MethodPut, "/v1/campaigns/spring/links/7", strings.NewReader(`{"url":"https://example.com/b"}`)).problem(t); p.Status != 404 || !strings.Contains(p.Detail, "link") {
		t.Errorf("%+v", p)
	}
}

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 5 {
		good(t, h.post(t, "/v1/campaigns", fmt.Sprintf(`{"name":"c%d"}`, i)), 201, nil)
		good(t, h.post(t, "/v1/campaigns/c0/links", fmt.Sprintf(`{"url":"https://example.com/%d"}`, i)), 201, nil)
	}
	var names, urls []string
	for after := uint32(0); ; {
		var page api.CampaignPage
		good(t, h.get(t, fmt.Sprintf("/v1/campaigns?after=%d&limit=2", after)), 200, &page)
		for _, c := range page.Campaigns {
			names = append(names, c.Name)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	for after := uint32(0); ; {
		var page api.LinkPage
		good(t, h.get(t, fmt.Sprintf("/v1/campaigns/c0/links?after=%d&limit=2", after)), 200, &page)
		for _, l := range page.Links {
			urls = append(urls, l.URL)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if strings.Join(names, " ") != "c0 c1 c2 c3 c4" || len(urls) != 5 || urls[4] != "https://example.com/4" {
		t.Errorf("%v %v", names, urls)
	}
	var all api.CampaignPage
	if good(t, h.get(t, "/v1/campaigns"), 200, &all); len(all.Campaigns) != 5 || all.Next != 0 {
		t.Errorf("%+v", all)
	}
	if a := h.get(t, "/v1/campaigns/c1/links"); string(a.body) != "{\"links\":[]}\n" {
		t.Errorf("no links: %s", a.body)
	}
}

func TestMessageAndReport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	body, err := json.Marshal(api.MailRequest{To: "anna@example.com", HTML: `<body><a href="https://example.com/1">one</a></body>`, Text: "hello"})
	must(t, err)
	var m api.Mail
	good(t, h.post(t, "/v1/campaigns/spring/messages", string(body)), 200, &m)
	if !strings.Contains(m.HTML, "https://t.example/o/") || !strings.Contains(m.HTML, "https://t.example/c/") || m.Text != "hello" ||
		!m.Tracking.Opens || !m.Tracking.Clicks || m.Links != 1 || m.Headers["List-Unsubscribe"] != "<"+m.UnsubscribeURL+">" {
		t.Errorf("%+v", m)
	}
	good(t, h.post(t, "/v1/campaigns/spring/deliveries", `{"id":"b1","delivered":1}`), 200, nil)
	var r report.Report
	good(t, h.get(t, "/v1/campaigns/spring/report"), 200, &r)
	if r.Campaign != "spring" || r.Delivered != 1 || r.Trackable != 1 || len(r.Links) != 1 || r.Links[0].URL != "https://example.com/1" {
		t.Errorf("%+v", r)
	}
}

// What the sender should know comes with the mail: here that the campaign has very many links.
func TestMessageWarns(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	var html strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&html, `<a href="https://example.com/%d">x</a>`, i)
	}
	body, err := json.Marshal(api.MailRequest{To: "anna@example.com", HTML: html.String()})
	must(t, err)
	var m api.Mail
	good(t, h.post(t, "/v1/campaigns/spring/messages", string(body)), 200, &m)
	if m.Links != 1000 || !slices.ContainsFunc(m.Warnings, func(w api.MailWarning) bool {
		return w.Code == "many_links" && strings.Contains(w.Text, "differ from person to person")
	}) {
		t.Errorf("%d links, %+v", m.Links, m.Warnings)
	}
}

// Who was minted for before and after a refusal is one of the ten who got mail, not two.
func TestMintedTwiceWithARefusalBetween(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	var people strings.Builder
	for i := range 10 {
		fmt.Fprintf(&people, "{\"to\":\"p%d@example.com\"}\n", i)
	}
	for range 2 {
		if a := h.recipients(t, strings.NewReader(people.String())); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for i := range 3 {
			good(t, h.post(t, "/v1/consent", fmt.Sprintf(`{"subject":"p%d@example.com","opens":"refused","clicks":"refused"}`, i)), 200, nil)
		}
	}
	good(t, h.post(t, "/v1/campaigns/spring/deliveries", `{"id":"b1","delivered":10}`), 200, nil)
	var r report.Report
	good(t, h.get(t, "/v1/campaigns/spring/report"), 200, &r)
	if r.Trackable != 7 || r.Untracked["opted_out"] != 3 || r.Opens.Trackable != 7 || r.Clicks.Trackable != 7 {
		t.Errorf("trackable %d of %d opens and %d clicks, untracked %v", r.Trackable, r.Opens.Trackable, r.Clicks.Trackable, r.Untracked)
	}
}

func TestConsent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	var e api.Effect
	good(t, h.post(t, "/v1/consent", `{"subject":"Anna@example.com","opens":"refused","source":"letter","text_version":"1"}`), 200, &e)
	if !e.Effective || e.Position == 0 || len(e.Subject) != 16 {
		t.Errorf("%+v", e)
	}
	good(t, h.post(t, "/v1/consent", `{"subject":"anna@example.com","format":"plain","unsubscribed":false}`), 200, &e)
	var c api.Choices
	good(t, h.post(t, "/v1/consent/lookup", `{"subject":"anna@example.com"}`), 200, &c)
	if c.Subject != e.Subject || c.Opens != "refused" || c.Clicks != "unset" || c.Format != "plain" || len(c.History) != 2 || c.History[0].Source != "letter" {
		t.Errorf("%+v", c)
	}
	good(t, h.post(t, "/v1/consent", `{"subject":"bob@example.com","clicks":"granted"}`), 200, nil)

	feed := h.get(t, "/v1/consent/changes")
	lines := strings.Split(strings.TrimSpace(string(feed.body)), "\n")
	if feed.status != 200 || feed.header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 3 || strings.Contains(string(feed.body), "@") {
		t.Fatalf("%d %v\n%s", feed.status, feed.header, feed.body)
	}
	var second api.Change
	must(t, json.Unmarshal([]byte(lines[1]), &second))
	if second.Subject != e.Subject || second.Format != "plain" || second.Unsubscribed == nil || *second.Unsubscribed {
		t.Errorf("%s", lines[1])
	}
	next := feed.header.Get("Mailbeacon-Next")
	if rest := h.get(t, "/v1/consent/changes?after="+next); rest.status != 200 || len(rest.body) != 0 || next == "" {
		t.Errorf("after %s: %d %s", next, rest.status, rest.body)
	}
	if rest := h.get(t, fmt.Sprintf("/v1/consent/changes?after=%d", second.Position)); strings.Count(string(rest.body), "\n") != 1 {
		t.Errorf("after the second: %s", rest.body)
	}
	for _, query := range []string{"after=-1", "after=x", "before=1", "after=1&after=2", "anna@example.com=1"} {
		if p := h.get(t, "/v1/consent/changes?"+query).problem(t); p.Status != 422 {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestOpenAddresses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for path, want := range map[string]string{
		"/healthz": `{"status":"ok"}`, "/readyz": `{"ready":true,"reasons":[]}`, "/metrics": "mailbeacon_up 1", "/openapi.json": `"openapi":"3.1.0"`,
	} {
		if a := h.do(t, http.MethodGet, path, nil, "Authorization", ""); a.status != 200 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %.100s", path, a.status, a.body)
		}
	}
	h.notReady = []string{"the spool does not take events: disk is full"}
	var r api.Ready
	if good(t, h.get(t, "/readyz"), 503, &r); r.Ready || r.Reasons[0] != h.notReady[0] {
		t.Errorf("%+v", r)
	}
}

func TestDateOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var c api.Campaign
	good(t, h.post(t, "/v1/campaigns", `{"name":"dates","date_only":true}`), 201, &c)
	if good(t, h.get(t, "/v1/campaigns/dates"), 200, &c); !c.DateOnly {
		t.Errorf("%+v", c)
	}
	good(t, h.post(t, "/v1/consent", `{"subject":"anna@example.com","tracking":"date-only"}`), 200, nil)
	var e api.Effect
	good(t, h.post(t, "/v1/consent", `{"subject":"anna@example.com","tracking":"full","opens":"refused"}`), 200, &e)
	var p api.Choices
	good(t, h.post(t, "/v1/consent/lookup", `{"subject":"anna@example.com"}`), 200, &p)
	if len(p.History) != 2 || p.Tracking != "full" || p.History[0].Tracking != "date-only" || p.History[0].Before.Tracking != "full" ||
		p.History[1].Before.Tracking != "date-only" || p.History[1].After.Tracking != "full" || p.History[1].Opens != "refused" ||
		!strings.HasPrefix(e.Receipt, "mailbeacon consent receipt 2\n") {
		t.Errorf("%+v\n%s", p, e.Receipt)
	}
	if a := h.get(t, "/v1/consent/changes"); !strings.Contains(string(a.body), `"tracking":"date-only"`) {
		t.Errorf("%s", a.body)
	}
	if a := h.post(t, "/v1/consent", `{"subject":"anna@example.com","tracking":"some"}`); a.problem(t).Status != 422 {
		t.Errorf("%s", a.body)
	}
}
