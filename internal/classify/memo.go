package classify

import (
	"hash/maphash"
	"sync/atomic"
)

const (
	memoBits = 12 // of the index: 4096 texts, 32 KiB
	markBits = 18
	memoUsed = 1 << markBits
	memoTag  = ^uint64(1<<(markBits+1) - 1)
)

// memo remembers what was found in the texts seen lately. A few thousand of them are nearly all
// that there is, and to look at each byte takes five times as long as to hash it.
//
// It holds no text: 57 bits of a hash, under a key that is made at the start and kept nowhere, tell
// one from another. Nobody outside can make two that collide, and by chance it does not happen.
// It may be used concurrently.
type memo struct {
	seed  maphash.Seed
	slots [1 << memoBits]atomic.Uint64 // tag, used, marks
}

func newMemo() *memo { return &memo{seed: maphash.MakeSeed()} }

// find is what m finds in text. It does not allocate.
func (o *memo) find(m *matcher, text []byte) marks {
	hash := maphash.Bytes(o.seed, text)
	slot := &o.slots[hash&(1<<memoBits-1)]
	tag := hash & memoTag
	if have := slot.Load(); have&(memoTag|memoUsed) == tag|memoUsed {
		return marks(have & (memoUsed - 1))
	}
	found := m.find(text)
	slot.Store(tag | memoUsed | uint64(found))
	return found
}
