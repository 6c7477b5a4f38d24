package slotfile

import (
	"encoding/binary"
	"hash/crc32"
)

// A slot; FORMAT.md is its specification.
const (
	slotSize    = 16 << 10
	headerSize  = 24
	sumSize     = 4
	slotVersion = 1
)

var (
	magic      = [4]byte{0xFA, 'M', 'B', 'S'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type slot struct {
	generation uint64
	content    []byte
}

func isSlot(b []byte) bool { return [4]byte(b) == magic }

func encodeSlot(generation uint64, content []byte) []byte {
	b := make([]byte, slotSize)
	copy(b, magic[:])
	b[4] = slotVersion
	binary.LittleEndian.PutUint64(b[8:], generation)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(content)))
	copy(b[headerSize:], content)
	binary.LittleEndian.PutUint32(b[slotSize-sumSize:], crc32.Checksum(b[:slotSize-sumSize], castagnoli))
	return b
}

// parseSlot reads a slot; the content points into b.
func parseSlot(b []byte) (slot, error) {
	if len(b) != slotSize || !isSlot(b) || crc32.Checksum(b[:slotSize-sumSize], castagnoli) != binary.LittleEndian.Uint32(b[slotSize-sumSize:]) {
		return slot{}, ErrDamaged
	}
	if b[4] > slotVersion {
		return slot{}, ErrNewer
	}
	s := slot{generation: binary.LittleEndian.Uint64(b[8:])}
	n := binary.LittleEndian.Uint32(b[16:])
	if n > MaxContent {
		return slot{}, ErrDamaged
	}
	s.content = b[headerSize : headerSize+n : headerSize+n]
	rest := b[headerSize+n : slotSize-sumSize]
	for _, part := range [][]byte{b[5:8], b[20:headerSize], rest} {
		for _, c := range part {
			if c != 0 {
				return slot{}, ErrDamaged
			}
		}
	}
	if b[4] != slotVersion || s.generation == 0 {
		return slot{}, ErrDamaged
	}
	return s, nil
}
