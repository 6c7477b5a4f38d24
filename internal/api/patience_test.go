package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that their deadlines go by a bubble's clock.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// TestStreamsTakeTheirTime: what is listed or read for longer than any patience goes on, as long as each piece of it comes.
func TestStreamsTakeTheirTime(t *testing.T) {
	t.Parallel()
	const long = 3 * streamPatience
	for name, c := range map[string]struct{ method, header, body string }{
		"without a body":   {http.MethodGet, "", ""},
		"behind its body":  {http.MethodPost, "Content-Type: application/x-ndjson\r\nContent-Length: 3\r\n", "{}\n"},
		"behind no length": {http.MethodPost, "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n", "3\r\n{}\n\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newBare(t)
				a.o.Keys = all{}
				op := streamOperation("slow", c.method, "/v1/slow", "", "")
				doc := streamDoc{out: new(Inactive)}
				if c.body != "" {
					doc.in = new(Numbered)
				}
				a.stream(op, doc, func(ctx context.Context, x *exchange) error {
					for range 2 { // whoever asks again is told of the end again
						if _, err := io.Copy(io.Discard, x); c.body != "" && err != nil {
							return err
						}
					}
					for range 3 {
						select {
						case <-time.After(long):
						case <-ctx.Done():
							return ctx.Err()
						}
						if err := errors.Join(x.line([]byte("{}")), x.flush()); err != nil {
							return err
						}
					}
					return nil
				})
				ln := &pipes{make(chan net.Conn), make(chan struct{})}
				s := NewServer(a)
				served := make(chan error, 1)
				go func() { served <- s.Serve(ln) }()
				near, far := net.Pipe()
				ln.accepted <- far
				if _, err := io.WriteString(near, c.method+" /v1/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"+c.header+"\r\n"+c.body); err != nil {
					t.Fatal(err)
				}
				all, err := readAnswer(near)
				if err != nil || all != strings.Repeat("{}\n", 3) {
					t.Errorf("%q, %v", all, err)
				}
				near.Close()
				if err := errors.Join(s.Shutdown(t.Context()), <-served); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func readAnswer(from io.Reader) (string, error) {
	answer, err := http.ReadResponse(bufio.NewReader(from), nil)
	if err != nil {
		return "", err
	}
	all, err := io.ReadAll(answer.Body)
	return string(all), err
}
