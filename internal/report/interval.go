package report

import "math"

// Few is how many mails, or people, a share needs at least to be told as one. Below it a rate says more of chance than of
// the mail, and is shown as "too few".
const Few = 50

// z95 is the normal distribution's quantile that leaves 2.5 % on either side.
const z95 = 1.959963984540054

// Wilson is the score interval of a proportion at 95 %: where the share of all who might be sent the same mail lies, as far as
// hits among of tell. It is within 0 and 1, and never empty; of nothing it is all of that. Unlike the textbook's
// p ± 1.96·√(p(1-p)/n) it holds for small numbers and for shares near 0.
//
// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.
func Wilson(hits, of uint64) Rate {
	if of == 0 {
		return Rate{0, 1}
	}
	n := float64(of)
	p := float64(min(hits, of)) / n
	middle := (p + z95*z95/(2*n)) / (1 + z95*z95/n)
	half := z95 / (1 + z95*z95/n) * math.Sqrt(p*(1-p)/n+z95*z95/(4*n*n))
	r := Rate{max(0, middle-half), min(1, middle+half)}
	// Rounding must not keep out what was seen.
	return Rate{min(r.Low, p), max(r.High, p)}
}

// span is the interval of a rate that is itself a range: from the least that its certain part tells to the most that its
// possible part does.
func span(certain, possible, of uint64) *Rate {
	return &Rate{Wilson(certain, of).Low, Wilson(possible, of).High}
}

// quotient is part of whole, at most 1.
func quotient(part, whole uint64) float64 { return min(1, float64(part)/float64(whole)) }

// Ratio is what share of those who opened clicked.
type Ratio struct {
	Rate     *Rate `json:"rate" doc:"people who certainly clicked over all who may have opened, up to all who may have clicked over those who certainly opened; null where nobody opened"`
	Interval *Rate `json:"interval" doc:"95 % interval (Wilson) around the range"`
	TooFew   bool  `json:"too_few" doc:"too few people opened to make much of it"`
}

// clickToOpen compares two counts of people. They are two counts and no pair: who clicked without loading images is in one alone,
// so more may have clicked than opened.
func clickToOpen(opens, clicks *Measure) Ratio {
	if opens.Unique == 0 {
		return Ratio{TooFew: true}
	}
	r := Ratio{
		Rate: &Rate{quotient(clicks.Certain, opens.Unique), 1}, TooFew: opens.Unique < Few,
		Interval: &Rate{Wilson(clicks.Certain, opens.Unique).Low, 1},
	}
	if opens.Certain > 0 {
		r.Rate.High, r.Interval.High = quotient(clicks.Unique, opens.Certain), Wilson(clicks.Unique, opens.Certain).High
	}
	return r
}
