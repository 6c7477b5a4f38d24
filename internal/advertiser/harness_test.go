package advertiser

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/privacy"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// books are campaigns and whose their links are.
type books struct {
	mu  sync.Mutex
	all []campaign.Campaign
	own map[uint32]map[uint16]string
}

// add makes a campaign with one link of each advertiser, numbered from 1.
func (b *books) add(delivered uint64, advertisers ...string) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	number := uint32(len(b.all) + 1)
	b.all = append(b.all, campaign.Campaign{Name: "c" + string(rune('a'+number-1)), Number: number, Delivered: delivered, Created: start.AddDate(0, 0, -1)})
	if b.own == nil {
		b.own = map[uint32]map[uint16]string{}
	}
	b.own[number] = map[uint16]string{}
	for i, name := range advertisers {
		b.own[number][uint16(i+1)] = name
	}
	return number
}

func (b *books) give(number uint32, link uint16, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own[number][link] = name
}

func (b *books) deliver(number uint32, delivered uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[number-1].Delivered = delivered
}

func (b *books) Advertisers() []campaign.Advertiser {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := map[string]bool{}
	for _, links := range b.own {
		for _, name := range links {
			names[name] = true
		}
	}
	var all []campaign.Advertiser
	for name := range names {
		all = append(all, campaign.Advertiser{Name: name})
	}
	slices.SortFunc(all, func(a, b campaign.Advertiser) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return all
}

func (b *books) AdvertisedBy(name string) []campaign.Advertised {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []campaign.Advertised
	for _, c := range b.all {
		var links []uint16
		for l, owner := range b.own[c.Number] {
			if owner == name {
				links = append(links, l)
			}
		}
		if slices.Sort(links); len(links) > 0 {
			all = append(all, campaign.Advertised{Campaign: c, Links: links})
		}
	}
	return all
}

func (b *books) ByNumber(n uint32) (campaign.Campaign, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n == 0 || int(n) > len(b.all) {
		return campaign.Campaign{}, false
	}
	return b.all[n-1], true
}

// start is a Monday.
var start = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// week goes to the first moment at which the n-th epoch after start is due to be closed.
func (c *clock) week(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = start.AddDate(0, 0, 7*n).Add(time.Hour)
}

// seeded gives the same bits in every run.
func seeded(seed byte) *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{seed}) }

// noise is what a Reports with the same seed draws, in order.
func noise(t *testing.T, seed byte, n int) []int64 {
	t.Helper()
	s := privacy.NewSampler(seeded(seed))
	var all []int64
	for range n {
		z, err := s.Laplace(privacy.Epsilon{Num: 1, Den: 1})
		must(t, err)
		all = append(all, z)
	}
	return all
}

// rig is Reports over a store, with clicks that a test makes.
type rig struct {
	*Reports
	store  aggregate.Store
	books  *books
	clock  *clock
	log    *bytes.Buffer
	offset uint64
}

func newRig(t *testing.T, store aggregate.Store, seed byte, change ...func(*Options)) *rig {
	t.Helper()
	g := &rig{store: store, books: &books{}, clock: &clock{at: start}, log: &bytes.Buffer{}}
	g.renew(t, seed, change...)
	return g
}

// renew is a restart.
func (g *rig) renew(t *testing.T, seed byte, change ...func(*Options)) {
	t.Helper()
	o := Options{Store: g.store, Campaigns: g.books, random: seeded(seed), now: g.clock.now, Logger: slog.New(slog.NewTextHandler(g.log, nil))}
	for _, c := range change {
		c(&o)
	}
	var err error
	g.Reports, err = New(o)
	must(t, err)
}

// click has people, from one number up to another, click a link for sure.
func (g *rig) click(t *testing.T, campaign uint32, link uint16, from, to int) {
	t.Helper()
	var who []uint64
	for i := from; i < to; i++ {
		who = append(who, uint64(i+1)*0x9e3779b97f4a7c15)
	}
	must(t, g.store.Commit(context.Background(), &aggregate.Commit{Before: g.offset, After: aggregate.Progress{Offset: g.offset + 1}, Uniques: []aggregate.Uniques{
		{UniqueKey: aggregate.UniqueKey{Campaign: campaign, Link: link, Kind: event.Click, Class: classify.Human}, Hashes: who},
	}}))
	g.offset++
}

// close closes what is due, twice, since asking again must change nothing.
func (g *rig) close(t *testing.T) {
	t.Helper()
	must(t, g.Close(t.Context()))
	must(t, g.Close(t.Context()))
}

func (g *rig) report(t *testing.T, name string) *Report {
	t.Helper()
	r, err := g.Report(t.Context(), name)
	must(t, err)
	return r
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

// of is the campaign of a report.
func (r *Report) of(t *testing.T, name string) *CampaignReport {
	t.Helper()
	for i := range r.Campaigns {
		if r.Campaigns[i].Campaign == name {
			return &r.Campaigns[i]
		}
	}
	t.Fatalf("no campaign %s in %+v", name, r)
	return nil
}

// released are the noised numbers of a campaign, as they are stored.
func (g *rig) released(t *testing.T, name string, campaign uint32) (noised []int64) {
	t.Helper()
	chain, err := g.store.Closings(t.Context(), name)
	must(t, err)
	for _, c := range chain {
		for _, r := range c.Releases {
			if r.Campaign == campaign {
				noised = append(noised, r.Noised)
			}
		}
	}
	return noised
}
