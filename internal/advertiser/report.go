package advertiser

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
)

// Report is what an advertiser is told. It changes with a closing, and never says more of an epoch that is closed.
type Report struct {
	Advertiser string           `json:"advertiser"`
	People     uint64           `json:"people" doc:"the sum of all numbers shown; who clicked in two campaigns is in it twice"`
	Withheld   int              `json:"withheld" doc:"numbers that were too small to be shown"`
	Campaigns  []CampaignReport `json:"campaigns" nullable:"false" doc:"those with links of the advertiser, the latest first"`
	Ledger     []Year           `json:"ledger" nullable:"false" doc:"what the releases cost, by calendar year (UTC)"`
	Method     Method           `json:"method"`
}

// CampaignReport is one campaign of a Report.
type CampaignReport struct {
	Campaign string `json:"campaign" example:"spring"`
	Title    string `json:"title" example:"Spring news"`
	State    State  `json:"state" enum:"counting,ended,few_delivered,links_changed,budget_spent,date_only,gone" doc:"what becomes of further clicks: counting: released at the next closing; ended: not released; few_delivered, links_changed, budget_spent: they wait; date_only: never kept; gone: no link is the advertiser's any more"`
	People   uint64 `json:"people" doc:"the sum of the numbers shown"`
	Withheld int    `json:"withheld" doc:"numbers that were too small to be shown"`
	Cells    []Cell `json:"cells" nullable:"false" doc:"one per epoch that was closed; each person is in one at most"`
}

// Cell is one released number.
type Cell struct {
	From     time.Time `json:"from" doc:"where the number before ends; of the first, the beginning of the epoch, or of the campaign where that is earlier"`
	To       time.Time `json:"to" doc:"the end of the epoch; who clicked until it was closed is in it"`
	People   *uint64   `json:"people,omitempty" doc:"people who clicked for sure and had not before, with noise, rounded; absent where withheld"`
	Withheld bool      `json:"withheld" doc:"the noised number is too small to be shown"`
	Released time.Time `json:"released" doc:"when it was drawn"`
	Epsilon  string    `json:"epsilon" example:"1" doc:"what it cost"`
}

// Year is a year of the ledger.
type Year struct {
	Year     int    `json:"year" example:"2026"`
	Releases int    `json:"releases" doc:"numbers released, shown or withheld"`
	Spent    string `json:"spent" example:"4" doc:"the sum of what they cost, in ε"`
	Budget   int    `json:"budget" doc:"what they may cost"`
}

// Method is how the numbers came to be.
type Method struct {
	Epsilon        string `json:"epsilon" example:"1" doc:"of each release: the odds of any number change by e^ε at most, whether a person clicked or not"`
	EpochSeconds   int64  `json:"epoch_seconds" example:"604800"`
	LeastDelivered int    `json:"least_delivered" doc:"mails of a campaign below which nothing is drawn"`
	LeastShown     int    `json:"least_shown" doc:"the least noised number that is shown"`
	RoundedTo      int    `json:"rounded_to"`
	MostCells      int    `json:"most_cells" doc:"epochs of a campaign"`
}

// Listed is an advertiser in the list.
type Listed struct {
	Name      string `json:"name" example:"ACME"`
	Campaigns int    `json:"campaigns" doc:"campaigns with links of the advertiser"`
	Links     int    `json:"links" doc:"such links"`
}

// List returns up to limit advertisers with links, by name, from the first after a name.
func (r *Reports) List(after string, limit int) []Listed {
	all := []Listed{}
	for _, a := range r.o.Campaigns.Advertisers() {
		if a.Name > after && len(all) < limit {
			all = append(all, Listed(a))
		}
	}
	return all
}

// Report returns what an advertiser is told, from what was released alone; ErrUnknown where there is no such advertiser.
func (r *Reports) Report(ctx context.Context, name string) (*Report, error) {
	chain, err := r.o.Store.Closings(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("report to an advertiser: %w", err)
	}
	linked := r.o.Campaigns.AdvertisedBy(name)
	if len(chain) == 0 && len(linked) == 0 {
		return nil, ErrUnknown
	}
	out := &Report{Advertiser: name, Campaigns: []CampaignReport{}, Ledger: []Year{}, Method: Method{
		Epsilon: r.o.Epsilon.String(), EpochSeconds: int64(r.o.Epoch / time.Second),
		LeastDelivered: LeastDelivered, LeastShown: LeastShown, RoundedTo: RoundedTo, MostCells: MostCells,
	}}
	s := standingOf(chain)
	cells, years := released(chain)
	thisYear := epochOf(r.o.now(), r.o.Epoch).year()
	for i := range linked {
		c := &linked[i].Campaign
		out.add(c, r.state(&linked[i], s, thisYear), cells[c.Number])
		delete(cells, c.Number)
	}
	for _, number := range slices.Sorted(maps.Keys(cells)) {
		c, known := r.o.Campaigns.ByNumber(number)
		if !known {
			c = campaign.Campaign{Number: number}
		}
		out.add(&c, Gone, cells[number])
	}
	slices.Reverse(out.Campaigns)
	for _, year := range slices.Sorted(maps.Keys(s.spent)) {
		out.Ledger = append(out.Ledger, Year{year, years[year], exact(s.spent[year]), r.o.Budget})
	}
	return out, nil
}

// released are the cells of each campaign as they are shown, and how many each year has.
func released(chain []aggregate.Closing) (cells map[uint32][]Cell, years map[int]int) {
	cells, years = map[uint32][]Cell{}, map[int]int{}
	for i := range chain {
		c := &chain[i]
		for j := range c.Releases {
			rel := &c.Releases[j]
			cell := Cell{From: c.Start, To: c.End, Released: c.At, Epsilon: rel.Epsilon.String()}
			cell.People = shown(rel.Noised)
			cell.Withheld = cell.People == nil
			cells[rel.Campaign] = append(cells[rel.Campaign], cell)
			years[Epoch{c.Start, c.End}.year()]++
		}
	}
	return cells, years
}

// shown is what is told of a noised number; nil for nothing.
func shown(noised int64) *uint64 {
	if noised < LeastShown {
		return nil
	}
	n := (uint64(noised) + RoundedTo/2) / RoundedTo * RoundedTo
	return &n
}

func (r *Report) add(c *campaign.Campaign, state State, cells []Cell) {
	one := CampaignReport{Campaign: c.Name, Title: c.Title, State: state, Cells: cells}
	if cells == nil {
		one.Cells = []Cell{}
	}
	for i := range cells {
		// It holds whom no number before it does, of epochs too that were not closed or in which nothing was drawn.
		if i > 0 {
			cells[i].From = cells[i-1].To
		} else if !c.Created.IsZero() && c.Created.Before(cells[i].From) {
			cells[i].From = c.Created.UTC().Truncate(time.Second)
		}
		if cells[i].Withheld {
			one.Withheld++
		} else {
			one.People += *cells[i].People
		}
	}
	r.People += one.People
	r.Withheld += one.Withheld
	r.Campaigns = append(r.Campaigns, one)
}

// exact writes a sum as "4", "9/2".
func exact(sum *big.Rat) string {
	if sum.IsInt() {
		return sum.Num().String()
	}
	return sum.String()
}
