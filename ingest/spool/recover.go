package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mailbeacon/ingest/event"
)

// Recovery is what Open found. What it lists as kept is in the folder, under the name given.
type Recovery struct {
	Fresh    bool   // there was no segment, not even a damaged one
	NewEpoch bool   // numbering could not be continued, or has only begun: the epoch is new
	Segments int    // segments that hold events or may do
	First    uint64 // the first number that can be read
	Next     uint64 // the number that the next event gets

	// TornBytes is how much was cut off the last segment: a commit that a crash interrupted, which
	// nobody was told of.
	TornBytes int64
	// Damage lists what is damaged, as far as it shows without reading every segment: readers find the rest.
	Damage []*CorruptionError
	// Jumped is how many numbers were passed over because Options.Next asked for it.
	Jumped uint64
	// Stray lists files that are not the spool's; they are left alone.
	Stray []string
	// Notes say in words what else was done or did not work and costs nothing but space or time.
	Notes []string
	// Took is how long all that was.
	Took time.Duration
}

// Clean reports whether there is nothing to tell anybody.
func (r *Recovery) Clean() bool {
	return r.TornBytes == 0 && len(r.Damage) == 0 && r.Jumped == 0 && len(r.Stray) == 0 && len(r.Notes) == 0
}

// String says it in one line per fact.
func (r *Recovery) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "spool: %d segments, events from %d, the next one is %d", r.Segments, r.First, r.Next)
	if r.NewEpoch {
		b.WriteString("\nspool: a new epoch begins")
	}
	if r.TornBytes > 0 {
		fmt.Fprintf(&b, "\nspool: cut %d bytes of a commit that was not acknowledged off the last segment", r.TornBytes)
	}
	for _, d := range r.Damage {
		b.WriteString("\n" + d.Error())
	}
	if r.Jumped > 0 {
		fmt.Fprintf(&b, "\nspool: %d numbers are passed over, since the consumer is further than the spool", r.Jumped)
	}
	for _, name := range r.Stray {
		fmt.Fprintf(&b, "\nspool: %s is not the spool's and was left alone", name)
	}
	for _, n := range r.Notes {
		b.WriteString("\nspool: " + n)
	}
	return b.String()
}

// found is a segment file as Open meets it.
type found struct {
	first  uint64
	name   string
	size   int64
	head   header
	since  int64
	reason error            // why the header can't be used, or nil
	ghost  bool             // nothing of it can be read and it was set aside, now or before
	bad    map[int64]string // the damage found so far, as in segment
	loose  bool             // bytes of it could not be kept aside
}

// recovery is the state of one Open.
type recovery struct {
	*Recovery
	s    *Spool
	segs []found
	// unnamed: the folder is new and has no identity file yet.
	unnamed bool
}

// Open opens a spool folder, creating it where it is missing, and brings it in order: the torn end of the
// last segment is cut off, what else is damaged is kept aside and told. A disk that can be read and takes no
// writes for want of space or by a fault does not keep it from opening, unless the folder is new: the spool is then unhealthy
// until it does. Errors: ErrNewer and ErrLost, with nothing changed; a folder that may not be written; a folder or segment
// that can't be read.
func Open(o Options) (*Spool, Recovery, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return nil, Recovery{}, err
	}
	s := &Spool{
		opt: o, fs: o.FS, dir: o.Dir,
		batchRoom: int(min(maxBatch, (o.SegmentBytes-headerSize-event.FrameHeaderSize)/event.Size)),
		free:      make(chan *batch, 8),
		kick:      make(chan struct{}, 1),
		stop:      make(chan struct{}),
		done:      make(chan struct{}),
		parked:    make(map[*Reader]struct{}),
		prepared:  make(chan *preparedFile, 1),
		prepare:   make(chan struct{}, 1),
		renew:     make(chan struct{}, 1),
		renewed:   make(chan struct{}, 1),
	}
	s.space = *sync.NewCond(&s.mu)
	r := &recovery{Recovery: &Recovery{}, s: s}
	if err := r.run(); err != nil {
		return nil, *r.Recovery, err
	}
	if err := s.start(r.Next, r.unnamed); err != nil {
		return nil, *r.Recovery, err
	}
	r.Took = time.Since(start)
	return s, *r.Recovery, nil
}

// start opens the first segment to write to and lets the goroutines run. An unnamed folder gets its identity now: after
// its first segment, so that an identity without any segment is a loss and never a start that was cut short.
func (s *Spool) start(next uint64, unnamed bool) error {
	s.durable.Store(next)
	c := &committer{s: s, next: next, retry: time.NewTimer(time.Hour)}
	c.retry.Stop()
	err := c.roll()
	if err == nil && unnamed {
		if err := s.writeIdentity(s.id); err != nil {
			c.abandon()
			return err
		}
	}
	if err != nil {
		if forbidden(err) {
			return fmt.Errorf("spool: folder %s may not be written to: %w", s.dir, err)
		}
		if unnamed {
			return fmt.Errorf("spool: begin folder %s: %w", s.dir, err)
		}
		_ = s.fail(err)
		c.failures = 1
		c.failed()
	}
	s.cur = s.newBatch()
	s.prepare <- struct{}{}
	s.helpers.Add(3)
	go c.run()
	go s.prepareSegments()
	go s.watch()
	go s.tidy()
	return nil
}

// forbidden tells a folder that is not ours to write to from a disk that fails.
func forbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func (r *recovery) run() error {
	s := r.s
	// First look at everything and change nothing: the folder may be a newer version's, or robbed.
	junk, err := r.survey()
	if err != nil {
		return err
	}
	id, found, err := readIdentity(s.fs, s.path(identityName))
	if err != nil && !errors.Is(err, errIdentity) {
		return err
	}
	if r.Fresh && (found || s.opt.Known) && !s.opt.AcceptLoss {
		return lost(s.dir, found)
	}
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return fmt.Errorf("spool: create folder %s: %w", s.dir, err)
	}
	if err := r.identify(id, found, err); err != nil {
		return err
	}
	for _, name := range junk {
		if err := s.fs.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.note("%s is left over and could not be removed: %v", name, err)
		}
	}
	if err := r.setForeignAside(); err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	s.truncated = r.TornBytes
	return nil
}

func (r *recovery) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// survey lists the folder and reads the head of every segment.
func (r *recovery) survey() (junk []string, err error) {
	s := r.s
	r.Fresh = true
	names, err := s.fs.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spool: list folder %s: %w", s.dir, err)
	}
	for _, name := range names {
		first, isSegment := parseSegmentName(name)
		ghost, isGhost := parseBadName(name)
		last := len(r.segs) - 1
		switch {
		case isSegment:
			f := found{first: first, name: name}
			if err := r.readHead(&f); err != nil {
				return nil, err
			}
			r.segs = append(r.segs, f)
			r.Fresh = false
		case isGhost:
			// Names are sorted: a segment that still has its own name was met just before.
			if last < 0 || r.segs[last].first != ghost {
				r.segs = append(r.segs, found{first: ghost, name: name, ghost: true})
			}
		case name == nextTmp || name == plainTmp || name == identityTmp:
			junk = append(junk, name)
		case name == identityName || strings.HasSuffix(name, badSuffix):
		default:
			r.Stray = append(r.Stray, name)
		}
	}
	return junk, nil
}

// readHead reads a segment's header and first event. A header that can't be used is a reason, not an error.
func (r *recovery) readHead(g *found) error {
	f, err := r.s.fs.Open(r.s.path(g.name))
	if err != nil {
		return fmt.Errorf("spool: open segment %s: %w", g.name, err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	if g.size, err = f.Size(); err != nil {
		return fmt.Errorf("spool: size of segment %s: %w", g.name, err)
	}
	b := make([]byte, headerSize+event.FrameHeaderSize+event.Size)
	n, err := readFull(f, b, 0)
	for try := 1; err != nil && !errors.Is(err, io.EOF) && try < readTries; try++ {
		n, err = readFull(f, b, 0)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		g.reason = fmt.Errorf("header can't be read: %w", err)
		return nil
	}
	g.head, g.reason = parseHeader(b[:min(n, headerSize)])
	if errors.Is(g.reason, ErrNewer) {
		return fmt.Errorf("segment %s: %w", g.name, ErrNewer)
	}
	if g.reason == nil && g.head.first != g.first {
		g.reason = fmt.Errorf("header says that it starts with %d", g.head.first)
	}
	g.since = g.head.created
	if b = b[min(n, headerSize+event.FrameHeaderSize):n]; len(b) == event.Size {
		if e, err := event.Parse(b); err == nil {
			g.since = firstTime(g.head.created, &e)
		}
	}
	return nil
}

// identify settles whose folder this is: by the identity file, else by the newest sound segment, else anew.
func (r *recovery) identify(id identity, found bool, fault error) error {
	s, now := r.s, time.Now()
	s.id = id
	sound := found && fault == nil
	r.unnamed = r.Fresh && !found
	switch {
	case sound && !r.Fresh:
		return nil
	case sound:
		// The segments are gone, which was accepted, and with them the knowledge of which numbers were used.
		s.id.epoch, r.NewEpoch = nextEpoch(id.epoch, now), true
	default:
		s.id, r.NewEpoch = newIdentity(now), true
		for i := len(r.segs) - 1; i >= 0; i-- {
			if g := r.segs[i]; !g.ghost && g.reason == nil {
				s.id, r.NewEpoch = identity{g.head.edge, g.head.epoch}, false
				r.note("the identity file was missing or damaged and was restored from segment %s", g.name)
				break
			}
		}
	}
	if fault != nil {
		bad, err := s.setAside(identityName, identityName)
		if err != nil {
			return fmt.Errorf("spool: set the damaged identity file aside: %w", err)
		}
		r.note("the identity file was damaged and is kept as %s", bad)
	}
	if r.unnamed {
		return nil
	}
	return s.writeIdentity(s.id)
}

// setForeignAside renames whole segments that are of another spool: their numbers mean nothing here.
func (r *recovery) setForeignAside() error {
	foreign := func(g found) bool {
		return !g.ghost && g.reason == nil && (g.head.edge != r.s.id.edge || g.head.epoch != r.s.id.epoch)
	}
	for _, g := range r.segs {
		if !foreign(g) {
			continue
		}
		if _, err := r.setAside(&g, strings.TrimSuffix(g.name, segmentSuffix)+".foreign", errors.New("segment of another edge or epoch")); err != nil {
			return err
		}
	}
	r.segs = slices.DeleteFunc(r.segs, foreign)
	return nil
}

// setAside renames a segment from which nothing can be read, and tells of it.
func (r *recovery) setAside(g *found, stem string, reason error) (bad string, err error) {
	bad, err = r.s.setAside(g.name, stem)
	if err == nil {
		err = r.s.fs.SyncDir(r.s.dir)
	}
	if err != nil {
		return "", fmt.Errorf("spool: set segment %s aside: %w", g.name, err)
	}
	r.s.stats.damaged.Add(1)
	r.Damage = append(r.Damage, &CorruptionError{Segment: g.name, Length: g.size, Reason: reason.Error(), Kept: bad})
	return bad, nil
}

// finish looks into what is damaged and into the last segment, and lays out the list of all.
func (r *recovery) finish() error {
	for i := range r.segs {
		if g := &r.segs[i]; !g.ghost && g.reason != nil {
			if err := r.examine(g); err != nil {
				return err
			}
		}
	}
	end, err := r.end()
	if err != nil {
		return err
	}
	r.Next = max(end, r.s.opt.Next)
	if !r.Fresh {
		r.Jumped = r.Next - end
	}
	for i, g := range r.segs {
		until := r.Next
		if i+1 < len(r.segs) {
			until = r.segs[i+1].first
		}
		r.list(g, until)
	}
	r.Segments, r.First = len(r.s.segs), r.Next
	if r.Segments > 0 {
		r.First = r.s.segs[0].first
	}
	return nil
}

// end returns the number after the last that was ever used.
func (r *recovery) end() (end uint64, err error) {
	for i := len(r.segs) - 1; i >= 0; i-- {
		g := &r.segs[i]
		if !g.ghost {
			last, err := r.scanLast(g)
			return max(end, last), err
		}
		// Behind the last sound segment: its events are lost, their numbers must not be used again.
		used, err := r.numbersUsed(g)
		if err != nil {
			return 0, err
		}
		end = max(end, g.first+used)
	}
	return end, nil
}

// list adds a segment to the spool's; what is damaged is kept aside at once.
func (r *recovery) list(g found, until uint64) {
	s := r.s
	if g.ghost && len(s.segs) == 0 {
		return // nothing before it is left that it could limit
	}
	size := g.size
	if g.ghost {
		size = headerSize // nothing in it is to be read
	}
	seg := newSegment(g.first, size, until)
	seg.name = g.name
	seg.since.Store(g.since)
	seg.bad = g.bad
	seg.damaged.Store(g.loose)
	if g.ghost {
		seg.disk.Store(0)
	}
	s.segs = append(s.segs, seg)
	if !g.ghost && g.reason != nil {
		r.Damage = append(r.Damage, s.quarantine(seg, &damage{0, min(headerSize, g.size), g.reason}))
	}
}
