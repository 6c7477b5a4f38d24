package clickhouse

import (
	"testing"
	"time"

	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// TestCommitMovesForward: a commit that moves nothing, or back, would say that it is stored and store nothing, or something twice.
func TestCommitMovesForward(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	must(t, s.Commit(t.Context(), step(0, 10, 1)))
	for _, to := range []uint64{10, 9, 0} {
		c := step(10, 1, 1)
		c.After.Offset = to
		if err := s.Commit(t.Context(), c); err == nil {
			t.Errorf("a commit from 10 to %d is taken", to)
		}
	}
	var counted, offset uint64
	if ask(t, o, countedAndOffset, &counted, &offset); counted != 10 || offset != 10 {
		t.Errorf("%d counted at offset %d", counted, offset)
	}
}

// TestOwnerThatWaited: a commit must reach the table soon after the look that it rests on, so one that comes long after looks again.
func TestOwnerThatWaited(t *testing.T) {
	t.Parallel()
	s := open(t, database(t, clickhousetest.Start(t)))
	must(t, s.Commit(t.Context(), step(0, 10, 1)))
	at := s.standing[0]
	const away = 5 * time.Minute
	at.clock -= uint64(away / time.Millisecond)
	at.seen = at.seen.Add(-away)
	s.remember(0, at)
	must(t, s.Commit(t.Context(), step(10, 10, 1)))
}
