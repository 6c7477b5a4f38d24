package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// A session in a browser lasts as long as the key that it was begun with. A mark is how the session names that key: it tells a
// key from another one of the same name that was made later, and gives nothing of it away.

func (h *heldHash) mark() string {
	sum := sha256.Sum256(append([]byte("mailbeacon session\x00"), h.hash[:]...))
	return hex.EncodeToString(sum[:16])
}

// Identify says whose a key is, and its mark, in a time that tells nothing of how near it came.
func (k *Keys) Identify(key string) (holder Holder, mark string, ok bool) {
	given := hashKey(key)
	found := heldHash{}
	for _, h := range k.within(0) {
		if subtle.ConstantTimeCompare(given[:], h.hash[:]) == 1 {
			found, ok = h, true
		}
	}
	mark = found.mark()
	return found.Holder, mark, ok
}

// Held is whose the key of a name and a mark is. ok is false at once where it was taken away or made anew.
func (k *Keys) Held(name, mark string) (holder Holder, ok bool) {
	for _, h := range k.within(0) {
		if h.Name == name {
			return h.Holder, subtle.ConstantTimeCompare([]byte(mark), []byte(h.mark())) == 1
		}
	}
	return Holder{}, false
}

// Mark is that of the key of a name.
func (k *Keys) Mark(name string) (mark string, ok bool) {
	for _, h := range k.within(0) {
		if h.Name == name {
			return h.mark(), true
		}
	}
	return "", false
}
