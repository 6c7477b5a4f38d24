package kafka

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

// rounds is how often a fault is repeated: MAILBEACON_FAULTS, or few enough for every day.
func rounds(t *testing.T, few int) int {
	t.Helper()
	v := os.Getenv("MAILBEACON_FAULTS")
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("MAILBEACON_FAULTS is %q, no number", v)
	}
	return n
}

// TestBrokerIsKilled kills the broker at random moments under shipping and counting.
func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	b := kafkatest.Own(t, kafka.Options{})
	r := newRig(t, Config{Brokers: []string{b.Addr()}, Timeout: 3 * time.Second}, 3)
	r.fold()
	s, stop := r.ship()
	halt := r.load()
	n := rounds(t, 3)
	for range n {
		before := s.Stats().Shipped
		eventually(t, "shipping goes on", func() bool { return s.Stats().Shipped > before })
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		b.Kill()
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		must(t, b.Restart(t.Context()))
	}
	halt()
	r.awaitShipped(s)
	must(t, stop())
	r.awaitFolded()
	r.check()
	records, again := r.repeated()
	t.Logf("%d kills, %d records, %d events shipped again, %d tries failed", n, records, again, s.Stats().Retries)
}

// TestBrokerSleeps stops the broker in its tracks for longer than a call may take, and lets it go on: then it
// takes what was given up and sent again.
func TestBrokerSleeps(t *testing.T) {
	t.Parallel()
	b := kafkatest.Own(t, kafka.Options{})
	r := newRig(t, Config{Brokers: []string{b.Addr()}, Timeout: 2 * time.Second}, 2)
	r.fold()
	s, stop := r.ship()
	halt := r.load()
	n := rounds(t, 3)
	for range n {
		before, retries := s.Stats().Shipped, s.Stats().Retries
		eventually(t, "shipping goes on", func() bool { return s.Stats().Shipped > before })
		b.Pause()
		eventually(t, "a call is given up", func() bool { return s.Stats().Retries > retries })
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		b.Resume()
	}
	halt()
	r.awaitShipped(s)
	must(t, stop())
	r.awaitFolded()
	r.check()
	_, again := r.repeated()
	t.Logf("%d stops, %d events shipped again, %d tries failed", n, again, s.Stats().Retries)
}

// proxy passes connections on to a broker. While deaf, it passes requests and drops the answers, and
// hangs up after a while.
type proxy struct {
	t    *testing.T
	l    net.Listener
	to   string
	deaf atomic.Bool
	// armed: deaf from the next request to append on.
	armed atomic.Bool
	// frozen: nothing passes in either direction, and nobody hangs up.
	frozen atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	all   sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{t: t, l: l, to: to, conns: map[net.Conn]struct{}{}}
	p.all.Go(p.serve)
	t.Cleanup(func() { l.Close(); p.cut(); p.all.Wait() })
	return p
}

func (p *proxy) serve() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[up] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.all.Go(func() { p.pass(up, c, p.hear) })
		p.all.Go(func() { p.pass(c, up, func([]byte) bool { return p.deaf.Load() }) })
	}
}

// hear drops no request. Those to append have the key 0.
func (p *proxy) hear(b []byte) (drop bool) {
	if len(b) >= 6 && b[4] == 0 && b[5] == 0 && p.armed.CompareAndSwap(true, false) {
		p.deaf.Store(true)
	}
	return false
}

// pass passes on what one side says, but for what is dropped.
func (p *proxy) pass(to, from net.Conn, drop func([]byte) bool) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		for p.frozen.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if drop(b[:n]) {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// dial connects to the proxy, whatever the address.
func (p *proxy) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, p.l.Addr().String())
}

// TestAcknowledgementsAreLost drops the broker's answers: what is shipped again stands in the topic twice, and counts
// once.
func TestAcknowledgementsAreLost(t *testing.T) {
	t.Parallel()
	c := shared(t)
	r := newRig(t, c, 3)
	r.fold()
	p := newProxy(t, c.Brokers[0])
	r.config = Config{Brokers: c.Brokers, Timeout: 2 * time.Second, dial: p.dial}
	s, stop := r.ship()
	r.config = c
	halt := r.load()
	n := rounds(t, 5)
	for range n {
		before := s.Stats().Shipped
		eventually(t, "shipping goes on", func() bool { return s.Stats().Shipped > before })
		p.armed.Store(true)
		eventually(t, "events are sent", p.deaf.Load)
		time.Sleep(time.Duration(50+rand.IntN(200)) * time.Millisecond)
		p.cut()
		p.deaf.Store(false)
	}
	halt()
	r.awaitShipped(s)
	must(t, stop())
	r.awaitFolded()
	r.check()
	_, again := r.repeated()
	t.Logf("%d times deaf, %d events shipped again, %d tries failed", n, again, s.Stats().Retries)
	if again == 0 {
		t.Error("nothing was shipped again: this test tests nothing")
	}
}

// TestKafkaIsAway: the spool takes events all along, and shipping goes on when Kafka is back.
func TestKafkaIsAway(t *testing.T) {
	t.Parallel()
	b := kafkatest.Own(t, kafka.Options{})
	r := newRig(t, Config{Brokers: []string{b.Addr()}, Timeout: 5 * time.Second}, 2)
	r.append(1000)
	b.Kill()
	var refused atomic.Bool
	r.consent = refusing{&refused}
	s, stop := r.ship() // an edge that starts without Kafka
	r.append(1000)
	eventually(t, "the stats say that Kafka is away", func() bool { return s.Stats().Err != nil })
	if n := s.Stats().Shipped; n != 0 {
		t.Errorf("%d events shipped to nobody", n)
	}
	refused.Store(true) // after the first try, before the one that works
	must(t, b.Restart(t.Context()))
	r.append(1000)
	r.awaitShipped(s)
	if err := s.Stats().Err; err != nil {
		t.Errorf("still %v", err)
	}
	must(t, stop())
	r.fold()
	r.awaitFolded()
	r.check()
	r.expectReason(event.OptedOut)
}
