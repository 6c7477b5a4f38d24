package aggregate

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/kept"
)

// Batch is a run of events as one edge numbered them, at consecutive positions of a partition.
type Batch struct {
	// Edge and Epoch name who numbered them.
	Edge, Epoch uint64
	// First is the sequence number of Events[0] with its edge. A number below one that was seen
	// before marks a repetition, which is not counted again.
	First uint64
	// Offset is the position of Events[0] in the partition. Positions only rise; there may be gaps.
	Offset uint64
	// Events are the events; they may be none. They stay the owner's.
	Events []event.Event
	// Lost is how many events before Offset can't be read any more.
	Lost uint64
}

const (
	// DefaultWindow is how long events are held to see what else their message does.
	DefaultWindow = classify.DefaultWindow * time.Millisecond
	// DefaultMaxHeld is how many events are held at most, about HeldBytes each.
	DefaultMaxHeld = 16 << 20
	// HeldBytes is what an event that is held takes in memory.
	HeldBytes = 64

	// alwaysHeld is how many events a fold may hold whatever the others do, so that none of them starves.
	alwaysHeld = 1 << 15
)

// Room is how many events several folds may hold together. It may be used concurrently.
type Room struct {
	most int64
	held atomic.Int64
}

// NewRoom is room for so many events. Each fold may hold some thousands beyond it.
func NewRoom(events int64) *Room { return &Room{most: events} }

// Held is how many events are held by all.
func (r *Room) Held() int64 { return r.held.Load() }

// FoldOptions are what a Fold is made of. Consent and Campaigns are needed.
type FoldOptions struct {
	Partition uint32
	Consent   kept.Consent
	Campaigns Campaigns
	// Window is the classification window; DefaultWindow if 0.
	Window time.Duration
	// MaxHeld is how many events may be held before Full says so; DefaultMaxHeld if 0.
	MaxHeld int
	// Room bounds what all folds that share it hold together; nil is no bound.
	Room *Room
	// Judge decides the class of events[target] among its message's events in the order of their
	// times; links is how many the campaign shows. classify.Judge with the window if nil.
	Judge func(target int, events []classify.Sighting, links int) classify.Class
	// JudgeDate is the same for events of which only the day is known (event.Event.Dated); classify.JudgeDate with the
	// window if nil.
	JudgeDate func(target int, events []classify.Sighting, links int) classify.Class

	// alone says that Judge looks at other events only where classify.ClassOf says human.
	alone bool
}

func (o *FoldOptions) complete() error {
	switch {
	case o.Consent == nil:
		return errors.New("fold: no consent")
	case o.Campaigns == nil:
		return errors.New("fold: no campaigns")
	case o.Window < 0 || o.MaxHeld < 0:
		return errors.New("fold: a window or a bound below zero")
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = DefaultMaxHeld
	}
	rules := classify.Rules{Window: o.Window.Milliseconds()}
	if o.JudgeDate == nil {
		o.JudgeDate = func(target int, events []classify.Sighting, links int) classify.Class {
			return classify.JudgeDate(target, events, links, rules)
		}
	}
	if o.Judge == nil {
		o.alone = true
		o.Judge = func(target int, events []classify.Sighting, links int) classify.Class {
			return classify.Judge(target, events, links, rules)
		}
	}
	return nil
}

// Fold turns one partition's events into commits. It starts no goroutine and has no clock; it
// belongs to one goroutine.
//
// An event is held until its edge sent one that is a window younger, or until it was held for a
// window by the clock (an idle stream); then it gets its class, from itself and its neighbours:
// events of its message less than a window off that were held at the same time. Events are
// counted in the order of their positions, so that "first position not counted" says everything.
//
// What decides a class is the order of the stream alone, not how it was cut into batches and
// commits, nor where a reader started: Progress.Context is the oldest event that something not
// counted yet can look back on, and a fold that starts there gives the same classes. Two things are
// outside of that: what the clock decided (an edge that fell idle while another went on, and then
// came back with events from before), and a repetition whose original lies before Context.
type Fold struct {
	o      FoldOptions
	rule   kept.Rule
	span   int64 // the window in milliseconds
	w      *window
	hasher *Hasher
	tally  tally
	m      message

	edges  map[edgeID]*edge
	last   *edge
	runs   queue[*run] // from the one of w.base to the newest
	live   int         // edges that have any of them
	met    uint64      // by the window; for nobody
	counts int         // index into runs of the one that holds off
	off    uint64      // the first entry not counted

	most      int    // events of a commit, 0 for any number
	committed uint64 // the stored offset, once the commit that Take returned is applied
	from      uint64 // positions below are counted already: they were when the fold began
	nextPos   uint64 // the position after the last one read
	taken     bool
	commit    Commit
	told      int64 // what Room knows of
}

type edgeID struct{ edge, epoch uint64 }

// edge is where the stream stands with one edge's epoch.
type edge struct {
	id      edgeID
	seen    uint64 // the first sequence number not seen yet
	reread  uint64 // the same, within what is read again for its context
	counted uint64 // the first not counted yet
	stored  uint64 // what the last commit said of it
	due     int64  // an event of this time, or later, resolves the first that waits; or unsettled; MaxInt64 if none waits
	cursor  uint64 // no entry of this edge before waits
	clock   int64  // the latest time that one of its events told
	waiting queue[*run]
	runs    int // of Fold.runs
}

// unsettled is the due time of what waits until its edge tells a time.
const unsettled = math.MaxInt64 - 1

// run is a batch, or what of it was new.
type run struct {
	edge    *edge
	first   uint64 // number of its first entry in the window
	end     uint64
	seq     uint64 // of the first
	pos     uint64 // of the first
	arrived time.Time
}

// NewFold makes a fold that goes on from stored progress. The stream is to be read from
// Progress.Context.
func NewFold(p Progress, o FoldOptions) (*Fold, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	f := &Fold{
		o:         o,
		rule:      kept.Rule{Consent: o.Consent, Campaigns: o.Campaigns},
		span:      o.Window.Milliseconds(),
		w:         newWindow(),
		hasher:    NewHasher(o.Campaigns.HashKey, 0),
		edges:     map[edgeID]*edge{},
		committed: p.Offset,
		from:      p.Offset,
		nextPos:   min(p.Context, p.Offset),
	}
	f.tally.reset()
	for _, m := range p.Edges {
		e := f.edge(m.Edge, m.Epoch)
		e.seen, e.counted, e.stored = m.Next, m.Next, m.Next
	}
	return f, nil
}

func (f *Fold) edge(id, epoch uint64) *edge {
	key := edgeID{id, epoch}
	if f.last != nil && f.last.id == key {
		return f.last
	}
	e := f.edges[key]
	if e == nil {
		e = &edge{id: key, due: math.MaxInt64}
		f.edges[key] = e
	}
	f.last = e
	return e
}

// Add takes in a batch that was read at the given time. What the last Take returned is no longer
// valid afterwards.
func (f *Fold) Add(b Batch, now time.Time) {
	defer func() { f.tell(int64(f.w.len())) }()
	f.begin()
	if n := int(min(f.nextPos-min(f.nextPos, b.Offset), uint64(len(b.Events)))); n > 0 { // read before
		b = b.skip(n)
	}
	if b.Offset < f.nextPos {
		return
	}
	e := f.edge(b.Edge, b.Epoch)
	if b.Offset < f.from {
		n := int(min(f.from-b.Offset, uint64(len(b.Events))))
		f.take(e, &e.reread, Batch{First: b.First, Offset: b.Offset, Events: b.Events[:n]}, now)
		b = b.skip(n)
	}
	f.take(e, &e.seen, b, now)
	f.nextPos = max(f.nextPos, b.Offset+uint64(len(b.Events)))
	f.forget()
}

func (b Batch) skip(n int) Batch {
	b.First += uint64(n)
	b.Offset += uint64(n)
	b.Events = b.Events[n:]
	return b
}

// take puts the events of a batch that are new to its edge into the window.
func (f *Fold) take(e *edge, seen *uint64, b Batch, now time.Time) {
	if b.First < *seen {
		b = b.skip(int(min(*seen-b.First, uint64(len(b.Events)))))
	}
	if len(b.Events) == 0 {
		return
	}
	*seen = b.First + uint64(len(b.Events))
	r := &run{edge: e, first: f.w.next, end: f.w.next, seq: b.First, pos: b.Offset, arrived: now}
	f.runs.push(r)
	if e.runs++; e.runs == 1 {
		f.live++
	}
	if e.due == math.MaxInt64 { // nothing waits in the older ones
		e.waiting.clear()
	}
	e.waiting.push(r)
	for i := range b.Events {
		if i%ahead == 0 {
			f.met ^= f.w.meet(b.Events[i:min(i+ahead, len(b.Events))])
		}
		f.put(r, b.Events[i])
	}
}

// release counts what is resolved up to the first that waits, as far as a commit may hold it.
func (f *Fold) release() {
	for f.off < f.w.next && (f.most == 0 || f.tally.events < f.most) {
		entry := f.w.at(f.off)
		if entry.waiting {
			return
		}
		r := *f.runs.at(f.counts)
		for f.off >= r.end {
			f.counts++
			r = *f.runs.at(f.counts)
		}
		// What is read again for its context is counted already.
		if r.pos+(f.off-r.first) >= f.from {
			f.count(&entry.ev, entry.class)
			r.edge.counted = max(r.edge.counted, r.seq+(f.off-r.first)+1)
		}
		f.off++
	}
}

// forget drops the oldest entries that nothing can look back on any more: those that are counted
// and got their class before the first that is not counted came.
func (f *Fold) forget() {
	for f.w.base < f.off && f.w.whole(f.w.at(f.w.base).resolved) <= f.off {
		if f.w.base%ahead == 0 {
			f.met ^= f.w.meetOldest()
		}
		f.w.drop()
		for f.runs.len() > 0 && (*f.runs.at(0)).end <= f.w.base && (*f.runs.at(0)).end < f.w.next {
			if e := (*f.runs.at(0)).edge; e.runs > 1 {
				e.runs--
			} else {
				e.runs, f.live = 0, f.live-1
			}
			f.runs.drop()
			f.counts = max(0, f.counts-1)
		}
	}
}

// escape resolves what was held for the window by the clock.
func (f *Fold) escape(now time.Time) {
	for _, e := range f.edges {
		for e.due != math.MaxInt64 && now.Sub((*e.waiting.at(0)).arrived) >= f.o.Window {
			f.resolveFirst(e)
		}
	}
	f.forget()
}

// Take returns what can be committed now, or nil if the stored offset would not move. The commit
// and all it points to are the fold's, and valid until the next call of Add, Take or Applied; by then it must
// be applied. If it can't be, the fold is of no more use: make a new one from the stored progress.
func (f *Fold) Take(now time.Time) *Commit {
	f.begin()
	f.escape(now)
	f.tell(int64(f.w.len()))
	offset := f.position(f.off)
	if offset <= f.committed {
		return nil
	}
	f.commit = Commit{
		Partition: f.o.Partition,
		Before:    f.committed,
		After:     Progress{Offset: offset, Context: min(offset, f.position(f.w.base)), Edges: f.commit.After.Edges[:0]},
	}
	for _, e := range f.edges {
		if e.counted != e.stored {
			e.stored = e.counted
			f.commit.After.Edges = append(f.commit.After.Edges, EdgeMark{Edge: e.id.edge, Epoch: e.id.epoch, Next: e.counted})
		}
	}
	f.tally.gather(&f.commit)
	f.committed, f.taken = offset, true
	return &f.commit
}

// position is the position of entry n, or the one after all that was read.
func (f *Fold) position(n uint64) uint64 {
	if n >= f.w.next {
		return max(f.nextPos, f.from)
	}
	// The first run not ending at or before n; n is near one end of the queue.
	for i := range f.runs.len() {
		if r := *f.runs.at(i); n < r.end {
			return r.pos + (n - r.first)
		}
	}
	return max(f.nextPos, f.from)
}

// Bound has the commits from the next one on hold at most so many events, 0 for any number. What is beyond it is for
// the commit after.
func (f *Fold) Bound(most int) { f.most = most }

// Applied ends the life of the commit that Take returned, and counts what it had no room for.
func (f *Fold) Applied() {
	f.begin()
	f.release()
	f.forget()
	f.tell(int64(f.w.len()))
}

// begin ends the life of the commit that was taken.
func (f *Fold) begin() {
	if f.taken {
		f.taken = false
		f.tally.reset()
	}
}

// Ready is how many events are counted and wait for a commit.
func (f *Fold) Ready() int {
	if f.taken {
		return 0
	}
	return f.tally.events
}

// Behind says whether a Take would move the stored offset.
func (f *Fold) Behind() bool { return f.position(f.off) > f.committed }

// Held is how many events are in the window, counted or not.
func (f *Fold) Held() int { return f.w.len() }

// Full says whether as many events are held as may be. Nothing should be added until Take let some
// go; an Add all the same is taken in.
func (f *Fold) Full() bool {
	held := f.w.len()
	return held >= f.o.MaxHeld || f.o.Room != nil && held >= alwaysHeld && f.o.Room.held.Load() >= f.o.Room.most
}

// tell keeps Room's sum right.
func (f *Fold) tell(held int64) {
	if f.o.Room != nil && held != f.told {
		f.o.Room.held.Add(held - f.told)
		f.told = held
	}
}

// Release gives Room back what the fold holds; it must not be used afterwards.
func (f *Fold) Release() { f.tell(0) }

// Due is when the clock will let the next held event go; false if nothing is held.
func (f *Fold) Due() (time.Time, bool) {
	var first time.Time
	for _, e := range f.edges {
		if e.due == math.MaxInt64 {
			continue
		}
		if at := (*e.waiting.at(0)).arrived.Add(f.o.Window); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first, !first.IsZero()
}
