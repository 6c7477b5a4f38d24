package subject

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// From Python's hmac module.
const goldenNumber = "2fac6c464dec6c0d"

var testKey = []byte(strings.Repeat("k", KeySize))

func hasher(t testing.TB) *Hasher {
	t.Helper()
	h, err := NewHasher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The number is a promise to what is stored: the first 8 bytes, big-endian, of HMAC-SHA-256.
func TestNumberIsHMAC(t *testing.T) {
	t.Parallel()
	h := hasher(t)
	rapid.Check(t, func(r *rapid.T) {
		address := rapid.SliceOfN(rapid.Byte(), 0, 2*MaxAddress).Draw(r, "address")
		mac := hmac.New(sha256.New, testKey)
		mac.Write(address)
		want := Number(binary.BigEndian.Uint64(mac.Sum(nil)))
		if got := h.Number(address); got != want {
			r.Fatalf("number %v, want %v", got, want)
		}
		if got := h.NumberOf(string(address)); got != want {
			r.Fatalf("number of the string %v, want %v", got, want)
		}
	})
}

// One number written down: it may never change.
func TestNumberOfVersion1(t *testing.T) {
	t.Parallel()
	if got := hasher(t).NumberOf("somebody@example.com").String(); got != goldenNumber {
		t.Errorf("number %s, want %s", got, goldenNumber)
	}
}

// No address will ever be seen to have the hash 0; it would be nobody's.
func TestNobodyIsNoPersonsNumber(t *testing.T) {
	t.Parallel()
	for hash, want := range map[uint64]Number{0: 1, 1: 1, 2: 2, 1<<64 - 1: 1<<64 - 1} {
		if got := somebody(hash); got != want {
			t.Errorf("the hash %d is number %d, want %d", hash, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 31, 33, 64} {
		if _, err := NewHasher(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is accepted", n)
		}
	}
	key := []byte(strings.Repeat("k", KeySize))
	h, err := NewHasher(key)
	if err != nil {
		t.Fatal(err)
	}
	clear(key) // the hasher has its own
	if h.NumberOf("a@b") != hasher(t).NumberOf("a@b") {
		t.Error("the hasher uses the caller's key")
	}
	other, err := NewHasher(key)
	if err != nil {
		t.Fatal(err)
	}
	if h.NumberOf("a@b") == other.NumberOf("a@b") {
		t.Error("two keys give the same number")
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	h := hasher(t)
	addresses := []string{"a@example.com", "b@example.com", "a.much.longer.address.than.the.others@mail.example.com"}
	want := make([]Number, len(addresses))
	for i, a := range addresses {
		want[i] = h.NumberOf(a)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 999 {
				if got := h.NumberOf(addresses[i%3]); got != want[i%3] {
					t.Errorf("number %v, want %v", got, want[i%3])
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNoAllocation(t *testing.T) {
	h := hasher(t)
	address := "somebody@example.com"
	raw := []byte(address)
	for name, do := range map[string]func(){
		"Number":    func() { h.Number(raw) },
		"NumberOf":  func() { h.NumberOf(address) },
		"Normalise": func() { Normalise(address) },
		"refusal":   func() { Normalise("somebody") },
	} {
		if n := testing.AllocsPerRun(1000, do); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestNumberText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		n := Number(rapid.Uint64().Draw(r, "number"))
		text := n.String()
		if len(text) != 16 || strings.ToLower(text) != text {
			r.Fatalf("%q is not 16 lower-case digits", text)
		}
		for _, s := range []string{text, strings.ToUpper(text)} {
			if got, err := ParseNumber(s); err != nil || got != n {
				r.Fatalf("%q is %v, %v; want %v", s, got, err, n)
			}
		}
		b, err := json.Marshal(map[string]Number{"subject": n})
		if err != nil || string(b) != `{"subject":"`+text+`"}` {
			r.Fatalf("as JSON %s, %v", b, err)
		}
		var back map[string]Number
		if err := json.Unmarshal(b, &back); err != nil || back["subject"] != n {
			r.Fatalf("from JSON %v, %v", back, err)
		}
	})
	for _, bad := range []string{"", "0", "somebody@example.com", "00000000000000000", "000000000000000g", " 00000000000000f", "0x000000000000ff"} {
		if n, err := ParseNumber(bad); !errors.Is(err, ErrNumber) || n != 0 {
			t.Errorf("%q is %v, %v; want ErrNumber", bad, n, err)
		}
	}
}

func BenchmarkNumber(b *testing.B) {
	h := hasher(b)
	address := []byte("firstname.lastname@mail.example.com")
	b.ReportAllocs()
	for b.Loop() {
		h.Number(address)
	}
}

func BenchmarkNumberParallel(b *testing.B) {
	h := hasher(b)
	address := []byte("firstname.lastname@mail.example.com")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Number(address)
		}
	})
}
