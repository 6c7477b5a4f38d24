package api

import (
	"context"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"mailbeacon/internal/reqlog"
)

// Time-outs of one request. The server's own would end a stream that goes well.
const (
	bodyPatience   = 30 * time.Second // for a whole body that is no stream
	answerPatience = 60 * time.Second // for a whole answer that is no stream
	streamPatience = 60 * time.Second // for each piece of a stream, either way
)

// Keys of huma.Operation.Metadata.
const (
	mediaTypes = "media types" // []string: of the body
	bodyLimit  = "body limit"  // int64: bytes; absent for a stream
)

const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
	csvType    = "text/csv"
)

// ServeHTTP is the way of every request: logged, let in by its key, and handed to its route. Every
// error on the way is a Problem.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := &answerWriter{Writer: reqlog.Writer{ResponseWriter: w}}
	handler, pattern := a.mux.Handler(r)
	defer func() {
		cause := recover()
		if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
			reqlog.Panicked(a.o.Logger, cause)
			if !out.Started {
				internalProblem.write(out)
				out.finished = true
			}
		}
		a.log(r, pattern, out, time.Since(start))
		if cause != nil && out.Started && !out.finished {
			panic(http.ErrAbortHandler) // the client must not take what it has for the whole
		}
	}()
	rc := http.NewResponseController(w)
	if r.Body != http.NoBody {
		_ = rc.SetReadDeadline(start.Add(bodyPatience)) // not all writers can; the server's can
	} // else it would end the request's context, since net/http reads on to notice whoever hangs up
	_ = rc.SetWriteDeadline(start.Add(answerPatience))
	w.Header().Set("X-Content-Type-Options", "nosniff")

	holder, ok := a.authorized(r)
	if needsKey(r.URL.Path) && !ok {
		out.Header().Set("WWW-Authenticate", `Bearer realm="mailbeacon"`)
		newProblem(http.StatusUnauthorized, "a key is needed: send the header \"Authorization: Bearer KEY\"; `mailbeacon key add` makes one").write(out)
		return
	}
	if pattern == "" || isRedirect(r) {
		notRouted(out, r, handler)
		return
	}
	a.mux.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), keyHeld{}, holder)))
	out.finished = true
}

// keyHeld is where a request's context has the Holder of its key.
type keyHeld struct{}

// broughtBy is how the ledger names whoever sent a request.
func broughtBy(ctx context.Context) string {
	holder, _ := ctx.Value(keyHeld{}).(Holder)
	return "key:" + holder.Name
}

// open are the addresses that need no key.
var open = []string{"/healthz", "/readyz", "/metrics", "/openapi.json"}

// Owns says whether a path is the API's, where it shares an address with others.
func Owns(path string) bool { return needsKey(path) || slices.Contains(open, path) }

func needsKey(path string) bool { return strings.HasPrefix(path, "/v1/") || path == "/v1" }

// authorized says whether a request has a good key, and whose.
func (a *API) authorized(r *http.Request) (holder Holder, ok bool) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Holder{}, false
	}
	return a.o.Keys.Allow(strings.TrimSpace(key))
}

// isRedirect says whether the mux would answer by sending elsewhere: paths are to be written right.
func isRedirect(r *http.Request) bool {
	p := r.URL.Path
	return strings.Contains(p, "//") || slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == "." || s == ".." })
}

// notRouted answers where no route fits: 405 where another method would, 404 otherwise.
func notRouted(w *answerWriter, r *http.Request, handler http.Handler) {
	probe := &probeWriter{header: http.Header{}}
	handler.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); probe.status == http.StatusMethodNotAllowed && allow != "" {
		w.Header().Set("Allow", allow)
		newProblem(http.StatusMethodNotAllowed, "the method does not fit; right would be "+allow).write(w)
		return
	}
	newProblem(http.StatusNotFound, "there is nothing at this address; /openapi.json lists what there is").write(w)
}

// probeWriter learns what the mux would answer.
type probeWriter struct {
	header http.Header
	status int
}

func (p *probeWriter) Header() http.Header         { return p.header }
func (p *probeWriter) WriteHeader(status int)      { p.status = status }
func (p *probeWriter) Write(b []byte) (int, error) { return len(b), nil }

// admit is what a route wants of a request's key and of its body, before anything of it is read.
func (a *API) admit(ctx huma.Context, next func(huma.Context)) {
	meta := ctx.Operation().Metadata
	r, w := humago.Unwrap(ctx)
	if roles, private := access[ctx.Operation().OperationID]; private {
		roles = withAdmin(roles)
		holder, _ := r.Context().Value(keyHeld{}).(Holder)
		if !slices.Contains(roles, holder.Role) {
			newProblem(http.StatusForbidden, fmt.Sprintf("this key's role is %s; this needs one of %s", holder.Role, roles)).write(w)
			return
		}
	}
	if types, ok := meta[mediaTypes].([]string); ok {
		given, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || !slices.Contains(types, given) {
			newProblem(http.StatusUnsupportedMediaType, "the body's type does not fit; right would be the header \"Content-Type: "+types[0]+"\"").write(w)
			return
		}
		if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
			newProblem(http.StatusUnsupportedMediaType, "the body is compressed; right would be a plain one").write(w)
			return
		}
	}
	if limit, ok := meta[bodyLimit].(int64); ok && r.ContentLength > limit {
		newProblem(http.StatusRequestEntityTooLarge, "the body is larger than this address takes").write(w)
		return
	}
	next(ctx)
}

// log writes the one line of a request.
func (a *API) log(r *http.Request, pattern string, w *answerWriter, took time.Duration) {
	level := slog.LevelInfo
	if _, route, _ := strings.Cut(pattern, " "); slices.Contains(open, route) {
		level = slog.LevelDebug
	}
	reqlog.Line(r.Context(), a.o.Logger, level, r.Method, pattern, w.Status, took)
}

// answerWriter knows besides whether the handler returned in peace.
type answerWriter struct {
	reqlog.Writer
	finished bool
}
