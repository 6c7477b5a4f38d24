package proctest

import (
	"bytes"
	bin "encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wire is a TCP connection to an engine on which answers can be lost.
type wire struct {
	ln   net.Listener
	lost atomic.Int64 // answers that did not arrive
	held atomic.Int64 // blocks of an INSERT that wait

	mu    sync.Mutex
	to    string
	fate  func(a answer) fate // of an answer; nil: all of them arrive
	down  bool                // nobody gets through
	mute  bool                // while it is down: connections are taken, and nothing ever answers
	gate  chan struct{}       // nil: open; else blocks wait until it is closed
	links map[*link]struct{}
}

// answer is what comes back on a wire.
type answer struct {
	// outcome: it says what became of an INSERT of ClickHouse's native protocol, which is all it is
	// known for: of other protocols nothing is.
	outcome bool
}

// fate is what becomes of an answer.
type fate int

const (
	arrives fate = iota
	cut          // it is lost, and the connection with it
	hangs        // it is lost, and the connection stays, and says nothing any more
	errs         // ClickHouse's error of a time-out comes in its place
)

func newWire(t *testing.T) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, links: map[*link]struct{}{}}
	t.Cleanup(func() {
		ln.Close()
		w.set(nil)
	})
	go w.serve()
	return w
}

func (w *wire) addr() string { return w.ln.Addr().String() }

// lead says where the wire ends.
func (w *wire) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

// set decides what becomes of answers from now on. Those who wait for one that was lost are cut off.
func (w *wire) set(fate func(answer) fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fate = fate
	for l := range w.links {
		if l.silent.Load() {
			l.close()
		}
	}
}

// block cuts everybody off until unblock. mute: whoever comes is let in, and never answered.
func (w *wire) block(mute bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.mute = true, mute
	for l := range w.links {
		if mute {
			l.silent.Store(true)
		} else {
			l.close()
		}
	}
}

func (w *wire) unblock() {
	w.mu.Lock()
	w.down = false
	w.mu.Unlock()
	w.set(nil)
}

// hold keeps the blocks of INSERTs on the way until release.
func (w *wire) hold() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gate := make(chan struct{})
	w.gate = gate
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.gate = nil
		close(gate)
	}
}

// pass waits while blocks are held.
func (w *wire) pass() {
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	if gate == nil {
		return
	}
	w.held.Add(1)
	<-gate
	w.held.Add(-1)
}

func (w *wire) serve() {
	for {
		c, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		to, down, mute := w.to, w.down, w.mute
		w.mu.Unlock()
		if down && !mute {
			c.Close()
			continue
		}
		l := &link{w: w, client: c}
		if l.server, err = net.Dial("tcp", to); err != nil {
			c.Close()
			continue
		}
		l.silent.Store(down)
		w.mu.Lock()
		w.links[l] = struct{}{}
		w.mu.Unlock()
		go l.requests()
		go l.answers()
	}
}

// link is one connection of a wire.
type link struct {
	w              *wire
	client, server net.Conn
	silent         atomic.Bool // nothing passes any more
	insert         atomic.Int32
}

// The course of an INSERT of the native protocol: the statement, the table's columns, the block.
const (
	noInsert int32 = iota
	asked
	columns
	block
)

func (l *link) close() { l.client.Close(); l.server.Close() }

func (l *link) requests() {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if n > 0 && !l.silent.Load() {
			switch {
			case bytes.Contains(buf[:n], []byte("INSERT INTO")):
				l.insert.Store(asked)
			case l.insert.Load() == columns:
				l.w.pass()
				l.insert.Store(block)
			}
			if _, err := l.server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *link) answers() {
	defer func() {
		l.close()
		l.w.mu.Lock()
		delete(l.w.links, l)
		l.w.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if n > 0 && !l.silent.Load() {
			if !l.answer(buf[:n]) {
				return
			}
		}
		if err != nil {
			if l.silent.Load() { // the client finds out by itself
				_, _ = io.Copy(io.Discard, l.client)
			}
			return
		}
	}
}

// answer brings an answer to the client, or lets it be lost; false ends the connection.
func (l *link) answer(b []byte) bool {
	a := answer{outcome: l.insert.Load() == block && b[len(b)-1] == endOfStream}
	switch {
	case a.outcome:
		l.insert.Store(noInsert)
	case l.insert.Load() == asked:
		l.insert.Store(columns)
	}
	l.w.mu.Lock()
	decide := l.w.fate
	l.w.mu.Unlock()
	becomes := arrives
	if decide != nil {
		becomes = decide(a)
	}
	if becomes != arrives {
		l.w.lost.Add(1)
	}
	switch becomes {
	case cut:
		return false
	case hangs:
		l.silent.Store(true)
		return true
	case errs:
		b = timeoutException
	}
	_, err := l.client.Write(b)
	return err == nil
}

// endOfStream ends the server's answer to a statement that succeeded.
const endOfStream = 5

// timeoutException is what the native protocol says instead.
var timeoutException = func() []byte {
	b := []byte{2}
	b = bin.LittleEndian.AppendUint32(b, 159)
	for _, s := range []string{"DB::Exception", "DB::Exception: Timeout exceeded: elapsed 30 seconds", ""} {
		b = append(bin.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, 0) // none below
}()
