// Package advertiser tells advertisers how many people clicked, and nothing about anyone. Numbers are released when an epoch closes:
// once, with noise, and never again. README.md says what that guarantees, in words for those who buy advertisements.
package advertiser

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/privacy"
)

// What holds for every release.
const (
	// LeastDelivered is how many mails of a campaign must have been delivered; below, nothing is drawn.
	LeastDelivered = 500
	// LeastShown is the least noised number that is shown.
	LeastShown = 20
	// RoundedTo is what a shown number is a multiple of.
	RoundedTo = 5
	// MostCells is how many cells a campaign has for an advertiser. The campaign's clicks come in its first days; what came
	// later would cost as much noise and budget as they did.
	MostCells = 4
	// DefaultBudget is what all releases to an advertiser may cost in a calendar year, in ε: a campaign a week, each of MostCells
	// cells of ε = 1. A person is in one cell of a campaign at most, so that year tells of her 52 at most, and that much only if she
	// clicked in every campaign.
	DefaultBudget = 52 * MostCells
)

// ErrUnknown is of a name that no link and no release has.
var ErrUnknown = errors.New("there is no such advertiser: no link has the name")

// Campaigns are what is registered. They may be asked concurrently.
type Campaigns interface {
	Advertisers() []campaign.Advertiser
	AdvertisedBy(name string) []campaign.Advertised
	ByNumber(number uint32) (campaign.Campaign, bool)
}

// Options are what Reports are made of. Store and Campaigns are needed.
type Options struct {
	Store     aggregate.Advertising
	Campaigns Campaigns
	// Epoch is the length of an epoch in whole seconds; Week if 0.
	Epoch time.Duration
	// Epsilon is what each release costs; 1 if zero.
	Epsilon privacy.Epsilon
	// Budget is what all releases to an advertiser may cost in a calendar year; DefaultBudget if 0.
	Budget int
	Logger *slog.Logger // nil is silence

	random io.Reader        // of tests
	now    func() time.Time // of tests
}

// Reports closes epochs and reports what was released. Run and Close are for one goroutine; the rest may be
// called concurrently. Several processes may close at once: of each closing one stands.
type Reports struct {
	o     Options
	noise *privacy.Sampler

	closed map[string]time.Time // up to when an advertiser's epochs are known to be closed

	mu    sync.Mutex
	stats Stats
}

// Stats is what Reports can tell of its work.
type Stats struct {
	Closed   uint64 // closings by this process
	Released uint64 // cells in them
	Failed   uint64 // rounds in which something could not be closed
	Faulty   bool   // the last round was one
}

// New returns Reports, or an error where the options can't be used.
func New(o Options) (*Reports, error) {
	if o.Epoch == 0 {
		o.Epoch = Week
	}
	if o.Epsilon == (privacy.Epsilon{}) {
		o.Epsilon = privacy.Epsilon{Num: 1, Den: 1}
	}
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	switch {
	case o.Store == nil || o.Campaigns == nil:
		return nil, errors.New("advertiser: no store or no campaigns")
	case o.Epoch < time.Second || o.Epoch%time.Second != 0:
		return nil, errors.New("advertiser: an epoch is not of whole seconds")
	case !o.Epsilon.Valid() || o.Budget < 0:
		return nil, errors.New("advertiser: an epsilon or a budget that is none")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.random == nil {
		o.random = rand.Reader
	}
	if o.now == nil {
		o.now = time.Now
	}
	return &Reports{o: o, noise: privacy.NewSampler(o.random), closed: map[string]time.Time{}}, nil
}

// Stats may be called at any time.
func (r *Reports) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// State is what becomes of a campaign's clicks at the next closing.
type State string

// The states.
const (
	Counting     State = "counting"      // they are released
	Ended        State = "ended"         // the campaign had all its cells
	FewDelivered State = "few_delivered" // too few mails were delivered: they wait
	LinksChanged State = "links_changed" // a link that was counted for the advertiser is somebody else's now: they wait until it is back
	BudgetSpent  State = "budget_spent"  // the year's budget is spent: they wait for the next year
	DateOnly     State = "date_only"     // nothing of them is kept
	Gone         State = "gone"          // the campaign has no link of the advertiser any more
)

// standing is what an advertiser's chain of closings says.
type standing struct {
	number uint32
	end    time.Time // of the last epoch that was closed
	cells  map[uint32]*cells
	spent  map[int]*big.Rat // by year
}

// cells are those of a campaign.
type cells struct {
	count  int
	people uint64   // at the last one, of all time
	links  []uint16 // of all of them, ascending
}

func standingOf(chain []aggregate.Closing) *standing {
	s := &standing{cells: map[uint32]*cells{}, spent: map[int]*big.Rat{}}
	for i := range chain {
		c := &chain[i]
		s.number, s.end = c.Number, c.End
		for j := range c.Releases {
			rel := &c.Releases[j]
			of := s.cells[rel.Campaign]
			if of == nil {
				of = &cells{}
				s.cells[rel.Campaign] = of
			}
			of.count++
			of.people, of.links = max(of.people, rel.People), rel.Links // which hold all those before
			s.charge(Epoch{c.Start, c.End}.year(), rel.Epsilon)
		}
	}
	return s
}

func (s *standing) charge(year int, e privacy.Epsilon) {
	if s.spent[year] == nil {
		s.spent[year] = new(big.Rat)
	}
	s.spent[year].Add(s.spent[year], e.Rat())
}

// affords says whether a year's budget has room for one more release.
func (s *standing) affords(year int, e privacy.Epsilon, budget int) bool {
	sum := e.Rat()
	if spent := s.spent[year]; spent != nil {
		sum.Add(sum, spent)
	}
	return sum.Cmp(new(big.Rat).SetInt64(int64(budget))) <= 0
}

// state decides on what is known without looking at any click: whether there is a cell must tell nothing of people.
func (r *Reports) state(a *campaign.Advertised, s *standing, year int) State {
	before := s.cells[a.Campaign.Number]
	switch {
	case a.Campaign.DateOnly:
		return DateOnly
	case before != nil && before.count >= MostCells:
		return Ended
	case a.Campaign.Delivered < LeastDelivered:
		return FewDelivered
	// Who clicked a link that was taken away would leave the sum, and come back with another click: in two cells.
	case before != nil && !within(before.links, a.Links):
		return LinksChanged
	case !s.affords(year, r.o.Epsilon, r.o.Budget):
		return BudgetSpent
	}
	return Counting
}

// within says whether all is in, both ascending.
func within(all, in []uint16) bool {
	for _, l := range all {
		if _, found := slices.BinarySearch(in, l); !found {
			return false
		}
	}
	return true
}
