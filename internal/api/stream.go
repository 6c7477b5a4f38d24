package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// stream adds a route that is read and answered line by line. An error that comes before the first
// line is answered as a Problem; one that comes later cuts the answer off, which the client sees.
func (a *API) stream(op *huma.Operation, doc streamDoc, serve func(context.Context, *exchange) error) {
	a.documentStream(op, doc)
	handler := func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		x := newExchange(w, r)
		err := serve(r.Context(), x)
		switch {
		case err == nil:
			x.finish()
		case !x.started:
			w.Header().Set("Connection", "close") // not all that is left of the body is read: nothing else can follow
			a.explain(err, op.OperationID).write(w)
			x.drain()
			x.interrupt()
		default:
			if !errors.Is(err, errGone) && r.Context().Err() == nil {
				_ = a.explain(err, op.OperationID) // for the log; the answer has begun
			}
			x.interrupt()
			panic(http.ErrAbortHandler)
		}
	}
	a.huma.Adapter().Handle(op, a.huma.Middlewares().Handler(handler))
}

// Errors of the connection. Those of net/http name addresses, so they go no further.
var (
	errGone     = errors.New("the client is gone, or takes nothing in")
	errBrokeOff = errors.New("the client sent nothing more, or broke off")
)

// exchange is one stream, both ways. Each piece has streamPatience: a client that stands still is
// cut off, one that goes on may go on for ever. Read may be called concurrently with the rest.
type exchange struct {
	request *http.Request
	w       http.ResponseWriter
	rc      *http.ResponseController
	started bool
	held    bytes.Buffer // lines not written yet

	mu          sync.Mutex
	interrupted bool
	whole       bool // the body was read to its end
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{request: r, w: w, rc: http.NewResponseController(w), whole: r.Body == http.NoBody}
	_ = x.rc.EnableFullDuplex() // HTTP/2 has it anyway
	return x
}

// Read reads of the request's body.
func (x *exchange) Read(p []byte) (int, error) {
	if err := x.await(); err != nil {
		return 0, err
	}
	n, err := x.request.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		x.mu.Lock()
		defer x.mu.Unlock()
		x.whole = true
	case err != nil:
		err = errBrokeOff
	}
	return n, err
}

func (x *exchange) await() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.interrupted {
		return errBrokeOff
	}
	if !x.whole { // behind the body a deadline would be one for the answer: see ServeHTTP
		_ = x.rc.SetReadDeadline(time.Now().Add(streamPatience))
	}
	return nil
}

// interrupt ends a Read under way, and every later one.
func (x *exchange) interrupt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.interrupted = true
	_ = x.rc.SetReadDeadline(time.Unix(1, 0))
}

// Bounds of drain.
const (
	drainTime  = 500 * time.Millisecond
	drainBytes = 256 << 10
)

// drain sends the answer, and reads a little more of the body: a connection that is closed before what was sent is
// read is reset, and the client may lose the answer that tells why.
func (x *exchange) drain() {
	_ = x.rc.Flush() // the client may be gone
	x.mu.Lock()
	whole := x.whole
	x.mu.Unlock()
	if whole {
		return
	}
	_ = x.rc.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, x.request.Body, drainBytes)
}

// start sends the header of the answer.
func (x *exchange) start() {
	if x.started {
		return
	}
	x.started = true
	h := x.w.Header()
	h.Set("Content-Type", ndjsonType)
	h.Set("Cache-Control", "no-store")
	x.w.WriteHeader(http.StatusOK)
}

// Write writes whole lines of the answer.
func (x *exchange) Write(p []byte) (int, error) {
	x.start()
	_ = x.rc.SetWriteDeadline(time.Now().Add(streamPatience))
	n, err := x.w.Write(p)
	if err != nil || isGone(x.w) {
		return n, errGone
	}
	return n, nil
}

func isGone(w http.ResponseWriter) bool {
	a, ok := w.(*answerWriter)
	return ok && a.Gone
}

// flush sends what was written on its way.
func (x *exchange) flush() error {
	if x.held.Len() > 0 {
		_, err := x.Write(x.held.Bytes())
		x.held.Reset()
		if err != nil {
			return err
		}
	}
	if !x.started {
		return nil
	}
	_ = x.rc.SetWriteDeadline(time.Now().Add(streamPatience))
	if x.rc.Flush() != nil {
		return errGone
	}
	return nil
}

// line writes one line, many of them at a time.
func (x *exchange) line(text []byte) error {
	x.held.Write(text)
	x.held.WriteByte('\n')
	if x.held.Len() < 32<<10 {
		return nil
	}
	_, err := x.Write(x.held.Bytes())
	x.held.Reset()
	return err
}

// trailer sets a number that follows the answer.
func (x *exchange) trailer(name string, n uint64) {
	x.w.Header().Set(http.TrailerPrefix+name, strconv.FormatUint(n, 10))
}

// finish sends what is left.
func (x *exchange) finish() {
	x.start()
	_ = x.flush() // the client is gone; there is nobody to tell
}
