package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// block is rows that are inserted together.
type block interface {
	columns() []any // slices of one length, in the order of the statement
}

// insert sends a block with a named statement, as one part. Servers of a quorum take one insert at a
// time and refuse others unheard; those are sent again.
func (s *Store) insert(ctx context.Context, name string, rows block, token string) error {
	for {
		err := s.insertOnce(ctx, name, rows, token)
		if code(err) != codePreviousQuorum {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(rand.N(20 * time.Millisecond)):
		}
	}
}

// insertOnce never calls Flush: it would send a block of its own.
func (s *Store) insertOnce(ctx context.Context, name string, rows block, token string) error {
	set := maps.Clone(s.settings)
	if token != "" {
		set["insert_deduplication_token"] = token
	}
	b, err := s.conn.PrepareBatch(clickhouse.Context(ctx, clickhouse.WithSettings(set)), query(name))
	if err != nil {
		return fmt.Errorf("begin the insert: %w", err)
	}
	defer func() { _ = b.Close() }() // after Send it does nothing
	for i, column := range rows.columns() {
		if err := appendColumn(b, i, column); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	if err := b.Send(); err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			err = errors.Join(ctxErr, err)
		}
		return fmt.Errorf("insert: %w", timedOut(err))
	}
	return nil
}

// appendColumn hands a whole column to a batch.
func appendColumn(b driver.Batch, i int, column any) error {
	lists, ok := column.([][]uint64)
	if !ok {
		return b.Column(i).Append(column)
	}
	for _, list := range lists { // at once they would go through reflection
		if err := b.Column(i).AppendRow(list); err != nil {
			return err
		}
	}
	return nil
}
