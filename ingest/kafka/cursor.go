package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
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

// Shipped returns how far the cursor file at path says that a spool was shipped: the spool must
// never give a number below to a new event (spool.Options.Next). It is 0 where there is no cursor, or
// one that can't be read.
func Shipped(path string) uint64 {
	c, err := loadCursor(path)
	if err != nil {
		return 0
	}
	return c.next
}
