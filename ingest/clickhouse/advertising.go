package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/ingest/aggregate"
)

// Clickers implements aggregate.Advertising.
func (s *Store) Clickers(ctx context.Context, campaign uint32, links []uint16) (n uint64, err error) {
	if len(links) == 0 {
		return 0, ctx.Err()
	}
	args := []any{clickhouse.Named("campaign", campaign), clickhouse.Named("links", links)}
	err = s.each(s.sequential(ctx), "clickers_get", args, func(rows driver.Rows) error { return rows.Scan(&n) })
	if err != nil {
		return 0, s.failed(err, "count who clicked %d links of campaign %d", len(links), campaign)
	}
	return n, nil
}

// AddClosing implements aggregate.Advertising: a compare-and-swap like that of commits. The token names the closing that the chain goes
// on with, whatever its epoch, so that two who disagree about the time can't both release a person.
func (s *Store) AddClosing(ctx context.Context, c *aggregate.Closing) error {
	if err := s.addClosing(ctx, c); err != nil {
		return s.failed(err, "add closing %d of an advertiser", c.Number)
	}
	return nil
}

func (s *Store) addClosing(ctx context.Context, c *aggregate.Closing) error {
	at, err := s.lookAtClosings(ctx, c)
	switch {
	case err != nil:
		return err
	case c.Number == 0 || at.last != c.Number-1:
		return fmt.Errorf("%w: the last one is %d", aggregate.ErrConflict, at.last)
	}
	id, deadline := rand.Uint64(), at.clock+uint32(arrival/time.Second)
	for try := range lostTokens {
		token := fmt.Sprintf("closing:%d:%d:%s", c.Number, try, c.Advertiser)
		if err := s.insert(ctx, "closings_add", closingRowsOf(c, id, deadline), token); err != nil {
			return err
		}
		if at, err = s.lookAtClosings(ctx, c); err != nil {
			return err
		}
		switch {
		case at.there && at.by == id:
			return nil
		case at.there:
			return fmt.Errorf("%w: another one stands there, and the last is %d", aggregate.ErrConflict, at.last)
		case s.o.Replicated:
			return errors.New("the server acknowledged it and does not show it")
		}
		// As with commits: a crash kept the token and lost the part.
	}
	return fmt.Errorf("%d tokens are spent, and nothing is stored by them; the server loses parts", lostTokens)
}

// chainEnd is what was seen of an advertiser's closings.
type chainEnd struct {
	last  uint32
	there bool   // a closing of the number that was asked about
	by    uint64 // its id
	clock uint32 // the server's, in seconds
}

func (s *Store) lookAtClosings(ctx context.Context, c *aggregate.Closing) (at chainEnd, err error) {
	args := []any{clickhouse.Named("advertiser", c.Advertiser), clickhouse.Named("number", c.Number)}
	err = s.each(s.sequential(ctx), "closings_last", args, func(rows driver.Rows) error {
		var there uint8
		err := rows.Scan(&at.last, &at.by, &there, &at.clock)
		at.there = there != 0
		return err
	})
	if err == nil && at.clock == 0 {
		err = errors.New("the server told nothing")
	}
	if err != nil {
		return chainEnd{}, fmt.Errorf("read where the closings end: %w", err)
	}
	return at, nil
}

// closingRows are rows of the table closings, as sql/closings_add.sql names its columns.
type closingRows struct {
	advertiser                []string
	number, campaign          []uint32
	id                        []uint64
	starts, ends, closed      []int64
	links                     [][]uint16
	people                    []uint64
	noised                    []int64
	num, den, mustHaveArrived []uint32
}

func (r *closingRows) columns() []any {
	return []any{r.advertiser, r.number, r.campaign, r.id, r.starts, r.ends, r.closed, r.links, r.people, r.noised, r.num, r.den, r.mustHaveArrived}
}

func closingRowsOf(c *aggregate.Closing, id uint64, deadline uint32) *closingRows {
	r := &closingRows{}
	add := func(one *aggregate.Release) {
		r.advertiser, r.number, r.id = append(r.advertiser, c.Advertiser), append(r.number, c.Number), append(r.id, id)
		r.starts, r.ends, r.closed = append(r.starts, c.Start.Unix()), append(r.ends, c.End.Unix()), append(r.closed, c.At.Unix())
		r.campaign, r.links, r.people = append(r.campaign, one.Campaign), append(r.links, one.Links), append(r.people, one.People)
		r.noised, r.num, r.den = append(r.noised, one.Noised), append(r.num, one.Epsilon.Num), append(r.den, one.Epsilon.Den)
		r.mustHaveArrived = append(r.mustHaveArrived, deadline)
	}
	add(&aggregate.Release{})
	for i := range c.Releases {
		add(&c.Releases[i])
	}
	return r
}

// Closings implements aggregate.Advertising.
func (s *Store) Closings(ctx context.Context, advertiser string) ([]aggregate.Closing, error) {
	var all []aggregate.Closing
	var by uint64
	err := s.each(s.sequential(ctx), "closings_get", []any{clickhouse.Named("advertiser", advertiser)}, func(rows driver.Rows) error {
		var number uint32
		var id uint64
		var starts, ends, closed int64
		var r aggregate.Release
		err := rows.Scan(&number, &r.Campaign, &id, &starts, &ends, &closed, &r.Links, &r.People, &r.Noised, &r.Epsilon.Num, &r.Epsilon.Den)
		switch {
		case err != nil:
			return err
		case r.Campaign == 0 && uint64(number) != uint64(len(all))+1, r.Campaign != 0 && (len(all) == 0 || id != by || all[len(all)-1].Number != number):
			return fmt.Errorf("%w: closing %d is not there once", ErrDamaged, number)
		case r.Campaign == 0:
			by = id
			all = append(all, aggregate.Closing{Advertiser: advertiser, Number: number, Start: second(starts), End: second(ends), At: second(closed)})
			return nil
		case !r.Epsilon.Valid():
			return fmt.Errorf("%w: the release of campaign %d in closing %d has epsilon %v", ErrDamaged, r.Campaign, number, r.Epsilon)
		}
		c := &all[len(all)-1]
		c.Releases = append(c.Releases, r)
		return nil
	})
	if err != nil {
		return nil, s.failed(err, "read the closings of an advertiser")
	}
	return all, nil
}

func second(n int64) time.Time { return time.Unix(n, 0).UTC() }
