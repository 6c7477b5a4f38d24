package clickhouse

import (
	"context"
	"maps"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/ingest/aggregate"
)

// Idle implements aggregate.Activity. The table is sorted by subject, so the server adds up while it reads, and
// ends where most are found: it holds no more than a page either.
func (s *Store) Idle(ctx context.Context, before uint32, after uint64, most int) ([]aggregate.LastActive, error) {
	if most <= 0 {
		return nil, ctx.Err()
	}
	set := maps.Clone(readSettings)
	set["optimize_aggregation_in_order"] = 1
	all, err := s.days(clickhouse.Context(ctx, clickhouse.WithSettings(set)), "activity_idle",
		clickhouse.Named("after", after), clickhouse.Named("before", before), clickhouse.Named("most", uint32(most)))
	if err != nil {
		return nil, s.failed(err, "read who was active last before day %d", before)
	}
	return all, nil
}

// LastDays implements aggregate.Activity.
func (s *Store) LastDays(ctx context.Context, subjects []uint64) ([]aggregate.LastActive, error) {
	if len(subjects) == 0 {
		return nil, ctx.Err()
	}
	all, err := s.days(reading(ctx), "activity_get", clickhouse.Named("subjects", subjects))
	if err != nil {
		return nil, s.failed(err, "read the days of %d people", len(subjects))
	}
	return all, nil
}

func (s *Store) days(ctx context.Context, name string, args ...any) (all []aggregate.LastActive, err error) {
	err = s.each(ctx, name, args, func(rows driver.Rows) error {
		var a aggregate.LastActive
		err := rows.Scan(&a.Subject, &a.Day)
		all = append(all, a)
		return err
	})
	return all, err
}
