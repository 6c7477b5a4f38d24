package clickhouse

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/report"
)

const (
	// A campaign of 50,000 events: 250 cells, 10 sketches of 20 to 20,000 people, two memberships.
	fillCounts = `INSERT INTO aggregates (row, scope, kind, link, class, hour, client, n)
		SELECT 'count', %[1]d + intDiv(number, 250), 1 + number %% 2, number %% 2 * (1 + number %% 5), number %% 4, 490000 + intDiv(number %% 250, 10), number %% 12, 200
		FROM numbers(%[2]d * 250)`
	fillUniques = `INSERT INTO aggregates (row, scope, kind, link, class, hashes)
		SELECT 'unique', %[1]d + intDiv(number, 10) AS c, 1 + number %% 2, number %% 2 * (1 + number %% 5), intDiv(number %% 10, 4) AS k,
			arrayMap(x -> cityHash64(c, number, x), range(toUInt64(20 * pow(10, 3 * (cityHash64(c) %% 1000) / 1000)) + number %% 10))
		FROM numbers(%[2]d * 10)`
	fillPopulations = `INSERT INTO populations (campaign, opens, clicks, hashes)
		SELECT %[1]d + intDiv(number, 2) AS c, number %% 2, 0, arrayMap(x -> cityHash64(number, x), range(2000))
		FROM numbers(%[2]d * 2)`
)

// fill makes campaigns, some at a time: a large insert of sketches takes gigabytes.
func fill(b *testing.B, s *Store, campaigns int) {
	const some = 500
	for from := 0; from < campaigns; from += some {
		for _, text := range []string{fillCounts, fillUniques, fillPopulations} {
			must(b, s.conn.Exec(b.Context(), fmt.Sprintf(text, 1+from, min(some, campaigns-from))))
		}
	}
}

// BenchmarkReport is a whole report, of a random campaign each time, over 50,000
// events a campaign. MAILBEACON_CAMPAIGNS=20000 is a billion events.
func BenchmarkReport(b *testing.B) {
	campaigns := 400
	if n, err := strconv.Atoi(os.Getenv("MAILBEACON_CAMPAIGNS")); err == nil {
		campaigns = n
	}
	server := clickhousetest.Start(b)
	s := open(b, database(b, server))
	begin := time.Now()
	fill(b, s, campaigns)
	filled := time.Since(begin)
	rest(b, s)
	var rows, bytes, parts uint64
	must(b, s.conn.QueryRow(b.Context(), "SELECT sum(rows), sum(bytes_on_disk), count() FROM system.parts WHERE database = currentDatabase() AND active").Scan(&rows, &bytes, &parts))
	b.Logf("%d campaigns, %d M events, %d rows, %d MB, %d parts, filled in %v", campaigns, campaigns/20, rows, bytes>>20, parts, filled.Round(time.Second))
	rnd := rand.New(rand.NewPCG(1, 2))
	var took []time.Duration
	used := serverTicks(b, server)
	for b.Loop() {
		c := 1 + uint32(rnd.IntN(campaigns))
		start := time.Now()
		r, err := report.Query(b.Context(), s, report.Subject{Number: c, Delivered: 10_000}, start)
		must(b, err)
		took = append(took, time.Since(start))
		if r.Opens.Received+r.Clicks.Received != 50_000 || r.Opens.Unique < 20 || r.Clicks.Unique < 20 || r.Trackable == 0 {
			b.Fatalf("campaign %d: %+v", c, r)
		}
	}
	reportServer(b, server, used)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// rest waits for the merges of what was filled: a billion events do not come within minutes elsewhere, and
// nor do their merges.
func rest(b *testing.B, s *Store) {
	for quiet := 0; quiet < 10; time.Sleep(200 * time.Millisecond) {
		var merges uint64
		must(b, s.conn.QueryRow(b.Context(), "SELECT count() FROM system.merges WHERE database = currentDatabase()").Scan(&merges))
		if quiet++; merges > 0 {
			quiet = 0
		}
	}
}
