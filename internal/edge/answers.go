package edge

import (
	"fmt"

	"github.com/valyala/fasthttp"
)

// problem is a constant answer in the form of RFC 9457. It tells what was wrong with the request
// and repeats nothing of it.
type problem struct {
	status int
	body   []byte
}

func newProblem(status int, detail string) problem {
	return problem{status, fmt.Appendf(nil, `{"type":"about:blank","title":%q,"status":%d,"detail":%q}`+"\n",
		fasthttp.StatusMessage(status), status, detail)}
}

var (
	badRequest    = newProblem(fasthttp.StatusBadRequest, "The request is not well-formed HTTP.")
	wrongMethod   = newProblem(fasthttp.StatusMethodNotAllowed, "This address does not take that method; Allow lists those it does.")
	tooSlow       = newProblem(fasthttp.StatusRequestTimeout, "The request took too long to arrive.")
	bodyTooLarge  = newProblem(fasthttp.StatusRequestEntityTooLarge, "The request's body is too large.")
	headersTooBig = newProblem(fasthttp.StatusRequestHeaderFieldsTooLarge, "The request's first line and headers are too large.")
	internalError = newProblem(fasthttp.StatusInternalServerError, "Something went wrong here.")

	overloaded   = rawProblem(newProblem(fasthttp.StatusServiceUnavailable, "Too many connections are open here; try again shortly."))
	crashed      = rawProblem(internalError)
	tooManyConns = rawProblem(newProblem(fasthttp.StatusTooManyRequests, "Too many connections are open from this address."))
)

func (p problem) write(ctx *fasthttp.RequestCtx) {
	ctx.Response.SetStatusCode(p.status)
	header := &ctx.Response.Header
	header.SetContentTypeBytes(problemType)
	header.SetCanonical(cacheControl, noStore)
	header.SetCanonical(contentTypeOptions, nosniff)
	ctx.Response.SetBodyRaw(p.body)
}

// rawProblem is p as bytes for a connection that gets no request served.
func rawProblem(p problem) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
		p.status, fasthttp.StatusMessage(p.status), problemType, len(p.body), p.body)
}

var (
	allow              = []byte("Allow")
	cacheControl       = []byte("Cache-Control")
	contentTypeOptions = []byte("X-Content-Type-Options")

	noStore     = []byte("no-store")
	nosniff     = []byte("nosniff")
	oneDay      = []byte("public, max-age=86400")
	problemType = []byte("application/problem+json")
	textType    = []byte("text/plain; charset=utf-8")
	jsonType    = []byte("application/json")

	robots = []byte("User-agent: *\nDisallow: /\n")
	gpc    = []byte(`{"gpc":true,"lastUpdate":"` + gpcSince + `"}` + "\n")
)

// gpcSince is the day on which what this software does about Sec-GPC was last changed.
const gpcSince = "2026-11-24"

// file writes a constant that anybody may keep for a day.
func file(ctx *fasthttp.RequestCtx, contentType, body []byte) {
	header := &ctx.Response.Header
	header.SetContentTypeBytes(contentType)
	header.SetCanonical(cacheControl, oneDay)
	header.SetCanonical(contentTypeOptions, nosniff)
	ctx.Response.SetBodyRaw(body)
}
