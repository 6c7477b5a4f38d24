package control

import "sync"

// Bell wakes everybody who waits for a change of state. The zero value is ready; all methods may
// be called concurrently.
//
// The pattern of use, which can't miss a ring: take C, look at the state, then wait on what was
// taken.
type Bell struct {
	mu sync.Mutex
	c  chan struct{}
}

// C is closed by the next Ring.
func (b *Bell) C() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

// Ring wakes whoever took C before. It costs next to nothing where nobody did.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
