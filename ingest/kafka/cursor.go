package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"

	"mailbeacon/internal/datadir"
)

// The cursor file; FORMAT.md is its specification.
const (
	cursorVersion = 1
	cursorHeader  = 40 // up to the counts
	cursorSum     = 4
	// maxPartitions bounds what a cursor file may claim.
	maxPartitions = 1 << 16
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

func loadCursor(path string) (cursor, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cursor{}, errNoCursor
	}
	if err != nil {
		return cursor{}, fmt.Errorf("kafka: read the cursor: %w", err)
	}
	c, err := parseCursor(b)
	if err != nil {
		return cursor{}, fmt.Errorf("kafka: cursor %s: %w", path, err)
	}
	return c, nil
}

// save writes the cursor durably.
func (c *cursor) save(path string) error {
	if err := datadir.WriteFile(path, c.encode(), 0o600); err != nil {
		return fmt.Errorf("kafka: the cursor: %w", err)
	}
	return nil
}

// divisionFile is beside the cursor and of its format. It says since which block events are divided among so many
// partitions, and so that all before is in Kafka. Where the cursor is lost, shipping begins there at the earliest: to
// divide among more partitions what was shipped before would have it counted twice.
func divisionFile(cursor string) string { return cursor + ".division" }

// restoreCursor finds out where to begin in a spool whose first number is first, with a topic of so many partitions.
func restoreCursor(path string, edge, epoch, first uint64, partitions int, log *slog.Logger) (cursor, error) {
	ours := func(path string) (c cursor, ok bool, err error) {
		c, err = loadCursor(path)
		switch {
		case err == nil && c.edge == edge && c.epoch == epoch:
			return c, true, nil
		case err == nil:
			log.Warn("a cursor is of another spool or of an earlier life of this one", "file", path)
		case errors.Is(err, errBadCursor):
			if rerr := os.Rename(path, path+".bad"); rerr != nil {
				return c, false, errors.Join(err, rerr)
			}
			log.Error("a cursor is damaged", "kept", path+".bad")
		case !errors.Is(err, errNoCursor):
			return c, false, err
		}
		return c, false, nil
	}
	division, divided, err := ours(divisionFile(path))
	if err != nil {
		return cursor{}, err
	}
	c, ok, err := ours(path)
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
	if !divided || len(division.counts) != len(c.counts) {
		return c, c.saveDivision(path)
	}
	return c, nil
}

// saveDivision notes that events are divided among c's partitions since its block.
func (c *cursor) saveDivision(path string) error {
	d := cursor{edge: c.edge, epoch: c.epoch, next: c.next - c.next%BlockEvents, counts: make([]uint32, len(c.counts))}
	return d.save(divisionFile(path))
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
