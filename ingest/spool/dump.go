package spool

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"mailbeacon/ingest/event"
)

// DumpOptions say how Dump prints.
type DumpOptions struct {
	JSON   bool // one JSON object per line in place of text
	Frames bool // leave the events out
}

// DumpSummary counts what Dump printed.
type DumpSummary struct {
	Segments int
	Frames   int
	Events   int
	Damaged  int // places that hold neither a frame nor unused space
}

// Dump prints what a spool folder or one segment (a path that ends in .seg or .bad) holds: headers, frames, events, and
// damage with its offset and reason. It only reads, and may look at a folder that is in use: a commit
// under way then shows as an unfinished end. Events that a later segment overrules are marked so. fsys is OS where it is nil.
func Dump(w io.Writer, fsys FS, path string, o DumpOptions) (DumpSummary, error) {
	if fsys == nil {
		fsys = OS
	}
	out := bufio.NewWriter(w)
	d := &dumper{fs: fsys, out: out, o: o}
	var err error
	if ext := filepath.Ext(path); ext == segmentSuffix || ext == badSuffix {
		err = d.segment(path, nil, true)
	} else {
		err = d.folder(path)
	}
	if err == nil && d.err != nil {
		err = fmt.Errorf("spool: print: %w", d.err)
	}
	return d.sum, errors.Join(err, out.Flush())
}

type dumper struct {
	fs  FS
	out *bufio.Writer
	o   DumpOptions
	sum DumpSummary
	err error // the first failure to print
}

// The lines of a dump. Type comes first in each.
type (
	dumpIdentity struct {
		Type  string `json:"type"`
		Edge  string `json:"edge"`
		Epoch uint64 `json:"epoch"`
	}
	dumpSegment struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Bytes   int64  `json:"bytes"`
		Edge    string `json:"edge"`
		Epoch   uint64 `json:"epoch"`
		First   uint64 `json:"first"`
		Created string `json:"created"`
	}
	dumpFrame struct {
		Type      string `json:"type"`
		Segment   string `json:"segment"`
		Offset    int64  `json:"offset"`
		First     uint64 `json:"first"`
		Count     uint32 `json:"count"`
		Overruled bool   `json:"overruled,omitempty"`
	}
	dumpEvent struct {
		Type     string `json:"type"`
		Sequence uint64 `json:"sequence"`
		Time     string `json:"time"`
		Kind     string `json:"kind"`
		Reason   string `json:"reason"`
		Campaign uint32 `json:"campaign"`
		Link     uint16 `json:"link"`
		Subject  string `json:"subject"`
		Signals  uint16 `json:"signals"`
		Client   string `json:"client"`
	}
	dumpDamage struct {
		Type    string `json:"type"`
		Segment string `json:"segment"`
		Offset  int64  `json:"offset"`
		Length  int64  `json:"length"`
		Reason  string `json:"reason"`
	}
)

// print writes a line in one form or the other.
func (d *dumper) print(object any, format string, args ...any) {
	var err error
	if d.o.JSON {
		var b []byte
		if b, err = json.Marshal(object); err == nil {
			_, err = d.out.Write(append(b, '\n'))
		}
	} else {
		_, err = fmt.Fprintf(d.out, format+"\n", args...)
	}
	if d.err == nil {
		d.err = err
	}
}

func (d *dumper) damage(name string, from, to int64, reason string) {
	d.sum.Damaged++
	d.print(dumpDamage{"damage", name, from, to - from, reason},
		"  @%d DAMAGED %d bytes of %s: %s", from, to-from, name, reason)
}

func hex(n uint64) string { return fmt.Sprintf("%016x", n) }

func stamp(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func (d *dumper) folder(dir string) error {
	names, err := d.fs.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("spool: list folder %s: %w", dir, err)
	}
	switch id, found, err := readIdentity(d.fs, filepath.Join(dir, identityName)); {
	case err != nil:
		d.damage(identityName, 0, identitySize, err.Error())
	case found:
		d.print(dumpIdentity{"identity", hex(id.edge), id.epoch}, "edge %s epoch %d", hex(id.edge), id.epoch)
	}
	var segments []string
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix) {
			segments = append(segments, name)
		}
	}
	for i, name := range segments {
		var end *uint64
		if i+1 < len(segments) {
			if first, ok := parseSegmentName(segments[i+1]); ok {
				end = &first
			}
		}
		err := d.segment(filepath.Join(dir, name), end, i == len(segments)-1)
		if errors.Is(err, fs.ErrNotExist) {
			continue // trimmed meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// segment prints one file. end is where the next segment takes over, if there is one; of the last, what is behind its last
// frame is an unfinished commit rather than damage.
func (d *dumper) segment(path string, end *uint64, last bool) error {
	name := filepath.Base(path)
	f, err := d.fs.Open(path)
	if err != nil {
		return fmt.Errorf("spool: open segment %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("spool: size of segment %s: %w", name, err)
	}
	d.sum.Segments++
	b := make([]byte, min(size, headerSize))
	if _, err := readFull(f, b, 0); err != nil {
		return fmt.Errorf("spool: read segment %s: %w", name, err)
	}
	h, err := parseHeader(b)
	if err != nil {
		d.damage(name, 0, int64(len(b)), err.Error())
		if errors.Is(err, ErrNewer) || !d.guess(f, size, &h) {
			return nil
		}
	}
	d.print(dumpSegment{"segment", name, size, hex(h.edge), h.epoch, h.first, stamp(h.created)},
		"segment %s: %d bytes, edge %s epoch %d, from %d, created %s", name, size, hex(h.edge), h.epoch, h.first, stamp(h.created))
	sc := &scanner{edge: h.edge, epoch: h.epoch, forgiving: true}
	sc.reset(f, h.first, size)
	sc.forgiving = true
	return d.frames(name, sc, end, last)
}

// guess fills a header that is damaged from the first frame that is not.
func (d *dumper) guess(f File, size int64, h *header) bool {
	sc := &scanner{}
	sc.reset(f, 0, size)
	for at := int64(headerSize); ; at++ {
		b, err := sc.bytes(at, event.FrameHeaderSize)
		if err != nil || len(b) < event.FrameHeaderSize {
			return false
		}
		skip, found := event.Resync(b)
		at += int64(skip)
		if !found {
			at-- // the loop steps on
			continue
		}
		if frame, err := event.ParseFrameHeader(b[skip:]); err == nil {
			*h = header{edge: frame.Edge, epoch: frame.Epoch, first: frame.First}
			return true
		}
	}
}

func (d *dumper) frames(name string, sc *scanner, end *uint64, last bool) error {
	for {
		f, off, dmg, err := sc.next()
		if dmg != nil && errors.Is(err, io.EOF) && last {
			d.print(dumpDamage{"unfinished", name, dmg.from, dmg.to - dmg.from, dmg.reason.Error()},
				"  @%d unfinished: %s", dmg.from, dmg.reason)
		} else if dmg != nil {
			d.damage(name, dmg.from, dmg.to, dmg.reason.Error())
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("spool: read segment %s: %w", name, err)
		}
		d.frame(name, off, &f, end != nil && f.First >= *end)
	}
}

func (d *dumper) frame(name string, off int64, f *event.Frame, overruled bool) {
	d.sum.Frames++
	note := ""
	if overruled {
		note = ", overruled by the next segment"
	}
	d.print(dumpFrame{"frame", name, off, f.First, f.Count, overruled}, "  @%d frame: %d to %d%s", off, f.First, f.Next()-1, note)
	for i := range int(f.Count) {
		e, err := f.At(i)
		if err != nil {
			at := off + event.FrameHeaderSize + int64(i)*event.Size
			d.damage(name, at, at+event.Size, err.Error())
			continue
		}
		d.sum.Events++
		if !d.o.Frames {
			seq := f.First + uint64(i)
			d.print(dumpEvent{
				"event", seq, stamp(e.Time), e.Kind.String(), e.Reason.String(), e.Campaign, e.Link,
				hex(e.Subject), uint16(e.Signals), e.Client.String(),
			}, "    %d %s %s %s campaign %d link %d subject %s signals %#04x client %s", seq, stamp(e.Time), e.Kind, e.Reason,
				e.Campaign, e.Link, hex(e.Subject), uint16(e.Signals), e.Client)
		}
	}
}
