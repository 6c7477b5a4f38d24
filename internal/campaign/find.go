package campaign

// What the Writer asks of the registry.

// about returns what is known of an announced campaign.
func (r *Registry) about(name string) (about, bool) {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.byName[name]
	if c == nil || c.about.Load() == nil {
		return about{}, false
	}
	return *c.about.Load(), true
}

// highest is the highest number of a campaign, 0 where there is none.
func (r *Registry) highest() uint32 {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.numbers) == 0 {
		return 0
	}
	return s.numbers[len(s.numbers)-1]
}

// nextLink is the first number after all links of a campaign; it may be above MaxLinks.
func (r *Registry) nextLink(campaign uint32) int {
	return len(r.state.Load().numbered(campaign).set().all) + 1
}

// delivered says whether a delivery stands exactly so.
func (r *Registry) delivered(name string, d Delivery) bool {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.byName[name]; c != nil {
		old, ok := c.deliveries[d.ID]
		return ok && old == d
	}
	return false
}

// target is what makes links the same.
type target struct{ url, label string }

// find looks for links, each by URL and label, and returns those that are there as they are and the
// others as they were asked for, with number 0. Where several fit, the lowest number is taken.
func (r *Registry) find(campaign uint32, wanted []Link) (found []Link, missing int) {
	found = make([]Link, len(wanted))
	places := make(map[target][]int, len(wanted)) // where in found each is wanted
	for i, l := range wanted {
		l.Number = 0
		found[i] = l
		places[target{l.URL, l.Label}] = append(places[target{l.URL, l.Label}], i)
	}
	missing = len(wanted)
	for i, l := range r.state.Load().numbered(campaign).set().all {
		if l == nil {
			continue
		}
		for _, at := range places[target{string(l.url), l.label}] {
			if found[at].Number == 0 && l.fits(&found[at]) {
				found[at] = l.view(uint16(i + 1))
				missing--
			}
		}
		if missing == 0 {
			break
		}
	}
	return found, missing
}

// fits says whether l, of the right URL and label, serves somebody who asks for a link like w: who
// names no advertiser takes any. A hidden link never serves for a visible one, nor the reverse.
func (l *link) fits(w *Link) bool {
	return (w.Advertiser == "" || w.Advertiser == l.advertiser) && w.Hidden == l.hidden
}
