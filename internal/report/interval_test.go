package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestWilson: the values are those of the paper's formula, worked out apart from it as the roots of (p̂ - p)² = z² p(1-p)/n.
func TestWilson(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ hits, of uint64 }{{0, 1}, {1, 1}, {0, 10}, {5, 10}, {10, 10}, {3, 50}, {81, 263}, {15, 148}, {1, 1_000_000}, {999_999, 1_000_000}} {
		got := Wilson(c.hits, c.of)
		seen, n := float64(c.hits)/float64(c.of), float64(c.of)
		for _, p := range []float64{got.Low, got.High} {
			if p == 0 || p == 1 { // an end that is cut off is a root as well
				continue
			}
			if left, right := (seen-p)*(seen-p), z95*z95*p*(1-p)/n; math.Abs(left-right) > 1e-9*(left+right) {
				t.Errorf("%d of %d: %v is no root: %v and %v", c.hits, c.of, p, left, right)
			}
		}
		if got.Low > seen || got.High < seen {
			t.Errorf("%d of %d: %+v leaves out what was seen", c.hits, c.of, got)
		}
	}
	// Newcombe's example, Statistics in Medicine 17 (1998), 857-872, method 3.
	if got := Wilson(81, 263); fmt.Sprintf("%.4f %.4f", got.Low, got.High) != "0.2553 0.3662" {
		t.Errorf("81 of 263: %+v", got)
	}
	if got := Wilson(0, 0); got != (Rate{0, 1}) {
		t.Errorf("nothing of nothing: %+v", got)
	}
	if got := Wilson(7, 5); got != Wilson(5, 5) {
		t.Errorf("more than all: %+v", got)
	}
}

func TestWilsonIsAnInterval(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.Uint64Range(1, 1<<40).Draw(t, "of")
		hits := rapid.Uint64Range(0, of).Draw(t, "hits")
		r, seen := Wilson(hits, of), float64(hits)/float64(of)
		if !(0 <= r.Low && r.Low <= seen && seen <= r.High && r.High <= 1 && r.Low < r.High) {
			t.Fatalf("%d of %d: %+v", hits, of, r)
		}
		if hits < of {
			if next := Wilson(hits+1, of); next.Low < r.Low || next.High < r.High {
				t.Fatalf("%d of %d: %+v, one more: %+v", hits, of, r, next)
			}
		}
	})
}

// coverage is the probability that the interval of a binomial number holds the share that it was drawn with.
func coverage(p float64, n int) float64 {
	sum := 0.0
	for k := range n + 1 {
		if r := Wilson(uint64(k), uint64(n)); r.Low <= p && p <= r.High {
			choose, _ := math.Lgamma(float64(n + 1))
			a, _ := math.Lgamma(float64(k + 1))
			b, _ := math.Lgamma(float64(n - k + 1))
			sum += math.Exp(choose - a - b + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		}
	}
	return sum
}

// TestCoverage: over the shares that there are in mail the interval holds the true one in 95 of 100 cases, and at worst, at the very
// edge, in 83 (Brown, Cai, DasGupta, Statistical Science 16 (2001), 101-133). The textbook's would come down to 0 there.
func TestCoverage(t *testing.T) {
	t.Parallel()
	for _, n := range []int{Few, 100, 500, 2000} {
		sum, worst, count := 0.0, 1.0, 0
		for p := 0.001; p < 0.9995; p += 0.001 {
			c := coverage(p, n)
			sum, worst, count = sum+c, min(worst, c), count+1
		}
		if mean := sum / float64(count); mean < 0.945 || mean > 0.96 || worst < 0.83 {
			t.Errorf("%d mails: coverage %.4f, at worst %.4f", n, mean, worst)
		}
	}
}

// TestCoverageBySimulation draws campaigns instead: their readers open, a part of them behind a proxy. The interval of the range holds the
// true rate of all openers at its upper end and that of the certain ones at its lower.
func TestCoverageBySimulation(t *testing.T) {
	t.Parallel()
	const campaigns = 4000
	rnd := rand.New(rand.NewPCG(1, 2))
	held := 0
	for range campaigns {
		n := Few + rnd.IntN(2000)
		opens, proxied := 0.02+0.6*rnd.Float64(), 0.5*rnd.Float64()
		m := Measure{}
		for range n {
			if rnd.Float64() < opens {
				m.Unique++
				if rnd.Float64() >= proxied {
					m.Certain++
				}
			}
		}
		m.rate(uint64(n))
		if m.Interval.Low <= opens*(1-proxied) && opens <= m.Interval.High {
			held++
		}
	}
	// Each end fails in 2.5 of 100 alone; four standard deviations of 4000 draws are 1.4 %.
	if share := float64(held) / campaigns; share < 0.95-0.014 || share > 0.95+0.014 {
		t.Errorf("%.2f %% of the intervals hold what they are of", 100*share)
	}
}

func TestClickToOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                       string
		openers, sure, clickers, c uint64
		low, high                  float64
		few, none                  bool
	}{
		{"nobody opened", 0, 0, 5, 5, 0, 0, true, true},
		{"nobody certainly", 100, 0, 5, 5, 0.05, 1, false, false},
		{"a range", 200, 100, 30, 20, 0.1, 0.3, false, false},
		{"all sure", 100, 100, 20, 20, 0.2, 0.2, false, false},
		{"few", 49, 49, 7, 7, 1.0 / 7, 1.0 / 7, true, false},
		{"more clicked than opened", 60, 50, 90, 80, 1, 1, false, false},
	} {
		got := clickToOpen(&Measure{Unique: c.openers, Certain: c.sure}, &Measure{Unique: c.clickers, Certain: c.c})
		switch {
		case got.TooFew != c.few || (got.Rate == nil) != c.none || (got.Interval == nil) != c.none:
			t.Errorf("%s: %+v", c.name, got)
		case !c.none && (*got.Rate != Rate{c.low, c.high} || got.Interval.Low > c.low || got.Interval.High < c.high):
			t.Errorf("%s: %+v around %+v", c.name, got.Interval, got.Rate)
		}
	}
}
