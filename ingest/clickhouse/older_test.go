package clickhouse

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// TestAttachToAnOlderDatabase: what a build of each version counted, before anybody asked for streams, is stream 0 after the migration, of the
// topic that a folder remembers. What is read of it is exact, and so is what is counted on.
func TestAttachToAnOlderDatabase(t *testing.T) {
	t.Parallel()
	steps, err := ours()
	must(t, err)
	server := clickhousetest.Start(t)
	for have := 1; have <= len(steps); have++ {
		for name, c := range map[string]struct {
			remembered TopicID
			fine       bool
		}{"nobody remembers": {TopicID{}, true}, "the same": {topicID(2), true}, "another": {topicID(1), false}} {
			t.Run(fmt.Sprintf("version %d, %s", have, name), func(t *testing.T) {
				t.Parallel()
				o := unmade(t, server)
				_, err := migrate(t.Context(), o, steps[:have])
				must(t, err)
				countAtVersion(t, o, have)
				_, err = Migrate(t.Context(), o)
				must(t, err)
				s := open(t, o)
				expectCounted(t, s, 1, 8)
				for _, table := range []string{"aggregates", "activity"} { // old parts are merged into what the new schema says
					exec(t, o, "OPTIMIZE TABLE `"+o.Database+"`."+table+" FINAL")
				}
				st, err := s.Attach(t.Context(), "events", topicID(2), c.remembered)
				stands := uint64(1)
				if !c.fine {
					other(t, err, false, 0)
					st, err = s.Succeed(t.Context(), Stream{ID: topicID(1)}, "events", topicID(2), 4)
					stands = 0
				}
				must(t, err)
				goOn(t, s, partitionOf(t, st.Number, 3), stands)
			})
		}
	}
}

// countAtVersion writes what marked(3, 0) says, two people who opened and the day of one, as builds of that version did.
func countAtVersion(t *testing.T, o Options, have int) {
	t.Helper()
	conn, err := connect(t.Context(), o, o.Database)
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	insert := func(token, text string) {
		t.Helper()
		set := clickhouse.Settings{"insert_deduplicate": 1, "async_insert": 0}
		if token != "" {
			set["insert_deduplication_token"] = token
		}
		must(t, conn.Exec(clickhouse.Context(t.Context(), clickhouse.WithSettings(set)), text))
	}
	bound, day := fmt.Sprintf("%d", time.Now().Add(time.Minute).Unix()), "INSERT INTO activity (subject, day) VALUES (5, 8), (5, 7)"
	names := "row, scope, kind, class, number, epoch, offset, commit_id, context, next, deadline, hashes, n"
	if have >= 6 {
		bound, names = bound+"000", strings.Replace(names, "deadline", "until", 1)
	}
	switch {
	case have < 3:
		day = "INSERT INTO aggregates (row, number, day) VALUES ('active', 5, 8), ('active', 5, 7)"
	case have >= 7:
		day = "INSERT INTO activity (subject, day, until) VALUES (5, 8, " + bound + "), (5, 7, " + bound + ")"
	}
	insert("", day)
	insert("3:0", fmt.Sprintf(`INSERT INTO aggregates (%s) VALUES
		('progress', 3, 0, 0, 0, 0, 1, 77, 0, 0, 0, [], 0),
		('commit', 3, 0, 0, 0, 0, 1, 77, 0, 0, %s, [], 0),
		('mark', 3, 0, 0, 1, 9, 1, 0, 0, 1, 0, [], 0),
		('count', 1, %[3]d, 0, 0, 0, 0, 0, 0, 0, 0, [], 1),
		('unique', 1, %[3]d, %[4]d, 0, 0, 0, 0, 0, 0, 0, [11, 12], 0)`, names, bound, event.Open, classify.Human))
	if have >= 2 {
		insert("", "INSERT INTO populations (campaign, opens, clicks, hashes) VALUES (1, 0, 0, [11, 12, 13])")
	}
}

// expectCounted makes sure of all that is read of campaign 1, and of the day of the person 5.
func expectCounted(t *testing.T, s *Store, events uint64, day uint32) {
	t.Helper()
	if n := sumOf(t, s); n != events {
		t.Errorf("%d are counted, want %d", n, events)
	}
	people, err := s.UniqueCounts(t.Context(), 1)
	if must(t, err); len(people) != 2 || people[0].People != 2 || people[0].Human != 2 {
		t.Errorf("people %+v", people)
	}
	days, err := s.LastDays(t.Context(), []uint64{5})
	if must(t, err); len(days) != 1 || days[0].Day != day {
		t.Errorf("the last day of activity is in %v, want %d", days, day)
	}
}

// goOn commits to a partition that stands at an offset, with edge 1 counted up to 1, and makes sure that it does so once.
func goOn(t *testing.T, s *Store, partition uint32, stands uint64) {
	t.Helper()
	p, err := s.Progress(t.Context(), partition)
	if must(t, err); p.Offset != stands || len(p.Edges) != 1 || p.Edges[0] != (aggregate.EdgeMark{Edge: 1, Epoch: 9, Next: 1}) {
		t.Errorf("it stands at %+v, want %d", p, stands)
	}
	c := marked(partition, stands)
	c.LastActive = []aggregate.LastActive{{Subject: 5, Day: 9}}
	c.Uniques = []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 1, Kind: event.Open, Class: classify.Human}, Hashes: []uint64{12}}}
	must(t, s.Commit(t.Context(), c))
	expectCounted(t, s, 2, 9)
	for _, before := range []uint64{0, stands} { // what a rival holds that starts where the one before it did
		if err := s.Commit(t.Context(), marked(partition, before)); !errors.Is(err, aggregate.ErrConflict) {
			t.Errorf("again from %d: %v", before, err)
		}
	}
	expectCounted(t, s, 2, 9)
}
