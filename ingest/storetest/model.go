package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// model drives the store and Memory with the same random calls. Each check uses partitions and
// campaigns of its own, so that one store serves all.
func model(t *testing.T, f *fixture) {
	ctx := t.Context()
	round := uint32(0)
	rapid.Check(t, func(t *rapid.T) {
		round++
		m := &modelCase{t: t, partition: round * 2, campaign: round * 3}
		want := NewMemory()
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				p := m.population()
				if err := errors.Join(f.AddPopulation(ctx, p), want.AddPopulation(ctx, p)); err != nil {
					t.Fatal(err)
				}
			default:
				c := m.commit()
				p, err := want.Progress(ctx, c.Partition)
				if err != nil {
					t.Fatal(err)
				}
				c.Before = p.Offset
				if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
					c.Before = rapid.Uint64Range(0, 50).Draw(t, "before")
				}
				c.After.Offset = c.Before + rapid.Uint64Range(1, 9).Draw(t, "events")
				c.After.Context = rapid.Uint64Range(0, c.After.Offset).Draw(t, "context")
				got, right := f.Commit(ctx, c), want.Commit(ctx, c)
				if errors.Is(got, aggregate.ErrConflict) != errors.Is(right, aggregate.ErrConflict) || (got == nil) != (right == nil) {
					t.Fatalf("commit: %v, want %v", got, right)
				}
			}
			if err := m.compare(f, want); err != nil {
				t.Fatal(err)
			}
		}
	})
}

type modelCase struct {
	t                   *rapid.T
	partition, campaign uint32
}

func (m *modelCase) drawCampaign() uint32 {
	return m.campaign + rapid.Uint32Range(0, 2).Draw(m.t, "campaign")
}

func (m *modelCase) hashes() []uint64 {
	seeds := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 6).Draw(m.t, "people")
	all := hashes(9, 21)
	who := make([]uint64, len(seeds))
	for i, s := range seeds {
		who[i] = all[s]
	}
	return who
}

func (m *modelCase) population() (all []aggregate.Population) {
	reasons := rapid.SampledFrom([]event.Reason{event.Counted, event.OptedOut, event.PlainText})
	for range rapid.IntRange(0, 3).Draw(m.t, "populations") {
		all = append(all, aggregate.Population{
			Campaign: m.drawCampaign(),
			Member:   aggregate.Member{Opens: reasons.Draw(m.t, "opens"), Clicks: reasons.Draw(m.t, "clicks")},
			Hashes:   m.hashes(),
		})
	}
	return all
}

func (m *modelCase) commit() *aggregate.Commit {
	t := m.t
	kinds := rapid.SampledFrom([]event.Kind{event.Open, event.Click})
	classes := rapid.SampledFrom(classify.Classes())
	c := &aggregate.Commit{Partition: m.partition + rapid.Uint32Range(0, 1).Draw(t, "partition")}
	cells := map[aggregate.Cell]bool{}
	for range rapid.IntRange(0, 5).Draw(t, "cells") {
		cells[aggregate.Cell{
			Campaign: m.drawCampaign(), Hour: rapid.Uint32Range(0, 1).Draw(t, "hour"), Link: rapid.Uint16Range(0, 1).Draw(t, "link"),
			Kind: kinds.Draw(t, "kind"), Reason: rapid.SampledFrom(event.Reasons()).Draw(t, "reason"),
			Class: classes.Draw(t, "class"), Client: event.Client(rapid.Uint8Range(0, 1).Draw(t, "client")),
		}] = true
	}
	for cell := range cells {
		c.Counts = append(c.Counts, aggregate.Count{Cell: cell, N: rapid.Uint64Range(1, 1000).Draw(t, "n")})
	}
	keys := map[aggregate.UniqueKey]bool{}
	for range rapid.IntRange(0, 4).Draw(t, "sketches") {
		keys[aggregate.UniqueKey{Campaign: m.drawCampaign(), Link: rapid.Uint16Range(0, 2).Draw(t, "link"), Kind: kinds.Draw(t, "kind"), Class: classes.Draw(t, "class")}] = true
	}
	for key := range keys {
		c.Uniques = append(c.Uniques, aggregate.Uniques{UniqueKey: key, Hashes: m.hashes()})
	}
	for edge := range rapid.Uint64Range(0, 3).Draw(t, "edges") {
		c.After.Edges = append(c.After.Edges, aggregate.EdgeMark{Edge: edge, Epoch: 1 << 63, Next: rapid.Uint64().Draw(t, "next")})
	}
	return c
}

// compare asks both everything.
func (m *modelCase) compare(got, want aggregate.Store) error {
	ctx := m.t.Context()
	for p := m.partition; p < m.partition+2; p++ {
		a, err1 := got.Progress(ctx, p)
		b, err2 := want.Progress(ctx, p)
		if err := errors.Join(err1, err2); err != nil || !sameProgress(a, b) {
			return fmt.Errorf("partition %d: %+v, want %+v, %w", p, a, b, err)
		}
	}
	for c := m.campaign; c < m.campaign+3; c++ {
		if err := errors.Join(
			same(c, "counts", got.Counts, want.Counts, m),
			same(c, "people", got.UniqueCounts, want.UniqueCounts, m),
			same(c, "populations", got.Populations, want.Populations, m),
		); err != nil {
			return err
		}
	}
	return nil
}

// same asks one question of both stores. The answers are sets without order; an answer about nobody
// may be there or not.
func same[T comparable](campaign uint32, what string, got, want func(context.Context, uint32) ([]T, error), m *modelCase) error {
	a, err1 := got(m.t.Context(), campaign)
	b, err2 := want(m.t.Context(), campaign)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	left := map[T]int{}
	for _, v := range a {
		left[v]++
	}
	for _, v := range b {
		left[v]--
	}
	for v, n := range left {
		if n != 0 {
			return fmt.Errorf("%s of campaign %d: %+v, want %+v (%+v differs)", what, campaign, a, b, v)
		}
	}
	return nil
}
