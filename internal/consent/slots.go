package consent

import (
	"iter"
	"math/bits"
	"sync/atomic"
)

// slots is an open-addressed table of subject numbers with one byte each, in 8 bytes a slot.
//
// A subject number is first mixed by a bijection, to value v. Its high 8 bits name its shard, so that
// a slot holds the low 56 bits and the byte: one word, which changes in one store. Each shard grows by
// itself, within milliseconds, and only its own second copy stands beside it meanwhile.
//
// One goroutine writes, any number read. A reader that meets a shard while it grows has the old one,
// which is whole.
type slots struct {
	shards [shards]atomic.Pointer[shard]
	used   uint64 // the writer's
}

// shard is a part of the table. Its slots are filled from v's share of it (v's low bits × slots ÷ 2^56) on,
// around its end.
type shard struct {
	words []uint64 // accessed atomically once the table is shared; 0 is free, and there always is one
	used  uint64   // the writer's
}

const (
	shards     = 256
	leastSlots = 64     // of a shard
	present    = 1 << 7 // set in the byte of every slot in use
	restBits   = 56
)

// newSlots makes a table with room for so many people.
func newSlots(people uint64) *slots {
	s := &slots{}
	for i := range s.shards {
		// Half as much again as its share: 12 bytes a person.
		s.shards[i].Store(newShard(people/shards*3/2 + leastSlots))
	}
	return s
}

func newShard(size uint64) *shard {
	h := &shard{words: make([]uint64, size)}
	preferHuge(h.words)
	return h
}

// shardOf is the shard of v.
func (s *slots) shardOf(v uint64) *shard { return s.shards[v>>restBits].Load() }

// get returns the byte of v, 0 where it is not there. It may be called concurrently with everything.
func (s *slots) get(v uint64) byte {
	_, word := s.shardOf(v).find(v)
	return byte(word)
}

// put sets the byte of v. It must not be called concurrently with itself.
func (s *slots) put(v uint64, b byte) {
	h := s.shardOf(v)
	at, word := h.find(v)
	if word == 0 {
		if h.full() {
			h = h.grown()
			at, _ = h.find(v)
			s.shards[v>>restBits].Store(h)
		}
		h.used++
		s.used++
	}
	atomic.StoreUint64(&h.words[at], v<<8|uint64(b|present))
}

// find returns the slot of v, or where it would go, and what is there.
func (h *shard) find(v uint64) (at uint64, word uint64) {
	size := uint64(len(h.words))
	rest := v << 8
	for at, _ = bits.Mul64(rest, size); ; at++ {
		if at == size {
			at = 0
		}
		if word = atomic.LoadUint64(&h.words[at]); word == 0 || word&^0xff == rest {
			return at, word
		}
	}
}

// full says whether the shard should grow before it takes one more: at three quarters look-ups of
// absent people would begin to take long.
func (h *shard) full() bool { return h.used >= uint64(len(h.words))/4*3 }

// grown is a larger shard of the same. 7/5 keeps it at least 0.75 × 5/7 = 0.53 full, which makes at most
// 15 bytes a person.
func (h *shard) grown() *shard {
	size := uint64(len(h.words))
	next := newShard(size + size/5*2)
	for _, word := range h.words { // the writer is here, so nothing changes
		if word != 0 {
			at, _ := next.find(word >> 8)
			next.words[at] = word
		}
	}
	next.used = h.used
	return next
}

// bytes is the memory of all words.
func (s *slots) bytes() (n int) {
	for i := range s.shards {
		n += 8 * len(s.shards[i].Load().words)
	}
	return n
}

// all yields every value and its byte, roughly in the order of values.
func (s *slots) all() iter.Seq2[uint64, byte] {
	return func(yield func(uint64, byte) bool) {
		for i := range s.shards {
			h := s.shards[i].Load()
			for at := range h.words {
				if word := atomic.LoadUint64(&h.words[at]); word != 0 && !yield(uint64(i)<<restBits|word>>8, byte(word)) {
					return
				}
			}
		}
	}
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
