// Package privacy draws the noise that numbers about people are released with: integers of the discrete Laplace
// distribution, exactly, from random bits alone.
//
// With sensitivity 1 (a person changes a number by 1 at most) the number plus Laplace(ε) is ε-differentially private.
// A floating-point sampler is not: its rounding leaves gaps that give the number away (Mironov, "On Significance of
// the Least Significant Bits for Differential Privacy", CCS 2012). The method here is that of Canonne, Kamath and Steinke, "The Discrete
// Gaussian for Differential Privacy" (NeurIPS 2020), algorithms 1 and 2: from fair bits to Bernoulli(exp(-γ)) of a rational γ,
// and from those to the discrete Laplace, with integers only.
package privacy

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Sampler draws noise. It belongs to one goroutine.
type Sampler struct{ bits bitSource }

// NewSampler makes a sampler of a source of random bytes, which is crypto/rand.Reader in all but tests.
func NewSampler(random io.Reader) *Sampler { return &Sampler{&byteBits{from: random}} }

// Laplace draws z with the probability (1-q)/(1+q)·q^|z|, q = exp(-ε). An error is one of the source of bits, or
// of an ε that is not Valid; nothing was drawn then.
func (s *Sampler) Laplace(e Epsilon) (int64, error) {
	if !e.Valid() {
		return 0, fmt.Errorf("draw noise: %d/%d is no epsilon", e.Num, e.Den)
	}
	d := draw{bits: s.bits}
	z := d.laplace(uint64(e.Num), uint64(e.Den))
	if d.err != nil {
		return 0, fmt.Errorf("draw noise: %w", d.err)
	}
	return z, nil
}

// bitSource gives fair bits.
type bitSource interface {
	bit() (uint64, error)
}

// byteBits takes a source of bytes apart, from the highest bit on.
type byteBits struct {
	from io.Reader
	have [1]byte
	left int
}

func (b *byteBits) bit() (uint64, error) {
	if b.left == 0 {
		if _, err := io.ReadFull(b.from, b.have[:]); err != nil {
			return 0, fmt.Errorf("read random bits: %w", err)
		}
		b.left = 8
	}
	b.left--
	return uint64(b.have[0]>>b.left) & 1, nil
}

// draw is one draw under way. After an error it ends with any value.
type draw struct {
	bits bitSource
	err  error
}

var errEndless = errors.New("the source of random bits is broken: it would never end")

// laplace is algorithm 2 for the scale t/s, that is ε = s/t.
func (d *draw) laplace(s, t uint64) int64 {
	for d.err == nil {
		// The magnitude in steps of 1/t of the scale: u and v make a geometric number u + t·v with the ratio exp(-1/t).
		u := d.below(t)
		if !d.expMinus(u, t) {
			continue
		}
		v := uint64(0)
		for d.err == nil && d.expMinus(1, 1) {
			if v++; v > 1<<16 { // of chance e^-65536
				d.err = errEndless
			}
		}
		y := (u + t*v) / s
		negative := d.below(2) == 1
		if negative && y == 0 { // or 0 would come twice as often as it may
			continue
		}
		if negative {
			return -int64(y)
		}
		return int64(y)
	}
	return 0
}

// expMinus is algorithm 1: true with probability exp(-n/m), for n <= m.
func (d *draw) expMinus(n, m uint64) bool {
	k := uint64(1)
	for ; d.err == nil && d.below(m*k) < n; k++ {
		if k > 1<<12 { // of chance 1/4096!
			d.err = errEndless
		}
	}
	return k%2 == 1
}

// below is any of 0 to n-1, each as likely as the others.
func (d *draw) below(n uint64) uint64 {
	for width := bits.Len64(n - 1); d.err == nil; {
		x := uint64(0)
		for range width {
			b, err := d.bits.bit()
			if err != nil {
				d.err = err
				return 0
			}
			x = x<<1 | b
		}
		if x < n {
			return x
		}
	}
	return 0
}
