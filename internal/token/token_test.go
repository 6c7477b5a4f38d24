package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/internal/subject"
)

// keyringOf is a keyring of one active key.
func keyringOf(t testing.TB, id uint8, secret []byte) *Keyring {
	t.Helper()
	k, err := newKeyring(&file{
		subjectKey: bytes.Repeat([]byte{0x5a}, subject.KeySize),
		keys:       []fileKey{{KeyInfo{ID: id, State: Active, Created: time.Unix(0, 0)}, secret, nil}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// counting is 0, 1, 2, ... up to n bytes.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func drawClaims(r *rapid.T) Claims {
	return Claims{
		Campaign: rapid.Uint32().Draw(r, "campaign"),
		Link:     rapid.Uint16().Draw(r, "link"),
		Subject:  rapid.Uint64().Draw(r, "subject"),
	}
}

var (
	sample = Claims{Campaign: 7, Link: 3, Subject: 0x0123456789abcdef}
	top    = Claims{Campaign: math.MaxUint32, Link: math.MaxUint16, Subject: math.MaxUint64}
)

// The format is for ever: mail that was sent stays in mailboxes. These tokens may never change.
func TestTokensOfVersion1(t *testing.T) {
	t.Parallel()
	k := keyringOf(t, 1, counting(SecretSize))
	for _, tt := range goldenTokens {
		if got := string(k.Append(nil, tt.kind, tt.claims)); got != tt.text {
			t.Errorf("%c token of %+v is %s, want %s", tt.kind, tt.claims, got, tt.text)
		}
		if got, err := k.Open(tt.kind, []byte(tt.text)); err != nil || got != tt.claims {
			t.Errorf("%s opens to %+v, %v; want %+v", tt.text, got, err, tt.claims)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	k := keyringOf(t, 200, counting(SecretSize))
	rapid.Check(t, func(r *rapid.T) {
		c := drawClaims(r)
		kind := rapid.SampledFrom(kinds[:]).Draw(r, "kind")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(r, "prefix")
		text := k.Append(bytes.Clone(prefix), kind, c)
		if !bytes.HasPrefix(text, prefix) || len(text) != len(prefix)+TextLen {
			r.Fatalf("appended %d bytes to %d", len(text)-len(prefix), len(prefix))
		}
		token := text[len(prefix):]
		if got, err := k.Open(kind, token); err != nil || got != c {
			r.Fatalf("%s opens to %+v, %v; want %+v", token, got, err, c)
		}
		for _, other := range kinds {
			if _, err := k.Open(other, token); other != kind && !errors.Is(err, ErrForged) {
				r.Fatalf("a %c token as %c: %v, want ErrForged", kind, other, err)
			}
		}
	})
}

// Whatever single bit of the 31 bytes is turned over, nothing opens; and no other spelling of a
// token does.
func TestMutationsFail(t *testing.T) {
	t.Parallel()
	k := keyringOf(t, 1, counting(SecretSize))
	for _, kind := range kinds {
		for _, c := range []Claims{{}, sample, top} {
			text := k.Append(nil, kind, c)
			raw, err := encoding.DecodeString(string(text))
			if err != nil {
				t.Fatal(err)
			}
			for bit := range rawLen * 8 {
				raw[bit/8] ^= 1 << (bit % 8)
				if got, err := k.Open(kind, []byte(encoding.EncodeToString(raw))); !errors.Is(err, ErrForged) || got != (Claims{}) {
					t.Fatalf("bit %d turned over: %+v, %v; want ErrForged", bit, got, err)
				}
				raw[bit/8] ^= 1 << (bit % 8)
			}
			for i := range text {
				was := text[i]
				for b := range 256 {
					if text[i] = byte(b); text[i] == was {
						continue
					}
					if got, err := k.Open(kind, text); err == nil {
						t.Fatalf("character %d as %#x opens to %+v", i, b, got)
					}
				}
				text[i] = was
			}
		}
	}
}

func TestWhatIsNoToken(t *testing.T) {
	t.Parallel()
	k := keyringOf(t, 1, counting(SecretSize))
	good := string(k.Append(nil, Click, sample))
	last := good[:TextLen-1]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	next := alphabet[strings.IndexByte(alphabet, good[TextLen-1])+1]
	unknownID := keyringOf(t, 2, counting(SecretSize)).Append(nil, Click, sample)
	otherKey := keyringOf(t, 1, bytes.Repeat([]byte{1}, SecretSize)).Append(nil, Click, sample)
	tests := []struct {
		name string
		kind Kind
		text string
		want error
	}{
		{"nothing", Click, "", ErrMalformed},
		{"one character", Click, "A", ErrMalformed},
		{"truncated by one", Click, good[:TextLen-1], ErrMalformed},
		{"one too many", Click, good + "A", ErrMalformed},
		{"oversized", Click, strings.Repeat("A", 1<<16), ErrMalformed},
		{"padding", Click, good[:TextLen-1] + "=", ErrMalformed},
		{"standard alphabet", Click, "+/" + good[2:], ErrMalformed},
		{"percent", Click, "%41" + good[3:], ErrMalformed},
		{"line breaks", Click, "\r\n" + good[2:], ErrMalformed},
		{"line break at the end", Click, good[:TextLen-1] + "\n", ErrMalformed},
		{"zero bytes", Click, strings.Repeat("\x00", TextLen), ErrMalformed},
		{"spare bits set", Click, last + string(next), ErrMalformed},
		{"blanks", Click, " " + good[1:], ErrMalformed},
		{"swapped kind", Open, good, ErrForged},
		{"swapped kind", Preferences, good, ErrForged},
		{"no such kind", Kind('x'), good, ErrForged},
		{"zeros", Click, strings.Repeat("A", TextLen), ErrForged},
		{"id of no key", Click, string(unknownID), ErrForged},
		{"another key's", Click, string(otherKey), ErrForged},
	}
	for _, tt := range tests {
		if got, err := k.Open(tt.kind, []byte(tt.text)); !errors.Is(err, tt.want) || got != (Claims{}) {
			t.Errorf("%s: %+v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestMintingAnUnknownKindPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("minted a token of kind x")
		}
	}()
	keyringOf(t, 1, counting(SecretSize)).Append(nil, Kind('x'), sample)
}

func TestNoAllocation(t *testing.T) {
	k := keyringOf(t, 1, counting(SecretSize))
	dst := make([]byte, 0, TextLen)
	good := k.Append(nil, Open, sample)
	malformed := append(bytes.Clone(good[:TextLen-1]), '=')
	address := []byte("somebody@example.com")
	tests := []struct {
		name string
		do   func()
	}{
		{"append", func() { k.Append(dst, Open, sample) }},
		{"open", func() { k.Open(Open, good) }},
		{"open forged", func() { k.Open(Click, good) }},
		{"open malformed", func() { k.Open(Open, malformed) }},
		{"open truncated", func() { k.Open(Open, good[:5]) }},
		{"subject", func() { k.Subject(address) }},
	}
	for _, tt := range tests {
		if n := testing.AllocsPerRun(1000, tt.do); n != 0 {
			t.Errorf("%s allocates %v times", tt.name, n)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	k := keyringOf(t, 1, counting(SecretSize))
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			for i := range uint64(500) {
				c := Claims{Campaign: uint32(g), Subject: i}
				if got, err := k.Open(Click, k.Append(nil, Click, c)); err != nil || got != c {
					t.Errorf("opens to %+v, %v; want %+v", got, err, c)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Any text either fails with one of the two errors or is, letter for letter, what minting its
// claims gives.
func FuzzOpen(f *testing.F) {
	k := keyringOf(f, 1, counting(SecretSize))
	for _, kind := range kinds {
		f.Add(byte(kind), k.Append(nil, kind, sample))
		f.Add(byte(kind), k.Append(nil, Open, top))
	}
	f.Add(byte('x'), []byte("AQ"))
	f.Add(byte('o'), bytes.Repeat([]byte{'\n'}, TextLen))
	f.Add(byte('c'), []byte(base64.StdEncoding.EncodeToString(counting(rawLen))))
	f.Fuzz(func(t *testing.T, kind byte, text []byte) {
		before := bytes.Clone(text)
		c, err := k.Open(Kind(kind), text)
		if !bytes.Equal(before, text) {
			t.Fatal("Open changed its argument")
		}
		switch {
		case err == nil && !bytes.Equal(k.Append(nil, Kind(kind), c), text):
			t.Fatalf("%q opens to %+v and was never minted", text, c)
		case err == nil:
		case !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForged):
			t.Fatalf("unexpected error %v", err)
		case c != (Claims{}):
			t.Fatalf("an error and the claims %+v", c)
		case errors.Is(err, ErrForged) && len(text) != TextLen:
			t.Fatalf("%d characters are forged, not malformed", len(text))
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	k := keyringOf(b, 1, counting(SecretSize))
	dst := make([]byte, 0, TextLen)
	b.ReportAllocs()
	c := sample
	for b.Loop() {
		c.Subject++
		k.Append(dst, Click, c)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := keyringOf(b, 1, counting(SecretSize))
	good := k.Append(nil, Click, sample)
	forged := bytes.Clone(good)
	forged[20] ^= 1
	malformed := bytes.Clone(good)
	malformed[20] = '%'
	for name, text := range map[string][]byte{"good": good, "forged": forged, "malformed": malformed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Open(Click, text)
			}
		})
	}
}

func BenchmarkOpenParallel(b *testing.B) {
	k := keyringOf(b, 1, counting(SecretSize))
	good := k.Append(nil, Click, sample)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k.Open(Click, good)
		}
	})
}

var goldenTokens = []struct {
	kind   Kind
	claims Claims
	text   string
}{
	{Open, Claims{}, "AYncteOBREvgqse1RwlWqskcTNQcohmAJZ4dOZpzIw"},
	{Open, sample, "AXD8fp2sMZlfWqdIompqlqks6cyRuMV3QWsxSfu_fw"},
	{Open, top, "ASYQXspwiY5GP2pX5s05d1QDfP36hhiDz5uzQtfvpQ"},
	{Click, Claims{}, "AY75ia_Q-6oxwDsoXeUH0_HZimGFebHBqqVhRbEMig"},
	{Click, sample, "Aa75P2klKwGX8eHU-KyU9UlU5ypLe2Wv7oLNbwOT1A"},
	{Click, top, "Ab8As8p3BTrMTZV8C_Q0Xl3lcCKEU-PVI4krquHZjw"},
	{Preferences, Claims{}, "AXyo_lV2gNYEx8Yzo5gy0a2H1tU2VVMJGCND0rD-Qg"},
	{Preferences, sample, "AceXPVxmG7iWIPlEV3nQbTuhqiAUgqzwxk6X5h0LDg"},
	{Preferences, top, "Aasc4fK5wYDUgSEqmDpvSObq-qOVB_hoZjEDNpIhXw"},
}
