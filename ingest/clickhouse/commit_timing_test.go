package clickhouse

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// commitOf is a commit of so many rows: half of them counts, a tenth distinct counts with five new
// people each, and the rest people's days.
func commitOf(rows int, before uint64, rnd *rand.Rand) *aggregate.Commit {
	c := &aggregate.Commit{Before: before, After: aggregate.Progress{Offset: before + 1}}
	for i := range uint32(rows / 2) {
		c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{
			Campaign: 1 + i%500, Hour: 500_000 + uint32(before/100), Link: uint16(i / 500 % 20), Kind: event.Click, Client: event.Client(i / 10_000)}, N: 3})
	}
	for i := range uint32(rows / 10) {
		u := aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: 1 + i%500, Link: uint16(i / 500), Kind: event.Click, Class: 1}}
		for range 5 {
			u.Hashes = append(u.Hashes, rnd.Uint64())
		}
		c.Uniques = append(c.Uniques, u)
	}
	for len(c.Counts)+len(c.Uniques)+len(c.LastActive) < rows {
		c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: rnd.Uint64(), Day: 20_000})
	}
	return c
}

// BenchmarkCommit is the cost of a commit by its rows, the look at the outcome included.
func BenchmarkCommit(b *testing.B) {
	for _, rows := range []int{10, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			server := clickhousetest.Start(b)
			s := open(b, database(b, server))
			rnd := rand.New(rand.NewPCG(1, 2))
			used := serverTicks(b, server)
			for n := uint64(0); b.Loop(); n++ {
				b.StopTimer()
				c := commitOf(rows, n, rnd)
				b.StartTimer()
				must(b, s.Commit(b.Context(), c))
			}
			reportServer(b, server, used)
		})
	}
}
