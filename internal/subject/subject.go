// Package subject turns a mail address into a number that means nothing without a key: the address
// is brought into one form, and hashed. Whoever destroys the key makes every number ever stored
// anonymous.
package subject

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// Number stands for a person. 0 is nobody.
type Number uint64

// textLen is the length of a number in text.
const textLen = 16

// String is the number as 16 lower-case hex digits, the form of the API and of every export.
func (n Number) String() string {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(n))
	return hex.EncodeToString(raw[:])
}

// ErrNumber is returned for a text that is no number.
var ErrNumber = errors.New("subject number is not 16 hex digits")

// ParseNumber reads what String writes, in either case. The error never holds the text: somebody
// may have put an address there.
func ParseNumber(s string) (Number, error) {
	var raw [8]byte
	if len(s) != textLen {
		return 0, ErrNumber
	}
	if _, err := hex.Decode(raw[:], []byte(s)); err != nil {
		return 0, ErrNumber
	}
	return Number(binary.BigEndian.Uint64(raw[:])), nil
}

// MarshalText writes the number as String does, for JSON and YAML.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads the number as ParseNumber does.
func (n *Number) UnmarshalText(b []byte) (err error) {
	*n, err = ParseNumber(string(b))
	return err
}

// KeySize is the length of a hash key in bytes.
const KeySize = 32

// Hasher gives normalised addresses their numbers: the first eight bytes, big-endian, of
// HMAC-SHA-256 under the key. It may be used concurrently.
type Hasher struct {
	pool sync.Pool // of *state
}

// state is one HMAC under the key and room for what goes in and comes out of it. All of it is
// overwritten by the next use.
type state struct {
	mac hash.Hash
	in  []byte
	out [sha256.Size]byte
}

// NewHasher returns a Hasher under a key of KeySize bytes, which it copies.
func NewHasher(key []byte) (*Hasher, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("subject key has %d bytes, not %d", len(key), KeySize)
	}
	key = append([]byte(nil), key...)
	h := new(Hasher)
	h.pool.New = func() any {
		return &state{mac: hmac.New(sha256.New, key), in: make([]byte, 0, MaxAddress)}
	}
	return h, nil
}

// Number is the number of an address in the form that Normalise gives it. It does not allocate,
// and the bytes stay the caller's. The hash 0, which stands for nobody, becomes 1.
func (h *Hasher) Number(normalised []byte) Number {
	s := h.pool.Get().(*state)
	s.in = append(s.in[:0], normalised...)
	return h.finish(s)
}

// NumberOf is Number for a string.
func (h *Hasher) NumberOf(normalised string) Number {
	s := h.pool.Get().(*state)
	s.in = append(s.in[:0], normalised...)
	return h.finish(s)
}

func (h *Hasher) finish(s *state) Number {
	s.mac.Reset()
	s.mac.Write(s.in) // a hash never fails
	n := Number(binary.BigEndian.Uint64(s.mac.Sum(s.out[:0])))
	clear(s.in) // an address does not lie about
	h.pool.Put(s)
	if n == 0 {
		n = 1
	}
	return n
}
