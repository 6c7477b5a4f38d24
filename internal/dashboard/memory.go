package dashboard

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/report"
)

// memory keeps what was read of campaigns: the comparison of 200 takes some 200 ms to read from SQLite, of which little
// changes; and where the store does not answer, what it last said can still be shown, with its age.
type memory struct {
	store aggregate.Reader
	now   func() time.Time

	mu    sync.Mutex
	lines map[uint32]kept
	last  time.Time // when the store last answered
	fails bool      // it did not, the last time
}

// kept is a campaign's line, as of a time.
type kept struct {
	of   campaign.Campaign
	line report.Line
	at   time.Time
}

const (
	// A campaign moves for some days. Its line may be so old while it does, and afterwards.
	moving      = 8 * 24 * time.Hour
	movingLimit = 30 * time.Second
	restLimit   = 10 * time.Minute
	// mostKept bounds the memory: 7 kB a campaign. It is so many that what a page counts on is not dropped under it.
	mostKept = 10 * report.MaxOverview
	// refreshEvery is how often what will be too old soon is read again. fewAtOnce keeps that from the way of others.
	refreshEvery = 10 * time.Second
	fewAtOnce    = 10
)

func newMemory(store aggregate.Reader, now func() time.Time) *memory {
	return &memory{store: store, now: now, lines: map[uint32]kept{}}
}

// limit is how old a line may be.
func limit(c *campaign.Campaign, now time.Time) time.Duration {
	if now.Sub(c.Created) < moving {
		return movingLimit
	}
	return restLimit
}

// answered notes that the store answered, or makes an error that says when it last did.
func (m *memory) answered(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails = err != nil; m.fails {
		return &unread{m.last, err}
	}
	m.last = m.now()
	return nil
}

// state is when the store last answered, and whether it did not the last time.
func (m *memory) state() (last time.Time, failing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, m.fails
}

// read asks the store for campaigns' lines, and keeps them.
func (m *memory) read(ctx context.Context, campaigns []campaign.Campaign) ([]report.Line, error) {
	subjects := make([]report.Subject, len(campaigns))
	for i := range campaigns {
		subjects[i] = report.SubjectOf(campaigns[i], nil)
	}
	at := m.now()
	lines, err := report.Overview(ctx, m.store, subjects)
	if err := m.answered(err); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range lines {
		m.lines[campaigns[i].Number] = kept{campaigns[i], lines[i], at}
	}
	m.forget()
	return lines, nil
}

// forget drops the lines that were read longest ago, where there are too many; mu is held.
func (m *memory) forget() {
	if len(m.lines) <= mostKept {
		return
	}
	numbers := make([]uint32, 0, len(m.lines))
	for n := range m.lines {
		numbers = append(numbers, n)
	}
	slices.SortFunc(numbers, func(a, b uint32) int { return m.lines[a].at.Compare(m.lines[b].at) })
	for _, n := range numbers[:len(numbers)-mostKept*3/4] {
		delete(m.lines, n)
	}
}

// recent is campaigns' lines, each at most as old as it may be, and as of when the oldest is.
func (m *memory) recent(ctx context.Context, campaigns []campaign.Campaign) (lines []report.Line, asOf time.Time, err error) {
	missing := m.older(campaigns, 1)
	fresh := make(map[string]report.Line, len(missing))
	asOf = m.now()
	if len(missing) > 0 {
		read, err := m.read(ctx, missing)
		if err != nil {
			return nil, asOf, err
		}
		for i := range read {
			fresh[read[i].Campaign] = read[i]
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range campaigns {
		line, ok := fresh[campaigns[i].Name]
		if k := m.lines[campaigns[i].Number]; !ok {
			line = k.line
			asOf = earlier(asOf, k.at)
		}
		lines = append(lines, line)
	}
	return lines, asOf, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// older are the campaigns whose lines are older than a part of what they may be, or not there, or of another campaign than it is now.
func (m *memory) older(campaigns []campaign.Campaign, part float64) []campaign.Campaign {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	var all []campaign.Campaign
	for i := range campaigns {
		c := &campaigns[i]
		k, ok := m.lines[c.Number]
		if !ok || k.of != *c || float64(now.Sub(k.at)) > part*float64(limit(c, now)) {
			all = append(all, *c)
		}
	}
	return all
}

// known is what there is, of whatever age, and how many are not.
func (m *memory) known(campaigns []campaign.Campaign) (lines []report.Line, asOf time.Time, missing int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	asOf = m.now()
	for i := range campaigns {
		k, ok := m.lines[campaigns[i].Number]
		if !ok {
			missing++
			continue
		}
		asOf = earlier(asOf, k.at)
		lines = append(lines, k.line)
	}
	return lines, asOf, missing
}

// run reads what will be too old soon, so that nobody waits for it.
func (m *memory) run(ctx context.Context, campaigns Campaigns, logger *slog.Logger) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for failing := false; ; {
		err := m.refresh(ctx, campaigns)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			logger.Warn("the dashboard can't read counts", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (m *memory) refresh(ctx context.Context, campaigns Campaigns) error {
	for few := range slices.Chunk(m.older(campaigns.Latest(0, report.MaxOverview), 0.5), fewAtOnce) {
		bound, cancel := context.WithTimeout(ctx, patience)
		_, err := m.read(bound, few)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}
