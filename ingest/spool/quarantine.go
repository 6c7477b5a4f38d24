package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// badNames is how many names are tried for bytes to keep.
const badNames = 100

// quarantine keeps the bytes of a damaged segment under a second name, so that Trim does not delete them, and tells of
// the damage, once for each place. Several readers may come upon it.
func (s *Spool) quarantine(g *segment, d *damage) *CorruptionError {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &CorruptionError{Segment: g.name, Offset: d.from, Length: d.to - d.from, Reason: d.reason.Error()}
	if kept, known := g.bad[d.from]; known {
		c.Kept = kept
		return c
	}
	for _, kept := range g.bad {
		c.Kept = kept
	}
	if c.Kept == "" {
		c.Kept = s.keep(g)
	}
	if g.bad == nil {
		g.bad = make(map[int64]string)
	}
	g.bad[d.from] = c.Kept
	s.stats.damaged.Add(1)
	s.opt.Logger.Error("spool: damage was passed over", "error", c)
	return c
}

// keep gives a segment a second name that ends in .bad, and returns it; empty if that failed, and then Trim
// renames the segment instead of deleting it.
func (s *Spool) keep(g *segment) string {
	if strings.HasSuffix(g.name, badSuffix) {
		return g.name
	}
	for i := range badNames {
		name := badName(g.name, i)
		err := s.fs.Link(s.path(g.name), s.path(name))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = s.fs.SyncDir(s.dir)
		}
		if err != nil {
			break
		}
		g.damaged.Store(false)
		return name
	}
	g.damaged.Store(true)
	return ""
}

// setAside renames a file to a stem that ends in .bad, without taking a name that is in use.
func (s *Spool) setAside(name, stem string) (string, error) {
	names, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	taken := make(map[string]bool, len(names))
	for _, n := range names {
		taken[n] = true
	}
	for i := range badNames {
		bad := badName(stem, i)
		if taken[bad] {
			continue
		}
		return bad, s.fs.Rename(s.path(name), s.path(bad))
	}
	return "", fmt.Errorf("%d files keep the damage of %s already", badNames, name)
}

// badName is the i-th name under which the bytes of a file may be kept: a.seg.bad, a.seg.1.bad ...
func badName(name string, i int) string {
	if i == 0 {
		return name + badSuffix
	}
	return fmt.Sprintf("%s.%d%s", name, i, badSuffix)
}

// parseBadName returns the first number of the segment that a .bad file once was.
func parseBadName(name string) (first uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, badSuffix)
	if !ok {
		return 0, false
	}
	stem = strings.TrimRight(stem, "0123456789")
	return parseSegmentName(strings.TrimSuffix(stem, "."))
}
