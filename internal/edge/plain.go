package edge

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"mailbeacon/internal/plain"
)

// Plain answers plain requests for the beacon: the same event and the same bytes as Pixel, without
// the work that is for everything else a request may be. It may be called concurrently and keeps
// nothing of r or name; the bytes that it returns are its own and never change. last says that the
// connection ends with this answer.
type Plain interface {
	ServePlain(r *plain.Request, name []byte, last bool) (answer []byte)
}

// lane is the fast path of one connection. As long as each read brings one whole plain request for
// the beacon, it is answered within Read, and fasthttp goes on waiting for the connection's first
// byte. The first time that something else comes, fasthttp gets it, and has the connection from
// then on: no request is ever read by both.
type lane struct {
	state    atomic.Int32
	handler  Plain
	peer     netip.Addr
	request  plain.Request
	answered int
}

// States of a lane. It begins idle; a connection that has none is out of it. Only Close is called
// by other goroutines than the one that reads.
const (
	laneOut     int32 = iota // fasthttp has the connection, or it is closed
	laneIdle                 // nothing was read since the last answer
	laneBusy                 // a request was read and has no answer yet
	laneClosing              // busy, and closed after the answer
)

// close says whether a request is being answered, after which the connection will be closed.
func (l *lane) close() bool {
	for {
		switch l.state.Load() {
		case laneBusy:
			if l.state.CompareAndSwap(laneBusy, laneClosing) {
				return true
			}
		case laneClosing:
			return true
		case laneIdle:
			if l.state.CompareAndSwap(laneIdle, laneOut) {
				return false
			}
		default:
			return false
		}
	}
}

// readPlain answers plain requests until something else comes, which it returns.
func (c *conn) readPlain(b []byte) (int, error) {
	l, limits := &c.lane, &c.guard.limits
	for {
		n, err := c.read(b)
		if err != nil {
			if l.answered > 0 && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				err = io.EOF // it rested long enough; fasthttp would call the first silence a time-out
			}
			return n, err
		}
		if !l.state.CompareAndSwap(laneIdle, laneBusy) {
			return 0, net.ErrClosed
		}
		l.request.Peer, l.request.Time = l.peer, time.Now()
		last := l.answered+1 >= limits.RequestsPerConn
		answer := c.servePlain(b[:n], &last)
		if answer == nil {
			if !l.state.CompareAndSwap(laneBusy, laneOut) {
				return 0, errors.Join(net.ErrClosed, c.cut())
			}
			if l.answered > 0 {
				err = c.SetReadDeadline(l.request.Time.Add(limits.ReadTimeout))
			}
			return n, err
		}
		l.answered++
		_ = c.SetWriteDeadline(time.Now().Add(limits.WriteTimeout)) // what is wrong with c shows in Write
		_, err = c.Write(answer)
		if err != nil || last || !l.state.CompareAndSwap(laneBusy, laneIdle) || c.guard.stopping.Load() {
			l.state.Store(laneOut)
			return 0, errors.Join(net.ErrClosed, c.cut())
		}
		_ = c.SetReadDeadline(l.request.Time.Add(limits.IdleTimeout))
	}
}

// servePlain is the answer to a plain request for the beacon, nil where b is something else. A
// panic ends the connection with an answer.
func (c *conn) servePlain(b []byte, last *bool) (answer []byte) {
	if c.guard.stopping.Load() || !under(b, "GET /o/") || !plain.Parse(b, &c.lane.request) {
		return nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			c.guard.panicked(cause)
			answer, *last = crashed, true
		}
	}()
	return c.lane.handler.ServePlain(&c.lane.request, rest(c.lane.request.Target), *last)
}
