package aggregate

import (
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

const (
	chunkBits = 13
	chunkSize = 1 << chunkBits
	// spareChunks are kept for reuse; more go back to the collector after a peak.
	spareChunks = 16

	leastHomes = 1 << 10
)

// entry is one event in the window.
type entry struct {
	ev event.Event
	// back and on are the distances to the same message's entries before and after, 0 for none.
	back, on uint32
	// resolved is the number (its low 32 bits) of the entry that was the next to come when this one
	// got its class. What came later is no neighbour of it.
	resolved uint32
	waiting  bool
	timed    bool // its time is known, as far as it will be
	class    classify.Class
}

// window is a queue of events, numbered from 0 as they come, and an index of the newest of each
// message (campaign and subject). It grows and shrinks by chunks.
type window struct {
	chunks []*[chunkSize]entry // chunks[0] holds the entry number base, unless the window is empty
	spare  []*[chunkSize]entry
	base   uint64 // the oldest entry
	next   uint64 // the number of the next to come

	// The index is open-addressed: 1 bit that says used, 31 bits of hash, the low 32 of the number.
	homes []uint64
	shift uint // 31 - log2(len(homes))
	used  int
}

func newWindow() *window {
	w := &window{}
	w.resize(leastHomes)
	return w
}

func (w *window) len() int { return int(w.next - w.base) }

// at is entry number n, which must be in the window.
func (w *window) at(n uint64) *entry {
	return &w.chunks[n>>chunkBits-w.base>>chunkBits][n&(chunkSize-1)]
}

// whole is the full number of an entry in the window, or just behind it, of which the low bits are
// known.
func (w *window) whole(low uint32) uint64 { return w.base + uint64(low-uint32(w.base)) }

// push appends an event that nobody looks up. The entry is as good as zero but for it.
func (w *window) push(ev *event.Event) *entry {
	if at := int(w.next>>chunkBits - w.base>>chunkBits); at == len(w.chunks) {
		w.chunks = append(w.chunks, w.chunk())
	}
	e := w.at(w.next)
	*e = entry{ev: *ev}
	w.next++
	return e
}

func (w *window) chunk() *[chunkSize]entry {
	if n := len(w.spare); n > 0 {
		c := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return c
	}
	return new([chunkSize]entry)
}

// pushMessage appends an event and links it to its message.
func (w *window) pushMessage(ev *event.Event) *entry {
	n := w.next
	e := w.push(ev)
	if 4*(w.used+1) > 3*len(w.homes) {
		w.resize(2 * len(w.homes))
	}
	tag := tagOf(ev)
	slot, found := w.find(tag, ev)
	if found {
		last := w.whole(uint32(w.homes[slot]))
		e.back = uint32(n - last)
		w.at(last).on = e.back
	} else {
		w.used++
	}
	w.homes[slot] = 1<<63 | tag<<32 | uint64(uint32(n))
	return e
}

// drop forgets the oldest entry.
func (w *window) drop() {
	e := w.at(w.base)
	if isMessage(&e.ev) && e.on == 0 {
		w.unlink(&e.ev)
	}
	w.base++
	if w.base&(chunkSize-1) != 0 {
		return
	}
	if len(w.spare) < spareChunks {
		w.spare = append(w.spare, w.chunks[0])
	}
	copy(w.chunks, w.chunks[1:])
	w.chunks[len(w.chunks)-1] = nil
	w.chunks = w.chunks[:len(w.chunks)-1]
	n := len(w.homes)
	for n > leastHomes && 16*w.used < n {
		n /= 2
	}
	if 4*n <= len(w.homes) {
		w.resize(n)
	}
}

// isMessage says whether an event has neighbours to look for: it counts, or its date does, and it has a person it can be
// told by. Of one person and campaign, what counts is one message and what has a date is another: of the latter neither
// link nor time is known well enough to say anything of the former.
func isMessage(ev *event.Event) bool {
	return ev.Subject != 0 && (ev.Reason == event.Counted || ev.Reason == event.DateOnly)
}

// tagOf is 31 bits of hash of an event's message. Subjects are keyed hashes already: nobody can
// choose them so that they collide.
func tagOf(ev *event.Event) uint64 {
	h := (ev.Subject ^ uint64(ev.Campaign)*0x9e3779b97f4a7c15 ^ uint64(ev.Reason)) * 0xd6e8feb86659fd93
	return h >> 33
}

// find returns where the message is, or where it would go.
func (w *window) find(tag uint64, ev *event.Event) (slot uint64, found bool) {
	mask := uint64(len(w.homes) - 1)
	for slot = tag >> w.shift; ; slot = (slot + 1) & mask {
		h := w.homes[slot]
		if h == 0 {
			return slot, false
		}
		if h>>32&(1<<31-1) == tag {
			if o := &w.at(w.whole(uint32(h))).ev; o.Subject == ev.Subject && o.Campaign == ev.Campaign && o.Reason == ev.Reason {
				return slot, true
			}
		}
	}
}

// ahead is how many events are met beforehand.
const ahead = 16

// meet reads what find will read of some events, at most ahead. A place in an index of this size is rarely in the processor's
// cache; asked for one by one each costs a wait, asked for in a row they come side by side. What it returns says nothing.
func (w *window) meet(events []event.Event) (read uint64) {
	for i := range events {
		read ^= w.homes[tagOf(&events[i])>>w.shift]
	}
	for i := range events {
		tag := tagOf(&events[i])
		if h := w.homes[tag>>w.shift]; h>>32 == 1<<31|tag {
			read ^= w.at(w.whole(uint32(h))).ev.Subject
		}
	}
	return read
}

// meetOldest is meet for the entries that are dropped next.
func (w *window) meetOldest() (read uint64) {
	for n := w.base; n < min(w.base+ahead, w.next); n++ {
		read ^= w.homes[tagOf(&w.at(n).ev)>>w.shift]
	}
	return read
}

// unlink removes a message from the index and moves what was displaced by it back home.
func (w *window) unlink(ev *event.Event) {
	hole, found := w.find(tagOf(ev), ev)
	if !found {
		return
	}
	w.used--
	mask := uint64(len(w.homes) - 1)
	for slot := (hole + 1) & mask; ; slot = (slot + 1) & mask {
		h := w.homes[slot]
		if h == 0 {
			break
		}
		home := h >> 32 & (1<<31 - 1) >> w.shift
		if (slot-home)&mask >= (slot-hole)&mask { // the hole lies on its way home
			w.homes[hole] = h
			hole = slot
		}
	}
	w.homes[hole] = 0
}

func (w *window) resize(n int) {
	old := w.homes
	w.homes = make([]uint64, n)
	w.shift = 31
	for size := n; size > 1; size >>= 1 {
		w.shift--
	}
	mask := uint64(n - 1)
	for _, h := range old {
		if h == 0 {
			continue
		}
		slot := h >> 32 & (1<<31 - 1) >> w.shift
		for w.homes[slot] != 0 {
			slot = (slot + 1) & mask
		}
		w.homes[slot] = h
	}
}

const (
	// reach is how many neighbours are looked at on either side of an event. It bounds what a message
	// that is hammered can cost, and is more than the rules look at.
	reach = 128
	// steps bounds the search for them.
	steps = 1024
)

// message is scratch space for one event and its neighbours.
type message struct {
	at [2*reach + 1]classify.Sighting
}

// around collects the neighbours of entry number n in the order of their times, itself included at
// the returned index: events of its message that lie less than span milliseconds off it and were in
// the window together with it. ordered says that all entries got, and get, their classes in their
// own order. The result lives in m.
func (w *window) around(n uint64, span int64, ordered bool, m *message) (target int, all []classify.Sighting) {
	e := w.at(n)
	m.at[reach] = sighting(&e.ev)
	first, last := reach, reach
	from := n
	for i, o := 0, e; i < steps && first > 0; i++ {
		if o.back == 0 || uint64(o.back) > from-w.base {
			break
		}
		from -= uint64(o.back)
		o = w.at(from)
		// Something that got its class before this one came is no neighbour, and where there is but
		// one edge, in whose order classes are given, neither is what came before it.
		if !o.waiting && w.whole(o.resolved) <= n {
			if ordered {
				break
			}
			continue
		}
		if near(&o.ev, &e.ev, span) {
			first--
			m.at[first] = sighting(&o.ev)
		}
	}
	to := n
	for i, o := 0, e; i < steps && last < 2*reach && o.on != 0; i++ {
		to += uint64(o.on)
		o = w.at(to)
		if near(&o.ev, &e.ev, span) {
			last++
			m.at[last] = sighting(&o.ev)
		}
	}
	all = m.at[first : last+1]
	return inTime(all, reach-first), all
}

func near(a, b *event.Event, span int64) bool {
	d := a.Time - b.Time
	return -span < d && d < span
}

func sighting(ev *event.Event) classify.Sighting {
	return classify.Sighting{Time: ev.Time, Link: ev.Link, Signals: ev.Signals, Kind: ev.Kind}
}

// inTime sorts by time what nearly always is already, and returns where the target went. Events of
// one time keep the order in which they came.
func inTime(all []classify.Sighting, target int) int {
	for i := 1; i < len(all); i++ {
		for j := i; j > 0 && all[j].Time < all[j-1].Time; j-- {
			all[j], all[j-1] = all[j-1], all[j]
			switch target {
			case j:
				target = j - 1
			case j - 1:
				target = j
			}
		}
	}
	return target
}
