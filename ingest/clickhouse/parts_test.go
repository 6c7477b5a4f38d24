package clickhouse

import (
	"math/rand/v2"
	"sync"
	"testing"

	"mailbeacon/ingest/aggregate"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// Blocks are numbered as they are inserted: the highest number is how many parts there ever were.
const partsEver = "SELECT toUInt64(max(max_block_number)) FROM system.parts WHERE database = currentDatabase() AND table = 'aggregates' AND active"

// A commit is one part, however large; and the count of parts can tell.
func TestCommitIsOnePart(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	sizes := []int{10, 5_000, 300_000}
	if testing.Short() {
		sizes[2] = 30_000
	}
	for _, change := range []func(*engine.Server, Options) Options{
		func(_ *engine.Server, o Options) Options { return o }, overHTTP,
	} {
		o := database(t, server)
		s := open(t, change(server, o))
		rnd := rand.New(rand.NewPCG(1, 2))
		for i, rows := range sizes {
			must(t, s.Commit(t.Context(), commitOf(rows, uint64(i), rnd)))
			var parts uint64
			if ask(t, o, partsEver, &parts); parts != uint64(i+1) {
				t.Errorf("%d parts after %d commits, the last of %d rows", parts, i+1, rows)
			}
		}
		// What the settings are for.
		s.settings["use_strict_insert_block_limits"] = 1
		s.settings["min_insert_block_size_rows"] = 1000
		s.settings["max_insert_block_size"] = 1000
		_ = s.Commit(t.Context(), commitOf(5_000, uint64(len(sizes)), rnd)) // what becomes of it is open
		var parts uint64
		if ask(t, o, partsEver, &parts); parts < uint64(len(sizes)+3) {
			t.Errorf("%d parts: the settings make no difference, or they can't be counted", parts)
		}
	}
}

// Every commit is a part, and the server merges them as fast as they come.
func TestPartsStayBounded(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	commits := uint64(300)
	if testing.Short() {
		commits = 60
	}
	const active = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'aggregates' AND active"
	var most uint64
	for i := range commits {
		must(t, s.Commit(t.Context(), step(i, 1, i)))
		if i%20 == 0 {
			var parts uint64
			ask(t, o, active, &parts)
			most = max(most, parts)
		}
	}
	t.Logf("%d commits, at most %d parts", commits, most)
	if most > 60 {
		t.Errorf("%d parts at once", most)
	}
	var counted, offset uint64
	if ask(t, o, countedAndOffset, &counted, &offset); counted != commits || offset != commits {
		t.Errorf("%d counted at offset %d after merges, want %d", counted, offset, commits)
	}
}

// Mails that are rendered one by one don't make a part each.
func TestPopulationsShareInserts(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	var wg sync.WaitGroup
	const callers, each = 20, 20
	for c := range uint64(callers) {
		wg.Go(func() {
			for i := range uint64(each) {
				p := []aggregate.Population{{Campaign: 1, Hashes: []uint64{(c*each + i) * 0x9e3779b97f4a7c15}}}
				if err := s.AddPopulation(t.Context(), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var parts uint64
	ask(t, o, "SELECT toUInt64(max(max_block_number)) FROM system.parts WHERE database = currentDatabase() AND table = 'populations'", &parts)
	if parts > callers*each/4 {
		t.Errorf("%d parts of %d calls", parts, callers*each)
	}
	if p, err := s.Populations(t.Context(), 1); err != nil || len(p) != 1 || p[0].People != callers*each {
		t.Errorf("%v, %v, want %d people", p, err, callers*each)
	}
}
