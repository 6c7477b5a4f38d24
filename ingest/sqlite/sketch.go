package sqlite

import (
	"fmt"

	"github.com/axiomhq/hyperloglog"
)

// A stored sketch is a version byte and, in version 1, the library's encoding of a HyperLogLog of
// 2^14 registers: exact but for one in some ten thousand while it is small, 0.8 % (standard
// deviation) beyond some six thousand people. Small ones take 2 to 4 bytes a person, large ones 16 KiB.
// FORMAT.md has the bytes.
const (
	sketchVersion   = 1
	sketchPrecision = 14
)

// sketch is a set of hashes of which only the size can be asked.
type sketch struct{ hll *hyperloglog.Sketch }

func newSketch() sketch { return sketch{hyperloglog.New14()} }

// parseSketch reads a stored sketch; b is the caller's again afterwards.
func parseSketch(b []byte) (sketch, error) {
	if len(b) < 3 || b[0] != sketchVersion {
		return sketch{}, fmt.Errorf("%w: a sketch of %d bytes begins with %x", ErrDamaged, len(b), b[:min(3, len(b))])
	}
	if b[2] != sketchPrecision { // after the library's own version
		return sketch{}, fmt.Errorf("%w: a sketch has precision %d", ErrDamaged, b[2])
	}
	s := newSketch()
	if err := s.hll.UnmarshalBinary(b[1:]); err != nil {
		return sketch{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

func (s sketch) add(hashes []uint64) {
	for _, h := range hashes {
		s.hll.InsertHash(h)
	}
}

// merge adds what o holds; o stays as it is.
func (s sketch) merge(o sketch) error { return s.hll.Merge(o.hll) }

func (s sketch) count() uint64 { return s.hll.Estimate() }

// append encodes the sketch. Equal sets that came to be in any order are equal bytes as long as
// they are small.
func (s sketch) append(b []byte) ([]byte, error) {
	s.hll.Estimate() // sorts what was added last; the encoding keeps the order of a hash map otherwise
	return s.hll.AppendBinary(append(b, sketchVersion))
}
