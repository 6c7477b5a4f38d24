package campaign

import (
	"cmp"
	"slices"
)

// Advertiser is who has links, in any campaign.
type Advertiser struct {
	Name             string
	Campaigns, Links int
}

// Advertised is what of a campaign is one advertiser's.
type Advertised struct {
	Campaign Campaign
	Links    []uint16 // ascending
}

// Advertisers returns everybody who has links, by name. It looks through all links.
func (r *Registry) Advertisers() []Advertiser {
	sums, in := map[string]*Advertiser{}, map[string]uint32{} // in: the campaign that was counted last
	r.eachLink(func(number uint32, _ uint16, l *link) {
		if l.advertiser == "" {
			return
		}
		a := sums[l.advertiser]
		if a == nil {
			a = &Advertiser{Name: l.advertiser}
			sums[l.advertiser] = a
		}
		a.Links++
		if in[l.advertiser] != number {
			in[l.advertiser] = number
			a.Campaigns++
		}
	})
	all := make([]Advertiser, 0, len(sums))
	for _, a := range sums {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b Advertiser) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// AdvertisedBy returns the campaigns in which an advertiser has links, by ascending number. It looks through all links.
func (r *Registry) AdvertisedBy(name string) []Advertised {
	var all []Advertised
	if name == "" {
		return nil
	}
	r.eachLink(func(number uint32, at uint16, l *link) {
		if l.advertiser != name {
			return
		}
		if len(all) == 0 || all[len(all)-1].Campaign.Number != number {
			c, ok := r.ByNumber(number)
			if !ok { // restored to a state without it, this moment
				return
			}
			all = append(all, Advertised{Campaign: c})
		}
		last := &all[len(all)-1]
		last.Links = append(last.Links, at)
	})
	return all
}

// eachLink calls fn for every link of every campaign, ascending. No lock is held meanwhile.
func (r *Registry) eachLink(fn func(campaign uint32, number uint16, l *link)) {
	s := r.state.Load()
	s.mu.RLock()
	numbers := slices.Clone(s.numbers)
	s.mu.RUnlock()
	for _, n := range numbers {
		for i, l := range s.numbered(n).set().all {
			if l != nil {
				fn(n, uint16(i+1), l)
			}
		}
	}
}
