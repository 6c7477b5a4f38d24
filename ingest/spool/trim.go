package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// Trim releases the events below a sequence number, and deletes the segments whose events are all released. What it leaves
// of them in the segment that is written to goes by itself once that was renewed (Options.Renew), or with Close. A
// reader that is still there gets a *TrimmedError. After an error some segments are left, and are
// tried again. Trimming is not durable before it returns nil, and losing it does no harm.
func (s *Spool) Trim(before uint64) error {
	s.trimMu.Lock()
	defer s.trimMu.Unlock()
	s.segMu.Lock()
	// What is not written yet was not read either.
	s.released = max(s.released, min(before, s.durable.Load()))
	n := 0
	for n < len(s.segs)-1 && s.segs[n+1].first <= s.released {
		n++
	}
	if n > 0 {
		s.rubbish = append(s.rubbish, s.segs[:n]...)
		s.segs = append([]*segment(nil), s.segs[n:]...)
		s.trimmed = s.segs[0].first
	}
	rubbish := s.rubbish
	s.rubbish = nil
	s.segMu.Unlock()
	if len(rubbish) == 0 {
		return nil
	}
	// Oldest first, so that whatever a crash leaves has no hole in it.
	for i, g := range rubbish {
		if err := s.discard(g); err != nil {
			s.segMu.Lock()
			s.rubbish = append(rubbish[i:len(rubbish):len(rubbish)], s.rubbish...)
			s.segMu.Unlock()
			return fmt.Errorf("spool: trim segment %s: %w", g.name, err)
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("spool: trim: %w", err)
	}
	return nil
}

// discard takes a segment's name away; bytes that must be kept get another one instead.
func (s *Spool) discard(g *segment) error {
	if _, ghost := parseBadName(g.name); ghost {
		return nil
	}
	if g.damaged.Load() {
		_, err := s.setAside(g.name, g.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := s.fs.Remove(s.path(g.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
