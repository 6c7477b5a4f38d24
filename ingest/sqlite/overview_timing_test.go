package sqlite

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/report"
)

// templates is how many campaigns are made; the others are copies of them.
const templates = 40

// fillCampaigns makes campaigns of 600 cells, 18 sketches of 20 to 20,000 people and two memberships.
func fillCampaigns(b *testing.B, s *Counts, campaigns int) {
	rnd := rand.New(rand.NewPCG(3, 4))
	some := func(n int) []uint64 {
		all := make([]uint64, n)
		for i := range all {
			all[i] = rnd.Uint64()
		}
		return all
	}
	for n := range uint32(templates) {
		var c aggregate.Commit
		c.Before, c.After.Offset = uint64(n), uint64(n)+1
		people := int(20 * math.Pow(1000, float64(n)/templates))
		for hour := range uint32(100) {
			for link := range uint16(6) {
				cell := aggregate.Cell{Campaign: n, Hour: 490_000 + hour*hour/40, Link: link, Kind: event.Open, Class: classify.Class(hour % 4), Client: event.Client(hour % 5)}
				if link > 0 {
					cell.Kind = event.Click
				}
				c.Counts = append(c.Counts, aggregate.Count{Cell: cell, N: 80})
			}
		}
		for link := range uint16(6) {
			for class := range classify.Class(3) {
				u := aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: n, Link: link, Kind: event.Open, Class: class}, Hashes: some(1 + people/3)}
				if link > 0 {
					u.Kind, u.Hashes = event.Click, u.Hashes[:1+people/30]
				}
				c.Uniques = append(c.Uniques, u)
			}
		}
		must(b, s.Commit(b.Context(), &c))
		must(b, s.AddPopulation(b.Context(), []aggregate.Population{
			{Campaign: n, Hashes: some(people * 3)}, {Campaign: n, Member: aggregate.Member{Opens: event.OptedOut}, Hashes: some(people / 10)},
		}))
	}
	conn, err := s.d.writer.Conn(b.Context())
	must(b, err)
	defer conn.Close()
	for from := templates; from < campaigns; from += templates {
		for _, text := range []string{
			"INSERT INTO counts SELECT campaign + %d, hour, link, kind, reason, class, client, n FROM counts WHERE campaign < %d",
			"INSERT INTO sketches (campaign, link, kind, class, sketch) SELECT campaign + %d, link, kind, class, sketch FROM sketches WHERE campaign < %d",
			"INSERT INTO populations (campaign, opens, clicks, sketch) SELECT campaign + %d, opens, clicks, sketch FROM populations WHERE campaign < %d",
		} {
			_, err := conn.ExecContext(b.Context(), fmt.Sprintf(text, from, templates))
			must(b, err)
		}
	}
}

// BenchmarkOverview is a page of campaigns out of many, another each time. MAILBEACON_CAMPAIGNS=20000 is a large install.
func BenchmarkOverview(b *testing.B) {
	const page = 25
	campaigns := 400
	if n, err := strconv.Atoi(os.Getenv("MAILBEACON_CAMPAIGNS")); err == nil {
		campaigns = n
	}
	path := filepath.Join(b.TempDir(), "counts.db")
	s, err := OpenCounts(b.Context(), path)
	must(b, err)
	defer s.Close()
	fillCampaigns(b, s, campaigns)
	info, err := os.Stat(path)
	must(b, err)
	b.Logf("%d campaigns, %d MB", campaigns, info.Size()>>20)
	rnd := rand.New(rand.NewPCG(1, 2))
	var took []time.Duration
	for b.Loop() {
		subjects := make([]report.Subject, page)
		from := rnd.IntN(campaigns - page)
		for i := range subjects {
			subjects[i] = report.Subject{Number: uint32(from + i), Delivered: 10_000}
		}
		start := time.Now()
		lines, err := report.Overview(b.Context(), s, subjects)
		took = append(took, time.Since(start))
		must(b, err)
		if len(lines) != page || lines[7].Opens.Total == 0 || lines[7].Clicks.Unique == 0 || len(lines[7].Series) == 0 || lines[7].Trackable == 0 {
			b.Fatalf("%+v", lines[7])
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
