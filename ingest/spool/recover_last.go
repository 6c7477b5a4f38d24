package spool

import (
	"errors"
	"fmt"
	"io"

	"mailbeacon/ingest/event"
)

// examine decides about a segment whose header can't be used: its frames say themselves whose they are,
// so it is still read if there is one. If there is none it is set aside.
func (r *recovery) examine(g *found) error {
	f, err := r.s.fs.Open(r.s.path(g.name))
	if err != nil {
		return fmt.Errorf("spool: open segment %s: %w", g.name, err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	sc := &scanner{edge: r.s.id.edge, epoch: r.s.id.epoch}
	sc.reset(f, g.first, g.size)
	sc.forgiving = true
	switch _, _, _, err := sc.next(); {
	case err == nil:
		return nil
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("spool: read segment %s: %w", g.name, err)
	}
	bad, err := r.setAside(g, g.name, g.reason)
	g.name, g.ghost = bad, true
	return err
}

// numbersUsed returns how many numbers the events of an unreadable segment can have had at most: each event took
// event.Size bytes.
func (r *recovery) numbersUsed(g *found) (uint64, error) {
	f, err := r.s.fs.Open(r.s.path(g.name))
	if err != nil {
		return 0, fmt.Errorf("spool: open %s: %w", g.name, err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	size, err := f.Size()
	if err != nil {
		return 0, fmt.Errorf("spool: size of %s: %w", g.name, err)
	}
	used, err := lastUsed(f, size)
	if err != nil {
		used = size // what can't be read may have been used
	}
	return uint64(max(used-headerSize, 0)+event.Size-1) / event.Size, nil
}

// scanLast walks the last segment: events that were committed are kept, the torn end of a commit is cut off. It returns
// the number after the last event.
func (r *recovery) scanLast(g *found) (end uint64, err error) {
	s := r.s
	f, err := s.fs.OpenWrite(s.path(g.name))
	if err != nil {
		return 0, fmt.Errorf("spool: open segment %s for writing: %w", g.name, err)
	}
	defer func() { _ = f.Close() }() // what was written to it is synced below
	sc := &scanner{edge: s.id.edge, epoch: s.id.epoch}
	sc.reset(f, g.first, g.size)
	w, err := walk(sc)
	if err != nil {
		return 0, fmt.Errorf("spool: read segment %s: %w", g.name, err)
	}
	end = w.end
	if w.tail != nil && sc.unreadable {
		// It can't be told whether that was acknowledged: take it as if it was.
		w.damage = append(w.damage, w.tail)
		end += uint64(w.tail.to-w.tail.from) / event.Size
	}
	seg := &segment{name: g.name} // stands for it until it is listed
	for _, d := range w.damage {
		r.Damage = append(r.Damage, s.quarantine(seg, d))
	}
	g.bad, g.loose = seg.bad, seg.damaged.Load()
	if len(w.damage) == 0 && g.reason == nil && w.valid < g.size {
		if w.tail != nil {
			used, err := lastUsed(f, g.size)
			if err != nil {
				return 0, fmt.Errorf("spool: read segment %s: %w", g.name, err)
			}
			r.TornBytes = max(used-w.valid, 0)
		}
		if err := f.Truncate(w.valid); err != nil {
			// The next segment has the say on where this one ends, so it is only space.
			r.note("segment %s could not be cut to %d bytes: %v", g.name, w.valid, err)
		}
		g.size = w.valid
	}
	// A killed process may have left bytes that can be read and are not on disk: nobody may see
	// an event that a loss of power could still take away.
	if err := f.Datasync(); err != nil {
		return 0, fmt.Errorf("spool: sync segment %s: %w", g.name, err)
	}
	return end, nil
}

// walked is what a walk over a whole segment found.
type walked struct {
	end    uint64 // the number after its last event
	valid  int64  // the offset after its last frame
	damage []*damage
	tail   *damage // what lies behind the last frame and is not zero
}

// walk reads all frames. A read that fails is tried again, and then taken as damage.
func walk(sc *scanner) (walked, error) {
	w := walked{end: sc.expected, valid: headerSize}
	for tries := 0; ; {
		f, off, dmg, err := sc.next()
		switch {
		case errors.Is(err, io.EOF):
			w.tail = dmg
			return w, nil
		case err != nil:
			if tries++; tries > 2*readTries {
				return w, err
			}
			sc.forgiving = tries >= readTries
			continue
		}
		if dmg != nil {
			w.damage = append(w.damage, dmg)
		}
		w.end, w.valid = f.Next(), off+int64(f.Len())
	}
}

// lastUsed returns the offset after the last byte of a file that is not zero.
func lastUsed(f File, size int64) (int64, error) {
	b := make([]byte, chunkSize)
	for end := size; end > 0; {
		start := max(end-chunkSize, 0)
		part := b[:end-start]
		if _, err := readFull(f, part, start); err != nil {
			return 0, err
		}
		for i := len(part); i > 0; i-- {
			if part[i-1] != 0 {
				return start + int64(i), nil
			}
		}
		end = start
	}
	return 0, nil
}
