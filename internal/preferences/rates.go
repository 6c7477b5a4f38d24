package preferences

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	burst  = 10              // changes of one person at once
	refill = 6 * time.Second // until one more is allowed
)

// rates bounds how often one person's choices change, so that the ledger, which only grows, can't
// be filled through one link. The table is of fixed size, a quarter of a megabyte, whoever comes: two
// people who fall on the same place take it from each other, which errs on the side of letting
// them. A person is known by the subject number, so all of a person's mail counts together.
type rates struct {
	seed  maphash.Seed
	began time.Time

	mu     sync.Mutex
	places [1 << 14]bucket
}

// bucket is how much one person may still do.
type bucket struct {
	subject uint64
	full    time.Duration // when the bucket is full again, since rates began
}

func newRates() *rates { return &rates{seed: maphash.MakeSeed(), began: time.Now()} }

// allow takes one change out of a person's bucket, or returns false where it is empty.
func (r *rates) allow(subject uint64, now time.Time) bool {
	i := maphash.Comparable(r.seed, subject) % uint64(len(r.places))
	at := now.Sub(r.began)

	r.mu.Lock()
	defer r.mu.Unlock()
	b := &r.places[i]
	if b.subject != subject || b.full < at {
		*b = bucket{subject: subject, full: at}
	}
	if b.full-at > (burst-1)*refill {
		return false
	}
	b.full += refill
	return true
}
