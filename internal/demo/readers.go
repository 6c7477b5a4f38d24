package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// connections are as many as fill a commit of the spool.
	connections = 192
	// patience bounds one answer.
	patience = 30 * time.Second
)

// request is an act and what it asks for.
type request struct {
	act  *Act
	path string
}

// readers are the programs of the people, and the machines: connections to the edge, by which requests go out as they
// come. ask and wait belong to one goroutine.
type readers struct {
	work    chan request
	done    atomic.Int64
	pending sync.WaitGroup // requests without an answer
	running sync.WaitGroup

	failed chan struct{} // closed when the first request failed
	fail   func(error)
	err    error // why
}

func dialReaders(ctx context.Context, edge string) (*readers, error) {
	r := &readers{work: make(chan request, connections), failed: make(chan struct{})}
	var once sync.Once
	r.fail = func(err error) { once.Do(func() { r.err = err; close(r.failed) }) }
	for range connections {
		c, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", edge)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("reach the edge: %w", err)
		}
		r.running.Go(func() { r.run(c) })
	}
	return r, nil
}

// run sends what there is to be sent over one connection.
func (r *readers) run(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	var out []byte
	for q := range r.work {
		if err := exchange(c, in, &out, q); err != nil {
			r.fail(err)
			r.pending.Done()
			break
		}
		r.done.Add(1)
		r.pending.Done()
	}
	for range r.work { // nobody waits for what nobody sends
		r.pending.Done()
	}
}

// ask has a request sent. The error is ctx's, or why an earlier one failed.
func (r *readers) ask(ctx context.Context, q request) error {
	r.pending.Add(1)
	select {
	case r.work <- q:
		return nil
	case <-r.failed:
		r.pending.Done()
		return r.err
	case <-ctx.Done():
		r.pending.Done()
		return context.Cause(ctx)
	}
}

// wait returns once everything that was asked for is answered.
func (r *readers) wait(ctx context.Context) error {
	r.pending.Wait()
	select {
	case <-r.failed:
		return r.err
	default:
		return ctx.Err()
	}
}

func (r *readers) answered() int { return int(r.done.Load()) }

// close ends the connections, after the answers that are under way.
func (r *readers) close() {
	close(r.work)
	r.running.Wait()
}

// exchange sends a request and checks the answer.
func exchange(c net.Conn, in *bufio.Reader, out *[]byte, q request) error {
	method := methodOf(q.act.Do)
	*out = appendRequest((*out)[:0], method, q)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("ask the edge: %w", err)
	}
	if _, err := c.Write(*out); err != nil {
		return fmt.Errorf("ask the edge: %w", err)
	}
	answer, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("read the edge's answer: %w", err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return fmt.Errorf("read the edge's answer: %w", err)
	}
	if want := statusOf(q.act.Do); answer.StatusCode != want {
		return fmt.Errorf("the edge answered %s to a %s; right would be %d", answer.Status, method, want)
	}
	if answer.Close {
		return errors.New("the edge ended a connection")
	}
	return nil
}

func methodOf(d Do) string {
	switch d {
	case ProbeOpen, ProbeLink:
		return http.MethodHead
	case Decide:
		return http.MethodPost
	}
	return http.MethodGet
}

func statusOf(d Do) int {
	if d == Click || d == ProbeLink {
		return http.StatusFound
	}
	return http.StatusOK
}

func appendRequest(b []byte, method string, q request) []byte {
	who := &agents[q.act.agent]
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, q.path...)
	b = append(b, " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "...)
	b = append(b, who.name...)
	b = append(b, "\r\nAccept: */*\r\nX-Forwarded-For: "...)
	b = addressOf(q.act.At).AppendTo(b)
	if q.act.GPC {
		b = append(b, "\r\nSec-GPC: 1"...)
	}
	if who.header != "" {
		b = append(b, "\r\n"...)
		b = append(b, who.header...)
	}
	if q.act.Do == Decide {
		b = append(b, "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(q.act.form)), 10)
	}
	b = append(b, "\r\n\r\n"...)
	if q.act.Do == Decide {
		b = append(b, q.act.form...)
	}
	return b
}
