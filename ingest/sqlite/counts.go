package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/classify"
)

var countsSchema = schema{name: "counts", mark: 0x4d42_4354} // "MBCT"

// Counts is the embedded aggregate.Store: counts, sketches and progress in one file, each commit
// one transaction.
type Counts struct{ d *database }

var _ aggregate.Store = (*Counts)(nil)

// OpenCounts opens the store in a file, and makes the file where there is none. Errors name the
// file; ErrNewer, ErrForeign, ErrDamaged, ErrReadOnly and ErrFull tell what is wrong with it.
func OpenCounts(ctx context.Context, path string) (*Counts, error) {
	d, err := open(ctx, path, countsSchema)
	if err != nil {
		return nil, err
	}
	return &Counts{d}, nil
}

// Close implements aggregate.Store.
func (s *Counts) Close() error { return s.d.Close() }

// Check reads the whole file and returns what is wrong with its structure; it takes a while.
func (s *Counts) Check(ctx context.Context) error { return s.d.Check(ctx) }

// Progress implements aggregate.Store.
func (s *Counts) Progress(ctx context.Context, partition uint32) (aggregate.Progress, error) {
	var p aggregate.Progress
	err := each(ctx, s.d.read("progress_get"), []any{partition}, func(rows *sql.Rows) error {
		var offset, context int64
		var edge, epoch, next sql.NullInt64
		if err := rows.Scan(&offset, &context, &edge, &epoch, &next); err != nil {
			return err
		}
		p.Offset, p.Context = uint64(offset), uint64(context)
		if edge.Valid {
			p.Edges = append(p.Edges, aggregate.EdgeMark{Edge: uint64(edge.Int64), Epoch: uint64(epoch.Int64), Next: uint64(next.Int64)})
		}
		return nil
	})
	if err != nil {
		return aggregate.Progress{}, s.failed(err, "read the progress of partition %d", partition)
	}
	return p, nil
}

// Commit implements aggregate.Store.
func (s *Counts) Commit(ctx context.Context, c *aggregate.Commit) error {
	err := s.d.update(ctx, func(t *tx) error { return t.apply(context.WithoutCancel(ctx), c) })
	if err != nil {
		return s.failed(err, "commit partition %d from offset %d", c.Partition, c.Before)
	}
	return nil
}

// AddPopulation implements aggregate.Store.
func (s *Counts) AddPopulation(ctx context.Context, p []aggregate.Population) error {
	err := s.d.update(ctx, func(t *tx) error {
		sketches := t.sketches("population_get", "population_put")
		for i := range p {
			key := []any{p[i].Campaign, uint8(p[i].Member.Opens), uint8(p[i].Member.Clicks)}
			if err := sketches.add(context.WithoutCancel(ctx), key, p[i].Hashes); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return s.failed(err, "add to the population")
	}
	return nil
}

func (s *Counts) failed(err error, doing string, args ...any) error {
	return fmt.Errorf("%s in %s: %w", fmt.Sprintf(doing, args...), s.d.path, explain(err))
}

// apply writes a commit, or refuses it.
func (t *tx) apply(ctx context.Context, c *aggregate.Commit) error {
	var stored int64
	err := t.query("position_get").QueryRowContext(ctx, c.Partition).Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if uint64(stored) != c.Before {
		return fmt.Errorf("%w: %d is stored", aggregate.ErrConflict, uint64(stored))
	}
	if _, err := t.query("progress_put").ExecContext(ctx, c.Partition, int64(c.After.Offset), int64(c.After.Context)); err != nil {
		return err
	}
	edges := t.query("edges_put")
	for _, e := range c.After.Edges {
		if _, err := edges.ExecContext(ctx, c.Partition, int64(e.Edge), int64(e.Epoch), int64(e.Next)); err != nil {
			return err
		}
	}
	counts := t.query("counts_add")
	for i := range c.Counts {
		n := &c.Counts[i]
		if _, err := counts.ExecContext(ctx, n.Campaign, n.Hour, n.Link, uint8(n.Kind), uint8(n.Reason), uint8(n.Class), uint8(n.Client), int64(n.N)); err != nil {
			return err
		}
	}
	sketches := t.sketches("sketch_get", "sketch_put")
	for i := range c.Uniques {
		u := &c.Uniques[i]
		if err := sketches.add(ctx, []any{u.Campaign, u.Link, uint8(u.Kind), uint8(u.Class)}, u.Hashes); err != nil {
			return err
		}
		if err := t.addClickers(ctx, u); err != nil {
			return err
		}
	}
	active := t.query("last_active_put")
	for _, a := range c.LastActive {
		if _, err := active.ExecContext(ctx, int64(a.Subject), a.Day); err != nil {
			return err
		}
	}
	if c.Late() { // looked at as late as can be
		return aggregate.ErrLate
	}
	return nil
}

// sketches is a table of sketches within a transaction.
type sketches struct {
	get, put query
	old, new []byte
}

func (t *tx) sketches(get, put string) *sketches {
	return &sketches{get: t.query(get), put: t.query(put)}
}

// add adds hashes to the sketch of a key; nothing is written where it holds them all already.
func (s *sketches) add(ctx context.Context, key []any, hashes []uint64) error {
	if len(hashes) == 0 {
		return nil
	}
	sk := newSketch()
	s.old = s.old[:0]
	err := s.get.QueryRowContext(ctx, key...).Scan(&s.old)
	switch {
	case err == nil:
		if sk, err = parseSketch(s.old); err != nil {
			return err
		}
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	sk.add(hashes)
	if s.new, err = sk.append(s.new[:0]); err != nil || bytes.Equal(s.old, s.new) {
		return err
	}
	_, err = s.put.ExecContext(ctx, append(key, s.new)...)
	return err
}

// Counts implements aggregate.Reader.
func (s *Counts) Counts(ctx context.Context, campaign uint32) ([]aggregate.Count, error) {
	var all []aggregate.Count
	err := each(ctx, s.d.read("counts_get"), []any{campaign}, func(rows *sql.Rows) error {
		c := aggregate.Count{Cell: aggregate.Cell{Campaign: campaign}}
		var n int64
		err := rows.Scan(&c.Hour, &c.Link, (*uint8)(&c.Kind), (*uint8)(&c.Reason), (*uint8)(&c.Class), (*uint8)(&c.Client), &n)
		c.N = uint64(n)
		all = append(all, c)
		return err
	})
	if err != nil {
		return nil, s.failed(err, "read the counts of campaign %d", campaign)
	}
	return all, nil
}

// Populations implements aggregate.Reader.
func (s *Counts) Populations(ctx context.Context, campaign uint32) ([]aggregate.PopulationCount, error) {
	var all []aggregate.PopulationCount
	sets := map[aggregate.Member]sketch{}
	err := each(ctx, s.d.read("populations_get"), []any{campaign}, func(rows *sql.Rows) error {
		var m aggregate.Member
		var stored sql.RawBytes
		if err := rows.Scan((*uint8)(&m.Opens), (*uint8)(&m.Clicks), &stored); err != nil {
			return err
		}
		sk, err := parseSketch(stored)
		if err != nil {
			return err
		}
		sets[m] = sk
		all = append(all, aggregate.PopulationCount{Member: m, People: sk.count()})
		return nil
	})
	if err == nil {
		union := newSketch()
		all, err = aggregate.CountOnce(all, func(m aggregate.Member) (uint64, error) {
			err := union.merge(sets[m])
			return union.count(), err
		})
	}
	if err != nil {
		return nil, s.failed(err, "read the populations of campaign %d", campaign)
	}
	return all, nil
}

// UniqueCounts implements aggregate.Reader.
func (s *Counts) UniqueCounts(ctx context.Context, campaign uint32) ([]aggregate.UniqueCount, error) {
	return s.uniqueCounts(ctx, campaign, true)
}

// uniqueCounts are the distinct counts of a campaign as a whole and, if wanted, of each link.
func (s *Counts) uniqueCounts(ctx context.Context, campaign uint32, links bool) ([]aggregate.UniqueCount, error) {
	var all []aggregate.UniqueCount
	var link, whole *union
	err := each(ctx, s.d.read("sketches_get"), []any{campaign}, func(rows *sql.Rows) error {
		var u aggregate.UniqueKey
		var stored sql.RawBytes
		if err := rows.Scan((*uint8)(&u.Kind), &u.Link, (*uint8)(&u.Class), &stored); err != nil {
			return err
		}
		sk, err := parseSketch(stored)
		if err != nil {
			return err
		}
		// The rows come sorted by kind and link: a new one ends what was gathered.
		if whole == nil || whole.of.Kind != u.Kind {
			all = whole.end(link.end(all))
			whole, link = newUnion(aggregate.UniqueCount{Kind: u.Kind, Whole: true}), nil
		}
		if links && (link == nil || link.of.Link != u.Link) {
			all = link.end(all)
			link = newUnion(aggregate.UniqueCount{Kind: u.Kind, Link: u.Link})
		}
		return errors.Join(link.add(u.Class, sk), whole.add(u.Class, sk))
	})
	if err != nil {
		return nil, s.failed(err, "read the distinct counts of campaign %d", campaign)
	}
	return whole.end(link.end(all)), nil
}

// union gathers the sketches of one answer.
type union struct {
	of            aggregate.UniqueCount
	human, people sketch
}

func newUnion(of aggregate.UniqueCount) *union {
	return &union{of: of, human: newSketch(), people: newSketch()}
}

// add adds a sketch; a nil union does without it.
func (u *union) add(class classify.Class, sk sketch) error {
	switch {
	case u == nil, class == classify.Machine:
		return nil
	case class == classify.Human:
		if err := u.human.merge(sk); err != nil {
			return err
		}
	}
	return u.people.merge(sk)
}

// end appends the answer, if there is one: nil is none, and neither is nobody but machines.
func (u *union) end(all []aggregate.UniqueCount) []aggregate.UniqueCount {
	if u == nil {
		return all
	}
	u.of.Human, u.of.People = u.human.count(), u.people.count()
	if u.of.People == 0 {
		return all
	}
	// Two estimates of nested sets may cross; what is printed must not.
	u.of.People = max(u.of.People, u.of.Human)
	return append(all, u.of)
}

// each calls fn for every row of a query.
func each(ctx context.Context, q query, args []any, fn func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
