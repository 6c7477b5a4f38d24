package sqlite

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/dashboard"
)

// registerCampaigns makes the campaigns that fillCampaigns counts, all but number 0, a day apart.
func registerCampaigns(b *testing.B, campaigns int) *campaign.Registry {
	r := campaign.NewRegistry()
	pos := control.Position(0)
	apply := func(kind control.Kind, key string, body map[string]any) {
		text, err := json.Marshal(body)
		must(b, err)
		pos++
		must(b, r.Apply(control.Entry{Position: pos, Record: control.Record{Kind: kind, Key: key, Time: time.Now(), Body: text}}))
	}
	for n := 1; n < campaigns; n++ {
		name := fmt.Sprintf("letter-%05d", n)
		created := time.Now().Add(-time.Duration(campaigns-n) * 24 * time.Hour)
		apply(control.KindCampaign, name, map[string]any{"number": n, "title": "What our readers asked in week " + strconv.Itoa(n), "created": created, "hash_key": fmt.Sprintf("%032x", n)})
		for link := 1; link <= 5; link++ {
			apply(control.KindLink, fmt.Sprintf("%s/%d", name, link), map[string]any{"id": strconv.Itoa(link), "url": "https://example.com/" + strconv.Itoa(link), "label": "Read on"})
		}
		apply(control.KindDelivery, name+"/all", map[string]any{"delivered": 10_000, "bounced": 20})
	}
	return r
}

// BenchmarkDashboard is each page of a dashboard, of another campaign each time. MAILBEACON_CAMPAIGNS=20000 is a large install.
// A comparison is looked at as it is in a server, where Run keeps its numbers; cold is the first look without that.
func BenchmarkDashboard(b *testing.B) {
	campaigns := 400
	if n, err := strconv.Atoi(os.Getenv("MAILBEACON_CAMPAIGNS")); err == nil {
		campaigns = n
	}
	s, err := OpenCounts(b.Context(), filepath.Join(b.TempDir(), "counts.db"))
	must(b, err)
	defer s.Close()
	fillCampaigns(b, s, campaigns)
	registry := registerCampaigns(b, campaigns)
	fresh := func() *http.ServeMux {
		d, err := dashboard.New(dashboard.Options{
			Campaigns: registry, Counts: s, Consent: consent.NewTable(consent.BasisSubject),
			System: func() dashboard.System { return dashboard.System{} }, NotReady: func() []string { return nil },
		})
		must(b, err)
		mux := http.NewServeMux()
		for _, p := range d.Pages() {
			mux.HandleFunc(p.Path, func(w http.ResponseWriter, r *http.Request) {
				p.Handler(w, r, dashboard.Viewer{Name: "ann", Role: "admin"})
			})
		}
		return mux
	}
	mux, rnd := fresh(), rand.New(rand.NewPCG(1, 2))
	get := func(b *testing.B, mux *http.ServeMux, address string) int {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, address, nil))
		if w.Code != http.StatusOK {
			b.Fatalf("%s: %d %s", address, w.Code, w.Body)
		}
		return w.Body.Len()
	}
	get(b, mux, "/compare?n=200")
	for _, page := range []struct {
		name    string
		cold    bool
		address func() string
	}{
		{"campaigns", false, func() string { return fmt.Sprint("/campaigns?before=", 27+rnd.IntN(campaigns-27)) }},
		{"find-few", false, func() string { return fmt.Sprintf("/campaigns?q=letter-%04d", rnd.IntN(campaigns/10)) }},
		{"find-none", false, func() string { return "/campaigns?q=nowhere" }},
		{"campaign", false, func() string { return fmt.Sprintf("/campaigns/letter-%05d", 1+rnd.IntN(campaigns-1)) }},
		{"campaign-days", false, func() string {
			return fmt.Sprintf("/campaigns/letter-%05d?by=day&zone=Europe/Berlin", 1+rnd.IntN(campaigns-1))
		}},
		{"campaign-csv", false, func() string { return fmt.Sprintf("/campaigns/letter-%05d?format=csv", 1+rnd.IntN(campaigns-1)) }},
		{"compare-50", false, func() string { return "/compare" }},
		{"compare-200", false, func() string { return "/compare?n=200&by=clicks" }},
		{"compare-50-cold", true, func() string { return "/compare" }},
		{"compare-200-cold", true, func() string { return "/compare?n=200" }},
		{"consent", false, func() string { return "/consent" }},
		{"system", false, func() string { return "/system" }},
	} {
		b.Run(page.name, func(b *testing.B) {
			var took []time.Duration
			largest := 0
			for b.Loop() {
				m := mux
				if page.cold {
					m = fresh()
				}
				address := page.address()
				start := time.Now()
				size := get(b, m, address)
				took = append(took, time.Since(start))
				largest = max(largest, size)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(largest)/1000, "kB")
		})
	}
}
