package clickhouse

import (
	"errors"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// dayOf is the stored day of a person's last activity, 0 if there is none.
func dayOf(t *testing.T, o Options, subject uint64) (day uint32) {
	t.Helper()
	s := open(t, o)
	must(t, s.conn.QueryRow(t.Context(), "SELECT max(day) FROM activity WHERE subject = ?", subject).Scan(&day))
	return day
}

// The latest day stands, whatever the order; a commit without days writes none.
func TestLastDayOfActivity(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	for i, days := range [][]aggregate.LastActive{
		{{Subject: 1, Day: 10}, {Subject: 2, Day: 10}},
		nil,
		{{Subject: 1, Day: 12}, {Subject: 2, Day: 9}, {Subject: 1 << 63, Day: 1<<32 - 1}},
	} {
		c := step(uint64(i), 1, uint64(i+1))
		c.LastActive = days
		must(t, s.Commit(t.Context(), c))
	}
	for subject, want := range map[uint64]uint32{1: 12, 2: 10, 3: 0, 1 << 63: 1<<32 - 1} {
		if got := dayOf(t, o, subject); got != want {
			t.Errorf("subject %d was active on day %d, want %d", subject, got, want)
		}
	}
}

// Where the days can't be noted nothing is counted: nobody would read those events again.
func TestDaysComeBeforeCounts(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	exec(t, o, "DROP TABLE `"+o.Database+"`.activity SYNC")
	if err := s.Commit(t.Context(), step(0, 3, 1)); err == nil || errors.Is(err, aggregate.ErrConflict) {
		t.Errorf("%v", err)
	}
	p, err := s.Progress(t.Context(), 0)
	must(t, err)
	if p.Offset != 0 {
		t.Errorf("offset %d was committed without the days of its events", p.Offset)
	}
}
