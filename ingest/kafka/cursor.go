package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

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

// cursorFiles are a cursor's file and its division's, which is beside it and of its format. The latter says since which
// block events are divided among so many partitions, and so that all before is in Kafka. Where the cursor is lost, shipping
// begins there at the earliest: to divide among more partitions what was shipped before would have it counted twice.
type cursorFiles struct {
	cursor, division *slotfile.File
	path             string
}

func divisionFile(cursor string) string { return cursor + ".division" }

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
	if err := f.cursor.Write(c.encode()); err != nil {
		return fmt.Errorf("kafka: the cursor: %w", err)
	}
	return nil
}

// saveDivision notes that events are divided among c's partitions since its block.
func (f *cursorFiles) saveDivision(c *cursor) error {
	d := cursor{edge: c.edge, epoch: c.epoch, next: c.next - c.next%BlockEvents, counts: make([]uint32, len(c.counts))}
	if err := f.division.Write(d.encode()); err != nil {
		return fmt.Errorf("kafka: the cursor's division: %w", err)
	}
	return nil
}

// restore finds out where to begin in a spool whose first number is first, with a topic of so many partitions.
func (f *cursorFiles) restore(edge, epoch, first uint64, partitions int, log *slog.Logger) (cursor, error) {
	ours := func(file *slotfile.File, path string) (c cursor, ok bool, err error) {
		c, err = readCursor(file)
		switch {
		case err == nil && c.edge == edge && c.epoch == epoch:
			return c, true, nil
		case err == nil:
			log.Warn("a cursor is of another spool or of an earlier life of this one", "file", path)
		case errors.Is(err, errBadCursor):
			// It is of no use, and is written over where it is: a disk without room for the copy stops nothing.
			if kept, kerr := file.SetAside(); kerr != nil {
				log.Error("a cursor is damaged, and no copy of it is kept", "error", err, "why", kerr)
			} else {
				log.Error("a cursor is damaged", "error", err, "kept", kept)
			}
		case !errors.Is(err, errNoCursor):
			return c, false, fmt.Errorf("kafka: cursor %s: %w", path, err)
		}
		return c, false, nil
	}
	division, divided, err := ours(f.division, divisionFile(f.path))
	if err != nil {
		return cursor{}, err
	}
	c, ok, err := ours(f.cursor, f.path)
	if err != nil {
		return cursor{}, err
	}
	if !ok {
		if divided {
			partitions = len(division.counts)
		}
		c = cursor{edge: edge, epoch: epoch, next: first, counts: make([]uint32, partitions)}
	}
	if divided && c.next <= division.next {
		// No cursor of this division was saved, and by it events may have been shipped already. It begins with a block,
		// of which nothing is counted yet.
		c = division
	}
	if !ok {
		log.Info("there is no cursor; shipping from the first event that may not be in Kafka, which counts nothing twice", "number", c.next, "partitions", len(c.counts))
	}
	if err := errors.Join(f.cursor.Reserve(), f.division.Reserve()); err != nil {
		return c, fmt.Errorf("kafka: the cursor: %w", err)
	}
	if !divided || len(division.counts) != len(c.counts) {
		return c, f.saveDivision(&c)
	}
	return c, nil
}

// Shipped returns how far the cursor file at path says that a spool was shipped: the spool must
// never give a number below to a new event (spool.Options.Next). Without a cursor it is where the events
// were last divided anew, and 0 where nobody knows.
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
