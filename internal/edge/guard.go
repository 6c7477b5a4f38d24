package edge

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// guard is the listener that fasthttp accepts from. It bounds connections, in all and per address,
// lives through a lack of file descriptors, and knows every open connection, so that a stop can
// end in bounded time.
type guard struct {
	net.Listener
	limits   Limits
	trusted  func(netip.Addr) bool
	plain    Plain // nil: fasthttp reads every request
	panicked func(cause any)
	stats    *stats
	logger   *slog.Logger

	done     chan struct{} // closed by Close
	stopping atomic.Bool   // the same

	mu      sync.Mutex
	closed  bool
	open    map[*conn]struct{}
	perAddr map[netip.Addr]int

	refusing atomic.Int32 // connections that are being refused and not closed yet
}

func newGuard(ln net.Listener, o *Options, panicked func(cause any), stats *stats) *guard {
	return &guard{
		Listener: ln, limits: o.Limits, trusted: o.Trusted, plain: o.Plain, panicked: panicked, stats: stats, logger: o.Logger,
		done: make(chan struct{}), open: map[*conn]struct{}{}, perAddr: map[netip.Addr]int{},
	}
}

// Accept returns the next connection that may be served. The refused ones get their answer here.
func (g *guard) Accept() (net.Conn, error) {
	for pause := time.Duration(0); ; {
		c, err := g.Listener.Accept()
		if err == nil {
			pause = 0
			if admitted := g.admit(c); admitted != nil {
				return admitted, nil
			}
			continue
		}
		if !passing(err) {
			return nil, err
		}
		// fasthttp would take this for the end of the listener.
		g.stats.acceptErrors.Add(1)
		if pause == 0 {
			g.logger.Warn("connections can't be accepted for now", "error", err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-g.done:
			return nil, net.ErrClosed
		}
	}
}

// passing tells whether accepting may work again later.
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPERM, syscall.EPROTO,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit counts a connection in, or refuses it and returns nil.
func (g *guard) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, guard: g}
	c.lane.peer = peerAddr(raw)
	if peer := c.lane.peer; peer.IsValid() && !g.trusted(peer) {
		c.addr = limitKey(peer)
	}
	if g.plain != nil {
		c.lane.handler = g.plain
		c.lane.state.Store(laneIdle)
	}

	g.mu.Lock()
	var refusal []byte
	switch {
	case g.closed:
		g.mu.Unlock()
		_ = raw.Close()
		return nil
	case len(g.open) >= g.limits.Conns:
		refusal = overloaded
		g.stats.refusedOverload.Add(1)
	case c.addr.IsValid() && g.perAddr[c.addr] >= g.limits.ConnsPerAddress:
		refusal = tooManyConns
		g.stats.refusedAddress.Add(1)
	default:
		g.open[c] = struct{}{}
		if c.addr.IsValid() {
			g.perAddr[c.addr]++
		}
		g.stats.accepted.Add(1)
		g.mu.Unlock()
		return c
	}
	g.mu.Unlock()
	g.refuse(raw, refusal)
	return nil
}

// refuse answers a connection that can't be served and closes it. The accept loop never waits for
// the peer: the send buffer of a new connection has room for the answer, and what must be waited
// for is done aside, for so many at a time, or not at all.
func (g *guard) refuse(raw net.Conn, answer []byte) {
	const atATime = 256
	_ = raw.SetDeadline(time.Now().Add(lingerTime))
	_, err := raw.Write(answer)
	if err != nil || g.refusing.Add(1) > atATime {
		if err == nil {
			g.refusing.Add(-1)
		}
		_ = raw.Close()
		return
	}
	go func() {
		defer g.refusing.Add(-1)
		linger(raw)
		_ = raw.Close()
	}()
}

// Close stops accepting. It may be called more than once.
func (g *guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.stopping.Store(true)
	close(g.done)
	return g.Listener.Close()
}

// closeConns closes the open connections, or of them only those that rest while fasthttp waits for
// their first byte, and would wait on.
func (g *guard) closeConns(onlyResting bool) {
	g.mu.Lock()
	var conns []*conn
	for c := range g.open {
		if !onlyResting || c.resting() {
			conns = append(conns, c)
		}
	}
	g.mu.Unlock()
	for _, c := range conns {
		c.lingering.Store(false)
		if onlyResting {
			_ = c.Close()
		} else {
			_ = c.cut()
		}
	}
}

// conns is the number of open connections.
func (g *guard) conns() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

func (g *guard) forget(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
	if !c.addr.IsValid() {
		return
	}
	if n := g.perAddr[c.addr] - 1; n > 0 {
		g.perAddr[c.addr] = n
	} else {
		delete(g.perAddr, c.addr)
	}
}

// peerAddr is the address at the other end, the zero Addr where it has none.
func peerAddr(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(tcp.IP)
	return ip.Unmap()
}

// limitKey is what connections are counted by: an IPv4 address, or an IPv6 /64.
func limitKey(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}
