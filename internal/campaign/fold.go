package campaign

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"mailbeacon/internal/control"
)

// errRival says that a record lost: another writer took the name or the number first. It stays in
// the log and means nothing; its writer repairs the log (see Writer).
var errRival = errors.New("its name or number was taken by a record before it")

// Name implements control.Folder.
func (r *Registry) Name() string { return "campaign" }

// Apply implements control.Folder. Where writers who did not know of each other proposed the same
// name or number, the record that stands first in the log holds, for everybody, and the later one
// is void: a number that was given out in mail must never come to mean something else.
func (r *Registry) Apply(e control.Entry) error {
	var err error
	switch s := r.state.Load(); e.Kind {
	case control.KindCampaign:
		var a about
		if a, err = parseCampaign(&e); err == nil {
			err = s.announce(e.Key, a)
		}
	case control.KindLink:
		var name string
		var number uint16
		var l *link
		if name, number, l, err = parseLink(&e); err == nil {
			err = s.link(name, number, l)
		}
	case control.KindDelivery:
		var name string
		var d Delivery
		if name, d, err = parseDelivery(&e); err == nil {
			s.deliver(name, d)
		}
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s record passed over: %w", e.Kind, err)
	}
	r.bell.Ring()
	return nil
}

// named returns the campaign of a name, which may not be announced yet; mu is held.
func (s *state) named(name string) *campaign {
	c := s.byName[name]
	if c == nil {
		c = &campaign{name: name}
		c.links.Store(noLinks)
		s.byName[name] = c
	}
	return c
}

// announce makes a campaign known, or changes its title.
func (s *state) announce(name string, a about) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byName[name]; c != nil {
		if old := c.about.Load(); old != nil {
			if old.number != a.number || old.key != a.key {
				return errRival
			}
			a.dateOnly = a.dateOnly || old.dateOnly // which nobody takes back
			c.about.Store(&a)
			return nil
		}
	}
	if s.numbered(a.number) != nil {
		return errRival
	}
	c := s.named(name)
	c.about.Store(&a)
	at, _ := slices.BinarySearch(s.numbers, a.number)
	s.numbers = slices.Insert(s.numbers, at, a.number)
	slot := &s.pages[a.number/pageSize]
	if slot.Load() == nil {
		slot.Store(new(page))
	}
	slot.Load()[a.number%pageSize].Store(c)
	return nil
}

// link adds a link or changes it.
func (s *state) link(name string, number uint16, l *link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.named(name)
	set := c.links.Load()
	if old := set.at(number); old != nil && old.id != l.id {
		return errRival
	}
	c.links.Store(set.with(number, l))
	return nil
}

// with returns the set with a link put at a number. It shares the array where the link comes after
// all others, the common case, and copies it otherwise.
func (s *linkSet) with(number uint16, l *link) *linkSet {
	next := &linkSet{all: s.all, count: s.count, visible: s.visible}
	switch i := int(number) - 1; {
	case i == len(s.all):
		next.all = append(s.all, l)
		next.count++
	case i > len(s.all):
		next.all = append(append(slices.Clone(s.all), make([]*link, i-len(s.all))...), l)
		next.count++
	default:
		next.all = slices.Clone(s.all)
		if old := s.all[i]; old == nil {
			next.count++
		} else if !old.hidden {
			next.visible--
		}
		next.all[i] = l
	}
	if !l.hidden {
		next.visible++
	}
	return next
}

// deliver adds a delivery, or replaces what its id said before.
func (s *state) deliver(name string, d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.named(name)
	if c.deliveries == nil {
		c.deliveries = map[string]Delivery{}
	}
	old := c.deliveries[d.ID]
	c.deliveries[d.ID] = d
	c.delivered += d.Delivered - old.Delivered
	c.bounced += d.Bounced - old.Bounced
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
