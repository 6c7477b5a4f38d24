package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"mailbeacon/ingest/aggregate"
)

const (
	// fresh is how long it is believed that a partition stands where it was last seen.
	fresh = 10 * time.Second
	// arrival is how long after that look a commit may reach the table. The tokens of all the
	// commits of that time must be in the deduplication window.
	arrival = time.Minute

	quorumTimeout = 20 * time.Second
	connLife      = time.Hour
	// lostTokens is how many tokens of one offset may be spent by parts that a crash took.
	lostTokens = 8
)

// standing is what was seen of a partition.
type standing struct {
	offset uint64
	clock  uint64    // the server's, in milliseconds, when it was read
	seen   time.Time // our own clock, when it was asked for
	known  time.Time // our own clock, when it was there

	// Of the offset that was asked about:
	left bool   // a commit starts from it
	by   uint64 // that commit's id
}

// Commit implements aggregate.Store. The outcome is what is read back: the answer to an insert only
// says that it is worth reading.
func (s *Store) Commit(ctx context.Context, c *aggregate.Commit) error {
	var err error
	switch {
	case c.After.Offset >= ended:
		err = fmt.Errorf("it ends at %d, which no stream has", c.After.Offset)
	case c.Before == 0:
		err = s.commitFirst(ctx, c)
	default:
		err = s.commit(ctx, c)
	}
	if err != nil {
		s.forget(c.Partition)
		return fmt.Errorf("commit %s from offset %d in %s: %w", partitionName(c.Partition), c.Before, s.o, explain(err))
	}
	return nil
}

func (s *Store) commit(ctx context.Context, c *aggregate.Commit) error {
	if c.After.Offset <= c.Before {
		return fmt.Errorf("it ends at %d and moves nothing", c.After.Offset)
	}
	at, err := s.basis(ctx, c)
	if err != nil {
		return err
	}
	if at.offset == ended {
		return hasEnded(c.Partition)
	}
	if at.offset != c.Before {
		return fmt.Errorf("%w: %d is stored", aggregate.ErrConflict, at.offset)
	}
	// By its id a commit is told from a rival's that ends at the same offset.
	id := rand.Uint64()
	until := at.until(c)
	if err := s.noteActivity(ctx, c, until); err != nil {
		return err
	}
	for try := range lostTokens {
		if err := s.send(ctx, c, id, until, token(c, try)); err != nil {
			return err
		}
		if at, err = s.look(ctx, c.Partition, c.Before); err != nil {
			return err
		}
		switch {
		case at.left && at.by == id:
			s.remember(c.Partition, at)
			return nil
		case at.left:
			return fmt.Errorf("%w: another commit starts there, and %d is stored", aggregate.ErrConflict, at.offset)
		case at.offset != c.Before:
			return fmt.Errorf("%d is stored, and not by which commit", at.offset)
		case s.o.Replicated:
			return errors.New("the server acknowledged it and does not show it")
		}
		// The token is spent, and nothing starts from the offset: a crash kept the token and lost the
		// part. Who comes here sees the same, and tries the same next token.
	}
	return fmt.Errorf("%d tokens are spent, and nothing is stored by them; the server loses parts", lostTokens)
}

// until is the server's clock, in milliseconds, before which a commit must have come. The server read its clock before we knew
// of it, so by the time of ours that the commit names, its clock is that far at least.
func (at *standing) until(c *aggregate.Commit) uint64 {
	left := arrival
	if !c.Until.IsZero() {
		left = min(left, c.Until.Sub(at.known))
	}
	return at.clock + uint64(max(left.Milliseconds(), 0))
}

// token makes a commit the only one from its offset. try is above 0 where tokens were lost.
func token(c *aggregate.Commit, try int) string {
	return tokenOf(fmt.Sprintf("%d:%d", c.Partition, c.Before), try)
}

// tokenOf is the token of a name, or another one where a crash kept that and lost what was inserted by it.
func tokenOf(name string, try int) string {
	if try == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, try)
}

// basis finds out whether the partition stands where a commit starts. Offsets only grow, so it is
// enough that it stood there a moment ago: whoever moved it since has spent the token.
func (s *Store) basis(ctx context.Context, c *aggregate.Commit) (standing, error) {
	s.mu.Lock()
	at, known := s.standing[c.Partition]
	s.mu.Unlock()
	if known && at.offset == c.Before && time.Since(at.seen) < fresh {
		return at, ctx.Err()
	}
	return s.look(ctx, c.Partition, c.Before)
}

func (s *Store) remember(partition uint32, at standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing[partition] = at
}

func (s *Store) forget(partition uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.standing, partition)
}

// look reads where a partition stands, and which commit starts from an offset.
func (s *Store) look(ctx context.Context, partition uint32, before uint64) (standing, error) {
	at := standing{seen: time.Now()}
	var left uint8
	err := s.conn.QueryRow(s.sequential(ctx), query("standing_get"), clickhouse.Named("partition", partition), clickhouse.Named("before", before)).
		Scan(&at.offset, &left, &at.by, &at.clock)
	at.left, at.known = left != 0, time.Now()
	if err != nil {
		return standing{}, fmt.Errorf("read the progress: %w", err)
	}
	return at, nil
}

// readSettings are those of all that is read here: few rows, which the sort key finds. More threads, and a
// column read before the others, only cost.
var readSettings = clickhouse.Settings{"max_threads": 1, "optimize_move_to_prewhere": 0}

// sequential makes a read see every acknowledged commit, on whichever server of a cluster it is.
func (s *Store) sequential(ctx context.Context) context.Context {
	set := maps.Clone(readSettings)
	if s.o.Replicated {
		set["select_sequential_consistency"] = 1
	}
	return clickhouse.Context(ctx, clickhouse.WithSettings(set))
}

// noteActivity comes before the commit: once events are counted nobody reads them again. That the days are
// there and the commit is not does no harm, since whoever counts its events writes the same days; but for those who refused
// since, and so the days come before until as well.
func (s *Store) noteActivity(ctx context.Context, c *aggregate.Commit, until uint64) error {
	if len(c.LastActive) == 0 {
		return nil
	}
	if err := refused(s.insert(ctx, "activity_add", activityOf(c.LastActive, until), "")); err != nil {
		return fmt.Errorf("note days of activity: %w", err)
	}
	return nil
}

// send inserts a commit that must have come before a time of the server's clock.
func (s *Store) send(ctx context.Context, c *aggregate.Commit, id, until uint64, token string) error {
	return refused(s.insert(ctx, "aggregates_add", commitRows(c, id, until), token))
}

// refused is ErrLate where the server says that an insert came too late.
func refused(err error) error {
	if code(err) == codeThrowIf {
		return fmt.Errorf("%w: %w", aggregate.ErrLate, err)
	}
	return err
}
