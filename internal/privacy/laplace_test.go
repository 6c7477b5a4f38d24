package privacy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
	"testing/iotest"
)

// exp is e^-ε to some 200 bits, by its series.
func exp(e Epsilon) *big.Rat {
	sum, term, x := new(big.Rat), big.NewRat(1, 1), new(big.Rat).Neg(e.Rat())
	for k := int64(1); k < 120; k++ {
		sum.Add(sum, term)
		term.Mul(term, x).Mul(term, big.NewRat(1, k))
	}
	return sum
}

// chance is the probability of z, by the formula.
func chance(e Epsilon, z int64) *big.Rat {
	q, one := exp(e), big.NewRat(1, 1)
	p := new(big.Rat).Quo(new(big.Rat).Sub(one, q), new(big.Rat).Add(one, q))
	for range max(z, -z) {
		p.Mul(p, q)
	}
	return p
}

// path is a sequence of bits that ends somewhere.
type path struct {
	bits []uint64
	at   int
}

var errShort = errors.New("the path ends")

func (p *path) bit() (uint64, error) {
	if p.at == len(p.bits) {
		return 0, errShort
	}
	p.at++
	return p.bits[p.at-1], nil
}

// masses walks every sequence of up to depth bits and adds up, in units of 2^-depth, how likely each draw is; open is the
// mass of the sequences on which nothing is drawn yet. There is no chance in it.
func masses(depth int, sample func(bitSource) (int64, error)) (mass map[int64]uint64, open uint64) {
	mass = map[int64]uint64{}
	var walk func(prefix []uint64)
	walk = func(prefix []uint64) {
		z, err := sample(&path{bits: prefix})
		switch {
		case err == nil:
			mass[z] += 1 << (depth - len(prefix))
		case len(prefix) == depth:
			open++
		default:
			next := append(append([]uint64(nil), prefix...), 0)
			walk(next)
			next[len(prefix)] = 1
			walk(next)
		}
	}
	walk(nil)
	return mass, open
}

func right(e Epsilon) func(bitSource) (int64, error) {
	return func(b bitSource) (int64, error) { return (&Sampler{b}).Laplace(e) }
}

// fits says whether exact masses can be those of the formula: each is at most the probability, and all that is
// still open would have to make up for the rest.
func fits(e Epsilon, depth int, mass map[int64]uint64, open uint64) bool {
	unit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), uint(depth)))
	slack := new(big.Rat).Mul(unit, new(big.Rat).SetInt64(int64(open)))
	for z := int64(-12); z <= 12; z++ {
		low := new(big.Rat).Mul(unit, new(big.Rat).SetInt64(int64(mass[z])))
		p := chance(e, z)
		if low.Cmp(p) > 0 || new(big.Rat).Add(low, slack).Cmp(p) < 0 {
			return false
		}
	}
	return true
}

// wrong are samplers that somebody might write; each must be found out.
func wrong(e Epsilon) map[string]func(bitSource) (int64, error) {
	return map[string]func(bitSource) (int64, error){
		"zero comes twice as often": func(b bitSource) (int64, error) {
			d := draw{bits: b}
			y := int64(0)
			for d.expMinus(uint64(e.Num), uint64(e.Den)) && d.err == nil {
				y++
			}
			if d.below(2) == 1 {
				y = -y
			}
			return y, d.err
		},
		"one side only": func(b bitSource) (int64, error) {
			d := draw{bits: b}
			y := int64(0)
			for d.expMinus(uint64(e.Num), uint64(e.Den)) && d.err == nil {
				y++
			}
			return y, d.err
		},
		"twice the epsilon": right(Epsilon{e.Num * 2, e.Den}),
		"half the epsilon":  right(Epsilon{e.Num, e.Den * 2}),
		"moved by one": func(b bitSource) (int64, error) {
			z, err := right(e)(b)
			return z + 1, err
		},
	}
}

// TestExactly: over all sequences of bits up to a length the sampler's probabilities are those of the formula, as far as they
// can be known by then, for an ε below, at and above 1; and those of wrong ones are not.
func TestExactly(t *testing.T) {
	t.Parallel()
	const depth = 17
	for _, e := range []Epsilon{{1, 1}, {1, 2}, {2, 1}} {
		mass, open := masses(depth, right(e))
		if share := float64(open) / (1 << depth); share > 0.2 {
			t.Fatalf("ε %v: %.3f of all is still open, which proves little", e, share)
		}
		if !fits(e, depth, mass, open) {
			t.Errorf("ε %v: %v with %d open are not the formula's", e, mass, open)
		}
		for z := int64(1); z < 12; z++ {
			if mass[z] != mass[-z] {
				t.Errorf("ε %v: %d for %d and %d for %d", e, mass[z], z, mass[-z], -z)
			}
		}
	}
	e := Epsilon{1, 1}
	for name, sample := range wrong(e) {
		if mass, open := masses(depth, sample); fits(e, depth, mass, open) {
			t.Errorf("%s: nothing tells it from the right one", name)
		}
	}
}

// TestRatio: neighbouring counts n and n+1 lead to any answer with chances that differ by the factor e^ε at most, and by just
// that where they differ most.
func TestRatio(t *testing.T) {
	t.Parallel()
	for _, e := range []Epsilon{{1, 1}, {1, 3}, {2, 1}} {
		q := exp(e)
		for answer := int64(-8); answer <= 8; answer++ {
			here, there := chance(e, answer), chance(e, answer-1) // of counts 0 and 1
			ratio := new(big.Rat).Quo(here, there)
			if ratio.Cmp(q) < 0 || new(big.Rat).Inv(ratio).Cmp(q) < 0 {
				t.Errorf("ε %v: the answer %d has the ratio %s", e, answer, ratio.FloatString(6))
			}
		}
	}
	const depth = 17
	e := Epsilon{1, 1}
	mass, open := masses(depth, right(e))
	for z := int64(0); z < 5; z++ { // the least that the ratio can be is still not above e^ε
		if low := float64(mass[z]) / float64(mass[z+1]+open); low > math.E {
			t.Errorf("%d is %.4f times as likely as %d", z, low, z+1)
		}
	}
}

// chiSquare compares draws with the formula, each value that is expected ten times and all others together: at most 25 degrees of freedom.
func chiSquare(t *testing.T, e Epsilon, draws int, sample func(bitSource) (int64, error), source io.Reader) float64 {
	t.Helper()
	seen := map[int64]int{}
	b := &byteBits{from: source}
	for range draws {
		z, err := sample(b)
		if err != nil {
			t.Fatal(err)
		}
		seen[z]++
	}
	rest, others, sum := 1.0, draws, 0.0
	add := func(n int, p float64) {
		want := p * float64(draws)
		sum += (float64(n) - want) * (float64(n) - want) / want
	}
	for z := int64(-12); z <= 12; z++ {
		if p, _ := chance(e, z).Float64(); p*float64(draws) >= 10 {
			add(seen[z], p)
			rest, others = rest-p, others-seen[z]
		}
	}
	add(others, rest)
	return sum
}

// TestChiSquare: 300,000 draws of the operating system's bits, and of a fixed seed. The bound is exceeded by chance once
// in a million runs; wrong samplers exceed it with a third of the draws.
func TestChiSquare(t *testing.T) {
	t.Parallel()
	const bound = 74.0 // of 25 degrees of freedom: p = 1e-6
	draws := 300_000
	if testing.Short() {
		draws = 100_000
	}
	one := Epsilon{1, 1}
	var seed [32]byte
	for name, source := range map[string]io.Reader{"seeded": mathrand.NewChaCha8(seed), "system": &buffered{from: rand.Reader}} {
		for _, e := range []Epsilon{one, {1, 2}, {3, 2}} {
			if x := chiSquare(t, e, draws, right(e), source); x > bound {
				t.Errorf("%s, ε %v: chi-square %.1f", name, e, x)
			}
		}
	}
	others := wrong(one)
	others["a little more epsilon"], others["a little less epsilon"] = right(Epsilon{11, 10}), right(Epsilon{10, 11})
	for name, sample := range others {
		if x := chiSquare(t, one, 100_000, sample, mathrand.NewChaCha8(seed)); x < bound {
			t.Errorf("%s: chi-square %.1f does not tell it from the right one", name, x)
		}
	}
}

// buffered asks for many bytes at once.
type buffered struct {
	from io.Reader
	have []byte
}

func (b *buffered) Read(p []byte) (int, error) {
	if len(b.have) == 0 {
		b.have = make([]byte, 1<<16)
		if _, err := io.ReadFull(b.from, b.have); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.have)
	b.have = b.have[n:]
	return n, nil
}

// TestBrokenSource: no noise is better than weak noise; bits that end or never change are errors.
func TestBrokenSource(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	for name, source := range map[string]io.Reader{
		"empty": bytes.NewReader(nil), "failing": iotest.ErrReader(gone), "always 0": zeros{},
	} {
		if z, err := NewSampler(source).Laplace(Epsilon{1, 1}); err == nil {
			t.Errorf("%s: drew %d", name, z)
		}
	}
	if _, err := NewSampler(iotest.ErrReader(gone)).Laplace(Epsilon{1, 1}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	for _, e := range []Epsilon{{}, {1, 0}, {0, 1}, {MaxTerm + 1, 1}, {1, MaxTerm + 1}} {
		if _, err := NewSampler(rand.Reader).Laplace(e); err == nil {
			t.Errorf("ε %v is taken", e)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestParseEpsilon(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Epsilon{"1": {1, 1}, "1/2": {1, 2}, "0.5": {1, 2}, "2/4": {1, 2}, "10": {10, 1}, "0.25": {1, 4}, "1.5": {3, 2}} {
		if got, err := ParseEpsilon(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		} else if back, err := ParseEpsilon(got.String()); err != nil || back != got {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{"", "0", "-1", "11", "1/0", "1/9999999", "1e-3", "0x1", "NaN", "Inf", "1 ", "one", "1e999999999", "0.00000000000000000000000001"} {
		if got, err := ParseEpsilon(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
