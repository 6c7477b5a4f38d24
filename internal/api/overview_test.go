package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/api"
	"mailbeacon/internal/classify"
)

func TestMail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	put := func(body string) *answer {
		t.Helper()
		return h.do(t, http.MethodPut, "/v1/campaigns/spring/mail", strings.NewReader(body))
	}
	if p := h.get(t, "/v1/campaigns/spring/mail").problem(t); p.Status != 404 || !strings.Contains(p.Detail, "campaign mail") {
		t.Errorf("none yet: %+v", p)
	}
	const html = `<p>Hello <a href=\"https://example.com/a\">One</a></p>`
	var kept api.KeptMail
	good(t, put(`{"html":"`+html+`"}`), 200, &kept)
	if kept.Links != 1 || kept.Bytes != len(html)-2 {
		t.Errorf("%+v", kept)
	}
	var back api.DesignedMail
	good(t, h.get(t, "/v1/campaigns/spring/mail"), 200, &back)
	if back.HTML != strings.ReplaceAll(html, `\"`, `"`) {
		t.Errorf("%q", back.HTML)
	}
	if p := put(`{"html":"<img src='https://t.example/o/x.gif'>"}`).problem(t); p.Status != 422 || len(p.Errors) != 1 || !strings.Contains(fmt.Sprint(p.Errors[0]), "html") {
		t.Errorf("made for somebody: %+v", p)
	}
	good(t, put(`{"html":""}`), 200, &kept)
	if p := h.get(t, "/v1/campaigns/spring/mail").problem(t); p.Status != 404 {
		t.Errorf("taken away: %+v", p)
	}
	if p := h.do(t, http.MethodPut, "/v1/campaigns/autumn/mail", strings.NewReader(`{"html":""}`)).problem(t); p.Status != 404 {
		t.Errorf("no such campaign: %+v", p)
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var empty api.Overview
	good(t, h.get(t, "/v1/overview"), 200, &empty)
	if empty.Campaigns == nil || empty.Opens == nil || empty.Clicks == nil || empty.Trend == nil || empty.Next != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
	var c aggregate.Commit
	c.After.Offset = 1
	for i := range 3 {
		var made api.Campaign
		good(t, h.post(t, "/v1/campaigns", fmt.Sprintf(`{"name":"c%d","title":"Campaign %d"}`, i, i)), 201, &made)
		good(t, h.post(t, fmt.Sprintf("/v1/campaigns/c%d/deliveries", i), `{"id":"b","delivered":200}`), 200, nil)
		who := make([]uint64, 30+60*i)
		all := make([]uint64, 200)
		for n := range all {
			all[n] = uint64(n+1) * 0x9e3779b97f4a7c15
		}
		copy(who, all)
		must(t, h.counts.AddPopulation(t.Context(), []aggregate.Population{{Campaign: made.Number, Hashes: all}}))
		key := aggregate.UniqueKey{Campaign: made.Number, Kind: event.Open, Class: classify.Human}
		c.Uniques = append(c.Uniques, aggregate.Uniques{UniqueKey: key, Hashes: who})
		c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: made.Number, Hour: 500_000, Kind: event.Open, Class: classify.Human}, N: uint64(len(who))})
	}
	must(t, h.counts.Commit(t.Context(), &c))
	var o api.Overview
	good(t, h.get(t, "/v1/overview?zone=Europe/Berlin"), 200, &o)
	if len(o.Campaigns) != 3 || o.Campaigns[0].Campaign != "c2" || o.Campaigns[2].Title != "Campaign 0" || o.Next != 0 {
		t.Errorf("%+v", o)
	}
	if len(o.Opens) != 3 || o.Opens[0].Campaign != "c2" || o.Opens[0].Best != 1 || o.Opens[0].Worst != 1 || o.Opens[2].Best != 3 || o.Opens[0].Rate.Low != 150.0/200 {
		t.Errorf("places %+v", o.Opens)
	}
	if len(o.Trend) != 1 || o.Trend[0].Campaigns != 3 || o.Trend[0].Opens.Trackable != 600 {
		t.Errorf("trend %+v", o.Trend)
	}
	var names []string
	for before := uint32(0); ; {
		var page api.Overview
		good(t, h.get(t, fmt.Sprintf("/v1/overview?limit=2&before=%d", before)), 200, &page)
		for _, l := range page.Campaigns {
			names = append(names, l.Campaign)
		}
		if before = page.Next; before == 0 {
			break
		}
	}
	if got := strings.Join(names, " "); got != "c2 c1 c0" {
		t.Errorf("in pages: %s", got)
	}
	for _, query := range []string{"zone=Mars/Olympus", "zone=Local", "zone=../../etc/passwd", "limit=0", "limit=201", "before=-1"} {
		if p := h.get(t, "/v1/overview?"+query).problem(t); p.Status != 422 {
			t.Errorf("%s: %+v", query, p)
		}
	}
}
