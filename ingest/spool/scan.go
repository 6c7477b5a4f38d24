package spool

import (
	"errors"
	"fmt"
	"io"

	"mailbeacon/ingest/event"
)

const (
	// chunkSize is how much is read from a file at once.
	chunkSize = 256 << 10
	// pageSize is the grain in which an unreadable part of a file is passed over.
	pageSize = 4 << 10
)

// scanner walks the frames of one segment, and over damage. It belongs to one goroutine.
type scanner struct {
	f           File
	edge, epoch uint64

	off      int64  // of the next frame
	expected uint64 // its first sequence number
	limit    int64  // nothing at or beyond this offset is looked at; may grow between calls

	// forgiving makes it pass over pages that the disk can't read, as if they held damage. Without
	// it a read error is returned and the scanner can be called again.
	forgiving  bool
	unreadable bool // it has passed over such a page

	// lost is how many bytes were passed over as damage, gone how many numbers: each event took
	// event.Size bytes at least, so a number that is further ahead than that is not ours.
	lost, gone uint64

	buf  []byte // holds the file's bytes from base on
	base int64
}

// reset starts a scan of another segment. The buffer is kept.
func (sc *scanner) reset(f File, first uint64, limit int64) {
	sc.f, sc.off, sc.expected, sc.limit = f, headerSize, first, limit
	sc.forgiving, sc.unreadable = false, false
	sc.lost, sc.gone = 0, 0
	sc.buf, sc.base = sc.buf[:0], headerSize
}

// damage is a range of a segment that holds no usable frame.
type damage struct {
	from, to int64
	reason   error
}

// next returns the next good frame and its offset. The frame's records are the scanner's and good
// until the next call. Where damage was passed over on the way, dmg says so; it may come with a frame or with
// io.EOF, which ends the segment. Zeros up to the limit are the unused part of a segment, not damage.
// Any other error is the disk's.
func (sc *scanner) next() (f event.Frame, off int64, dmg *damage, err error) {
	f, reason, err := sc.frameAt(sc.off)
	if err != nil {
		return f, 0, nil, err
	}
	if reason == nil && !sc.follows(&f, 0) {
		reason = fmt.Errorf("frame starts with number %d in place of %d", f.First, sc.expected)
	}
	if reason == nil {
		off = sc.off
		sc.accept(&f, off)
		return f, off, nil, nil
	}
	return sc.resync(reason)
}

// follows reports whether a frame can come after so many more bytes of damage.
func (sc *scanner) follows(f *event.Frame, damaged int64) bool {
	return f.First >= sc.expected && sc.gone+(f.First-sc.expected) <= (sc.lost+uint64(damaged))/event.Size
}

// accept moves the scan behind a frame.
func (sc *scanner) accept(f *event.Frame, off int64) {
	sc.lost += uint64(off - sc.off)
	sc.gone += f.First - sc.expected
	sc.off, sc.expected = off+int64(f.Len()), f.Next()
}

// resync looks for the next frame that can follow after damage at sc.off.
func (sc *scanner) resync(reason error) (f event.Frame, off int64, dmg *damage, err error) {
	start := sc.off
	dirty := sc.unreadable
	for at := start; ; {
		b, err := sc.bytes(at, event.FrameHeaderSize)
		if err != nil {
			return f, 0, nil, err
		}
		dirty = dirty || sc.unreadable
		if len(b) < event.FrameHeaderSize {
			return sc.rest(start, dirty || !allZero(b), reason)
		}
		skip, found := 0, false
		if at == start {
			skip = 1 // a frame at the very start was refused already
		} else {
			skip, found = event.Resync(b)
		}
		dirty = dirty || !allZero(b[:skip])
		at += int64(skip)
		if !found {
			continue
		}
		f, fault, err := sc.frameAt(at)
		if err != nil {
			return f, 0, nil, err
		}
		if fault == nil && sc.follows(&f, at-start) {
			sc.accept(&f, at)
			return f, at, &damage{start, at, reason}, nil
		}
		dirty = true
		at++
	}
}

// rest ends a scan whose bytes from start on hold no frame.
func (sc *scanner) rest(start int64, dirty bool, reason error) (event.Frame, int64, *damage, error) {
	sc.off = sc.limit
	if !dirty {
		sc.off = start
		return event.Frame{}, 0, nil, io.EOF
	}
	return event.Frame{}, 0, &damage{start, sc.limit, reason}, io.EOF
}

// frameAt reads the frame at an offset. reason is why there is none; err is the disk's, or io.EOF at the limit.
func (sc *scanner) frameAt(off int64) (f event.Frame, reason, err error) {
	if off >= sc.limit {
		return f, nil, io.EOF
	}
	b, err := sc.bytes(off, event.FrameHeaderSize)
	if err != nil {
		return f, nil, err
	}
	f, reason = event.ParseFrame(b)
	if errors.Is(reason, event.ErrFrameShort) && f.Count != 0 && off+int64(f.Len()) <= sc.limit {
		if b, err = sc.bytes(off, f.Len()); err != nil {
			return f, nil, err
		}
		f, reason = event.ParseFrame(b)
	}
	if reason == nil && (f.Edge != sc.edge || f.Epoch != sc.epoch) {
		reason = errors.New("frame of another edge or epoch")
	}
	return f, reason, nil
}

// bytes returns what the file holds from off on: at least n bytes unless the limit is nearer. They
// are good until the next call.
func (sc *scanner) bytes(off int64, n int) ([]byte, error) {
	have := sc.base + int64(len(sc.buf))
	if off >= sc.base && (off+int64(n) <= have || have >= sc.limit && off <= have) {
		return sc.buf[off-sc.base:], nil
	}
	want := int(min(int64(max(n, chunkSize)), max(sc.limit-off, 0)))
	if cap(sc.buf) < want {
		sc.buf = append(make([]byte, 0, max(want, chunkSize)), sc.buf...)
	}
	// Keep the bytes from off on that are here already, and read what follows them.
	kept := 0
	if off >= sc.base && off < have {
		kept = copy(sc.buf[:cap(sc.buf)], sc.buf[off-sc.base:])
	}
	sc.buf, sc.base = sc.buf[:kept], off
	if kept >= want {
		return sc.buf, nil
	}
	more, err := sc.read(sc.buf[kept:want], off+int64(kept))
	sc.buf = sc.buf[:kept+more]
	if err != nil {
		return nil, err
	}
	return sc.buf, nil
}

// read fills b from the file. A file that ends before the limit reads as zeros behind its end: what was committed
// there is damage, and is found as such.
func (sc *scanner) read(b []byte, off int64) (int, error) {
	n, err := readFull(sc.f, b, off)
	if err == nil {
		return len(b), nil
	}
	if errors.Is(err, io.EOF) {
		clear(b[n:])
		sc.unreadable = true
		return len(b), nil
	}
	if !sc.forgiving {
		return n, err
	}
	for at := 0; at < len(b); at += pageSize {
		page := b[at:min(at+pageSize, len(b))]
		if n, err := readFull(sc.f, page, off+int64(at)); err != nil {
			clear(page[n:])
			sc.unreadable = true
		}
	}
	return len(b), nil
}

// readFull is ReadAt until b is full, io.EOF where the file ends before.
func readFull(f File, b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		m, err := f.ReadAt(b[n:], off+int64(n))
		n += m
		if n == len(b) {
			break
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}
