package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/ingest/event"
)

const (
	// headerSize is the length of a segment's header; frames follow.
	headerSize = 64
	// formatVersion is the version of segment and identity that this code writes and reads.
	formatVersion = 1

	// maxNumber bounds sequence numbers, so that none can overflow.
	maxNumber = 1 << 62

	segmentSuffix = ".seg"
	badSuffix     = ".bad"
	nextTmp       = "next.tmp"     // the segment being prepared
	plainTmp      = "plain.tmp"    // a segment that is created when none is prepared
	identityTmp   = "identity.tmp" // the identity before it has its name
)

var (
	segmentMagic = [4]byte{0xF6, 'M', 'B', 'S'}
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// ErrNewer is returned for a folder that a newer version of this program wrote to. Nothing was changed.
var ErrNewer = errors.New("spool: written by a newer version of mailbeacon")

// CorruptionError tells of bytes on disk that are not what was written. The events in them are lost;
// the bytes are kept under Kept.
type CorruptionError struct {
	Segment string // the segment's file name
	Offset  int64  // where the damage starts, in bytes
	Length  int64  // how many bytes could not be used
	Reason  string
	Kept    string // the file name under which the bytes are kept, empty if that failed
}

func (e *CorruptionError) Error() string {
	kept := "not kept aside yet"
	if e.Kept != "" {
		kept = "kept as " + e.Kept
	}
	return fmt.Sprintf("spool: segment %s is damaged at offset %d (%d bytes, %s): %s", e.Segment, e.Offset, e.Length, kept, e.Reason)
}

// header is what a segment says of itself.
type header struct {
	edge, epoch uint64
	first       uint64 // sequence number of the first event
	created     int64  // milliseconds since the Unix epoch
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, segmentMagic[:])
	b[4] = formatVersion
	binary.LittleEndian.PutUint64(b[8:], h.edge)
	binary.LittleEndian.PutUint64(b[16:], h.epoch)
	binary.LittleEndian.PutUint64(b[24:], h.first)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.created))
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
	return b
}

var errHeader = errors.New("header fails its checksum")

// parseHeader reads a segment's header. ErrNewer comes before all else a correct sum leaves to say.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, errors.New("header is cut short")
	}
	b = b[:headerSize]
	if [4]byte(b) != segmentMagic || crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return header{}, errHeader
	}
	if b[4] > formatVersion {
		return header{}, ErrNewer
	}
	if b[4] != formatVersion || b[5]|b[6]|b[7] != 0 || !allZero(b[40:headerSize-4]) {
		return header{}, errors.New("header holds impossible values")
	}
	return header{
		edge:    binary.LittleEndian.Uint64(b[8:]),
		epoch:   binary.LittleEndian.Uint64(b[16:]),
		first:   binary.LittleEndian.Uint64(b[24:]),
		created: int64(binary.LittleEndian.Uint64(b[32:])),
	}, nil
}

// segmentName is the file name of the segment that starts with a sequence number: sorting by
// name is sorting by number.
func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, segmentSuffix) }

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 16, 64)
	return first, err == nil && first < maxNumber && segmentName(first) == name
}

// segment is one file as readers, Trim and Stats see it.
type segment struct {
	first uint64
	name  string
	disk  atomic.Int64 // bytes it takes on disk
	since atomic.Int64 // when its first event came, in milliseconds since the Unix epoch, 0 if unknown
	born  time.Time    // when it began to be written to; zero for one of a former process
	// damaged: bytes of it could not be kept aside yet, so Trim must not delete it.
	damaged atomic.Bool

	mu   sync.Mutex
	size int64            // how far readers may look: all of it is committed
	end  uint64           // the sequence number after the last event that counts
	bad  map[int64]string // where damage was found, and the name that keeps the bytes
}

// publish makes what was committed up to size and end visible to readers.
func (g *segment) publish(size int64, end uint64) {
	g.mu.Lock()
	g.size, g.end = size, end
	g.mu.Unlock()
}

// committed returns what publish was last given.
func (g *segment) committed() (size int64, end uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size, g.end
}

func newSegment(first uint64, size int64, end uint64) *segment {
	g := &segment{first: first, name: segmentName(first), size: size, end: end}
	g.disk.Store(size)
	return g
}

// firstTime is when the first event of a segment came, as far as it can be known: the time in an event
// that must not be counted is only its hour.
func firstTime(created int64, e *event.Event) int64 { return max(created, e.Time) }

func (s *Spool) path(name string) string { return filepath.Join(s.dir, name) }

// allZero reports whether b holds nothing but zeros.
func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
