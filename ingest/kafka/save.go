package kafka

import (
	"context"
	"time"
)

// save writes the cursor, if it moved and the topic is still the one that it speaks of, and trims the spool up to where numbering would start
// should the cursor be lost.
func (s *Shipper) save(ctx context.Context) error {
	s.savedT = time.Now()
	if s.saved == s.cur.next {
		return nil
	}
	if err := s.sameTopic(ctx); err != nil {
		return err
	}
	if err := s.o.fail("before save"); err != nil {
		return err
	}
	if err := s.files.save(&s.cur); err != nil {
		return err
	}
	s.saved = s.cur.next
	s.status.saved.Store(s.saved)
	if err := s.o.fail("after save"); err != nil {
		return err
	}
	before := s.trimmed
	if err := s.trim(); err != nil {
		return err
	}
	if s.trimmed != before {
		if err := s.o.fail("after trim"); err != nil {
			return err
		}
	}
	return s.note()
}

// trim trims the spool up to the block in which the saved cursor stands, or further, up to what is noted.
func (s *Shipper) trim() error {
	before := max(s.saved-s.saved%BlockEvents, min(s.noted, s.saved))
	if before <= s.trimmed {
		return nil
	}
	if err := s.o.Spool.Trim(before); err != nil {
		return err
	}
	s.trimmed = before
	return nil
}

// notes says whether the spool keeps events that are shipped, for the sake of their numbers alone.
func (s *Shipper) notes() bool { return s.o.noteEvery > 0 && s.saved > s.trimmed }

// note writes the cursor a second time, now and then: into the division's file, since numbering can start there too. Then the spool need not
// keep what was shipped of the block, which might take weeks to fill up.
func (s *Shipper) note() error {
	if !s.notes() || s.saved != s.cur.next || time.Since(s.notedT) < s.o.noteEvery {
		return nil
	}
	s.notedT = time.Now() // also where it fails: shipping goes on, and it is tried again as much later
	if err := s.o.fail("before note"); err != nil {
		return err
	}
	if err := s.files.saveDivision(&s.cur); err != nil {
		return err
	}
	s.noted = s.saved
	if err := s.o.fail("after note"); err != nil {
		return err
	}
	return s.trim()
}
