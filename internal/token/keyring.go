package token

import (
	"crypto/ed25519"
	"fmt"
	"sync"
	"time"

	"mailbeacon/internal/subject"
)

// KeyState is what a key is used for.
type KeyState string

const (
	// Active mints and opens. Exactly one key is active.
	Active KeyState = "active"
	// Live opens what it minted while it was active.
	Live KeyState = "live"
	// Retired opens nothing any more. Its id is never given to another key.
	Retired KeyState = "retired"
)

// KeyInfo is what may be told of a key: all but its secret.
type KeyInfo struct {
	ID      uint8
	State   KeyState
	Created time.Time // UTC
}

// SecretSize is the length of a key's secret in bytes: two AES-256 keys.
const SecretSize = 64

// Keyring mints and opens tokens, and gives people their numbers. It never changes and may be used
// concurrently; a Ring holds the newest.
type Keyring struct {
	opens       [256]*key // by id; nil where there is none, or it is retired
	active      *key
	subjects    *subject.Hasher
	fingerprint subject.Number // of the subject key
	infos       []KeyInfo
	signer      ed25519.PrivateKey // of receipts
	receipts    []ReceiptKey
	pool        sync.Pool // of *scratch
}

type key struct {
	id  byte
	siv *siv
}

// Subject is the number of the person with an address in the form of subject.Normalise, never 0.
// It allocates nothing, and the bytes stay the caller's.
func (k *Keyring) Subject(normalised []byte) uint64 {
	return uint64(k.subjects.Number(normalised))
}

// Fingerprint is 16 hex digits that are the same for keyrings that give people the same numbers, and say nothing of their keys.
func (k *Keyring) Fingerprint() string { return k.fingerprint.String() }

// Keys tells of every key, in the order of their ids.
func (k *Keyring) Keys() []KeyInfo {
	return append([]KeyInfo(nil), k.infos...)
}

// newKeyring makes a keyring of a file that was checked.
func newKeyring(f *file) (*Keyring, error) {
	hasher, err := subject.NewHasher(f.subjectKey)
	if err != nil {
		return nil, err
	}
	k := &Keyring{subjects: hasher}
	k.pool.New = func() any { return new(scratch) }
	// What no address normalises to: the number says whether two subject keys are one, and no more.
	k.fingerprint = hasher.Number([]byte("\x00subject key"))
	for i := range f.keys {
		e := &f.keys[i]
		k.infos = append(k.infos, e.KeyInfo)
		if public := e.receiptPublic(); public != nil {
			k.receipts = append(k.receipts, ReceiptKey{e.ID, public})
		}
		if e.State == Retired {
			continue
		}
		s, err := newSIV(e.secret, e.ID)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", e.ID, err)
		}
		made := &key{id: e.ID, siv: s}
		k.opens[e.ID] = made
		if e.State == Active {
			k.active = made
			k.signer = receiptKey(e.secret)
		}
	}
	return k, nil
}
