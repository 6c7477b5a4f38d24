package aggregate

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"mailbeacon/internal/kept"
)

// Campaigns is what the fold asks of the campaigns. It may be called concurrently with its updates.
type Campaigns interface {
	// HashKey is the key under which people are hashed for a campaign's distinct counts; false where
	// the campaign is not known.
	HashKey(campaign uint32) ([16]byte, bool)
	// LinkCount is the number of the campaign's links that a person can see.
	LinkCount(campaign uint32) int
	kept.Campaigns
}

// DefaultCiphers is how many campaigns' ciphers a Hasher keeps: some 600 bytes each.
const DefaultCiphers = 4096

// Hasher hashes people for distinct counts: the first half of the AES-128 block of the subject under
// the campaign's key. Outside the campaign the hash means nothing, and once the key is destroyed
// nothing leads from it back to a person, though a small sketch gives its hashes away.
//
// It belongs to one goroutine.
type Hasher struct {
	keys    func(campaign uint32) ([16]byte, bool)
	bound   int
	ciphers map[uint32]*keyed

	last     *keyed // of campaign lastOf
	lastOf   uint32
	from, to [aes.BlockSize]byte // here and not on the stack: what goes through an interface escapes
}

type keyed struct {
	key   [16]byte
	block cipher.Block
}

// NewHasher makes a Hasher that keeps at most bound ciphers (DefaultCiphers if it is not positive).
// keys is Campaigns.HashKey.
func NewHasher(keys func(campaign uint32) ([16]byte, bool), bound int) *Hasher {
	if bound <= 0 {
		bound = DefaultCiphers
	}
	return &Hasher{keys: keys, bound: bound, ciphers: map[uint32]*keyed{}}
}

// Hash hashes a subject for a campaign; false where the campaign is not known, or its key is
// destroyed. It allocates only for a campaign that it has not met.
func (h *Hasher) Hash(campaign uint32, subject uint64) (uint64, bool) {
	k := h.cipher(campaign)
	if k == nil {
		return 0, false
	}
	binary.BigEndian.PutUint64(h.from[:], subject)
	k.block.Encrypt(h.to[:], h.from[:])
	return binary.BigEndian.Uint64(h.to[:]), true
}

// Known says whether the campaign has a key.
func (h *Hasher) Known(campaign uint32) bool { return h.cipher(campaign) != nil }

func (h *Hasher) cipher(campaign uint32) *keyed {
	// The key is asked for every time: one that was destroyed must not live on here.
	key, ok := h.keys(campaign)
	if !ok {
		delete(h.ciphers, campaign)
		h.last = nil
		return nil
	}
	if h.last != nil && h.lastOf == campaign && h.last.key == key {
		return h.last
	}
	k := h.ciphers[campaign]
	if k == nil || k.key != key {
		block, err := aes.NewCipher(key[:])
		if err != nil {
			panic(err) // only for a key of another length
		}
		if len(h.ciphers) >= h.bound {
			clear(h.ciphers)
		}
		k = &keyed{key: key, block: block}
		h.ciphers[campaign] = k
	}
	h.last, h.lastOf = k, campaign
	return k
}
