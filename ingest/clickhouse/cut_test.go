package clickhouse

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// wire is a TCP connection to the server in which answers can be lost.
type wire struct {
	ln     net.Listener
	mu     sync.Mutex
	lose   bool // answers go nowhere
	hang   bool // and the connection stays; otherwise it breaks once an answer was lost
	losing chan struct{}
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{ln: ln, losing: make(chan struct{}, 64)}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); server.Close() }()
			go w.answers(client, server)
		}
	}()
	return w
}

func (w *wire) answers(client, server net.Conn) {
	defer client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		w.mu.Lock()
		lose, hang := w.lose, w.hang
		w.mu.Unlock()
		if n > 0 && lose {
			w.losing <- struct{}{}
			if !hang {
				return
			}
		} else if n > 0 {
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) set(lose, hang bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose, w.hang = lose, hang
}

// The server inserts, and its answer is lost: the error says nothing of the outcome, the progress
// does, and the same commit again is a conflict.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	for name, c := range map[string]struct{ http, hang bool }{
		"native, cut": {}, "native, time-out": {hang: true}, "http, cut": {http: true}, "http, time-out": {http: true, hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := database(t, server)
			through := direct
			if c.http {
				through = overHTTP(server, direct)
			}
			w := newWire(t, through.Addr[0])
			through.Addr = []string{w.ln.Addr().String()}
			s := open(t, through)
			must(t, s.Commit(t.Context(), step(0, 2, 1)))

			first := &lossyAtSend{wire: w, hang: c.hang}
			begin, err := s.look(t.Context(), 0, 2)
			must(t, err)
			ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
			defer stop()
			lost := step(2, 3, 2)
			err = first.send(ctx, s, lost, begin.clock+60_000)
			if err == nil || errors.Is(err, aggregate.ErrConflict) {
				t.Fatalf("the answer was lost, and Commit returned %v", err)
			}
			if c.hang && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not say that it took too long", err)
			}
			w.set(false, false)
			waitFor(t, s, 5)
			if err := s.Commit(t.Context(), lost); !errors.Is(err, aggregate.ErrConflict) {
				t.Errorf("the same again: %v, want a conflict", err)
			}
			// A rival that does not know of it yet.
			rival := open(t, direct)
			rival.remember(0, standing{offset: 2, clock: begin.clock, seen: time.Now(), known: time.Now()})
			if err := rival.Commit(t.Context(), step(2, 3, 3)); !errors.Is(err, aggregate.ErrConflict) {
				t.Errorf("a rival: %v, want a conflict", err)
			}
			must(t, s.Commit(t.Context(), step(5, 1, 4)))
			var counted, offset uint64
			if ask(t, direct, countedAndOffset, &counted, &offset); counted != 6 || offset != 6 {
				t.Errorf("%d counted at offset %d", counted, offset)
			}
		})
	}
}

// lossyAtSend sends a commit and loses answers from the moment that the block is on its way: the
// native protocol has an answer before, the columns.
type lossyAtSend struct {
	*wire
	hang bool
}

func (l *lossyAtSend) send(ctx context.Context, s *Store, c *aggregate.Commit, until uint64) error {
	return s.insert(ctx, "aggregates_add", losingRows{commitRows(c, 9, until), l}, token(c, 0))
}

// losingRows are rows that turn the losses on when they are asked for.
type losingRows struct {
	*aggregateRows
	l *lossyAtSend
}

func (r losingRows) columns() []any {
	r.l.set(true, r.l.hang)
	return r.aggregateRows.columns()
}

// waitFor waits until partition 0 stands somewhere: a server may still be at it.
func waitFor(t *testing.T, s *Store, offset uint64) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		p, err := s.Progress(t.Context(), 0)
		must(t, err)
		if p.Offset == offset {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("offset %d, want %d: the server did not insert", p.Offset, offset)
		}
	}
}

// A server that stands still for longer than anybody waits, and then goes on with what it had begun.
func TestServerThatStandsStill(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "still")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	for i, o := range []Options{o, overHTTP(server, o)} {
		before := uint64(4 * i)
		o.DialTimeout, o.ReadTimeout = 2*time.Second, time.Second
		s := open(t, o)
		p, err := s.Progress(t.Context(), 0)
		must(t, err)
		if p.Offset != before {
			t.Fatalf("offset %d, want %d", p.Offset, before)
		}
		server.Pause()
		c := step(before, 3, before+1)
		for range 2 { // and its impatient owner tries again
			if err := s.Commit(t.Context(), c); err == nil || errors.Is(err, aggregate.ErrConflict) {
				t.Errorf("a server that stands still committed: %v", err)
			}
		}
		server.Resume()
		patient := open(t, at(server, "still"))
		if err := patient.Commit(t.Context(), c); err != nil && !errors.Is(err, aggregate.ErrConflict) {
			t.Fatal(err)
		}
		waitFor(t, patient, before+3)
		must(t, patient.Commit(t.Context(), step(before+3, 1, before+4)))
		var counted, offset uint64
		if ask(t, at(server, "still"), countedAndOffset, &counted, &offset); counted != before+4 || offset != before+4 {
			t.Errorf("%d counted at offset %d, want %d", counted, offset, before+4)
		}
	}
}

// A cluster whose first server is down is served by the next.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	o := database(t, server)
	for _, o := range []Options{o, overHTTP(server, o)} {
		o.Addr = append([]string{"127.0.0.1:1"}, o.Addr...)
		s := open(t, o)
		p, err := s.Progress(t.Context(), 0)
		must(t, err)
		must(t, s.Commit(t.Context(), step(p.Offset, 1, 1)))
	}
}

// An engine that is killed and comes back is found again by the same store.
func TestStoreOutlivesItsServer(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "outlived")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	s := open(t, o)
	must(t, s.Commit(t.Context(), step(0, 1, 1)))
	server.Kill()
	err = s.Commit(t.Context(), step(1, 1, 2))
	if err == nil || errors.Is(err, aggregate.ErrConflict) {
		t.Errorf("commit to a server that is gone: %v", err)
	}
	if _, err := s.Progress(t.Context(), 0); !errors.Is(err, ErrAddress) {
		t.Errorf("progress of a server that is gone: %v", err)
	}
	must(t, server.Restart(t.Context()))
	must(t, s.Commit(t.Context(), step(1, 1, 2)))
}
