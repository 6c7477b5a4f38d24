package dashboard

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// TestZone: the address before the cookie before UTC; a wrong name is told, and never breaks a page.
func TestZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Secure = func(r *http.Request) bool { return r.Header.Get("X-Test") != "" } })
	sent := time.Date(2026, 5, 10, 20, 0, 0, 0, time.UTC)
	n := w.campaigns.add("spring", "", sent, 500)
	w.fill(t, rand.New(rand.NewPCG(1, 1)), n, sent, 500, 0.4)
	for _, c := range []struct {
		address, cookie string
		shows           string // the first hour
		sets            string
		notice          bool
	}{
		{"/campaigns/spring", "", "Sun 10 May 2026, 20:00", "", false},
		{"/campaigns/spring?zone=Europe/Berlin", "", "Sun 10 May 2026, 22:00", "Europe/Berlin", false},
		{"/campaigns/spring", "Asia/Kolkata", "Mon 11 May 2026, 01:30", "", false},
		{"/campaigns/spring?zone=America/Los_Angeles", "Asia/Kolkata", "Sun 10 May 2026, 13:00", "America/Los_Angeles", false},
		{"/campaigns/spring?zone=America/Argentina/Ushuaia", "", "Sun 10 May 2026, 17:00", "America/Argentina/Ushuaia", false},
		{"/campaigns/spring?zone=Mars/Olympus", "Asia/Kolkata", "Sun 10 May 2026, 20:00", "", true},
		{"/campaigns/spring?zone=Local", "", "Sun 10 May 2026, 20:00", "", true},
		{"/campaigns/spring?zone=../../etc/passwd", "", "Sun 10 May 2026, 20:00", "", true},
		{"/campaigns/spring?zone=" + strings.Repeat("A", 5000), "", "Sun 10 May 2026, 20:00", "", true},
		{"/campaigns/spring?zone=%00", "", "Sun 10 May 2026, 20:00", "", true},
		{"/campaigns/spring", "nonsense%%", "Sun 10 May 2026, 20:00", "", false},
		{"/campaigns/spring", "Mars", "Sun 10 May 2026, 20:00", "", false},
	} {
		answer := w.get(t, c.address, "Cookie", "zone="+c.cookie, "X-Test", "1")
		body := answer.Body.String()
		if answer.Code != 200 || !strings.Contains(body, c.shows) || strings.Contains(body, "There is no time zone") != c.notice {
			t.Errorf("%.60s with %q: %d", c.address, c.cookie, answer.Code)
		}
		cookies, set := answer.Result().Cookies(), ""
		if len(cookies) == 1 {
			set, _ = url.QueryUnescape(cookies[0].Value)
			if k := cookies[0]; !k.HttpOnly || !k.Secure || k.SameSite != http.SameSiteStrictMode {
				t.Errorf("cookie %+v", k)
			}
		}
		if set != c.sets {
			t.Errorf("%.60s sets %q, want %q", c.address, set, c.sets)
		}
	}
	if c := w.get(t, "/campaigns?zone=Europe/Paris").Result().Cookies(); len(c) != 1 || c[0].Secure {
		t.Errorf("over http: %v", c)
	}
	// The form keeps what else the page was asked for, and offers the zone that is set though it is not on the list.
	page := w.page(t, "/campaigns/spring?by=day&zone=America/Argentina/Ushuaia")
	for _, want := range []string{`name="by" value="day"`, "<option selected>America/Argentina/Ushuaia"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, name := range zones {
		if _, ok := loadZone(name); !ok {
			t.Errorf("%s is offered and not there", name)
		}
	}
}

// TestDays: a day has 23, 24 or 25 hours, and may begin at one o'clock; each hour is in its own day.
func TestDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone  string
		first time.Time
		want  []float64 // clicks of the days: one an hour
	}{
		{"UTC", time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), []float64{24, 24, 24}},
		{"Europe/Berlin", time.Date(2026, 3, 27, 23, 0, 0, 0, time.UTC), []float64{24, 23, 24, 1}},
		{"Europe/Berlin", time.Date(2026, 10, 23, 22, 0, 0, 0, time.UTC), []float64{24, 25, 23}},
		{"Africa/Cairo", time.Date(2026, 4, 22, 22, 0, 0, 0, time.UTC), []float64{24, 23, 24, 1}},     // the 24th begins at 1:00
		{"America/Sao_Paulo", time.Date(2018, 11, 3, 3, 0, 0, 0, time.UTC), []float64{24, 23, 24, 1}}, // the 4th begins at 1:00
		{"Asia/Kathmandu", time.Date(2026, 3, 27, 18, 0, 0, 0, time.UTC), []float64{1, 24, 24, 23}},   // 23:45
		{"Pacific/Auckland", time.Date(2026, 9, 25, 12, 0, 0, 0, time.UTC), []float64{24, 23, 24, 1}},
	} {
		w := newWorld(t)
		n := w.campaigns.add("spring", "", c.first, 0)
		var commit aggregate.Commit
		for h := range uint32(72) {
			commit.Counts = append(commit.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: n, Hour: uint32(c.first.Unix()/3600) + h, Kind: event.Click, Link: 1}, N: 1})
		}
		w.commit(t, commit)
		rows := w.json(t, "/campaigns/spring?by=day&format=json&zone="+c.zone)["timeline"]
		if len(rows) != len(c.want) {
			t.Errorf("%s: %d days, want %d: %v", c.zone, len(rows), len(c.want), rows)
			continue
		}
		for i, r := range rows {
			zone, err := time.LoadLocation(c.zone)
			must(t, err)
			year, month, day := c.first.In(zone).Date()
			date := time.Date(year, month, day+i, 12, 0, 0, 0, zone).Format(time.DateOnly)
			if r["clicks"] != c.want[i] || !strings.HasPrefix(r["begins"].(string), date) {
				t.Errorf("%s: day %d, %v, has %v clicks, want %v", c.zone, i, r["begins"], r["clicks"], c.want[i])
			}
		}
	}
}
