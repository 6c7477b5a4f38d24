package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// sivSize is the size of an AES block, and of the synthetic IV.
const sivSize = aes.BlockSize

// siv is AES-SIV (RFC 5297) for the one shape that tokens have: the associated data are the kind
// and the key's id, the plaintext is 14 bytes. What depends on the key and the associated data alone
// is worked out once, which leaves two blocks of AES for a token.
type siv struct {
	mac, ctr cipher.Block // of K1 and K2
	// last is, by kind, dbl(D) xor the first CMAC subkey, where D is the state of S2V behind the
	// associated data: with the padded plaintext added it is the only block of the final CMAC.
	last [len(kinds)]block
}

// pad is the padding of a 14-byte plaintext: a one and zeros (RFC 5297, 2.1).
const pad = 0x8000

// newSIV takes a key of two AES keys, that of S2V first. Its length is 32, 48 or 64 bytes; tokens
// use 64.
func newSIV(key []byte, id byte) (*siv, error) {
	mac, err := aes.NewCipher(key[:len(key)/2])
	if err != nil {
		return nil, err
	}
	ctr, err := aes.NewCipher(key[len(key)/2:])
	if err != nil {
		return nil, err
	}
	s := &siv{mac: mac, ctr: ctr}
	full, _ := subkeys(mac)
	for i, kind := range kinds {
		s.last[i] = s2vState(mac, []byte{byte(kind)}, []byte{id}).dbl().xor(full)
	}
	return s, nil
}

// seal authenticates and encrypts claims into t.raw, behind the key's id.
func (s *siv) seal(t *scratch, kind int, claims block) {
	s.tag(t, kind, claims)
	copy(t.raw[offTag:], t.out[:])
	claims.xor(s.stream(t)).putClaims(t.raw[offClaims:])
}

// open decrypts what seal wrote. Unless it returns true the claims are nobody's.
func (s *siv) open(t *scratch, kind int) (claims block, ok bool) {
	copy(t.out[:], t.raw[offTag:])
	claims = getClaims(t.raw[offClaims:]).xor(s.stream(t)).truncate()
	s.tag(t, kind, claims)
	return claims, subtle.ConstantTimeCompare(t.out[:], t.raw[offTag:offClaims]) == 1
}

// tag puts the synthetic IV of the claims into t.out.
func (s *siv) tag(t *scratch, kind int, claims block) {
	s.last[kind].xor(claims).xor(block{lo: pad}).put(t.in[:])
	s.mac.Encrypt(t.out[:], t.in[:])
}

// stream is the key stream that belongs to the synthetic IV in t.out: the IV without two bits is
// the counter (RFC 5297, 2.5), and one block is enough.
func (s *siv) stream(t *scratch) block {
	const clear31 = ^uint64(1<<31 | 1<<63)
	counter := getBlock(t.out[:])
	counter.lo &= clear31
	counter.put(t.in[:])
	s.ctr.Encrypt(t.out[:], t.in[:])
	return getBlock(t.out[:])
}

// s2vState is S2V (RFC 5297, 2.4) up to and with the associated data, which may not be none.
func s2vState(mac cipher.Block, associated ...[]byte) block {
	d := cmac(mac, make([]byte, sivSize))
	for _, a := range associated {
		d = d.dbl().xor(cmac(mac, a))
	}
	return d
}

// cmac is AES-CMAC (RFC 4493).
func cmac(mac cipher.Block, message []byte) block {
	full, padded := subkeys(mac)
	var sum block
	for len(message) > sivSize {
		sum = encrypt(mac, sum.xor(getBlock(message)))
		message = message[sivSize:]
	}
	if len(message) == sivSize {
		return encrypt(mac, sum.xor(getBlock(message)).xor(full))
	}
	last := make([]byte, sivSize)
	copy(last, message)
	last[len(message)] = 0x80
	return encrypt(mac, sum.xor(getBlock(last)).xor(padded))
}

// subkeys are what CMAC adds to the last block: to a full one, and to a padded one.
func subkeys(mac cipher.Block) (full, padded block) {
	full = encrypt(mac, block{}).dbl()
	return full, full.dbl()
}

func encrypt(c cipher.Block, b block) block {
	raw := make([]byte, sivSize)
	b.put(raw)
	c.Encrypt(raw, raw)
	return getBlock(raw)
}
