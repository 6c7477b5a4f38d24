package sqlite

import (
	"context"
	"database/sql"
	"runtime"

	"golang.org/x/sync/errgroup"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// Summaries implements aggregate.Reader.
func (s *Counts) Summaries(ctx context.Context, campaigns []uint32, hours uint32) ([]aggregate.Summary, error) {
	all := make([]aggregate.Summary, len(campaigns))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0)) // as many as there are readers
	for i, c := range campaigns {
		g.Go(func() (err error) {
			all[i], err = s.summary(ctx, c, hours)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

func (s *Counts) summary(ctx context.Context, campaign, hours uint32) (aggregate.Summary, error) {
	sum := aggregate.Summary{Campaign: campaign}
	err := each(ctx, s.d.read("totals_get"), []any{campaign}, func(rows *sql.Rows) error {
		c := aggregate.Count{Cell: aggregate.Cell{Campaign: campaign}}
		var n int64
		err := rows.Scan((*uint8)(&c.Kind), (*uint8)(&c.Reason), (*uint8)(&c.Class), &n)
		c.N = uint64(n)
		sum.Totals = append(sum.Totals, c)
		return err
	})
	if err == nil {
		err = each(ctx, s.d.read("series_get"), []any{campaign, uint8(event.Counted), hours}, func(rows *sql.Rows) error {
			c := aggregate.Count{Cell: aggregate.Cell{Campaign: campaign}}
			var n int64
			err := rows.Scan(&c.Hour, (*uint8)(&c.Kind), &n)
			c.N = uint64(n)
			sum.Series = append(sum.Series, c)
			return err
		})
	}
	if err != nil {
		return sum, s.failed(err, "read the sums of campaign %d", campaign)
	}
	if sum.Uniques, err = s.uniqueCounts(ctx, campaign, false); err != nil {
		return sum, err
	}
	sum.Populations, err = s.Populations(ctx, campaign)
	return sum, err
}
