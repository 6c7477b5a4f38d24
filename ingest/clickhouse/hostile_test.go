package clickhouse

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/control"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// forHostile is a store's options as a user whose profile has everything that is bad for an insert.
func forHostile(o Options) Options {
	o.User = "hostile"
	return o
}

// TestHostileProfile: an insert rests on no setting of the server's. The tables get a column that notes which settings the engine
// saw with the rows, for every statement that inserts.
func TestHostileProfile(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	for name, change := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := database(t, server)
			tables := []string{"aggregates", "activity", "populations", "ledger", "ledger_people"}
			names := slices.Sorted(maps.Keys(needed))
			var seen []string
			for _, name := range names {
				seen = append(seen, fmt.Sprintf("toString(getSetting('%s'))", name))
			}
			for _, table := range tables {
				exec(t, o, fmt.Sprintf("ALTER TABLE `%s`.%s ADD COLUMN seen Array(String) DEFAULT [%s]", o.Database, table, strings.Join(seen, ", ")))
			}
			s := open(t, forHostile(change(server, o)))
			c := commitOf(500, 0, rand.New(rand.NewPCG(1, 2)))
			c.LastActive = []aggregate.LastActive{{Subject: 1, Day: 20_000}}
			must(t, s.Commit(t.Context(), c))
			must(t, s.AddPopulation(t.Context(), []aggregate.Population{{Campaign: 1, Hashes: []uint64{1}}}))
			must(t, s.Add(t.Context(), []control.Entry{ledgerEntry(1, "a", "x")}, [][]uint64{{1}}))
			for _, table := range tables {
				var got []string
				ask(t, o, "SELECT any(seen) FROM "+table, &got)
				for i, name := range names {
					if i >= len(got) || !same(got[i], needed[name]) {
						t.Errorf("%s: %s is %q in the insert, want %s", table, name, got, needed[name])
					}
				}
			}
		})
	}
}

// needed is what the settings of an insert must be, whoever sets them.
var needed = map[string]string{
	"async_insert":                   "0",
	"use_strict_insert_block_limits": "0",
	"max_insert_block_size":          "1073741824",
	"min_insert_block_size_rows":     "1073741824",
	"min_insert_block_size_bytes":    "0",
	"max_insert_threads":             "1",
	"optimize_on_insert":             "1",
	"insert_deduplicate":             "1",
	"deduplicate_insert":             "enable",
	"insert_quorum":                  "0",
}

// same compares a setting as the engine tells it with one as we give it.
func same(got, want string) bool {
	return got == want || got == "true" && want == "1" || got == "false" && want == "0"
}

// TestHostileProfileSplits: the profile does harm to whoever does not say otherwise, and a commit of any size stays one part that is there
// once.
func TestHostileProfileSplits(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, forHostile(o))
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := func() (n uint64) {
		t.Helper()
		ask(t, o, partsEver, &n)
		return n
	}
	must(t, s.Commit(t.Context(), commitOf(5_000, 0, rnd)))
	if n := parts(); n != 1 {
		t.Errorf("a commit is %d parts", n)
	}
	must(t, s.send(t.Context(), commitOf(5_000, 0, rnd), 7, ^uint64(0), "0:0"))
	if n := parts(); n != 1 {
		t.Errorf("a token that is spent made a part: %d", n)
	}
	clear(s.settings)
	_ = s.send(t.Context(), commitOf(5_000, 0, rnd), 8, ^uint64(0), "0:0") // what becomes of it is open
	if n := parts(); n < 3 {
		t.Errorf("%d parts: the profile does no harm", n)
	}
}
