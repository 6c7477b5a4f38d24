package consent

import "sync/atomic"

// Census is how many people chose what. Who is in none of the numbers of a kind said nothing of it.
type Census struct {
	People        uint64 // who ever chose anything
	OpensGranted  uint64
	OpensRefused  uint64
	ClicksGranted uint64
	ClicksRefused uint64
	HTML          uint64
	PlainText     uint64
	Unsubscribed  uint64
	DateOnly      uint64
}

// Census counts them all: it reads the whole table, 10 million people in some 20 ms, and nobody waits for it meanwhile. It may
// be called concurrently with everything; changes that come while it counts may be in it or not.
func (t *Table) Census() Census {
	var by [256]uint64 // of each byte of a slot; 0 is a free one
	slots := t.slots.Load()
	for i := range slots.shards {
		words := slots.shards[i].Load().words
		for at := range words {
			by[byte(atomic.LoadUint64(&words[at]))]++
		}
	}
	var s Census
	for b, n := range by {
		if b == 0 || n == 0 {
			continue
		}
		s.People += n
		c := unpack(byte(b))
		for _, of := range []struct {
			is  bool
			sum *uint64
		}{
			{c.Opens == Granted, &s.OpensGranted}, {c.Opens == Refused, &s.OpensRefused},
			{c.Clicks == Granted, &s.ClicksGranted}, {c.Clicks == Refused, &s.ClicksRefused},
			{c.Format == HTML, &s.HTML}, {c.Format == Plain, &s.PlainText},
			{c.Unsubscribed, &s.Unsubscribed}, {c.DateOnly, &s.DateOnly},
		} {
			if of.is {
				*of.sum += n
			}
		}
	}
	return s
}
