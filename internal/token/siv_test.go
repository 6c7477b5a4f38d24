package token

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"fmt"
	"testing"

	tink "github.com/tink-crypto/tink-go/v2/daead/subtle"
	"pgregory.net/rapid"
)

// general is AES-SIV for any number of associated data and any plaintext, on the package's own
// CMAC, doubling and S2V state: what the vectors prove of it holds for the pieces that tokens use.
// The associated data may be none only if there is a plaintext to start from.
func general(t testing.TB, key, plaintext []byte, associated ...[]byte) (iv, ciphertext []byte) {
	t.Helper()
	mac, err := aes.NewCipher(key[:len(key)/2])
	if err != nil {
		t.Fatal(err)
	}
	ctr, err := aes.NewCipher(key[len(key)/2:])
	if err != nil {
		t.Fatal(err)
	}
	d := s2vState(mac, associated...)
	var final block
	if len(plaintext) >= sivSize {
		last := bytes.Clone(plaintext)
		tail := last[len(last)-sivSize:]
		getBlock(tail).xor(d).put(tail)
		final = cmac(mac, last)
	} else {
		padded := make([]byte, sivSize)
		copy(padded, plaintext)
		padded[len(plaintext)] = 0x80
		getBlock(padded).xor(d.dbl()).put(padded)
		final = cmac(mac, padded)
	}
	iv = make([]byte, sivSize)
	final.put(iv)
	counter := bytes.Clone(iv)
	counter[8] &= 0x7f
	counter[12] &= 0x7f
	ciphertext = make([]byte, len(plaintext))
	cipher.NewCTR(ctr, counter).XORKeyStream(ciphertext, plaintext)
	return iv, ciphertext
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5297, appendices A.1 and A.2.
func TestVectorsRFC5297(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, key  string
		associated []string
		plaintext  string
		want       string // IV and ciphertext
	}{
		{
			name:       "A.1 deterministic",
			key:        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			associated: []string{"101112131415161718191a1b1c1d1e1f2021222324252627"},
			plaintext:  "112233445566778899aabbccddee",
			want:       "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
		},
		{
			name: "A.2 nonce-based",
			key:  "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
			associated: []string{
				"00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
				"102030405060708090a0",
				"09f911029d74e35bd84156c5635688c0",
			},
			plaintext: "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
			want:      "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
		},
	}
	for _, tt := range tests {
		var associated [][]byte
		for _, a := range tt.associated {
			associated = append(associated, unhex(t, a))
		}
		iv, ciphertext := general(t, unhex(t, tt.key), unhex(t, tt.plaintext), associated...)
		if got := hex.EncodeToString(append(iv, ciphertext...)); got != tt.want {
			t.Errorf("%s: sealed to\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// RFC 4493, section 4: subkeys, and messages of none, one, two and a half, and four blocks.
func TestVectorsRFC4493(t *testing.T) {
	t.Parallel()
	mac, err := aes.NewCipher(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		t.Fatal(err)
	}
	full, padded := subkeys(mac)
	for want, k := range map[string]block{"fbeed618357133667c85e08f7236a8de": full, "f7ddac306ae266ccf90bc11ee46d513b": padded} {
		if got := fmt.Sprintf("%016x%016x", k.hi, k.lo); got != want {
			t.Errorf("subkey %s, want %s", got, want)
		}
	}
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		sum := cmac(mac, message[:n])
		if got := fmt.Sprintf("%016x%016x", sum.hi, sum.lo); got != want {
			t.Errorf("CMAC of %d bytes is %s, want %s", n, got, want)
		}
	}
}

// Tink's AES-SIV knows one associated string: there it must agree with the general form for any
// plaintext, and what ours sealed must open there.
func TestGeneralFormAgreesWithTink(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), SecretSize, SecretSize).Draw(r, "key")
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(r, "plaintext")
		associated := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "associated")
		theirs, err := tink.NewAESSIV(key)
		if err != nil {
			r.Fatal(err)
		}
		want, err := theirs.EncryptDeterministically(plaintext, associated)
		if err != nil {
			r.Fatal(err)
		}
		iv, ciphertext := general(t, key, plaintext, associated)
		got := append(iv, ciphertext...)
		if !bytes.Equal(got, want) {
			r.Fatalf("sealed to %x, tink to %x", got, want)
		}
		back, err := theirs.DecryptDeterministically(got, associated)
		if err != nil || !bytes.Equal(back, plaintext) {
			r.Fatalf("tink opened %x, %v; want %x", back, err, plaintext)
		}
	})
}

// The two blocks that a token costs must be what the general form makes of kind, id and claims.
func TestFastPathIsTheGeneralForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), SecretSize, SecretSize).Draw(r, "secret")
		id := rapid.ByteRange(1, 255).Draw(r, "id")
		c := drawClaims(r)
		k := keyringOf(t, id, secret)
		plaintext := make([]byte, sivSize)
		c.pack().put(plaintext)
		for _, kind := range kinds {
			iv, ciphertext := general(t, secret, plaintext[:14], []byte{byte(kind)}, []byte{id})
			want := encoding.EncodeToString(append(append([]byte{id}, iv...), ciphertext...))
			if got := string(k.Append(nil, kind, c)); got != want {
				r.Fatalf("%c token %s, general form %s", kind, got, want)
			}
		}
	})
}
