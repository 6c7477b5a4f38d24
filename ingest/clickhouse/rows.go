package clickhouse

import "mailbeacon/ingest/aggregate"

// The kinds of rows in the table aggregates, by their numbers in the schema.
const (
	rowProgress int8 = 1 + iota
	rowCommit
	rowMark
	rowCount
	rowUnique
)

// aggregateRows are rows of the table aggregates, a column at a time, as sql/aggregates_add.sql
// names them.
type aggregateRows struct {
	row                             []int8
	scope                           []uint32
	kind                            []uint8
	link                            []uint16
	class                           []uint8
	hour                            []uint32
	reason, client                  []uint8
	number, epoch                   []uint64
	offset, commitID, context, next []uint64
	until                           []uint64
	hashes                          [][]uint64
	n                               []uint64
}

func (r *aggregateRows) columns() []any {
	return []any{
		r.row, r.scope, r.kind, r.link, r.class, r.hour, r.reason, r.client, r.number, r.epoch,
		r.offset, r.commitID, r.context, r.next, r.until, r.hashes, r.n,
	}
}

// commitRows are the rows of a commit; they share its hashes.
func commitRows(c *aggregate.Commit, id, until uint64) *aggregateRows {
	size := 2 + len(c.After.Edges) + len(c.Counts) + len(c.Uniques)
	r := newAggregateRows(size)
	for _, kind := range []int8{rowProgress, rowCommit} {
		i := r.add(kind, c.Partition)
		r.offset[i], r.commitID[i], r.context[i] = c.After.Offset, id, c.After.Context
		if kind == rowCommit {
			r.number[i], r.until[i] = c.Before, until
		}
	}
	for _, e := range c.After.Edges {
		i := r.add(rowMark, c.Partition)
		r.number[i], r.epoch[i] = e.Edge, e.Epoch
		r.offset[i], r.next[i] = c.After.Offset, e.Next
	}
	for j := range c.Counts {
		n := &c.Counts[j]
		i := r.add(rowCount, n.Campaign)
		r.kind[i], r.link[i], r.class[i] = uint8(n.Kind), n.Link, uint8(n.Class)
		r.hour[i], r.reason[i], r.client[i], r.n[i] = n.Hour, uint8(n.Reason), uint8(n.Client), n.N
	}
	for j := range c.Uniques {
		u := &c.Uniques[j]
		if len(u.Hashes) == 0 {
			continue
		}
		i := r.add(rowUnique, u.Campaign)
		r.kind[i], r.link[i], r.class[i], r.hashes[i] = uint8(u.Kind), u.Link, uint8(u.Class), u.Hashes
	}
	return r.cut()
}

// carried is a mark that a partition begins with.
type carried struct {
	partition uint32
	aggregate.EdgeMark
}

// carriedRows are marks as they are before anything of their partitions is counted: whatever is committed comes later.
func carriedRows(marks []carried) *aggregateRows {
	r := newAggregateRows(len(marks))
	for _, m := range marks {
		i := r.add(rowMark, m.partition)
		r.number[i], r.epoch[i], r.next[i] = m.Edge, m.Epoch, m.Next
	}
	return r
}

func newAggregateRows(n int) *aggregateRows {
	small, wide := make([]uint8, 4*n), make([]uint64, 8*n)
	s := func(i int) []uint8 { return small[i*n : i*n : (i+1)*n] }
	w := func(i int) []uint64 { return wide[i*n : (i+1)*n : (i+1)*n] }
	all := &aggregateRows{
		row: make([]int8, 0, n), scope: make([]uint32, n), link: make([]uint16, n),
		kind: s(0)[:n], class: s(1)[:n], reason: s(2)[:n], client: s(3)[:n],
		hour:   make([]uint32, n),
		number: w(0), epoch: w(1), offset: w(2), commitID: w(3), context: w(4), next: w(5), until: w(6), n: w(7),
		hashes: make([][]uint64, n),
	}
	return all
}

// add begins a row, all of whose other columns are zero.
func (r *aggregateRows) add(row int8, scope uint32) int {
	i := len(r.row)
	r.row = append(r.row, row)
	r.scope[i] = scope
	return i
}

// cut takes off the rows that were not added.
func (r *aggregateRows) cut() *aggregateRows {
	n := len(r.row)
	r.scope, r.kind, r.link, r.class, r.hour = r.scope[:n], r.kind[:n], r.link[:n], r.class[:n], r.hour[:n]
	r.reason, r.client, r.number, r.epoch = r.reason[:n], r.client[:n], r.number[:n], r.epoch[:n]
	r.offset, r.commitID, r.context, r.next = r.offset[:n], r.commitID[:n], r.context[:n], r.next[:n]
	r.until, r.hashes, r.n = r.until[:n], r.hashes[:n], r.n[:n]
	return r
}

// activityRows are rows of the table activity, as sql/activity_add.sql names its columns.
type activityRows struct {
	subject []uint64
	day     []uint32
	until   []uint64
}

func (r *activityRows) columns() []any { return []any{r.subject, r.day, r.until} }

func activityOf(days []aggregate.LastActive, until uint64) *activityRows {
	r := &activityRows{make([]uint64, len(days)), make([]uint32, len(days)), make([]uint64, len(days))}
	for i, a := range days {
		r.subject[i], r.day[i], r.until[i] = a.Subject, a.Day, until
	}
	return r
}

// populationRows are rows of the table populations, as sql/populations_add.sql names its columns.
type populationRows struct {
	campaign      []uint32
	opens, clicks []uint8
	hashes        [][]uint64
}

func (r *populationRows) columns() []any {
	return []any{r.campaign, r.opens, r.clicks, r.hashes}
}

func (r *populationRows) add(p *aggregate.Population) {
	if len(p.Hashes) == 0 {
		return
	}
	r.campaign = append(r.campaign, p.Campaign)
	r.opens, r.clicks = append(r.opens, uint8(p.Member.Opens)), append(r.clicks, uint8(p.Member.Clicks))
	r.hashes = append(r.hashes, p.Hashes)
}
