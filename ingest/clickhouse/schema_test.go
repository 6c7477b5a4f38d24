package clickhouse

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// unmade is a database of the test's own that does not exist yet.
func unmade(t *testing.T, s *engine.Server) Options {
	t.Helper()
	o := database(t, s)
	exec(t, o, "DROP DATABASE `"+o.Database+"` SYNC")
	t.Cleanup(func() { exec(t, o, "CREATE DATABASE IF NOT EXISTS `"+o.Database+"`") }) // for the cleanup of database
	return o
}

func TestCheckRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		partitions int
		interval   time.Duration
		replicated bool
		right      string // "": it is
	}{
		{partitions: 12, interval: time.Second, replicated: true},
		{partitions: 27, interval: time.Second, replicated: true},
		{partitions: 28, interval: time.Second, replicated: true, right: "1.009s or more"},
		{partitions: 277, interval: time.Second},
		{partitions: 278, interval: time.Second, right: "1.002s or more"},
		{partitions: 4, interval: 10 * time.Millisecond, right: "15ms or more"},
		{partitions: 0, interval: 10 * time.Millisecond},
		{partitions: 100_000, interval: time.Minute, right: "6m0.001s or more"},
	} {
		err := (&Options{Replicated: c.replicated}).CheckRate(c.partitions, c.interval)
		if (err == nil) != (c.right == "") || err != nil && (!strings.Contains(err.Error(), c.right) || !strings.Contains(err.Error(), "--commit-interval")) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// From every older version the schema comes to the newest, and keeps what is in it.
func TestMigrateFromEveryVersion(t *testing.T) {
	t.Parallel()
	steps, err := ours()
	must(t, err)
	server := clickhousetest.Start(t)
	for have := range len(steps) + 1 {
		t.Run(fmt.Sprintf("version %d", have), func(t *testing.T) {
			t.Parallel()
			o := unmade(t, server)
			if _, err := Open(t.Context(), o); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "admin migrate") {
				t.Errorf("open nothing: %v", err)
			}
			done, err := migrate(t.Context(), o, steps[:have])
			must(t, err)
			if len(done) != have {
				t.Fatalf("took %v", done)
			}
			if have < len(steps) {
				want := ErrOlder
				if have == 0 {
					want = ErrMissing
				}
				if _, err := Open(t.Context(), o); !errors.Is(err, want) || !strings.Contains(err.Error(), "admin migrate") {
					t.Errorf("open version %d: %v, want %v", have, err, want)
				}
			}
			var kept uint64
			if have >= 1 { // the table aggregates is there
				conn, err := connect(t.Context(), o, o.Database)
				must(t, err)
				// As versions 1 to 4 commit, and may while the schema is newer already.
				must(t, conn.Exec(t.Context(), fmt.Sprintf("INSERT INTO aggregates (row, scope, number, offset, commit_id, deadline) VALUES ('progress', 0, 0, 3, 9, 0), ('commit', 0, 0, 3, 9, %d)",
					time.Now().Add(time.Minute).Unix())))
				err = conn.Exec(t.Context(), fmt.Sprintf("INSERT INTO aggregates (row, scope, number, offset, commit_id, deadline) VALUES ('progress', 0, 0, 5, 9, 0), ('commit', 0, 3, 5, 9, %d)",
					time.Now().Add(-time.Minute).Unix()))
				if code(err) != codeThrowIf {
					t.Errorf("an old commit that comes too late: %v", err)
				}
				must(t, conn.Exec(t.Context(), "INSERT INTO aggregates (row, number, day) VALUES ('active', 5, 7), ('active', 5, 8)"))
				must(t, conn.Exec(t.Context(), "INSERT INTO aggregates (row, scope, kind, link, class, hashes) VALUES ('unique', 7, 2, 1, 1, [5, 6])"))
				must(t, conn.Close())
				kept = 3
			}
			rest, err := Migrate(t.Context(), o)
			must(t, err)
			if len(rest) != len(steps)-have {
				t.Errorf("took %v from version %d", rest, have)
			}
			s := open(t, o)
			p, err := s.Progress(t.Context(), 0)
			must(t, err)
			if p.Offset != kept {
				t.Errorf("offset %d, was %d", p.Offset, kept)
			}
			if day := dayOf(t, o, 5); 1 <= have && have < 3 && day != 8 {
				t.Errorf("the last day of activity is %d, was 8", day)
			}
			must(t, s.Commit(t.Context(), step(kept, 1, 2)))
			// Who clicked before is in no exact set, and the rows that lack it can be read, merged, and added to.
			before := uint64(0)
			if have == len(steps) {
				before = 2
			}
			clicks := step(kept+1, 1, 2)
			clicks.Uniques = []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 7, Link: 1, Kind: event.Click, Class: classify.Human}, Hashes: []uint64{8, 9, 10}}}
			for want := before; ; want += 3 {
				if n, err := s.Clickers(t.Context(), 7, []uint16{1}); err != nil || n != want {
					t.Errorf("%d people clicked, %v, want %d", n, err, want)
				}
				if want > before {
					break
				}
				must(t, s.Commit(t.Context(), clicks))
				exec(t, o, "OPTIMIZE TABLE `"+o.Database+"`.aggregates FINAL")
			}
			must(t, s.AddPopulation(t.Context(), []aggregate.Population{{Campaign: 1, Hashes: []uint64{1}}}))
			if again, err := Migrate(t.Context(), o); err != nil || len(again) != 0 {
				t.Errorf("again: %v, %v", again, err)
			}
		})
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	exec(t, o, "INSERT INTO `"+o.Database+"`.migrations (version, name) VALUES (99, 'from the future')")
	_, err := Open(t.Context(), o)
	_, merr := Migrate(t.Context(), o)
	for _, err := range []error{err, merr} {
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 99") || !strings.Contains(err.Error(), Setting) {
			t.Errorf("%v, want %v with the version", err, ErrNewer)
		}
	}
}

// A step that fails in its middle leaves the version before, and is taken again from its beginning.
func TestMigrationThatWasCutShort(t *testing.T) {
	t.Parallel()
	o := unmade(t, clickhousetest.Start(t))
	from := fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = {{.Engine \"MergeTree\"}} ORDER BY n;\nSELECT throwIf(1);\n")}}
	bad, err := migrations(from)
	must(t, err)
	if _, err := migrate(t.Context(), o, bad); code(err) != codeThrowIf || !strings.Contains(err.Error(), "0001_a.sql") {
		t.Fatalf("%v does not name the step", err)
	}
	from["0001_a.sql"].Data = []byte(strings.ReplaceAll(string(from["0001_a.sql"].Data), "throwIf(1)", "1"))
	good, err := migrations(from)
	must(t, err)
	done, err := migrate(t.Context(), o, good)
	if err != nil || len(done) != 1 {
		t.Fatalf("%v, %v", done, err)
	}
}

func TestSeveralMigrateAtOnce(t *testing.T) {
	t.Parallel()
	o := unmade(t, clickhousetest.Start(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Migrate(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, open(t, o).Commit(t.Context(), step(0, 1, 1)))
}

func TestMigrationsAreNumbered(t *testing.T) {
	t.Parallel()
	if _, err := migrations(fstest.MapFS{"0001_a.sql": {}, "0003_b.sql": {}}); err == nil || !strings.Contains(err.Error(), "0002_") {
		t.Errorf("a gap: %v", err)
	}
}

// There is no keeper here, so that replicated tables can't be made: what can be held is that every
// statement is as it should be, and that the server can read it.
func TestReplicatedSchema(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	steps, err := ours()
	must(t, err)
	steps = append(steps, migration{name: "migrations_table", text: query("migrations_table")})
	d := dialect{cluster: "c1", replicated: true}
	tables := 0
	for _, m := range steps {
		all, err := d.statements(m.name, m.text)
		must(t, err)
		for _, text := range all {
			var tree string
			ask(t, o, "EXPLAIN AST "+text, &tree)
			if !strings.Contains(text, "CREATE TABLE") {
				continue
			}
			tables++
			for _, part := range []string{" ON CLUSTER `c1` (", "ENGINE = Replicated", "MergeTree('/clickhouse/tables/mailbeacon/{database}/{table}', '{replica}')"} {
				if !strings.Contains(text, part) {
					t.Errorf("%s lacks %q:\n%s", m.name, part, text)
				}
			}
			if strings.Contains(text, "non_replicated") || strings.Contains(text, "{{") {
				t.Errorf("%s:\n%s", m.name, text)
			}
		}
	}
	if tables != 9 {
		t.Errorf("%d tables", tables)
	}
	set := insertSettings(true)
	for name, want := range map[string]any{"insert_quorum": "auto", "insert_quorum_parallel": 0, "insert_deduplicate": 1, "async_insert": 0} {
		if set[name] != want {
			t.Errorf("%s = %v, want %v", name, set[name], want)
		}
	}
}
