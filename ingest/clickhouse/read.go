package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/classify"
)

// Ping asks whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := version(ctx, s.conn); err != nil {
		return s.failed(err, "ask for the version")
	}
	return nil
}

// Progress implements aggregate.Store. A partition whose stream was succeeded by another is an *EndedError.
func (s *Store) Progress(ctx context.Context, partition uint32) (aggregate.Progress, error) {
	p, err := s.progress(ctx, partition)
	if err == nil && p.Offset == ended {
		stream, number := aggregate.SplitPartition(partition)
		err = &EndedError{stream, number}
	}
	if err != nil {
		return aggregate.Progress{}, s.failed(err, "read the progress of %s", partitionName(partition))
	}
	return p, nil
}

func (s *Store) progress(ctx context.Context, partition uint32) (aggregate.Progress, error) {
	var p aggregate.Progress
	at := standing{seen: time.Now()}
	err := s.each(s.sequential(ctx), "progress_get", []any{clickhouse.Named("partition", partition)}, func(rows driver.Rows) error {
		var isMark uint8
		var m aggregate.EdgeMark
		var offset, context uint64
		if err := rows.Scan(&isMark, &m.Edge, &m.Epoch, &offset, &context, &m.Next, &at.clock); err != nil {
			return err
		}
		if isMark != 0 {
			p.Edges = append(p.Edges, m)
		} else {
			p.Offset, p.Context = offset, context
		}
		return nil
	})
	if err != nil {
		return aggregate.Progress{}, err
	}
	if at.clock != 0 { // the server told something
		at.offset, at.known = p.Offset, time.Now()
		s.remember(partition, at)
	}
	return p, nil
}

// Counts implements aggregate.Reader.
func (s *Store) Counts(ctx context.Context, campaign uint32) ([]aggregate.Count, error) {
	var all []aggregate.Count
	err := s.each(reading(ctx), "counts_get", []any{clickhouse.Named("campaign", campaign)}, func(rows driver.Rows) error {
		c := aggregate.Count{Cell: aggregate.Cell{Campaign: campaign}}
		err := rows.Scan(&c.Hour, &c.Link, (*uint8)(&c.Kind), (*uint8)(&c.Reason), (*uint8)(&c.Class), (*uint8)(&c.Client), &c.N)
		all = append(all, c)
		return err
	})
	if err != nil {
		return nil, s.failed(err, "read the counts of campaign %d", campaign)
	}
	return all, nil
}

// UniqueCounts implements aggregate.Reader.
func (s *Store) UniqueCounts(ctx context.Context, campaign uint32) ([]aggregate.UniqueCount, error) {
	args := []any{
		clickhouse.Named("campaign", campaign),
		clickhouse.Named("human", uint8(classify.Human)), clickhouse.Named("machine", uint8(classify.Machine)),
	}
	var all []aggregate.UniqueCount
	err := s.each(reading(ctx), "uniques_get", args, func(rows driver.Rows) error {
		var u aggregate.UniqueCount
		var whole uint8
		if err := rows.Scan((*uint8)(&u.Kind), &u.Link, &whole, &u.Human, &u.People); err != nil {
			return err
		}
		u.Whole = whole != 0
		all = addUnique(all, u)
		return nil
	})
	if err != nil {
		return nil, s.failed(err, "read the distinct counts of campaign %d", campaign)
	}
	return all, nil
}

// addUnique takes in what the server answered.
func addUnique(all []aggregate.UniqueCount, u aggregate.UniqueCount) []aggregate.UniqueCount {
	// Two estimates of nested sets may cross; what is printed must not.
	u.People = max(u.People, u.Human)
	if u.People == 0 {
		return all
	}
	return append(all, u)
}

// Populations implements aggregate.Reader.
func (s *Store) Populations(ctx context.Context, campaign uint32) ([]aggregate.PopulationCount, error) {
	all, err := s.populations(ctx, []uint32{campaign})
	if err != nil {
		return nil, s.failed(err, "read the populations of campaign %d", campaign)
	}
	return all[campaign], nil
}

func (s *Store) failed(err error, doing string, args ...any) error {
	return fmt.Errorf("%s in %s: %w", fmt.Sprintf(doing, args...), s.o, explain(err))
}

func reading(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(readSettings))
}

// each calls fn for every row of a query.
func (s *Store) each(ctx context.Context, name string, args []any, fn func(driver.Rows) error) error {
	rows, err := s.conn.Query(ctx, query(name), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
