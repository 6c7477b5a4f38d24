package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// request is one HTTP request as it goes over the wire, and what to expect of its answer.
type request struct {
	raw    []byte
	status int
	body   int // length of the body; -1 for any
	tally  *tally
}

// agent is what the generator says it is: a reader's browser, since what calls itself a library is
// told apart as one.
const agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

func get(host, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + agent +
		"\r\nAccept: image/avif,image/webp,*/*;q=0.8\r\n\r\n")
}

// answerTimeout is how long an answer may take before it is an error.
const answerTimeout = 10 * time.Second

// wire is one connection of the generator. On two cores the generator competes with what it
// measures, so it does no more than it must: one write, and reads until the answer is whole.
type wire struct {
	addr  string
	conn  net.Conn
	buf   []byte
	armed time.Time // when the connection's deadline was set
}

func (w *wire) connect() error {
	if w.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", w.addr, answerTimeout)
	if err != nil {
		return fail("dial", err)
	}
	w.conn, w.armed = conn, time.Time{}
	return nil
}

// arm gives the answer answerTimeout from now, to within a second: setting a deadline for every
// request costs more than sending it.
func (w *wire) arm(now time.Time) error {
	if now.Sub(w.armed) < time.Second {
		return nil
	}
	w.armed = now
	return w.conn.SetDeadline(now.Add(answerTimeout + time.Second))
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// failure is an error with the kind under which the table counts it.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.kind + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(kind string, err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		kind = "timeout"
	}
	return &failure{kind, err}
}

// send writes a request; wait reads its answer. After an error the connection is closed.
func (w *wire) send(r *request, now time.Time) error {
	if err := w.connect(); err != nil {
		return err
	}
	if err := w.arm(now); err != nil {
		return fail("write", err)
	}
	if _, err := w.conn.Write(r.raw); err != nil {
		w.close()
		return fail("write", err)
	}
	return nil
}

func (w *wire) wait(r *request) error {
	n, err := w.read()
	if err != nil {
		w.close()
		return err
	}
	head, body, closing, err := parseAnswer(w.buf[:n])
	if err != nil {
		w.close()
		return err
	}
	if closing {
		w.close()
	}
	if head != r.status {
		return &failure{"status " + strconv.Itoa(head), fmt.Errorf("want %d", r.status)}
	}
	if r.body >= 0 && body != r.body {
		return &failure{"body", fmt.Errorf("%d bytes, want %d", body, r.body)}
	}
	return nil
}

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
	connClose     = []byte("\r\nConnection: close")
	errNoLength   = errors.New("the answer has no Content-Length")
	errTooLong    = errors.New("the answer is longer than the generator's buffer")
)

// read fills the buffer with one whole answer and returns its length.
func (w *wire) read() (int, error) {
	n, whole := 0, -1
	for {
		if n == len(w.buf) {
			return 0, &failure{"body", errTooLong}
		}
		m, err := w.conn.Read(w.buf[n:])
		n += m
		if err != nil {
			return 0, fail("read", err)
		}
		if whole < 0 {
			end := bytes.Index(w.buf[:n], endOfHead)
			if end < 0 {
				continue
			}
			length, err := lengthOf(w.buf[:end])
			if err != nil {
				return 0, err
			}
			whole = end + len(endOfHead) + length
		}
		if n >= whole {
			return whole, nil
		}
	}
}

func lengthOf(head []byte) (int, error) {
	i := bytes.Index(head, contentLength)
	if i < 0 {
		return 0, &failure{"body", errNoLength}
	}
	n := 0
	for _, c := range head[i+len(contentLength):] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

func parseAnswer(b []byte) (status, body int, closing bool, err error) {
	if len(b) < 12 || !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) {
		return 0, 0, false, &failure{"malformed", errors.New("no HTTP/1.1 answer")}
	}
	for _, c := range b[9:12] {
		status = status*10 + int(c-'0')
	}
	end := bytes.Index(b, endOfHead)
	return status, len(b) - end - len(endOfHead), bytes.Contains(b[:end], connClose), nil
}
