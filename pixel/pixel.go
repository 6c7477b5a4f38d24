// Package pixel is the beacon: one transparent GIF, the same bytes for everybody. What the token
// said, what the person chose and whether the disk took the event never show in the answer.
package pixel

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
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
}

// Handler answers /o/TOKEN.gif. It may be used concurrently.
type Handler struct {
	recorder Recorder
	image    []byte
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
	text, found := bytes.CutSuffix(name, extension)
	if !found {
		text = nil
	}
	h.recorder.Observe(ctx, kind, text)

	header := &ctx.Response.Header
	header.SetContentTypeBytes(contentType)
	for i := range headers {
		header.SetCanonical(headers[i].name, headers[i].value)
	}
	ctx.Response.SetBodyRaw(h.image)
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
