package demo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a server that gives the same answer to everything; nothing at all closes the connection.
func answering(t *testing.T, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil || answer == "" {
						return
					}
					if _, err := io.WriteString(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// TestWrongAnswers: what an edge must not answer ends the filling, with what it was, and nothing is left running.
func TestWrongAnswers(t *testing.T) {
	const image = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nGIF"
	for _, c := range []struct {
		name, answer string
		do           Do
		says         string // nothing: it is right
	}{
		{"an image", image, Open, ""},
		{"a choice is saved", image, Decide, ""},
		{"a page instead of a redirect", image, Click, "answered 200 OK to a GET"},
		{"nothing is there", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Open, "answered 404 Not Found"},
		{"too many", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", ProbeOpen, "answered 503 Service Unavailable to a HEAD"},
		{"no answer", "", Open, "read the edge's answer"},
		{"the last answer", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nGIF", Open, "ended a connection"},
	} {
		r, err := dialReaders(t.Context(), answering(t, c.answer))
		if err != nil {
			t.Fatal(err)
		}
		err = nil
		for range 3 * connections {
			if err = r.ask(t.Context(), request{act: &Act{Do: c.do, form: "opens=refused"}, path: "/x"}); err != nil {
				break
			}
		}
		if werr := r.wait(t.Context()); err == nil {
			err = werr
		}
		r.close()
		if c.says == "" && (err != nil || r.answered() != 3*connections) {
			t.Errorf("%s: %v, and %d answers", c.name, err, r.answered())
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: the error is %v, and does not say %q", c.name, err, c.says)
		}
	}
}

// TestReadersStop: somebody who does not wish to wait need not.
func TestReadersStop(t *testing.T) {
	r, err := dialReaders(t.Context(), answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	for range 100 * connections { // there is room for some
		if err = r.ask(ctx, request{act: &Act{}, path: "/x"}); err != nil {
			break
		}
	}
	if !errors.Is(err, why) {
		t.Errorf("asking ends with %v", err)
	}
	if err := r.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ends with %v", err)
	}
}

func TestNoEdge(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := dialReaders(ctx, ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "reach the edge") {
		t.Errorf("without an edge: %v", err)
	}
}
