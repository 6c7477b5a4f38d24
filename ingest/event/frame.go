package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
)

const (
	// FrameHeaderSize is the length of a frame's header in bytes; Size bytes per event follow.
	FrameHeaderSize = 48
	// FrameVersion is the version that SealFrame writes and ParseFrame understands.
	FrameVersion = 1
	// MaxFrameCount is the most events that a frame may hold, so that a reader knows the largest
	// buffer it can ever need.
	MaxFrameCount = 1 << 16
)

const (
	offMagic      = 0
	offVersion    = 4
	offEdge       = 8
	offEpoch      = 16
	offFirst      = 24
	offCount      = 32
	offBodySum    = 36
	offHeadUnused = 40
	offHeadSum    = 44
)

// magic opens every frame. Its first byte is no ASCII letter and no zero, so that text and blank
// space are passed over quickly when a reader looks for the next frame.
var magic = [4]byte{0xF5, 'M', 'B', 'E'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// What can be wrong with a frame. ErrFrameShort alone can heal, by more bytes.
var (
	ErrFrameShort   = errors.New("event: frame is cut short")
	ErrFrameMagic   = errors.New("event: no frame here")
	ErrFrameHeader  = errors.New("event: frame header fails its checksum")
	ErrFrameVersion = errors.New("event: frame of an unknown version")
	ErrFrameInvalid = errors.New("event: frame header holds impossible values")
	ErrFrameBody    = errors.New("event: frame body fails its checksum")
)

// FrameHeader is what a frame says of the events that follow it.
type FrameHeader struct {
	Edge  uint64 // the edge that took the events
	Epoch uint64 // the life of that edge's spool folder
	First uint64 // the sequence number of the first event
	Count uint32 // how many events follow, 1 to MaxFrameCount; their numbers are consecutive

	bodySum uint32
}

// Len is the whole frame's length in bytes.
func (h *FrameHeader) Len() int { return FrameHeaderSize + int(h.Count)*Size }

// Next is the sequence number after the frame's last event.
func (h *FrameHeader) Next() uint64 { return h.First + uint64(h.Count) }

// Frame is a frame whose checksums were right.
type Frame struct {
	FrameHeader
	// Records are the encoded events. The slice is part of what ParseFrame was given.
	Records []byte
}

// SealFrame completes a frame in place: b is FrameHeaderSize bytes of room and then one encoded event or
// more, up to MaxFrameCount (it panics otherwise). It does not allocate.
func SealFrame(b []byte, edge, epoch, first uint64) {
	body := b[FrameHeaderSize:]
	count := len(body) / Size
	if len(body)%Size != 0 || count == 0 || count > MaxFrameCount {
		panic("event: SealFrame needs between 1 and MaxFrameCount whole records")
	}
	h := b[:FrameHeaderSize:FrameHeaderSize]
	copy(h, magic[:])
	binary.LittleEndian.PutUint32(h[offVersion:], FrameVersion) // and three reserved zeros
	binary.LittleEndian.PutUint64(h[offEdge:], edge)
	binary.LittleEndian.PutUint64(h[offEpoch:], epoch)
	binary.LittleEndian.PutUint64(h[offFirst:], first)
	binary.LittleEndian.PutUint32(h[offCount:], uint32(count))
	binary.LittleEndian.PutUint32(h[offBodySum:], crc32.Checksum(body, castagnoli))
	binary.LittleEndian.PutUint32(h[offHeadUnused:], 0)
	binary.LittleEndian.PutUint32(h[offHeadSum:], crc32.Checksum(h[:offHeadSum], castagnoli))
}

// ParseFrameHeader reads the header at the start of b; the body need not be there. The errors are ErrFrameShort,
// ErrFrameMagic, ErrFrameHeader, ErrFrameVersion and ErrFrameInvalid. It does not allocate.
func ParseFrameHeader(b []byte) (FrameHeader, error) {
	if len(b) < FrameHeaderSize {
		return FrameHeader{}, ErrFrameShort
	}
	b = b[:FrameHeaderSize:FrameHeaderSize]
	if [4]byte(b[offMagic:]) != magic {
		return FrameHeader{}, ErrFrameMagic
	}
	if crc32.Checksum(b[:offHeadSum], castagnoli) != binary.LittleEndian.Uint32(b[offHeadSum:]) {
		return FrameHeader{}, ErrFrameHeader
	}
	// A version that is not ours may mean all else differently, so it comes before the rest.
	if b[offVersion] != FrameVersion {
		return FrameHeader{}, ErrFrameVersion
	}
	h := FrameHeader{
		Edge:    binary.LittleEndian.Uint64(b[offEdge:]),
		Epoch:   binary.LittleEndian.Uint64(b[offEpoch:]),
		First:   binary.LittleEndian.Uint64(b[offFirst:]),
		Count:   binary.LittleEndian.Uint32(b[offCount:]),
		bodySum: binary.LittleEndian.Uint32(b[offBodySum:]),
	}
	reserved := uint32(b[5]) | uint32(b[6]) | uint32(b[7]) | binary.LittleEndian.Uint32(b[offHeadUnused:])
	if reserved != 0 || h.Count == 0 || h.Count > MaxFrameCount || h.First > math.MaxUint64-uint64(h.Count) {
		return FrameHeader{}, ErrFrameInvalid
	}
	return h, nil
}

// ParseFrame reads the frame at the start of b and checks both sums; what follows the frame is not
// looked at. Its errors are those of ParseFrameHeader and ErrFrameBody. On ErrFrameShort the header
// is returned too where there are enough bytes for it (Count is not 0 then), so that the caller knows by
// Len how many to fetch. It does not allocate.
func ParseFrame(b []byte) (Frame, error) {
	h, err := ParseFrameHeader(b)
	if err != nil {
		return Frame{}, err
	}
	if len(b) < h.Len() {
		return Frame{FrameHeader: h}, ErrFrameShort
	}
	body := b[FrameHeaderSize:h.Len():h.Len()]
	if crc32.Checksum(body, castagnoli) != h.bodySum {
		return Frame{FrameHeader: h}, ErrFrameBody
	}
	return Frame{FrameHeader: h, Records: body}, nil
}

// At decodes the i-th event of the frame, from 0 to Count-1.
func (f *Frame) At(i int) (Event, error) { return Parse(f.Records[i*Size:]) }

// Decode decodes events into dst, starting at the i-th, until dst or the frame is full. It returns how many
// were decoded before the first that Parse refuses, and that one's error.
func (f *Frame) Decode(dst []Event, i int) (int, error) {
	records := f.Records[i*Size:]
	n := min(len(dst), len(records)/Size)
	for j := range n {
		if err := dst[j].parse(records[j*Size:]); err != nil {
			return j, err
		}
	}
	return n, nil
}

// Resync finds the next place in b at which a frame may start, after damage: the number of bytes to
// pass over, and whether a header that passes its checksum stands there. Where it found none, all but
// a tail too short to tell (less than FrameHeaderSize) is passed over; call again with more bytes behind
// that tail. To look beyond a frame that turned out to be bad, pass b from one byte after its start.
func Resync(b []byte) (skip int, found bool) {
	for {
		i := bytes.Index(b[skip:], magic[:])
		if i < 0 {
			// The magic itself may be cut off at the end.
			return max(skip, len(b)-len(magic)+1), false
		}
		skip += i
		_, err := ParseFrameHeader(b[skip:])
		switch {
		case err == nil:
			return skip, true
		case errors.Is(err, ErrFrameShort):
			return skip, false
		}
		skip++
	}
}
