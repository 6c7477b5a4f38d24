package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"mailbeacon/ingest/aggregate"
)

// pause is the least time between two inserts into populations: each makes a part, and a server
// merges only so many.
const pause = 100 * time.Millisecond

// AddPopulation implements aggregate.Store. Calls that come while an insert is under way, or too
// soon after one, share the next.
func (s *Store) AddPopulation(ctx context.Context, p []aggregate.Population) error {
	rows := &populationRows{}
	for i := range p {
		rows.add(&p[i])
	}
	if len(rows.campaign) == 0 {
		return ctx.Err()
	}
	if err := s.gather.add(ctx, rows); err != nil {
		return fmt.Errorf("add to the population in %s: %w", s.o, explain(err))
	}
	return nil
}

func (s *Store) insertPopulations(ctx context.Context, rows *populationRows) error {
	return s.insert(ctx, "populations_add", rows, "")
}

// gatherer inserts for many callers at once.
type gatherer struct {
	insert func(context.Context, *populationRows) error

	working chan struct{} // holds one thing while an insert is under way

	mu   sync.Mutex
	next *gathering // nil: the next caller begins one
	last time.Time  // when the last insert began
}

func newGatherer(insert func(context.Context, *populationRows) error) *gatherer {
	return &gatherer{insert: insert, working: make(chan struct{}, 1)}
}

// gathering is the callers of one insert.
type gathering struct {
	rows populationRows
	done chan struct{}
	err  error
}

// insertTimeout bounds an insert for many: it is not one caller's to cancel.
const insertTimeout = 30 * time.Second

// add returns when the rows are stored. When ctx ends before, they may be stored or not, and whoever
// adds them again changes nothing.
func (g *gatherer) add(ctx context.Context, rows *populationRows) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	mine, first := g.next, g.next == nil
	if first {
		mine = &gathering{done: make(chan struct{})}
		g.next = mine
	}
	mine.rows.merge(rows)
	g.mu.Unlock()
	if first {
		go g.run(mine)
	}
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gatherer) run(mine *gathering) {
	defer close(mine.done)
	g.working <- struct{}{} // what comes meanwhile joins
	defer func() { <-g.working }()
	g.mu.Lock()
	wait := time.Until(g.last.Add(pause))
	g.mu.Unlock()
	time.Sleep(wait)
	g.mu.Lock()
	g.next, g.last = nil, time.Now()
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), insertTimeout)
	defer cancel()
	mine.err = g.insert(ctx, &mine.rows)
}

// close waits for the inserts under way.
func (g *gatherer) close() {
	for {
		g.mu.Lock()
		last := g.next
		g.mu.Unlock()
		if last == nil {
			break
		}
		<-last.done
	}
	g.working <- struct{}{}
	<-g.working
}

// merge copies rows: a caller's slices are its own again when its call returns.
func (r *populationRows) merge(o *populationRows) {
	r.campaign = append(r.campaign, o.campaign...)
	r.opens, r.clicks = append(r.opens, o.opens...), append(r.clicks, o.clicks...)
	for _, list := range o.hashes {
		r.hashes = append(r.hashes, slices.Clone(list))
	}
}
