// Package token mints and opens what stands in the URLs of a mail: 42 characters that name a
// campaign, a link and a person to whoever holds the key, and nothing to anybody else. Tokens are
// deterministic authenticated encryption, AES-SIV (RFC 5297): there is no nonce to lose, and the
// same mail rendered twice carries the same URLs. FORMAT.md beside this file is the specification.
package token

import (
	"encoding/base64"
	"errors"
)

// Kind is what a token is for: the letter of its path, authenticated with it, so that a token of
// one kind is forged under another.
type Kind byte

const (
	// Open is the beacon's, /o/TOKEN.gif.
	Open Kind = 'o'
	// Click is a link's, /c/TOKEN.
	Click Kind = 'c'
	// Preferences is the preference page's, /u/TOKEN.
	Preferences Kind = 'u'
)

var kinds = [...]Kind{Open, Click, Preferences}

// index is the kind's place in kinds.
func (k Kind) index() (int, bool) {
	switch k {
	case Open:
		return 0, true
	case Click:
		return 1, true
	case Preferences:
		return 2, true
	}
	return 0, false
}

// Claims are what a token says. Every value of every field can be minted.
type Claims struct {
	// Campaign is the campaign's number.
	Campaign uint32
	// Link is the link's number within the campaign, 0 for none.
	Link uint16
	// Subject is the person's number, 0 in mail that names nobody.
	Subject uint64
}

// TextLen is the length of a token in characters.
const TextLen = 42

// A token in bytes: the key's id, the SIV, the encrypted claims.
const (
	rawLen    = 31
	offTag    = 1
	offClaims = offTag + sivSize
)

var (
	// ErrMalformed is returned for what can't be a token: not 42 characters of base64url, or with
	// bits set behind the last byte.
	ErrMalformed = errors.New("token is malformed")
	// ErrForged is returned for what looks like a token and does not authenticate under this kind
	// and any key that still opens.
	ErrForged = errors.New("token is forged")
)

// encoding refuses a last character with bits that carry nothing: a token has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// Append appends the 42 characters of a token to dst, minted with the active key, and returns the
// longer slice. It allocates nothing if dst has room. It panics for a kind outside the set.
func (k *Keyring) Append(dst []byte, kind Kind, c Claims) []byte {
	i, ok := kind.index()
	if !ok {
		panic("token: no such kind")
	}
	s := k.pool.Get().(*scratch)
	s.raw[0] = k.active.id
	k.active.siv.seal(s, i, c.pack())
	dst = encoding.AppendEncode(dst, s.raw[:])
	k.pool.Put(s)
	return dst
}

// Open reads a token of a kind. The error is ErrMalformed or ErrForged, just so. It allocates
// nothing, and text stays the caller's.
func (k *Keyring) Open(kind Kind, text []byte) (Claims, error) {
	if len(text) != TextLen {
		return Claims{}, ErrMalformed
	}
	s := k.pool.Get().(*scratch)
	c, err := k.open(s, kind, text)
	k.pool.Put(s)
	return c, err
}

func (k *Keyring) open(s *scratch, kind Kind, text []byte) (Claims, error) {
	// The decoder passes over line breaks; then there are fewer bytes than there should be.
	if n, err := encoding.Decode(s.raw[:], text); err != nil || n != rawLen {
		return Claims{}, ErrMalformed
	}
	i, ok := kind.index()
	key := k.opens[s.raw[0]]
	if !ok || key == nil {
		return Claims{}, ErrForged
	}
	claims, ok := key.siv.open(s, i)
	if !ok {
		return Claims{}, ErrForged
	}
	return claims.unpack(), nil
}

// scratch is where one token is worked on. AES is called through an interface, which moves what it
// is handed to the heap: so it comes from there, out of a pool. All of it is overwritten by the
// next use.
type scratch struct {
	raw     [rawLen]byte
	in, out [sivSize]byte
}
