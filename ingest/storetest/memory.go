// Package storetest is what every aggregate.Store must do: a suite that each of them runs, and a
// store in memory that is the suite's idea of a right answer.
package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Memory is an aggregate.Store that lives as long as its process and counts people exactly.
type Memory struct {
	mu         sync.Mutex
	closed     bool
	partitions map[uint32]aggregate.Progress
	counts     map[aggregate.Cell]uint64
	uniques    map[aggregate.UniqueKey]set
	population map[member]set
	active     map[uint64]uint32
	closings   map[string][]aggregate.Closing
	mails      map[uint32][]byte
}

type set map[uint64]struct{}

func (s set) add(all []uint64) set {
	if s == nil {
		s = set{}
	}
	for _, h := range all {
		s[h] = struct{}{}
	}
	return s
}

func (s set) merge(o set) {
	for h := range o {
		s[h] = struct{}{}
	}
}

type member struct {
	campaign uint32
	aggregate.Member
}

var _ aggregate.Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		partitions: map[uint32]aggregate.Progress{}, counts: map[aggregate.Cell]uint64{},
		uniques: map[aggregate.UniqueKey]set{}, population: map[member]set{}, active: map[uint64]uint32{}, mails: map[uint32][]byte{},
		closings: map[string][]aggregate.Closing{},
	}
}

var errClosed = errors.New("storetest: the store is closed")

// enter takes the lock, or says why not.
func (m *Memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return errClosed
	}
	return nil
}

// Progress implements aggregate.Store.
func (m *Memory) Progress(ctx context.Context, partition uint32) (aggregate.Progress, error) {
	if err := m.enter(ctx); err != nil {
		return aggregate.Progress{}, err
	}
	defer m.mu.Unlock()
	p := m.partitions[partition]
	p.Edges = slices.Clone(p.Edges)
	return p, nil
}

// Commit implements aggregate.Store.
func (m *Memory) Commit(ctx context.Context, c *aggregate.Commit) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	p := m.partitions[c.Partition]
	if p.Offset != c.Before {
		return fmt.Errorf("commit from %d: %w: %d is stored", c.Before, aggregate.ErrConflict, p.Offset)
	}
	if c.Late() {
		return fmt.Errorf("commit from %d: %w", c.Before, aggregate.ErrLate)
	}
	p.Offset, p.Context = c.After.Offset, c.After.Context
	for _, e := range c.After.Edges {
		i := slices.IndexFunc(p.Edges, func(o aggregate.EdgeMark) bool { return o.Edge == e.Edge && o.Epoch == e.Epoch })
		if i < 0 {
			p.Edges = append(p.Edges, e)
		} else {
			p.Edges[i] = e
		}
	}
	m.partitions[c.Partition] = p
	for _, n := range c.Counts {
		m.counts[n.Cell] += n.N
	}
	for _, u := range c.Uniques {
		m.uniques[u.UniqueKey] = m.uniques[u.UniqueKey].add(u.Hashes)
	}
	for _, a := range c.LastActive {
		m.active[a.Subject] = max(m.active[a.Subject], a.Day)
	}
	return nil
}

// AddPopulation implements aggregate.Store.
func (m *Memory) AddPopulation(ctx context.Context, all []aggregate.Population) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, p := range all {
		k := member{p.Campaign, p.Member}
		m.population[k] = m.population[k].add(p.Hashes)
	}
	return nil
}

// Counts implements aggregate.Reader.
func (m *Memory) Counts(ctx context.Context, campaign uint32) ([]aggregate.Count, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []aggregate.Count
	for c, n := range m.counts {
		if c.Campaign == campaign {
			all = append(all, aggregate.Count{Cell: c, N: n})
		}
	}
	return all, nil
}

// UniqueCounts implements aggregate.Reader.
func (m *Memory) UniqueCounts(ctx context.Context, campaign uint32) ([]aggregate.UniqueCount, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	type question struct {
		kind  event.Kind
		link  uint16
		whole bool
	}
	human, people := map[question]set{}, map[question]set{}
	for u, s := range m.uniques {
		if u.Campaign != campaign || u.Class == classify.Machine {
			continue
		}
		for _, q := range []question{{u.Kind, u.Link, false}, {u.Kind, 0, true}} {
			if people[q] == nil {
				people[q], human[q] = set{}, set{}
			}
			people[q].merge(s)
			if u.Class == classify.Human {
				human[q].merge(s)
			}
		}
	}
	var all []aggregate.UniqueCount
	for q, s := range people {
		if len(s) > 0 {
			all = append(all, aggregate.UniqueCount{Kind: q.kind, Link: q.link, Whole: q.whole, Human: uint64(len(human[q])), People: uint64(len(s))})
		}
	}
	return all, nil
}

// Populations implements aggregate.Reader.
func (m *Memory) Populations(ctx context.Context, campaign uint32) ([]aggregate.PopulationCount, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	// Not by aggregate.CountOnce, which is to be checked against this: by each person's strictest.
	strictest := map[uint64]aggregate.Member{}
	for k, s := range m.population {
		if k.campaign != campaign {
			continue
		}
		for who := range s {
			if have, ok := strictest[who]; !ok || aggregate.Stricter(k.Member, have) < 0 {
				strictest[who] = k.Member
			}
		}
	}
	people := map[aggregate.Member]uint64{}
	for _, member := range strictest {
		people[member]++
	}
	var all []aggregate.PopulationCount
	for member, n := range people {
		all = append(all, aggregate.PopulationCount{Member: member, People: n})
	}
	return all, nil
}

// Idle implements aggregate.Activity.
func (m *Memory) Idle(ctx context.Context, before uint32, after uint64, most int) ([]aggregate.LastActive, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []aggregate.LastActive
	for subject, day := range m.active {
		if subject > after && day < before {
			all = append(all, aggregate.LastActive{Subject: subject, Day: day})
		}
	}
	slices.SortFunc(all, func(a, b aggregate.LastActive) int { return cmp.Compare(a.Subject, b.Subject) })
	return all[:min(len(all), most)], nil
}

// LastDays implements aggregate.Activity.
func (m *Memory) LastDays(ctx context.Context, subjects []uint64) (all []aggregate.LastActive, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	asked := set(nil).add(subjects)
	for subject := range asked {
		if day, ok := m.active[subject]; ok {
			all = append(all, aggregate.LastActive{Subject: subject, Day: day})
		}
	}
	return all, nil
}

// LastActive is the day of a person's last activity, in days since the Unix epoch.
func (m *Memory) LastActive(subject uint64) (day uint32, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	day, ok = m.active[subject]
	return day, ok
}

// Close implements aggregate.Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Summaries implements aggregate.Reader.
func (m *Memory) Summaries(ctx context.Context, campaigns []uint32, hours uint32) ([]aggregate.Summary, error) {
	var all []aggregate.Summary
	for _, campaign := range campaigns {
		counts, err := m.Counts(ctx, campaign)
		if err != nil {
			return nil, err
		}
		uniques, err := m.UniqueCounts(ctx, campaign)
		if err != nil {
			return nil, err
		}
		people, err := m.Populations(ctx, campaign)
		if err != nil {
			return nil, err
		}
		all = append(all, summarise(campaign, counts, uniques, people, hours))
	}
	return all, nil
}

// summarise is a summary made of what the other questions are answered with.
func summarise(campaign uint32, counts []aggregate.Count, uniques []aggregate.UniqueCount, people []aggregate.PopulationCount, hours uint32) aggregate.Summary {
	sum := aggregate.Summary{Campaign: campaign, Populations: people}
	totals, series := map[aggregate.Cell]uint64{}, map[aggregate.Cell]uint64{}
	first := ^uint32(0)
	for _, c := range counts {
		if c.Reason == event.Counted {
			first = min(first, c.Hour)
		}
	}
	for _, c := range counts {
		totals[aggregate.Cell{Campaign: campaign, Kind: c.Kind, Reason: c.Reason, Class: c.Class}] += c.N
		if c.Reason == event.Counted && c.Hour-first < hours {
			series[aggregate.Cell{Campaign: campaign, Kind: c.Kind, Hour: c.Hour}] += c.N
		}
	}
	for c, n := range totals {
		sum.Totals = append(sum.Totals, aggregate.Count{Cell: c, N: n})
	}
	for c, n := range series {
		sum.Series = append(sum.Series, aggregate.Count{Cell: c, N: n})
	}
	for _, u := range uniques {
		if u.Whole {
			sum.Uniques = append(sum.Uniques, u)
		}
	}
	return sum
}

// PutMail implements aggregate.Mails.
func (m *Memory) PutMail(ctx context.Context, campaign uint32, html []byte) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.mails[campaign] = append([]byte{}, html...)
	return nil
}

// Mail implements aggregate.Mails.
func (m *Memory) Mail(ctx context.Context, campaign uint32) ([]byte, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if html, ok := m.mails[campaign]; ok {
		return append([]byte{}, html...), nil
	}
	return nil, nil
}
