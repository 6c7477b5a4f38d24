package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// renewChecks is how often in Options.Renew it is looked whether the active segment is stale.
const renewChecks = 10

// stale reports whether the active segment holds events that were released, and was written to for long enough.
func (s *Spool) stale() bool {
	s.segMu.Lock()
	defer s.segMu.Unlock()
	if len(s.segs) == 0 {
		return false
	}
	g := s.segs[len(s.segs)-1]
	return s.released > g.first && time.Since(g.born) >= s.opt.Renew
}

// tidy sees to it that what was released leaves the disk, though nobody may call Trim again: it has a stale segment
// renewed, and deletes what could not be deleted before. It works beside the committer, which deletes nothing itself.
func (s *Spool) tidy() {
	defer s.helpers.Done()
	tick := time.NewTicker(max(s.opt.Renew/renewChecks, time.Millisecond))
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-s.renewed:
		case <-s.stop:
			return
		}
		err := s.Trim(0)
		if err != nil && !failing {
			s.opt.Logger.Warn("spool: segments without any use can't be deleted; trying again", "error", err)
		}
		failing = err != nil
		if s.stale() {
			select {
			case s.renew <- struct{}{}:
			default: // the committer was asked already
			}
		}
	}
}

// renew begins another segment in place of a stale one, between two commits. The watchdog looks after it as after a
// commit, since appends wait behind it. It only ever uses the prepared file: it asks the disk for no room that the
// next events may need. A failure is tried again later and does the events no harm.
func (c *committer) renew() {
	s := c.s
	if c.file == nil || len(s.prepared) == 0 || !s.stale() {
		return
	}
	b := s.begin()
	err := c.succeed(<-s.prepared)
	c.tellRenewal(err)
	var down error
	if c.file == nil {
		if err := c.roll(); err != nil {
			down = s.fail(err)
		}
	}
	if !s.settle(b, down, func() {}) || down != nil {
		c.abandon()
		c.failed()
		return
	}
	if err == nil {
		select {
		case s.renewed <- struct{}{}:
		default:
		}
	}
}

// begin puts an empty batch in flight, so that the watchdog fails whoever waits behind what takes too long.
func (s *Spool) begin() *batch {
	b := s.newBatch()
	b.refs.Store(1)
	s.mu.Lock()
	s.inflight, s.since = b, time.Now()
	s.mu.Unlock()
	return b
}

// succeed goes on in a file that is the next segment. After an error it goes on in the present one, or, where that may have
// ended, in none: c.file is nil then.
func (c *committer) succeed(p *preparedFile) error {
	err := c.inscribe(p)
	if err != nil {
		c.s.discardPrepared(p)
		return err
	}
	if err = c.install(p); err != nil {
		if werr := c.withdraw(); werr != nil {
			c.abandon()
			err = errors.Join(err, werr)
		}
		c.s.discardPrepared(p)
		return err
	}
	c.abandon()
	c.adopt(p)
	return nil
}

// withdraw takes back what install may have done. Only when that is certain may the present segment go on: its further events
// would be overruled by the one that follows it.
func (c *committer) withdraw() error {
	s, name := c.s, segmentName(c.next)
	err := s.fs.Remove(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the name was never there
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("take segment %s back: %w", name, err)
	}
	return nil
}

// tellRenewal counts a renewal that failed, and logs the first of several in a row.
func (c *committer) tellRenewal(err error) {
	if err != nil {
		c.s.stats.renewFailed.Add(1)
		if !c.renewFailing {
			c.s.opt.Logger.Warn("spool: the segment can't be renewed; counted events stay in it until that works", "error", err)
		}
	}
	c.renewFailing = err != nil
}

// leave is the committer's last act. If all events were released it begins an empty segment, which carries the
// numbering on, and deletes the others: a spool that is closed and wholly counted holds no events.
func (c *committer) leave() {
	s := c.s
	if c.file == nil {
		return
	}
	s.segMu.Lock()
	empty := s.released >= c.next && c.next > c.seg.first
	s.segMu.Unlock()
	var err error
	if empty {
		var p *preparedFile
		if p, err = s.plainFile(); err == nil {
			err = c.succeed(p)
		}
	}
	if err == nil {
		err = s.Trim(0)
	}
	if err != nil {
		s.opt.Logger.Warn("spool: counted events stay on disk until the next start", "error", err)
	}
}
