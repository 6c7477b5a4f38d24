package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"

	"mailbeacon/ingest/aggregate"
)

// Idle implements aggregate.Activity. Subjects are stored as signed numbers: the upper half of them comes
// first in the table, and second here.
func (s *Counts) Idle(ctx context.Context, before uint32, after uint64, most int) ([]aggregate.LastActive, error) {
	var all []aggregate.LastActive
	if after == math.MaxUint64 || most <= 0 {
		return nil, ctx.Err()
	}
	from := int64(after + 1)
	halves := [][2]int64{{from, -1}}
	if from >= 0 {
		halves = [][2]int64{{from, math.MaxInt64}, {math.MinInt64, -1}}
	}
	for _, h := range halves {
		err := each(ctx, s.d.read("last_active_idle"), []any{h[0], h[1], int64(before), most - len(all)}, func(rows *sql.Rows) error {
			var subject int64
			var day uint32
			err := rows.Scan(&subject, &day)
			all = append(all, aggregate.LastActive{Subject: uint64(subject), Day: day})
			return err
		})
		if err != nil {
			return nil, s.failed(err, "read who was active last before day %d", before)
		}
		if len(all) == most {
			break
		}
	}
	return all, nil
}

// LastDays implements aggregate.Activity.
func (s *Counts) LastDays(ctx context.Context, subjects []uint64) ([]aggregate.LastActive, error) {
	asked := slices.Clone(subjects)
	slices.Sort(asked)
	var all []aggregate.LastActive
	for _, subject := range slices.Compact(asked) {
		day := uint32(0)
		err := s.d.read("last_active_get").QueryRowContext(ctx, int64(subject)).Scan(&day)
		switch {
		case err == nil:
			all = append(all, aggregate.LastActive{Subject: subject, Day: day})
		case !errors.Is(err, sql.ErrNoRows):
			return nil, s.failed(err, "read the days of %d people", len(subjects))
		}
	}
	return all, nil
}
