package privacy

import (
	"fmt"
	"math/big"
	"strings"
)

// MaxTerm bounds both terms of an Epsilon, so that no product of the sampler overflows.
const MaxTerm = 1 << 20

// Epsilon is how much a release may tell of one person, as a fraction: nothing is ever rounded. The odds of any
// answer change by the factor e^(Num/Den) at most, whether a person is counted or not.
type Epsilon struct{ Num, Den uint32 }

// ParseEpsilon reads "1", "1/2" or "0.5": above 0, at most 10, in lowest terms not above MaxTerm.
func ParseEpsilon(s string) (Epsilon, error) {
	r, ok := new(big.Rat), len(s) <= 24 && !strings.ContainsAny(s, "eEpPxXbBoO_+")
	if ok {
		_, ok = r.SetString(s)
	}
	if !ok || r.Sign() <= 0 || r.Cmp(big.NewRat(10, 1)) > 0 || r.Num().Cmp(big.NewInt(MaxTerm)) > 0 || r.Denom().Cmp(big.NewInt(MaxTerm)) > 0 {
		return Epsilon{}, fmt.Errorf("%q is no epsilon; right would be a number above 0, at most 10, as 1, 1/2 or 0.25", s)
	}
	return Epsilon{uint32(r.Num().Int64()), uint32(r.Denom().Int64())}, nil
}

// Valid says whether noise can be drawn for it.
func (e Epsilon) Valid() bool { return e.Num > 0 && e.Den > 0 && e.Num <= MaxTerm && e.Den <= MaxTerm }

// Rat is the fraction as one that can be added up; it must be Valid.
func (e Epsilon) Rat() *big.Rat { return big.NewRat(int64(e.Num), int64(e.Den)) }

// String is the form that ParseEpsilon reads: "1", "1/2".
func (e Epsilon) String() string {
	if e.Den == 1 {
		return fmt.Sprint(e.Num)
	}
	return fmt.Sprintf("%d/%d", e.Num, e.Den)
}
