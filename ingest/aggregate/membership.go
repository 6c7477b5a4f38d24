package aggregate

import (
	"cmp"
	"slices"

	"mailbeacon/ingest/event"
)

// Strictness is how strict a person's mail is in what it measures of one kind, from 0 to 12: see Stricter.
func Strictness(r event.Reason) int {
	switch r {
	case event.Counted:
		return 0
	case event.AggregateOnly: // counted, without the person
		return 1
	case event.DateOnly: // as good as not measured
		return 9
	case event.OptedOut: // the person's own word, before that of the operator
		return 11
	case event.PlainText:
		return 12
	default:
		return 10
	}
}

// Stricter compares memberships, negative where a is stricter than b. Before all others come those that
// measure nothing, and the person's own word comes before the operator's.
func Stricter(a, b Member) int {
	return cmp.Or(
		cmp.Compare(Strictness(b.Opens)+Strictness(b.Clicks), Strictness(a.Opens)+Strictness(a.Clicks)),
		cmp.Compare(b.Opens, a.Opens),
		cmp.Compare(b.Clicks, a.Clicks),
	)
}

// Overlaps that are told from the error of sketches: all of them among a few people, those of more
// than one in fifty among many.
const (
	fewPeople  = 1000
	tellsApart = 50
)

// CountOnce turns the people of each membership into people who each count once. Who was minted
// for twice, with a choice in between, stands in the sets of two memberships; the stricter one of them
// counts. join adds the set of a membership to the union of those that it was called for before,
// which are the stricter ones, and returns the people in the union. Its error is returned as it is.
// Memberships under which nobody is left are left out; the result shares all's array.
//
// The size of an overlap is a difference of estimates. One that is smaller than their error is taken for
// none: the membership then keeps all of its people.
func CountOnce(all []PopulationCount, join func(Member) (people uint64, err error)) ([]PopulationCount, error) {
	slices.SortFunc(all, func(a, b PopulationCount) int { return Stricter(a.Member, b.Member) })
	var before uint64
	for i := range all {
		union, err := join(all[i].Member)
		if err != nil {
			return nil, err
		}
		union = max(union, before) // estimates of nested sets may cross
		apart := before + all[i].People
		if apart > union && (union <= fewPeople || apart-union > union/tellsApart) {
			all[i].People = union - before
		}
		before = union
	}
	return slices.DeleteFunc(all, func(p PopulationCount) bool { return p.People == 0 }), nil
}
