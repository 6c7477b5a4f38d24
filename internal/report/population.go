package report

import (
	"math/bits"
	"sort"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// populate works out of whom the rates are. Minting knows how mail to each person measures, the
// mailer how many mails arrived, and neither knows the other's: so what was delivered is shared out
// in the proportions of the people that were minted for. Where each got one mail and all arrived, that is
// exact, as far as the store counts people exactly: beyond some thousand it estimates. Who was
// minted for twice, with a choice in between, counts once, under the stricter of both (see
// aggregate.CountOnce); the mail that measured more is then in no rate's denominator, so that a rate is
// rather too high than too low.
func (r *Report) populate(people []aggregate.PopulationCount) {
	groups := map[string]uint64{}
	var opens, clicks, all uint64
	for _, p := range people {
		all += p.People
		groups[group(p.Member)] += p.People
		if p.Member.Opens == event.Counted {
			opens += p.People
		}
		if p.Member.Clicks == event.Counted {
			clicks += p.People
		}
	}
	shares := apportion(r.Delivered, groups)
	for name, n := range shares {
		if name == trackable {
			r.Trackable = n
		} else if n > 0 {
			r.Untracked[name] = n
		}
	}
	if all == 0 && r.Delivered > 0 {
		r.Untracked[notMinted] = r.Delivered
	}
	r.Opens.rate(min(scale(r.Delivered, opens, all), r.Trackable))
	r.Clicks.rate(min(scale(r.Delivered, clicks, all), r.Trackable))
}

const (
	trackable = "trackable"
	// notMinted is the reason of mails that were delivered though nobody was ever minted for.
	notMinted = "not_minted"
)

// group is what a person counts under among the delivered: trackable if any kind is measured,
// otherwise the reason. Where the two kinds have different reasons, a person's own word comes
// before the operator's setting; a date that is kept is no measure.
func group(m aggregate.Member) string {
	if m.Opens == event.Counted || m.Clicks == event.Counted {
		return trackable
	}
	for _, first := range []event.Reason{event.PlainText, event.OptedOut, event.DateOnly} {
		if m.Opens == first || m.Clicks == first {
			return first.String()
		}
	}
	return m.Opens.String()
}

// rate sets what the rates are of, and the rates. A rate of nothing is none.
func (m *Measure) rate(of uint64) {
	m.Trackable = of
	m.TooFew = of < Few
	if of == 0 {
		return
	}
	m.Rate = &Rate{quotient(m.Certain, of), quotient(m.Unique, of)}
	m.Interval = span(m.Certain, m.Unique, of)
}

// scale is total × part ÷ whole, rounded to the nearest; 0 where whole is 0.
func scale(total, part, whole uint64) uint64 {
	if whole == 0 {
		return 0
	}
	hi, lo := bits.Mul64(total, min(part, whole))
	lo, carry := bits.Add64(lo, whole/2, 0)
	q, _ := bits.Div64(hi+carry, lo, whole)
	return q
}

// apportion shares total out in the proportions of the weights, by largest remainders, so that the
// shares add up to it. Without weight there are no shares.
func apportion(total uint64, weights map[string]uint64) map[string]uint64 {
	var sum uint64
	names := make([]string, 0, len(weights))
	for name, w := range weights {
		sum += w
		names = append(names, name)
	}
	shares := make(map[string]uint64, len(weights))
	if sum == 0 {
		return shares
	}
	sort.Strings(names) // ties go by name, so that the same question has the same answer
	rest := total
	remainder := make(map[string]uint64, len(weights))
	for _, name := range names {
		hi, lo := bits.Mul64(total, weights[name])
		shares[name], remainder[name] = bits.Div64(hi, lo, sum)
		rest -= shares[name]
	}
	sort.SliceStable(names, func(i, j int) bool { return remainder[names[i]] > remainder[names[j]] })
	for i := uint64(0); i < rest; i++ {
		shares[names[i]]++
	}
	return shares
}
