package classify

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Ranges is a set of addresses. It never changes and may be used concurrently. A nil Ranges is
// empty.
type Ranges struct {
	// Sorted and apart from each other: range number i goes from low[i] to high[i], both included.
	low4, high4 []uint32
	low6, high6 []address
}

// address is an IPv6 address as a number.
type address struct{ hi, lo uint64 }

func (a address) compare(b address) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// next is the address behind a; the one behind the last is the first.
func (a address) next() address {
	a.lo++
	if a.lo == 0 {
		a.hi++
	}
	return a
}

func number4(a netip.Addr) uint32 {
	raw := a.As4()
	return binary.BigEndian.Uint32(raw[:])
}

func number6(a netip.Addr) address {
	raw := a.As16()
	return address{binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])}
}

// NewRanges is the set of all addresses in the networks. IPv4 networks written as IPv6 ones
// (::ffff:0:0/96) are IPv4 networks. Invalid prefixes are left out.
func NewRanges(networks []netip.Prefix) *Ranges {
	fours := 0
	for _, n := range networks {
		if n.Addr().Unmap().Is4() {
			fours++
		}
	}
	four := make([]span[uint32], 0, fours)
	six := make([]span[address], 0, len(networks)-fours)
	for _, n := range networks {
		if n.Addr().Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		switch {
		case !n.IsValid():
		case n.Addr().Is4():
			low := number4(n.Masked().Addr())
			four = append(four, span[uint32]{low, low | uint32(1<<(32-n.Bits())-1)})
		default:
			low := number6(n.Masked().Addr())
			six = append(six, span[address]{low, upTo(low, n.Bits())})
		}
	}
	r := &Ranges{}
	r.low4, r.high4 = merge(four, cmp.Compare[uint32], func(a uint32) uint32 { return a + 1 })
	r.low6, r.high6 = merge(six, address.compare, address.next)
	return r
}

// upTo is the last address of a network.
func upTo(low address, bits int) address {
	if bits >= 64 {
		return address{low.hi, low.lo | (1<<(128-bits) - 1)}
	}
	return address{low.hi | (1<<(64-bits) - 1), ^uint64(0)}
}

type span[T any] struct{ low, high T }

// merge sorts spans and joins those that overlap or touch.
func merge[T any](spans []span[T], compare func(a, b T) int, next func(T) T) (low, high []T) {
	slices.SortFunc(spans, func(a, b span[T]) int { return compare(a.low, b.low) })
	low, high = make([]T, 0, len(spans)), make([]T, 0, len(spans))
	for _, s := range spans {
		last := len(high) - 1
		if last >= 0 && (compare(s.low, high[last]) <= 0 || compare(s.low, next(high[last])) == 0) {
			if compare(s.high, high[last]) > 0 {
				high[last] = s.high
			}
			continue
		}
		low, high = append(low, s.low), append(high, s.high)
	}
	return slices.Clip(low), slices.Clip(high)
}

// Contains tells whether an address is in the set. The zero Addr is in none; a zone is passed over.
// It does not allocate.
func (r *Ranges) Contains(a netip.Addr) bool {
	switch {
	case r == nil || !a.IsValid():
		return false
	case a.Is4() || a.Is4In6():
		n := number4(a.Unmap())
		i, exact := slices.BinarySearch(r.low4, n)
		return exact || i > 0 && n <= r.high4[i-1]
	default:
		n := number6(a)
		i, exact := slices.BinarySearchFunc(r.low6, n, address.compare)
		return exact || i > 0 && n.compare(r.high6[i-1]) <= 0
	}
}

// Len is how many ranges the set consists of.
func (r *Ranges) Len() int {
	if r == nil {
		return 0
	}
	return len(r.low4) + len(r.low6)
}
