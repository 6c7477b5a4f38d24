package web

import (
	"sync"
	"time"
)

// A guard slows down whoever tries keys out. Nothing may be known by its address here: no IP is kept, not even in memory. So it
// goes by two things that need none:
//
//   - a client, which is the random number in the short-lived signed cookie that comes with the form: after a few wrong keys it
//     waits, twice as long each time. What it did is kept here and not in the cookie, which could be sent again as it was before.
//   - everybody together: a client that drops its cookie is a new one, so wrong keys of all of them draw from one bucket, which
//     fills slowly. While it is empty no key is looked at, not even a right one, or it could still be found out.
//
// So whoever can reach the private side can keep it empty. A session goes on, the provider's sign-in goes on, and the one-time
// link works, which only who has the key or the machine can get: nobody is locked out for ever.
type guard struct {
	now func() time.Time

	mu      sync.Mutex
	left    float64 // in the bucket
	filled  time.Time
	clients map[string]*tries
}

type tries struct {
	wrong int
	next  time.Time // no sooner
	last  time.Time
}

const (
	bucketSize  = 20.0
	bucketEvery = 3 * time.Second // one more
	freeTries   = 3
	longestWait = time.Minute
	mostClients = 4096 // that are kept in mind; the bucket bounds how fast they come
)

func newGuard(now func() time.Time) *guard {
	return &guard{now: now, left: bucketSize, filled: now(), clients: map[string]*tries{}}
}

// admit says how long a client has to wait; 0 lets one try through, which counts as wrong until passed says otherwise.
func (g *guard) admit(client string) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.left = min(bucketSize, g.left+float64(max(0, now.Sub(g.filled)))/float64(bucketEvery))
	g.filled = now
	t := g.clients[client]
	if t != nil && now.Before(t.next) {
		return t.next.Sub(now)
	}
	if g.left < 1 {
		return max(time.Second, time.Duration((1-g.left)*float64(bucketEvery)))
	}
	g.left--
	if t == nil {
		g.forget(now)
		t = &tries{}
		g.clients[client] = t
	}
	t.wrong++
	t.last = now
	if t.wrong >= freeTries {
		t.next = now.Add(min(longestWait, time.Second<<min(t.wrong-freeTries, 10)))
	}
	return 0
}

// passed takes the last try back.
func (g *guard) passed(client string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = min(bucketSize, g.left+1)
	delete(g.clients, client)
}

// forget makes room: of those whose form is too old to be sent, and, where that is not enough, of all.
func (g *guard) forget(now time.Time) {
	if len(g.clients) < mostClients {
		return
	}
	for id, t := range g.clients {
		if now.Sub(t.last) > formLife {
			delete(g.clients, id)
		}
	}
	if len(g.clients) >= mostClients {
		clear(g.clients)
	}
}
