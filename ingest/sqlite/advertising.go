package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/privacy"
)

// addClickers keeps who is in a sketch of people who clicked for sure; anybody else is not kept.
func (t *tx) addClickers(ctx context.Context, u *aggregate.Uniques) error {
	if !u.Clicked() || len(u.Hashes) == 0 {
		return nil
	}
	list := make([]byte, 0, 22*len(u.Hashes)) // in one statement, which is faster than one for each
	for _, hash := range u.Hashes {
		list = strconv.AppendInt(append(list, ','), int64(hash), 10)
	}
	list[0] = '['
	_, err := t.query("clickers_add").ExecContext(ctx, u.Campaign, u.Link, string(append(list, ']')))
	return err
}

// Clickers implements aggregate.Advertising.
func (s *Counts) Clickers(ctx context.Context, campaign uint32, links []uint16) (n uint64, err error) {
	list, err := json.Marshal(links)
	if err == nil {
		err = s.d.read("clickers_count").QueryRowContext(ctx, campaign, string(list)).Scan(&n)
	}
	if err != nil {
		return 0, s.failed(err, "count who clicked %d links of campaign %d", len(links), campaign)
	}
	return n, nil
}

// AddClosing implements aggregate.Advertising.
func (s *Counts) AddClosing(ctx context.Context, c *aggregate.Closing) error {
	err := s.d.update(ctx, func(t *tx) error { return t.addClosing(context.WithoutCancel(ctx), c) })
	if err != nil {
		return s.failed(err, "add closing %d of an advertiser", c.Number)
	}
	return nil
}

func (t *tx) addClosing(ctx context.Context, c *aggregate.Closing) error {
	var last uint32
	if err := t.query("closings_last").QueryRowContext(ctx, c.Advertiser).Scan(&last); err != nil {
		return err
	}
	if c.Number == 0 || last != c.Number-1 {
		return fmt.Errorf("%w: the last one is %d", aggregate.ErrConflict, last)
	}
	if _, err := t.query("closings_add").ExecContext(ctx, c.Advertiser, c.Number, c.Start.Unix(), c.End.Unix(), c.At.Unix()); err != nil {
		return err
	}
	add := t.query("releases_add")
	for i := range c.Releases {
		r := &c.Releases[i]
		links := make([]byte, 0, 2*len(r.Links))
		for _, l := range r.Links {
			links = binary.BigEndian.AppendUint16(links, l)
		}
		if _, err := add.ExecContext(ctx, c.Advertiser, c.Number, r.Campaign, links, int64(r.People), r.Noised, r.Epsilon.Num, r.Epsilon.Den); err != nil {
			return err
		}
	}
	return nil
}

// Closings implements aggregate.Advertising.
func (s *Counts) Closings(ctx context.Context, advertiser string) ([]aggregate.Closing, error) {
	var all []aggregate.Closing
	err := each(ctx, s.d.read("closings_get"), []any{advertiser}, func(rows *sql.Rows) error {
		var number uint32
		var starts, ends, at int64
		var campaign, people, noised, num, den sql.NullInt64
		var links sql.RawBytes
		if err := rows.Scan(&number, &starts, &ends, &at, &campaign, &links, &people, &noised, &num, &den); err != nil {
			return err
		}
		if len(all) == 0 || all[len(all)-1].Number != number {
			all = append(all, aggregate.Closing{Advertiser: advertiser, Number: number, Start: second(starts), End: second(ends), At: second(at)})
		}
		if !campaign.Valid {
			return nil
		}
		r := aggregate.Release{Campaign: uint32(campaign.Int64), People: uint64(people.Int64), Noised: noised.Int64}
		r.Epsilon = privacy.Epsilon{Num: uint32(num.Int64), Den: uint32(den.Int64)}
		if !r.Epsilon.Valid() || len(links)%2 != 0 {
			return fmt.Errorf("%w: the release of campaign %d in closing %d has epsilon %v and %d bytes of links", ErrDamaged, r.Campaign, number, r.Epsilon, len(links))
		}
		for ; len(links) > 0; links = links[2:] {
			r.Links = append(r.Links, binary.BigEndian.Uint16(links))
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
