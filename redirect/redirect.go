// Package redirect answers a click: the registered destination, byte for byte, once the event is
// durable. A destination is never part of a URL, so there is nothing to forge: what is not
// registered is not found.
package redirect

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/token"
)

// Links is the registry of destinations. All methods may be called concurrently. The bytes stay
// the registry's and are never changed; Destination and Hidden do not allocate.
type Links interface {
	// Destination is the URL of a link as it was registered.
	Destination(campaign uint32, link uint16) ([]byte, bool)
	// WaitDestination is Destination for a link that may be on its way here: it waits until the
	// link is known or ctx ends.
	WaitDestination(ctx context.Context, campaign uint32, link uint16) ([]byte, bool)
	// Hidden tells whether the link is one that no person can see.
	Hidden(campaign uint32, link uint16) bool
}

// Intake authenticates and records. All methods may be called concurrently.
type Intake interface {
	// Claims opens a token of a sort; false, and counted under kind, where it holds none.
	Claims(kind event.Kind, sort token.Kind, text []byte) (token.Claims, bool)
	// Refuse counts a request of kind that leaves no event.
	Refuse(kind event.Kind, reason event.Reason)
	// Record returns when the event is as durable as it will get.
	Record(ctx *fasthttp.RequestCtx, kind event.Kind, claims token.Claims, more event.Signals)
}

// Handler answers /c/TOKEN. It may be used concurrently.
type Handler struct {
	intake Intake
	links  Links
	wait   time.Duration
}

// New returns a handler that waits up to wait for a link that is not known here yet: mail may be
// faster than the control log.
func New(intake Intake, links Links, wait time.Duration) *Handler {
	return &Handler{intake: intake, links: links, wait: wait}
}

// Serve answers a GET or HEAD for "/c/" + text, or returns false, having written nothing, where
// the token is forged or its link unknown. The event is durable before the answer is written, or
// lost and counted as lost: the link works in either case. A HEAD takes nobody anywhere, so it is
// a probe and not a click.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx, text []byte) bool {
	kind := event.Click
	if ctx.IsHead() {
		kind = event.Probe
	}
	claims, ok := h.intake.Claims(kind, token.Click, text)
	if !ok {
		return false
	}
	destination, ok := h.links.Destination(claims.Campaign, claims.Link)
	if !ok {
		destination, ok = h.await(claims)
	}
	if !ok {
		h.intake.Refuse(kind, event.UnknownLink)
		return false
	}
	var signals event.Signals
	if h.links.Hidden(claims.Campaign, claims.Link) {
		signals = event.HiddenLink
	}
	h.intake.Record(ctx, kind, claims, signals)

	// SetCanonical, because Redirect would parse the URL and write it anew.
	ctx.Response.SetStatusCode(fasthttp.StatusFound)
	header := &ctx.Response.Header
	header.SetCanonical(location, destination)
	for i := range headers {
		header.SetCanonical(headers[i].name, headers[i].value)
	}
	return true
}

// await is the slow path of a click that came before its link.
func (h *Handler) await(claims token.Claims) ([]byte, bool) {
	if h.wait <= 0 {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.wait)
	defer cancel()
	return h.links.WaitDestination(ctx, claims.Campaign, claims.Link)
}

var location = []byte("Location")

// headers go out in this order, after Date, Content-Length and Location. Every click must come
// here again, and where it leads must not learn the address with the token in it.
var headers = [...]struct{ name, value []byte }{
	{[]byte("Cache-Control"), []byte("no-store, no-cache, must-revalidate, private, max-age=0")},
	{[]byte("Pragma"), []byte("no-cache")},
	{[]byte("Referrer-Policy"), []byte("no-referrer")},
	{[]byte("X-Content-Type-Options"), []byte("nosniff")},
}
