package consent

import (
	"iter"
	"math/bits"
	"sync/atomic"
)

// slots is an open-addressed table of subject numbers with one byte each, in 8 bytes a slot.
//
// A subject number is first mixed by a bijection, to value v. Its home is the slot at v's share of
// the table (v × homes ÷ 2^64), and it lies there or at most reach slots further. The slot holds
// v's low 56 bits and the byte. The high 8 bits need not be stored: values that differ only in them
// have homes at least homes ÷ 256 apart, which is more than reach, so that none can lie where
// another is looked for. What does not fit within reach asks for a larger table.
//
// One goroutine writes, any number read: a slot is one word, and changes in one store.
type slots struct {
	homes uint64 // a multiple of 256
	reach uint64
	words []uint64 // accessed atomically once the table is shared; 0 is free
	used  uint64   // the writer's
}

const (
	leastHomes = 1 << 14 // of a table that begins; below, reach is so short that it would grow at once
	present    = 1 << 7  // set in the byte of every slot in use
	restBits   = 56
)

// newSlots makes a table with at least so many homes.
func newSlots(homes uint64) *slots {
	homes = (max(homes, 256) + 255) &^ 255
	reach := homes/256 - 1
	return &slots{homes: homes, reach: reach, words: make([]uint64, homes+reach)}
}

// homesFor is the number of homes for so many people, with room for some more.
func homesFor(people uint64) uint64 { return max(people/10*15, leastHomes) }

// full says whether the table should grow before it takes one more: at three quarters look-ups of
// absent people would begin to take long.
func (s *slots) full() bool { return s.used >= s.homes/4*3 }

// grown is the least size of the next table. 7/5 keeps it at least 0.75 × 5/7 = 0.53 full, which makes
// at most 15 bytes a person.
func (s *slots) grown() uint64 { return s.homes + s.homes/5*2 }

// find returns the slot of v, or where it would go, and what is there.
func (s *slots) find(v uint64) (at uint64, word uint64, ok bool) {
	home, _ := bits.Mul64(v, s.homes)
	rest := v << 8 >> 8
	for at = home; at <= home+s.reach && at < uint64(len(s.words)); at++ {
		word = atomic.LoadUint64(&s.words[at])
		if word == 0 || word>>8 == rest {
			return at, word, true
		}
	}
	return 0, 0, false
}

// get returns the byte of v, 0 where it is not there.
func (s *slots) get(v uint64) byte {
	_, word, _ := s.find(v)
	return byte(word)
}

// put sets the byte of v, and returns false where there is no room. It must not be called
// concurrently with itself.
func (s *slots) put(v uint64, b byte) bool {
	at, word, ok := s.find(v)
	if !ok {
		return false
	}
	if word == 0 {
		s.used++
	}
	atomic.StoreUint64(&s.words[at], v<<8|uint64(b|present))
	return true
}

// all yields every value and its byte, roughly in the order of values.
func (s *slots) all() iter.Seq2[uint64, byte] {
	return func(yield func(uint64, byte) bool) {
		for at := range s.words {
			if word := atomic.LoadUint64(&s.words[at]); word != 0 && !yield(s.value(uint64(at), word>>8), byte(word)) {
				return
			}
		}
	}
}

// value restores a value from its low 56 bits and the slot it lies in. The homes from which the
// slot is within reach belong to less than 2^56 + 1 values in a row: only one has these low bits.
func (s *slots) value(at, rest uint64) uint64 {
	least := uint64(0) // the least value whose home is at-reach
	if at > s.reach {
		q, r := bits.Div64(at-s.reach, 0, s.homes)
		if r != 0 {
			q++
		}
		least = q
	}
	v := least>>restBits<<restBits | rest
	if v < least {
		v += 1 << restBits
	}
	return v
}

// copyTo puts everything into a larger table, and returns false where it has no room either.
func (s *slots) copyTo(next *slots) bool {
	for v, b := range s.all() {
		if !next.put(v, b) {
			return false
		}
	}
	return true
}

// mix is a bijection that spreads numbers which are alike (the finalizer of MurmurHash3). Subject
// numbers are spread already; the table just does not depend on it.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// unmix is the inverse of mix: the factors are the inverses modulo 2^64.
func unmix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0x9cb4b2f8129337db
	x ^= x >> 33
	x *= 0x4f74430c22a54005
	return x ^ x>>33
}
