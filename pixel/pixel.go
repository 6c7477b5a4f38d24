// Package pixel is the beacon: one transparent GIF, the same bytes for everybody. What the token
// said, what the person chose and whether the disk took the event never show in the answer.
package pixel

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/plain"
)

// GIF is the whole image: GIF89a, 1x1, one transparent pixel, 43 bytes.
const GIF = "GIF89a" + // signature and version
	"\x01\x00\x01\x00\x80\x00\x00" + // logical screen 1x1, global table of two colours
	"\x00\x00\x00\xff\xff\xff" + // black, white
	"\x21\xf9\x04\x01\x00\x00\x00\x00" + // graphic control: colour 0 is transparent
	"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00" + // image at 0,0, 1x1, no local table
	"\x02\x02\x44\x01\x00" + // LZW, code size 2: clear, colour 0, end
	"\x3b" // trailer

// Recorder takes what happened. Observe returns when the event is as durable as it will get; it
// keeps neither ctx nor text after that. It may be called concurrently. A text that holds no token
// is the recorder's to count: nothing that happens in there may change the answer.
type Recorder interface {
	Observe(ctx *fasthttp.RequestCtx, kind event.Kind, text []byte)
	// ObservePlain is Observe for an Open that no RequestCtx was made for.
	ObservePlain(r *plain.Request, text []byte)
}

// Handler answers /o/TOKEN.gif. It may be used concurrently.
type Handler struct {
	recorder Recorder
	image    []byte
	answer   atomic.Pointer[answer] // of this second
}

// New returns the handler that reports to recorder.
func New(recorder Recorder) *Handler {
	return &Handler{recorder: recorder, image: []byte(GIF)}
}

// Serve answers a GET or HEAD for "/o/" + name. The event is durable before the answer is written,
// or lost and counted as lost: the image comes in either case. A HEAD shows nobody the image, so
// it is a probe and not an open.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx, name []byte) {
	kind := event.Open
	if ctx.IsHead() {
		kind = event.Probe
	}
	h.recorder.Observe(ctx, kind, token(name))
	h.write(&ctx.Response)
}

// token is the text that may be one.
func token(name []byte) []byte {
	text, found := bytes.CutSuffix(name, extension)
	if !found {
		return nil
	}
	return text
}

func (h *Handler) write(r *fasthttp.Response) {
	r.Header.SetContentTypeBytes(contentType)
	for i := range headers {
		r.Header.SetCanonical(headers[i].name, headers[i].value)
	}
	r.SetBodyRaw(h.image)
}

// answer is the whole answer to a GET, as it goes over the wire within one second.
type answer struct {
	second     int64
	keep, last []byte
}

// ServePlain is Serve for a plain GET of "/o/" + name. It returns the answer's bytes, which are the
// handler's and never change; last says that the connection ends with it.
func (h *Handler) ServePlain(r *plain.Request, name []byte, last bool) []byte {
	h.recorder.ObservePlain(r, token(name))
	a := h.answer.Load()
	if second := r.Time.Unix(); a == nil || a.second != second {
		a = h.render(r.Time)
		h.answer.Store(a)
	}
	if last {
		return a.last
	}
	return a.keep
}

// render has fasthttp write the answer that Serve makes, so that the two can't differ.
func (h *Handler) render(now time.Time) *answer {
	var r fasthttp.Response
	h.write(&r)
	r.Header.SetContentLength(len(h.image))
	a := &answer{second: now.Unix(), keep: append(r.Header.AppendBytes(nil), h.image...)}
	r.SetConnectionClose()
	a.last = append(r.Header.AppendBytes(nil), h.image...)
	return a
}

var (
	extension   = []byte(".gif")
	contentType = []byte("image/gif")
)

// headers go out in this order, after Date, Content-Type and Content-Length. Nothing may be kept
// on the way or on the device (Pragma is for caches that speak HTTP/1.0 only); a webmail that
// isolates its pages must be told that the image may be embedded.
var headers = [...]struct{ name, value []byte }{
	{[]byte("Cache-Control"), []byte("no-store, no-cache, must-revalidate, private, max-age=0")},
	{[]byte("Pragma"), []byte("no-cache")},
	{[]byte("Cross-Origin-Resource-Policy"), []byte("cross-origin")},
	{[]byte("X-Content-Type-Options"), []byte("nosniff")},
}
