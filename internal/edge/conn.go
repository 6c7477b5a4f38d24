package edge

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// conn is one admitted connection. Reading, writing and deadlines belong to one goroutine, which
// is how fasthttp has it.
type conn struct {
	net.Conn
	guard     *guard
	addr      netip.Addr  // what it is counted by; zero if it is not
	heard     atomic.Bool // the peer sent something
	lingering atomic.Bool // the peer is still sending, and has an answer to read
	closed    atomic.Bool

	reading, writing deadline

	lane lane
}

// deadline is one that is armed late. fasthttp sets three for each request, nearly all of which
// never come to pass, and to arm one costs more than to open a token. An armed one that lies
// before the wanted one does as well: when it fires, the wanted one is armed and the call goes on.
type deadline struct {
	wanted, armed time.Time // zero is none
}

// set notes what is wanted and says whether it must be armed now: nothing that is armed would fire
// in time.
func (d *deadline) set(t time.Time) (arm bool) {
	d.wanted = t
	if t.IsZero() || !d.armed.IsZero() && !d.armed.After(t) {
		return false
	}
	d.armed = t
	return true
}

// fired says whether a call that failed with err goes on, because what fired was not what is
// wanted; the wanted one is armed then.
func (d *deadline) fired(err error, arm func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || d.armed.Equal(d.wanted) {
		return false
	}
	if !d.wanted.IsZero() && !d.wanted.After(time.Now()) {
		return false
	}
	d.armed = d.wanted
	return arm(d.wanted) == nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. Unlike that of other connections it has no effect on a Read
// that has begun.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.reading.set(t) {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn, with the same difference.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if !c.writing.set(t) {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// Read implements net.Conn. In the lane it answers plain requests and returns what is none.
func (c *conn) Read(b []byte) (int, error) {
	if c.lane.state.Load() == laneOut {
		return c.read(b)
	}
	return c.readPlain(b)
}

func (c *conn) read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for err != nil && n == 0 && c.reading.fired(err, c.Conn.SetReadDeadline) {
		n, err = c.Conn.Read(b)
	}
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

// Write drops what is written to a peer that never said a word: fasthttp says 408 to a connection
// that a browser opened in advance, and the browser would show that as the answer to its next click.
func (c *conn) Write(b []byte) (int, error) {
	if !c.heard.Load() {
		return len(b), nil
	}
	n, err := c.Conn.Write(b)
	for err != nil && c.writing.fired(err, c.Conn.SetWriteDeadline) {
		var more int
		more, err = c.Conn.Write(b[n:])
		n += more
	}
	return n, err
}

// resting says whether fasthttp waits for the first byte and nothing is being answered.
func (c *conn) resting() bool { return !c.heard.Load() || c.lane.state.Load() == laneIdle }

// Close implements net.Conn. Where a plain request is being answered the connection is closed after
// its answer.
func (c *conn) Close() error {
	if c.lane.close() {
		return nil
	}
	return c.cut()
}

// cut closes the connection now, whatever is under way.
func (c *conn) cut() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.lingering.Load() {
		linger(c.Conn)
	}
	err := c.Conn.Close()
	c.guard.forget(c)
	return err
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// linger half-closes a connection and takes in what the peer still sends, for a short while.
// Closing with unread input makes the kernel reset the connection, and the peer might lose the
// answer that tells it what was wrong.
func linger(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if tcp.CloseWrite() != nil || tcp.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, tcp, lingerBytes)
}
