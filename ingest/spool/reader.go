package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"mailbeacon/ingest/event"
)

// readTries is how often in a row the disk may fail to read a place before it is passed over as damage.
const readTries = 5

// TrimmedError is returned to a reader whose position was trimmed.
type TrimmedError struct {
	Want  uint64 // the number that the reader wanted
	First uint64 // the first that is left
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("spool: event %d was trimmed, the first one left is %d", e.Want, e.First)
}

// AheadError is returned to a reader that starts beyond all that was ever written: its idea of the spool is
// another spool's.
type AheadError struct {
	Want uint64 // the number that the reader wanted
	Next uint64 // the number that the next event will get
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("spool: event %d lies ahead of the spool, whose next one is %d", e.Want, e.Next)
}

// Reader reads durable events in order. It belongs to one goroutine; several readers may be open at once.
type Reader struct {
	s     *Spool
	pos   uint64 // the next number to hand out
	told  uint64 // where the next answer starts to count what was skipped
	seg   *segment
	file  File
	scan  scanner
	frame event.Frame // its events from pos on are not handed out yet, if Count is not 0
	at    int64       // the frame's offset
	tries int         // failed reads in a row

	wake   chan struct{}
	linger *time.Timer
}

// Reader starts reading at a sequence number, which may lie in the past as far as Trim left it, and up to the
// number that the next event will get. The caller closes it.
func (s *Spool) Reader(from uint64) (*Reader, error) {
	if next := s.durable.Load(); from > next {
		return nil, &AheadError{Want: from, Next: next}
	}
	if err := s.checkTrimmed(from); err != nil {
		return nil, err
	}
	r := &Reader{s: s, pos: from, told: from, wake: make(chan struct{}, 1), linger: time.NewTimer(time.Hour)}
	r.linger.Stop()
	r.scan.edge, r.scan.epoch = s.id.edge, s.id.epoch
	return r, nil
}

func (s *Spool) checkTrimmed(pos uint64) error {
	s.segMu.Lock()
	defer s.segMu.Unlock()
	if pos < s.trimmed {
		return &TrimmedError{Want: pos, First: s.trimmed}
	}
	return nil
}

// Next reads the next events into buf, which must have room for one at least. It blocks until there are some or ctx
// ends. The n events have the numbers first, first+1 and so on; the skipped numbers just before first are lost to
// damage, which was logged, counted and kept aside. n is 0 only with an error, or where skipped is not.
//
// Errors: ctx's own, ErrClosed, a *TrimmedError, or the disk's when it can't read; after the disk's, Next may be called
// again, and a place that stays unreadable is passed over as damage after a few calls.
func (r *Reader) Next(ctx context.Context, buf []event.Event) (first uint64, n int, skipped uint64, err error) {
	if len(buf) == 0 {
		return r.pos, 0, 0, errors.New("spool: Next needs room for an event")
	}
	for {
		if err := r.s.checkTrimmed(r.pos); err != nil {
			return r.told, 0, 0, err
		}
		// A loss that the last call met behind its events is told without waiting for what follows it.
		if r.pos == r.told || r.pos < r.s.durable.Load() {
			if err := r.await(ctx, len(buf)); err != nil {
				return r.told, 0, 0, err
			}
		}
		first, n, err = r.fill(buf)
		if err != nil {
			return r.told, 0, 0, r.failed(err)
		}
		r.tries, r.scan.forgiving = 0, false
		if skipped = first - r.told; n > 0 || skipped > 0 {
			r.s.stats.skipped.Add(skipped)
			r.told = first + uint64(n)
			return first, n, skipped, nil
		}
	}
}

// failed counts a failed read, and lets the scanner pass over what can't be read after some.
func (r *Reader) failed(err error) error {
	if _, ok := errors.AsType[*TrimmedError](err); ok {
		return err
	}
	r.tries++
	r.s.stats.readFailed.Add(1)
	if r.tries >= readTries {
		r.scan.forgiving = true
	}
	name := "?"
	if r.seg != nil {
		name = r.seg.name
	}
	return fmt.Errorf("spool: read segment %s at offset %d: %w", name, r.scan.off, err)
}

// await returns when there is a durable event at pos, or says why not.
func (r *Reader) await(ctx context.Context, room int) error {
	s := r.s
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.stop:
		return ErrClosed
	default:
	}
	if r.pos < s.durable.Load() {
		return nil
	}
	s.park(r)
	defer s.unpark(r)
	for r.pos >= s.durable.Load() {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			return ErrClosed
		}
	}
	s.unpark(r)
	if s.opt.Linger > 0 && s.durable.Load()-r.pos < uint64(room) {
		r.linger.Reset(s.opt.Linger)
		select {
		case <-r.linger.C:
		case <-ctx.Done():
			r.linger.Stop()
			return ctx.Err()
		case <-s.stop:
			r.linger.Stop()
			return ErrClosed
		}
	}
	return nil
}

// park asks for a wake-up by the next commit.
func (s *Spool) park(r *Reader) {
	s.parkMu.Lock()
	defer s.parkMu.Unlock()
	select {
	case <-r.wake: // an old one
	default:
	}
	s.parked[r] = struct{}{}
	s.queue.Store(int32(len(s.parked)))
}

func (s *Spool) unpark(r *Reader) {
	s.parkMu.Lock()
	defer s.parkMu.Unlock()
	delete(s.parked, r)
	s.queue.Store(int32(len(s.parked)))
}

// notify wakes the readers that wait for a commit.
func (s *Spool) notify() {
	if s.queue.Load() == 0 {
		return
	}
	s.parkMu.Lock()
	defer s.parkMu.Unlock()
	for r := range s.parked {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// fill reads a contiguous run of events from pos on. It moves pos over what is lost; first is where
// the run starts.
func (r *Reader) fill(buf []event.Event) (first uint64, n int, err error) {
	first = r.pos
	for n < len(buf) {
		if r.frame.Count == 0 {
			ok, err := r.advance()
			if err != nil {
				if n > 0 {
					// The events before it are good; the error comes back with the next call.
					err = nil
				}
				return r.start(first, n), n, err
			}
			if !ok {
				return r.start(first, n), n, nil
			}
		}
		if r.frame.First > r.pos { // the numbers in between are lost
			if n > 0 {
				return first, n, nil
			}
			r.pos = r.frame.First
		}
		if n == 0 {
			first = r.pos
		}
		at := int(r.pos - r.frame.First)
		m, bad := r.frame.Decode(buf[n:], at)
		n += m
		r.pos += uint64(m)
		if bad != nil && n < len(buf) {
			if n > 0 {
				return first, n, nil
			}
			offset := r.at + event.FrameHeaderSize + int64(at+m)*event.Size
			_ = r.s.quarantine(r.seg, &damage{offset, offset + event.Size, bad})
			r.pos++
		}
		if r.pos >= r.frame.Next() {
			r.frame.Count = 0
		}
	}
	return first, n, nil
}

// start is where a run begins: where it began, or here if it is empty.
func (r *Reader) start(first uint64, n int) uint64 {
	if n > 0 {
		return first
	}
	return r.pos
}

// advance makes frame the one that holds pos, or the next there is. It reports whether it did: not at the end of what
// is durable, and not where it moved pos over the end of a damaged segment.
func (r *Reader) advance() (bool, error) {
	for {
		if r.pos >= r.s.durable.Load() {
			return false, nil
		}
		size, end, err := r.locate()
		if err != nil {
			return false, err
		}
		if r.file == nil { // nobody can read it
			r.missing(end)
			return false, nil
		}
		r.scan.limit = size
		f, off, dmg, err := r.scan.next()
		if dmg != nil {
			_ = r.s.quarantine(r.seg, dmg)
		}
		switch {
		case errors.Is(err, io.EOF) || err == nil && f.First >= end:
			// Whatever lies behind end in this segment is not of the spool: the next segment has the say.
			r.scan.off, r.scan.expected = size, end
			if r.pos < end {
				r.missing(end)
				return false, nil
			}
		case err != nil:
			return false, err
		case f.Next() > r.pos:
			if f.Next() > end {
				f.Count = uint32(end - f.First)
				f.Records = f.Records[:int(f.Count)*event.Size]
			}
			r.frame, r.at = f, off
			return true, nil
		}
	}
}

// missing passes over numbers that no frame holds.
func (r *Reader) missing(to uint64) {
	name := "none"
	if r.seg != nil {
		name = r.seg.name
	}
	r.s.opt.Logger.Error("spool: events are missing", "segment", name, "from", r.pos, "count", to-r.pos)
	r.pos = to
}

// locate makes sure that the open segment is the one that holds pos, and returns how far it may be read. There is no
// open file afterwards where nothing holds pos, or where opening it failed too often.
func (r *Reader) locate() (size int64, end uint64, err error) {
	if r.seg != nil {
		if size, end = r.seg.committed(); r.pos < end {
			return size, end, nil
		}
	}
	seg, first := r.s.find(r.pos)
	if seg == nil || first > r.pos {
		r.closeFile()
		return 0, first, nil
	}
	size, end = seg.committed()
	if seg == r.seg {
		return size, end, nil
	}
	r.closeFile()
	r.seg = seg
	f, err := r.s.fs.Open(r.s.path(seg.name))
	if err != nil {
		if r.tries >= readTries {
			return size, end, nil
		}
		r.seg = nil
		if trimmed := r.s.checkTrimmed(r.pos); trimmed != nil {
			return 0, 0, trimmed
		}
		return 0, 0, err
	}
	r.file = f
	r.scan.reset(f, seg.first, size)
	return size, end, nil
}

// find returns the segment that holds a number, nil if it lies before all of them, and where that segment, or
// else the first one, starts.
func (s *Spool) find(pos uint64) (g *segment, first uint64) {
	s.segMu.Lock()
	defer s.segMu.Unlock()
	if len(s.segs) == 0 {
		return nil, s.durable.Load()
	}
	i := sort.Search(len(s.segs), func(i int) bool { return s.segs[i].first > pos })
	g = s.segs[max(i-1, 0)]
	return g, g.first
}

func (r *Reader) closeFile() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
	r.seg = nil
}

// Close gives the reader's file back. The reader can't be used afterwards.
func (r *Reader) Close() error {
	r.linger.Stop()
	r.closeFile()
	return nil
}
