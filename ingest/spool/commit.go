package spool

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"mailbeacon/ingest/event"
)

// committer is the one goroutine that writes events. Nothing of it is shared.
type committer struct {
	s    *Spool
	file File     // nil while the disk fails
	seg  *segment // what file is
	off  int64    // where the next frame goes
	next uint64   // the next sequence number
	// zeroed: the segment's blocks were written before, so that a sync has no metadata to write.
	zeroed bool

	failures     int  // in a row, since the last commit that worked
	renewFailing bool // the last renewal failed
	retry        *time.Timer
}

// run commits back to back until the spool is closed.
func (c *committer) run() {
	s := c.s
	defer close(s.done)
	defer c.abandon()
	for {
		for b := s.take(); b != nil; b = s.take() {
			c.commit(b)
			select {
			case <-s.renew: // under load there is always another batch
				c.renew()
			default:
			}
		}
		select {
		case <-s.kick:
		case <-c.retry.C:
			c.heal()
		case <-s.renew:
			c.renew()
		case <-s.stop:
			for b := s.take(); b != nil; b = s.take() {
				c.commit(b)
			}
			c.leave()
			return
		}
	}
}

// commit makes one batch durable, or fails it.
func (c *committer) commit(b *batch) {
	s, n := c.s, uint64(b.n)
	if c.file == nil {
		s.mu.Lock()
		down := s.down // set whenever there is no file
		s.mu.Unlock()
		s.settle(b, down, nil)
		return
	}
	start := time.Now()
	err := c.write(b.frame[:event.FrameHeaderSize+b.n*event.Size])
	took := time.Since(start)
	if err != nil {
		s.settle(b, s.fail(err), nil)
		c.abandon()
		c.failed()
		return
	}
	if !s.settle(b, nil, func() { c.publish(b) }) {
		// It came through after all, but its waiters were told that it did not: the events must not be read.
		c.abandon()
		c.failed()
		return
	}
	c.failures = 0
	s.stats.commit(n, took)
	s.notify()
	if s.opt.OnCommit != nil {
		s.opt.OnCommit(int(n), took)
	}
}

// publish makes what was just written readable. It runs under Spool.mu.
func (c *committer) publish(b *batch) {
	if c.seg.since.Load() == 0 {
		if e, err := event.Parse(b.frame[event.FrameHeaderSize:]); err == nil {
			c.seg.since.Store(firstTime(c.s.since.UnixMilli(), &e))
		}
	}
	c.next += uint64(b.n)
	c.off += int64(event.FrameHeaderSize + b.n*event.Size)
	c.seg.publish(c.off, c.next)
	if c.seg.disk.Load() < c.off {
		c.seg.disk.Store(c.off)
	}
	c.s.durable.Store(c.next)
}

// write seals a frame and puts it on disk.
func (c *committer) write(frame []byte) error {
	full := c.off+int64(len(frame)) > c.s.opt.SegmentBytes
	better := !c.zeroed && len(c.s.prepared) > 0
	if full || better {
		if err := c.roll(); err != nil {
			return err
		}
	}
	event.SealFrame(frame, c.s.id.edge, c.s.id.epoch, c.next)
	if err := writeFull(c.file, frame, c.off); err != nil {
		return fmt.Errorf("write segment %s: %w", c.seg.name, err)
	}
	if err := c.file.Datasync(); err != nil {
		return fmt.Errorf("sync segment %s: %w", c.seg.name, err)
	}
	return nil
}

// abandon leaves the present segment behind: what is in it beyond the committed events never counts, since the
// next segment starts with the number after those.
func (c *committer) abandon() {
	if c.file == nil {
		return
	}
	// All that counts was synced; what Close could complain of does not.
	_ = c.file.Close()
	c.file = nil
}

// failed decides when to try again: at once after a first failure, then ever more slowly.
func (c *committer) failed() {
	c.failures++
	if c.failures == 1 {
		c.heal()
		return
	}
	pause := c.s.opt.retry << min(c.failures-2, 20)
	c.retry.Reset(min(pause, maxRetry))
}

// heal tries to open a fresh segment, the proof that the disk takes writes again.
func (c *committer) heal() {
	if c.file != nil {
		return
	}
	if err := c.roll(); err != nil {
		_ = c.s.fail(err)
		c.failed()
		return
	}
	c.s.heal()
}

// roll leaves the present segment and starts the next one durably, on the prepared file if there is one.
func (c *committer) roll() error {
	c.abandon()
	p, err := c.s.takePrepared()
	if err != nil {
		return fmt.Errorf("create a segment: %w", err)
	}
	if err = c.inscribe(p); err == nil {
		err = c.install(p)
	}
	if err != nil {
		c.s.discardPrepared(p)
		return err
	}
	c.adopt(p)
	return nil
}

// inscribe makes a file the next segment but for its name, durably: until install it is one that Open clears away. All
// that was committed is durable by then, or a crash could leave a torn end in a segment that is not the last.
func (c *committer) inscribe(p *preparedFile) error {
	h := header{edge: c.s.id.edge, epoch: c.s.id.epoch, first: c.next, created: time.Now().UnixMilli()}
	err := writeFull(p.file, h.encode(), 0)
	if err == nil {
		err = p.file.Datasync()
	}
	if err != nil {
		return fmt.Errorf("start segment %s: %w", segmentName(c.next), err)
	}
	return nil
}

// install gives an inscribed file its name durably. From then on the segment before it has ended. After an error nobody
// knows whether it has.
func (c *committer) install(p *preparedFile) error {
	s, name := c.s, segmentName(c.next)
	// An older file of this name holds no event that counts, or its first number would be lower.
	err := s.fs.Rename(s.path(p.name), s.path(name))
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("start segment %s: %w", name, err)
	}
	return nil
}

// adopt makes an installed file the one that is written to. There is none before.
func (c *committer) adopt(p *preparedFile) {
	c.file, c.off, c.zeroed = p.file, headerSize, p.zeroed
	c.seg = newSegment(c.next, headerSize, c.next)
	c.seg.born = time.Now()
	c.seg.disk.Store(p.size)
	c.s.addSegment(c.seg)
	c.s.askPrepared(p)
}

// addSegment makes a new segment known to readers.
func (s *Spool) addSegment(g *segment) {
	s.segMu.Lock()
	defer s.segMu.Unlock()
	if n := len(s.segs); n > 0 && s.segs[n-1].first == g.first {
		s.segs[n-1] = g // it was empty, and its file was replaced
		return
	}
	s.segs = append(s.segs, g)
}

// writeFull writes all of b, however many calls that takes.
func writeFull(f File, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := f.WriteAt(b, off)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if n == 0 && err == nil {
			return io.ErrShortWrite
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// watch gives up commits that the disk does not answer.
func (s *Spool) watch() {
	defer s.helpers.Done()
	tick := time.NewTicker(max(s.opt.Stall/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			late := s.inflight != nil && time.Since(s.since) >= s.opt.Stall
			s.mu.Unlock()
			if late {
				s.giveUpCommit()
			}
		case <-s.stop:
			return
		}
	}
}

// giveUpCommit fails the batch under way and the one that waits behind it. The committer learns of it when the disk
// answers, and leaves the segment.
func (s *Spool) giveUpCommit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.inflight
	if b == nil {
		return
	}
	s.inflight = nil
	down := s.failLocked(ErrStalled)
	s.release(b, down)
	if behind := s.cur; behind.n > 0 {
		behind.refs.Store(int32(behind.n))
		s.cur = s.newBatch()
		s.release(behind, down)
	}
}
