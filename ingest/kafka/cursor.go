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

// divisionFile is beside the cursor and of its format: a cursor that is written when the division changes, and now and then. All before it is in
// Kafka, and what follows it is divided among its partitions. Where the cursor is lost, shipping begins there at the earliest: numbers
// would be others, and with more partitions what was shipped before would be counted twice. What comes before it, the spool need not keep.
func divisionFile(cursor string) string { return cursor + ".division" }

// acceptFile is made by a person who wants shipping to begin though both files are lost.
func acceptFile(cursor string) string { return cursor + ".accept" }

// restoring finds out where to begin.
type restoring struct {
	path        string
	edge, epoch uint64
	log         *slog.Logger
	foreign     bool // a file of another spool was there
}

// load reads a file, if it is there and of this spool.
func (r *restoring) load(path string) (c cursor, ok bool, err error) {
	c, err = loadCursor(path)
	switch {
	case err == nil && c.edge == r.edge && c.epoch == r.epoch:
		return c, true, nil
	case err == nil:
		r.foreign = true
		r.log.Warn("a cursor is of another spool or of an earlier life of this one", "file", path)
	case errors.Is(err, errBadCursor):
		if rerr := os.Rename(path, path+".bad"); rerr != nil {
			return c, false, errors.Join(err, rerr)
		}
		r.log.Error("a cursor is damaged", "kept", path+".bad")
	case !errors.Is(err, errNoCursor):
		return c, false, err
	}
	return c, false, nil
}

// certain refuses to begin within a block of which nobody knows any more what was shipped: those that follow would get numbers that
// others had, and would be taken for them.
func (r *restoring) certain(first uint64) error {
	if r.foreign || first%BlockEvents == 0 {
		return nil
	}
	accept := acceptFile(r.path)
	err := os.Remove(accept)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kafka: %s and %s are both lost: of up to %d events that wait in the spool nobody can say whether they were counted; put one of the files back. "+
			"To ship all the same, which counts nothing twice and may leave out that many, make an empty file %s", r.path, divisionFile(r.path), BlockEvents-first%BlockEvents, accept)
	}
	return err
}

// restoreCursor finds out where to begin in a spool whose first number is first, with a topic of so many partitions. noted is
// what the division's file says.
func restoreCursor(path string, edge, epoch, first uint64, partitions int, log *slog.Logger) (c cursor, noted uint64, err error) {
	r := &restoring{path: path, edge: edge, epoch: epoch, log: log}
	division, divided, err := r.load(divisionFile(path))
	if err != nil {
		return cursor{}, 0, err
	}
	c, ok, err := r.load(path)
	if err != nil {
		return cursor{}, 0, err
	}
	if !ok && !divided {
		if err := r.certain(first); err != nil {
			return cursor{}, 0, err
		}
	}
	if !ok {
		if divided {
			partitions = len(division.counts)
		}
		c = cursor{edge: edge, epoch: epoch, next: first, counts: make([]uint32, partitions)}
	}
	if divided && c.next <= division.next {
		// No cursor was saved since, and events may have been shipped by this division already.
		c = division
		c.counts = slices.Clone(division.counts)
	}
	if !ok {
		log.Info("there is no cursor; shipping from the first event that may not be in Kafka, which counts nothing twice", "number", c.next, "partitions", len(c.counts))
	}
	if !divided || len(division.counts) != len(c.counts) {
		return c, c.next, c.saveDivision(path)
	}
	return c, division.next, nil
}

// saveDivision writes the cursor as the division.
func (c *cursor) saveDivision(path string) error { return c.save(divisionFile(path)) }

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
