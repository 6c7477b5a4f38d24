package storetest

import (
	"context"
	"fmt"
	"slices"

	"mailbeacon/ingest/aggregate"
)

// Clickers implements aggregate.Advertising.
func (m *Memory) Clickers(ctx context.Context, campaign uint32, links []uint16) (uint64, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	all := set{}
	for u, s := range m.uniques {
		if u.Campaign == campaign && u.Clicked() && slices.Contains(links, u.Link) {
			all.merge(s)
		}
	}
	return uint64(len(all)), nil
}

// AddClosing implements aggregate.Advertising.
func (m *Memory) AddClosing(ctx context.Context, c *aggregate.Closing) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	chain := m.closings[c.Advertiser]
	if c.Number == 0 || uint64(len(chain)) != uint64(c.Number)-1 {
		return fmt.Errorf("add closing %d: %w: the last one is %d", c.Number, aggregate.ErrConflict, len(chain))
	}
	m.closings[c.Advertiser] = append(chain, copyClosing(c))
	return nil
}

// Closings implements aggregate.Advertising.
func (m *Memory) Closings(ctx context.Context, advertiser string) ([]aggregate.Closing, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []aggregate.Closing
	for i := range m.closings[advertiser] {
		all = append(all, copyClosing(&m.closings[advertiser][i]))
	}
	return all, nil
}

func copyClosing(c *aggregate.Closing) aggregate.Closing {
	mine := *c
	mine.Releases = slices.Clone(c.Releases)
	for i := range mine.Releases {
		mine.Releases[i].Links = slices.Clone(mine.Releases[i].Links)
	}
	return mine
}
