// Package subject turns a mail address into a number that means nothing without a key: the address
// is brought into one form, and hashed. Whoever destroys the key makes every number ever stored
// anonymous.
package subject

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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
// HMAC-SHA-256 (RFC 2104) under the key. It may be used concurrently.
type Hasher struct {
	inner, outer [sha256.BlockSize]byte // the key, masked for either of the two hashes
}

// NewHasher returns a Hasher under a key of KeySize bytes, which it copies.
func NewHasher(key []byte) (*Hasher, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("subject key has %d bytes, not %d", len(key), KeySize)
	}
	h := new(Hasher)
	copy(h.inner[:], key)
	copy(h.outer[:], key)
	for i := range h.inner {
		h.inner[i] ^= 0x36
		h.outer[i] ^= 0x5c
	}
	return h, nil
}

// Number is the number of an address in the form that Normalise gives it. It does not allocate,
// and the bytes stay the caller's. The hash 0, which stands for nobody, becomes 1.
func (h *Hasher) Number(normalised []byte) Number { return number(h, normalised) }

// NumberOf is Number for a string.
func (h *Hasher) NumberOf(normalised string) Number { return number(h, normalised) }

// number is HMAC written out: crypto/hmac keeps its state on the heap, and so would need a pool.
func number[T []byte | string](h *Hasher, address T) Number {
	var room [sha256.BlockSize + MaxAddress]byte
	sum := sha256.Sum256(append(append(room[:0], h.inner[:]...), address...))
	var last [sha256.BlockSize + sha256.Size]byte
	copy(last[:], h.outer[:])
	copy(last[sha256.BlockSize:], sum[:])
	sum = sha256.Sum256(last[:])
	return somebody(binary.BigEndian.Uint64(sum[:]))
}

// somebody makes a hash the number of a person.
func somebody(hash uint64) Number {
	if hash == 0 {
		return 1
	}
	return Number(hash)
}
