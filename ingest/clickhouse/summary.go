package clickhouse

import (
	"context"
	"errors"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Summaries implements aggregate.Reader: four queries, whatever the campaigns, at the same time.
func (s *Store) Summaries(ctx context.Context, campaigns []uint32, hours uint32) ([]aggregate.Summary, error) {
	all := make([]aggregate.Summary, len(campaigns))
	at := make(map[uint32]*aggregate.Summary, len(campaigns))
	for i, c := range campaigns {
		all[i].Campaign = c
		at[c] = &all[i]
	}
	var wait sync.WaitGroup
	questions := []func(context.Context, []uint32, uint32, map[uint32]*aggregate.Summary) error{s.totals, s.series, s.wholes, s.members}
	errs := make([]error, len(questions))
	for i, ask := range questions {
		wait.Go(func() { errs[i] = ask(ctx, campaigns, hours, at) }) // each fills fields of its own
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, s.failed(err, "read the sums of %d campaigns", len(campaigns))
	}
	return all, nil
}

func (s *Store) totals(ctx context.Context, campaigns []uint32, _ uint32, at map[uint32]*aggregate.Summary) error {
	return s.each(reading(ctx), "totals_get", []any{clickhouse.Named("campaigns", campaigns)}, func(rows driver.Rows) error {
		var c aggregate.Count
		if err := rows.Scan(&c.Campaign, (*uint8)(&c.Kind), (*uint8)(&c.Reason), (*uint8)(&c.Class), &c.N); err != nil {
			return err
		}
		at[c.Campaign].Totals = append(at[c.Campaign].Totals, c)
		return nil
	})
}

func (s *Store) series(ctx context.Context, campaigns []uint32, hours uint32, at map[uint32]*aggregate.Summary) error {
	args := []any{clickhouse.Named("campaigns", campaigns), clickhouse.Named("counted", uint8(event.Counted)), clickhouse.Named("hours", hours)}
	return s.each(reading(ctx), "series_get", args, func(rows driver.Rows) error {
		var c aggregate.Count
		if err := rows.Scan(&c.Campaign, &c.Hour, (*uint8)(&c.Kind), &c.N); err != nil {
			return err
		}
		at[c.Campaign].Series = append(at[c.Campaign].Series, c)
		return nil
	})
}

func (s *Store) wholes(ctx context.Context, campaigns []uint32, _ uint32, at map[uint32]*aggregate.Summary) error {
	args := []any{
		clickhouse.Named("campaigns", campaigns),
		clickhouse.Named("human", uint8(classify.Human)), clickhouse.Named("machine", uint8(classify.Machine)),
	}
	return s.each(reading(ctx), "uniques_whole_get", args, func(rows driver.Rows) error {
		u := aggregate.UniqueCount{Whole: true}
		var campaign uint32
		if err := rows.Scan(&campaign, (*uint8)(&u.Kind), &u.Human, &u.People); err != nil {
			return err
		}
		at[campaign].Uniques = addUnique(at[campaign].Uniques, u)
		return nil
	})
}

func (s *Store) members(ctx context.Context, campaigns []uint32, _ uint32, at map[uint32]*aggregate.Summary) error {
	all, err := s.populations(ctx, campaigns)
	for campaign, people := range all {
		at[campaign].Populations = people
	}
	return err
}

// populations are the memberships of campaigns, each person once.
func (s *Store) populations(ctx context.Context, campaigns []uint32) (map[uint32][]aggregate.PopulationCount, error) {
	all := map[uint32][]aggregate.PopulationCount{}
	joined := map[uint32]map[aggregate.Member]uint64{}
	args := []any{clickhouse.Named("campaigns", campaigns), clickhouse.Named("strictness", strictness)}
	err := s.each(reading(ctx), "populations_get", args, func(rows driver.Rows) error {
		var campaign uint32
		var p aggregate.PopulationCount
		var union uint64
		if err := rows.Scan(&campaign, (*uint8)(&p.Member.Opens), (*uint8)(&p.Member.Clicks), &p.People, &union); err != nil {
			return err
		}
		if joined[campaign] == nil {
			joined[campaign] = map[aggregate.Member]uint64{}
		}
		all[campaign], joined[campaign][p.Member] = append(all[campaign], p), union
		return nil
	})
	for campaign := range all {
		// What the union is of is the server's: it has the same order.
		all[campaign], _ = aggregate.CountOnce(all[campaign], func(m aggregate.Member) (uint64, error) { return joined[campaign][m], nil })
	}
	return all, err
}

// strictness is aggregate.Strictness of each reason; a slice of bytes would be sent as text.
var strictness = func() []uint16 {
	var all []uint16
	for _, r := range event.Reasons() {
		all = append(all, uint16(aggregate.Strictness(r)))
	}
	return all
}()
