package aggregate

import (
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

const (
	hourMillis = 60 * 60 * 1000
	dayMillis  = 24 * hourMillis
)

// tally adds up what goes into one commit. Its memory is reused from commit to commit.
type tally struct {
	events int // counted under any reason

	cells  map[[2]uint64]int // index into counts
	counts []Count

	keys    map[uint64]int // index into uniques
	uniques []Uniques
	sizes   []int // hashes per unique key
	people  []person
	hashes  []uint64 // people, sorted by key: what uniques[].Hashes point into

	active     map[uint64]int // index into lastActive
	lastActive []LastActive

	// What was noted lately, by the top bits of the hash or the subject. It outlives a commit: what
	// stands in one that was taken is in the store, or the fold is over.
	added [1 << lateBits]addition
	dates [1 << lateBits]LastActive
}

const lateBits = 15

// person is one hash for one sketch, not sorted yet.
type person struct {
	hash uint64
	key  int // index into uniques
}

// addition is a hash that was added to a sketch; the zero one is none, since campaigns begin at 1.
type addition struct{ hash, key uint64 }

// add counts one event in a cell.
func (t *tally) add(c Cell) {
	t.events++
	k := [2]uint64{
		uint64(c.Campaign)<<32 | uint64(c.Hour),
		uint64(c.Link)<<32 | uint64(c.Kind)<<24 | uint64(c.Reason)<<16 | uint64(c.Class)<<8 | uint64(c.Client),
	}
	i, ok := t.cells[k]
	if !ok {
		i = len(t.counts)
		t.cells[k] = i
		t.counts = append(t.counts, Count{Cell: c})
	}
	t.counts[i].N++
}

// person adds a hash to a sketch; once or more often is the same.
func (t *tally) person(u UniqueKey, hash uint64) {
	k := uint64(u.Campaign)<<32 | uint64(u.Link)<<16 | uint64(u.Kind)<<8 | uint64(u.Class)
	late := &t.added[hash>>(64-lateBits)]
	if *late == (addition{hash, k}) {
		return
	}
	*late = addition{hash, k}
	i, ok := t.keys[k]
	if !ok {
		i = len(t.uniques)
		t.keys[k] = i
		t.uniques = append(t.uniques, Uniques{UniqueKey: u})
		t.sizes = append(t.sizes, 0)
	}
	t.sizes[i]++
	t.people = append(t.people, person{hash, i})
}

// seen notes the day of a person's activity; the latest counts. Nobody has the subject 0.
func (t *tally) seen(subject uint64, day uint32) {
	late := &t.dates[subject>>(64-lateBits)]
	if late.Subject == subject && late.Day >= day {
		return
	}
	*late = LastActive{Subject: subject, Day: day}
	if i, ok := t.active[subject]; ok {
		t.lastActive[i].Day = max(t.lastActive[i].Day, day)
		return
	}
	t.active[subject] = len(t.lastActive)
	t.lastActive = append(t.lastActive, LastActive{Subject: subject, Day: day})
}

// gather writes the sums into c, which shares the tally's memory until the next reset.
func (t *tally) gather(c *Commit) {
	t.hashes = grow(t.hashes[:0], len(t.people))
	at := 0
	for i, n := range t.sizes {
		t.uniques[i].Hashes = t.hashes[at : at : at+n]
		at += n
	}
	for _, p := range t.people {
		u := &t.uniques[p.key]
		u.Hashes = append(u.Hashes, p.hash)
	}
	c.Counts, c.Uniques, c.LastActive = t.counts, t.uniques, t.lastActive
}

// reset empties the tally.
func (t *tally) reset() {
	t.events = 0
	t.cells, t.counts = renew(t.cells, len(t.counts), cap(t.counts)), shrink(t.counts)
	t.keys, t.uniques = renew(t.keys, len(t.uniques), cap(t.uniques)), shrink(t.uniques)
	t.active, t.lastActive = renew(t.active, len(t.lastActive), cap(t.lastActive)), shrink(t.lastActive)
	t.sizes, t.people, t.hashes = shrink(t.sizes), shrink(t.people), shrink(t.hashes)
}

// After a peak the memory goes back: what held much more than it was used for is made anew.
const slack = 16

// leastKept is a size below which nothing is given back.
const leastKept = 1 << 12

func shrink[T any](s []T) []T {
	if cap(s) > leastKept && slack*len(s) < cap(s) {
		return nil
	}
	return s[:0]
}

// renew empties a map that holds used entries and once held about peak.
func renew[K comparable](m map[K]int, used, peak int) map[K]int {
	if m == nil || peak > leastKept && slack*used < peak {
		return map[K]int{}
	}
	clear(m)
	return m
}

// grow returns s with room for n in all.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// count adds one event under its reason and class. Which of them counts is decided here, as late
// as can be: a refusal that came while the event was held still holds.
func (f *Fold) count(ev *event.Event, class classify.Class) {
	if ev.Kind == event.Probe {
		return
	}
	reason := ev.Reason
	var hash uint64
	var named bool
	if reason == event.Counted {
		reason, named = f.rule.Allows(ev.Kind, ev.Subject, ev.Campaign)
	}
	if reason == event.Counted {
		var known bool
		if hash, known = f.hasher.Hash(ev.Campaign, ev.Subject); !known {
			reason = event.UnknownCampaign
		}
	}
	cell := Cell{Campaign: ev.Campaign, Hour: uint32(ev.Time / hourMillis), Kind: ev.Kind, Reason: reason}
	if reason != event.Counted {
		dated := reason == event.DateOnly && ev.Subject != 0
		if dated { // and so the hour is nobody's business
			cell.Hour -= cell.Hour % 24
		}
		f.tally.add(cell)
		if dated && active(class) && f.rule.Datable(ev) {
			f.tally.seen(ev.Subject, uint32(ev.Time/dayMillis))
		}
		return
	}
	cell.Link, cell.Class, cell.Client = ev.Link, class, ev.Client
	f.tally.add(cell)
	// Nobody asks how many machines there were, or when: less is kept.
	if class == classify.Machine || !named {
		return
	}
	f.tally.person(UniqueKey{Campaign: ev.Campaign, Link: ev.Link, Kind: ev.Kind, Class: class}, hash)
	if active(class) {
		f.tally.seen(ev.Subject, uint32(ev.Time/dayMillis))
	}
}

func active(c classify.Class) bool { return c == classify.Human || c == classify.Proxied }
