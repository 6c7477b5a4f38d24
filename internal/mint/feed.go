package mint

import (
	"io"
	"sync"
)

const (
	readSize    = 32 << 10
	pendingSize = 256 << 10
)

// feed reads ahead of whoever works on what was read. What gathers while one piece is worked on is
// the next piece: large when the sender is fast, and without delay when it is slow.
type feed struct {
	mu      sync.Mutex
	changed sync.Cond
	pending []byte // at most pendingSize
	err     error  // what ended the reading; follows pending
	stopped bool
	done    chan struct{} // closed when the reading goroutine has ended
}

func newFeed(r io.Reader) *feed {
	f := &feed{done: make(chan struct{})}
	f.changed.L = &f.mu
	go f.run(r)
	return f
}

func (f *feed) run(r io.Reader) {
	defer close(f.done)
	buf := make([]byte, readSize)
	for {
		n, err := r.Read(buf)
		if !f.put(buf[:n], err) || err != nil {
			return
		}
	}
}

// put hands over what was read, waiting for room; false when nobody wants it any more.
func (f *feed) put(b []byte, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending)+len(b) > pendingSize && !f.stopped {
		f.changed.Wait()
	}
	f.pending = append(f.pending, b...)
	f.err = err
	f.changed.Broadcast()
	return !f.stopped
}

// take appends what has gathered to dst, waiting for something. An error (io.EOF at the end) says
// what comes after the returned bytes: nothing.
func (f *feed) take(dst []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) == 0 && f.err == nil {
		f.changed.Wait()
	}
	dst = append(dst, f.pending...)
	f.pending = f.pending[:0]
	f.changed.Broadcast()
	return dst, f.err
}

// stop ends the reading and waits for it. interrupt makes a Read under way return.
func (f *feed) stop(interrupt func()) {
	f.mu.Lock()
	f.stopped = true
	f.changed.Broadcast()
	ended := f.err != nil
	f.mu.Unlock()
	if !ended && interrupt != nil {
		interrupt()
	}
	<-f.done
}
