package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"mailbeacon/internal/slotfile"
)

// The cursor; FORMAT.md is its specification. It stands in a file of slots, since it must be possible to write it where the
// disk is full: only what is known to be shipped can be deleted.
const (
	cursorVersion = 1
	cursorHeader  = 40 // up to the counts
	cursorSum     = 4
	// maxPartitions is how many a cursor can tell of; it fits its slot.
	maxPartitions = 4000
)

var (
	cursorMagic = [4]byte{0xF8, 'M', 'B', 'C'}
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)

	errNoCursor    = errors.New("there is no cursor")
	errBadCursor   = errors.New("the cursor is damaged")
	errNewerCursor = errors.New("written by a newer mailbeacon")
)

// cursor is how far a spool was shipped.
type cursor struct {
	edge, epoch uint64
	next        uint64 // the first number that is not known to be in Kafka
	// counts are how many events of next's block went to each partition. Their number is that of the
	// partitions which the block is divided among.
	counts []uint32
}

func (c *cursor) encode() []byte {
	b := make([]byte, cursorHeader, cursorHeader+4*len(c.counts)+cursorSum)
	copy(b, cursorMagic[:])
	b[4] = cursorVersion
	binary.LittleEndian.PutUint64(b[8:], c.edge)
	binary.LittleEndian.PutUint64(b[16:], c.epoch)
	binary.LittleEndian.PutUint64(b[24:], c.next)
	binary.LittleEndian.PutUint32(b[32:], uint32(len(c.counts)))
	for _, n := range c.counts {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseCursor reads a cursor; errBadCursor and errNewerCursor say what is wrong.
func parseCursor(b []byte) (cursor, error) {
	if len(b) < cursorHeader+cursorSum || [4]byte(b) != cursorMagic {
		return cursor{}, errBadCursor
	}
	body := b[:len(b)-cursorSum]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return cursor{}, errBadCursor
	}
	if b[4] != cursorVersion {
		return cursor{}, errNewerCursor
	}
	c := cursor{edge: binary.LittleEndian.Uint64(b[8:]), epoch: binary.LittleEndian.Uint64(b[16:]), next: binary.LittleEndian.Uint64(b[24:])}
	n := binary.LittleEndian.Uint32(b[32:])
	reserved := uint32(b[5]) | uint32(b[6]) | uint32(b[7]) | binary.LittleEndian.Uint32(b[36:])
	if reserved != 0 || n == 0 || n > maxPartitions || len(body) != cursorHeader+4*int(n) {
		return cursor{}, errBadCursor
	}
	c.counts = make([]uint32, n)
	for i := range c.counts {
		c.counts[i] = binary.LittleEndian.Uint32(body[cursorHeader+4*i:])
		if c.counts[i] > uint32(c.next%BlockEvents) {
			return cursor{}, errBadCursor
		}
	}
	return c, nil
}

// readCursor is what a file says.
func readCursor(f *slotfile.File) (cursor, error) {
	b, err := f.Content()
	switch {
	case errors.Is(err, slotfile.ErrNewer):
		return cursor{}, fmt.Errorf("kafka: cursor %w", err)
	case err != nil:
		return cursor{}, fmt.Errorf("%w: %w", errBadCursor, err)
	case len(b) == 0:
		return cursor{}, errNoCursor
	}
	return parseCursor(b)
}

func loadCursor(path string) (cursor, error) {
	f, err := slotfile.Open(path)
	if err != nil {
		return cursor{}, fmt.Errorf("kafka: the cursor: %w", err)
	}
	c, err := readCursor(f)
	if err != nil {
		return cursor{}, fmt.Errorf("kafka: cursor %s: %w", path, err)
	}
	return c, nil
}

// cursorFiles are a cursor's file and its division's.
type cursorFiles struct {
	cursor, division *slotfile.File
	path             string
	lost             bool // the cursor was there once, and is of no use
}

// divisionFile is beside the cursor and of its format: a cursor that is written when the division changes, and now and then. All before it is in
// Kafka, and what follows it is divided among its partitions. Where the cursor is lost, shipping begins there at the earliest: numbers
// would be others, and with more partitions what was shipped before would be counted twice. What comes before it, the spool need not keep.
func divisionFile(cursor string) string { return cursor + ".division" }

// acceptFile is made by a person who wants shipping to begin though both files are lost.
func acceptFile(cursor string) string { return cursor + ".accept" }

func openCursorFiles(path string) (f cursorFiles, err error) {
	f.path = path
	if f.cursor, err = slotfile.Open(path); err == nil {
		f.division, err = slotfile.Open(divisionFile(path))
	}
	if err != nil {
		return f, fmt.Errorf("kafka: the cursor: %w", err)
	}
	return f, nil
}

// Reserve takes the room on the disk that a shipper's cursor and the topics' ids will ever need, so that what a full spool
// holds can be shipped, and deleted, though nothing else can be written. It changes nothing that is there.
func Reserve(cursor, topics string) error {
	var failed []error
	for _, path := range []string{cursor, divisionFile(cursor), topics} {
		f, err := slotfile.Open(path)
		if err == nil {
			err = f.Reserve()
		}
		failed = append(failed, err)
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("kafka: reserve room: %w", err)
	}
	return nil
}

// save writes the cursor durably.
func (f *cursorFiles) save(c *cursor) error {
	if err := writeCursor(f.cursor, c); err != nil {
		return fmt.Errorf("kafka: the cursor: %w", err)
	}
	return nil
}

// saveDivision writes the cursor as the division.
func (f *cursorFiles) saveDivision(c *cursor) error {
	if err := writeCursor(f.division, c); err != nil {
		return fmt.Errorf("kafka: the cursor's division: %w", err)
	}
	return nil
}

// writeCursor writes a cursor into a file. One as it was written once, on a disk that has no room for more, is written over: should that be cut short, the
// other of the two files says where to begin.
func writeCursor(f *slotfile.File, c *cursor) error {
	b := c.encode()
	err := f.Write(b)
	if err != nil && f.Former() {
		if over := f.Overwrite(b); over != nil {
			return errors.Join(err, over)
		}
		return nil
	}
	return err
}

// reserve takes the room that a file needs. Where there is none yet, one as it was written once will do until what is shipped has left the disk.
func (r *restoring) reserve(f *slotfile.File) error {
	err := f.Reserve()
	if err != nil && f.Former() {
		r.log.Warn("a cursor is kept as it was written once, until the disk has room", "error", err)
		return nil
	}
	return err
}

// beginning is what shipping begins with.
type beginning struct {
	edge, epoch uint64
	first, next uint64 // of the spool: the first number that it has, and the one that comes next
	partitions  int    // of the topic
	grown       bool   // it may have had fewer when something was shipped to it
}

// restoring finds out where to begin.
type restoring struct {
	*cursorFiles
	beginning
	log     *slog.Logger
	foreign bool // a file of another spool was there
}

// load reads a file, if it is there and of this spool.
func (r *restoring) load(file *slotfile.File, path string) (c cursor, ok bool, err error) {
	c, err = readCursor(file)
	switch {
	case err == nil && c.edge == r.edge && c.epoch == r.epoch:
		return c, true, nil
	case err == nil:
		r.foreign = true
		r.log.Warn("a cursor is of another spool or of an earlier life of this one", "file", path)
	case errors.Is(err, errBadCursor):
		r.lost = true
		// It is of no use, and is written over where it is: a disk without room for the copy stops nothing.
		if kept, kerr := file.SetAside(); kerr != nil {
			r.log.Error("a cursor is damaged, and no copy of it is kept", "error", err, "why", kerr)
		} else {
			r.log.Error("a cursor is damaged", "error", err, "kept", kept)
		}
	case !errors.Is(err, errNoCursor):
		return c, false, fmt.Errorf("kafka: cursor %s: %w", path, err)
	}
	return c, false, nil
}

// certain is among how many partitions to divide where both files are lost. It refuses to begin within a block of which nobody knows any more what was
// shipped: those that follow would get numbers that others had, and would be taken for them. And it refuses to begin where the topic had fewer partitions once:
// what was shipped to those would be counted in others again.
func (r *restoring) certain(partitions int, grown bool) (int, error) {
	within, elsewhere := r.first%BlockEvents != 0, grown && r.first < r.next
	if r.foreign || !within && !elsewhere {
		return partitions, nil
	}
	accept := acceptFile(r.path)
	said, err := os.ReadFile(accept)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, r.refuse(within, elsewhere)
	}
	if err != nil {
		return 0, fmt.Errorf("kafka: %w", err)
	}
	if text := strings.TrimSpace(string(said)); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > partitions {
			return 0, fmt.Errorf("kafka: %s holds %q: it may hold the number of partitions that the topic had when this edge shipped last, 1 to %d, or nothing", accept, text, partitions)
		}
		partitions = n
	}
	if err := os.Remove(accept); err != nil {
		return 0, fmt.Errorf("kafka: %w", err)
	}
	return partitions, nil
}

// refuse says why nothing is shipped, and what to do about it.
func (r *restoring) refuse(within, elsewhere bool) error {
	lost := fmt.Sprintf("kafka: %s and %s are both lost", r.path, divisionFile(r.path))
	left := BlockEvents - r.first%BlockEvents
	if !elsewhere {
		return fmt.Errorf("%s: of up to %d events that wait in the spool nobody can say whether they were counted; put one of the files back. "+
			"To ship all the same, which counts nothing twice and may leave out that many, make an empty file %s", lost, left, acceptFile(r.path))
	}
	out := ""
	if within {
		out = fmt.Sprintf(", and may leave out up to %d events", left)
	}
	return fmt.Errorf("%s, and the topic may have had fewer partitions than the %d that it has: of the events that wait in the spool nobody can say to how many they were shipped; put one of the files back. "+
		"To ship all the same, make a file %s that holds the number of partitions that the topic had when this edge shipped last, or nothing for as many as now: "+
		"what was shipped to that many counts once, what was shipped to another number counts twice%s", lost, r.partitions, acceptFile(r.path), out)
}

// restore finds out where to begin. noted is what the division's file says.
func (f *cursorFiles) restore(b beginning, log *slog.Logger) (c cursor, noted uint64, err error) {
	r := &restoring{cursorFiles: f, beginning: b, log: log}
	division, divided, err := r.load(f.division, divisionFile(f.path))
	if err != nil {
		return cursor{}, 0, err
	}
	f.lost = false // of the cursor alone
	c, ok, err := r.load(f.cursor, f.path)
	if err != nil {
		return cursor{}, 0, err
	}
	partitions, grown := b.partitions, b.grown
	if ok && c.next < b.first {
		// The spool was trimmed by a later one, which is gone. Of this one no more is of use than among how many it divided.
		log.Error("the cursor lies before what the spool has: the one that was written last is lost", "file", f.path, "number", c.next, "first", b.first)
		ok, f.lost, partitions, grown = false, true, len(c.counts), false
	}
	if !ok && !divided {
		if partitions, err = r.certain(partitions, grown); err != nil {
			return cursor{}, 0, err
		}
	}
	if !ok {
		if divided {
			partitions = len(division.counts)
		}
		c = cursor{edge: b.edge, epoch: b.epoch, next: b.first, counts: make([]uint32, partitions)}
	}
	if divided && c.next <= division.next {
		// No cursor was saved since, and events may have been shipped by this division already.
		c = division
		c.counts = slices.Clone(division.counts)
	}
	if !ok {
		f.lost = f.lost || divided
		log.Info("there is no cursor; shipping from the first event that may not be in Kafka, which counts nothing twice", "number", c.next, "partitions", len(c.counts))
	}
	if err := errors.Join(r.reserve(f.cursor), r.reserve(f.division)); err != nil {
		return c, 0, fmt.Errorf("kafka: the cursor: %w", err)
	}
	if !divided || len(division.counts) != len(c.counts) {
		return c, c.next, f.saveDivision(&c)
	}
	return c, division.next, nil
}

// Shipped returns how far the cursor file at path says that a spool was shipped: the spool must
// never give a number below to a new event (spool.Options.Next). Without a cursor it is what the division's file says, and 0
// where nobody knows.
func Shipped(path string) uint64 {
	c, err := loadCursor(path)
	if err != nil {
		c, err = loadCursor(divisionFile(path))
	}
	if err != nil {
		return 0
	}
	return c.next
}
