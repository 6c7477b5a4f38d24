// Package web is the door of the dashboard: it signs people in, keeps their sessions, and hands each page to those whose role may
// see it. What the pages show is not its business.
//
// A page is told who looks and needs to ask nothing more: the session holds, the role is one of the page's, and what a form sent
// carries that session's token and comes from this site.
package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
	"mailbeacon/internal/oidc"
	"mailbeacon/internal/reqlog"
)

// Keys are the API's keys: who has one signs in with it. They may be asked concurrently. See api.Keys.
type Keys interface {
	Identify(key string) (holder api.Holder, mark string, ok bool)
	Held(name, mark string) (holder api.Holder, ok bool)
	Mark(name string) (mark string, ok bool)
}

// Provider signs people in who have no key. It may be called concurrently. See oidc.Provider.
type Provider interface {
	Begin(ctx context.Context) (a oidc.Attempt, address string, err error)
	Finish(ctx context.Context, a oidc.Attempt, answer url.Values) (oidc.Person, error)
	Mark() string
}

// Audit takes notes. It may be called concurrently. See audit.Log.
type Audit interface{ Note(e audit.Entry) error }

// Page is an address and who may see it.
type Page struct {
	// Title is what the start page calls it, "" where it does not.
	Title string
	// Path is a pattern of net/http with its method: "GET /campaigns/{name}". GET is HEAD too. "GET /{$}" takes the place of the
	// start page.
	Path string
	// Roles may see it; nil is whoever is signed in. api.RolesOf says who may ask the API for the same.
	Roles api.RoleList
	// Handler answers. Headers that every page has are set already, and may be set otherwise. Of a POST, the form is parsed.
	Handler func(w http.ResponseWriter, r *http.Request, v *Visit)
}

// Visit is who looks at a page.
type Visit struct {
	api.Holder
	// CSRF has to be in every form that is posted, in a field that is called CSRFField.
	CSRF string

	site    *Site
	session *session
}

// CSRFField is the name of the field that holds a form's token.
const CSRFField = "csrf"

// SignOutPath is where a form with the token is posted to by whoever leaves.
const SignOutPath = "/sign-out"

// NoteExport notes in the audit log that a file was taken away. what says which, without anything that a person typed.
func (v *Visit) NoteExport(what string) {
	v.site.note(audit.Entry{Event: audit.Export, Who: v.Name, Role: string(v.Role), Via: v.session.Via, What: what})
}

// Options are what a Site is made of. Data, Keys and Audit are needed.
type Options struct {
	// Data is the data folder, for the key of sessions and the list of those that were ended.
	Data  string
	Keys  Keys
	Audit Audit
	// OIDC is another way in. nil is none.
	OIDC Provider
	// OIDCName is what the button says of it.
	OIDCName string
	Pages    []Page
	// Files are answered to everybody, by patterns of net/http: they must tell nothing.
	Files map[string]http.Handler
	// Logger gets one line a request (method, route, status, duration) and what failed inside. nil is silence.
	Logger *slog.Logger
	// Now is the clock. nil is time.Now.
	Now func() time.Time
}

// Site is the handler of all that is not the API's. It may be called concurrently.
type Site struct {
	o        Options
	log      *slog.Logger
	now      func() time.Time
	install  string // tells this one's cookies from those of another on the same machine
	sessions seal
	forms    seal
	attempts seal
	tokens   seal
	ended    *ended
	links    *links
	guard    *guard
	refused  *sampler
	views    *views
	origin   *http.CrossOriginProtection
	mux      *http.ServeMux
}

// New returns the site, or an error that names the missing option or the file that can't be used.
func New(o Options) (*Site, error) {
	switch {
	case o.Data == "":
		return nil, errors.New("web: no data folder")
	case o.Keys == nil:
		return nil, errors.New("web: no keys")
	case o.Audit == nil:
		return nil, errors.New("web: no audit log")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	key, err := ensureKey(o.Data)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(append([]byte("install\x00"), newSeal(key, "install").key...))
	s := &Site{
		o: o, log: o.Logger, now: o.Now, install: hex.EncodeToString(id[:4]),
		sessions: newSeal(key, "session"), forms: newSeal(key, "form"), attempts: newSeal(key, "attempt"), tokens: newSeal(key, "csrf"),
		links: &links{now: o.Now, all: map[[sha256.Size]byte]link{}}, guard: newGuard(o.Now), refused: &sampler{now: o.Now},
		origin: http.NewCrossOriginProtection(), mux: http.NewServeMux(),
	}
	if s.ended, err = openEnded(o.Data, o.Now, o.Logger); err != nil {
		return nil, err
	}
	if s.views, err = loadViews(); err != nil {
		return nil, err
	}
	return s, s.route()
}

// Pseudonyms is a secret of a data folder that names are made with for people who have none that may be kept.
func Pseudonyms(dir string) ([]byte, error) {
	key, err := ensureKey(dir)
	if err != nil {
		return nil, err
	}
	return newSeal(key, "pseudonyms").key, nil
}

// route puts everything in its place. A pattern that is wrong, or of two pages, is an error.
func (s *Site) route() (err error) {
	defer func() {
		if cause := recover(); cause != nil { // as net/http has it
			err = fmt.Errorf("web: %v", cause)
		}
	}()
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /sign-in":                s.signInPage,
		"POST /sign-in":               s.signIn,
		"GET /sign-in/link/{token}":   s.linkPage,
		"POST /sign-in/link/{token}":  s.useLink,
		"GET /sign-in/oidc/start":     s.beginOIDC,
		"GET /sign-in/oidc":           s.finishOIDC,
		"POST " + SignOutPath:         s.signOut,
		"GET /signed-out":             s.signedOut,
		"GET " + filesPath + "{file}": s.views.file,
	} {
		s.mux.HandleFunc(pattern, handler)
	}
	for pattern, handler := range s.o.Files {
		s.mux.Handle(pattern, handler)
	}
	pages := s.o.Pages
	if !slices.ContainsFunc(pages, func(p Page) bool { return p.Path == startPath }) {
		pages = append([]Page{{Path: startPath, Handler: s.start}}, pages...)
	}
	for _, p := range pages {
		if method, path, _ := strings.Cut(p.Path, " "); method != http.MethodGet && method != http.MethodPost || !strings.HasPrefix(path, "/") || p.Handler == nil {
			return fmt.Errorf("web: page %q has no handler, or is neither of GET nor of POST", p.Path)
		}
		s.mux.HandleFunc(p.Path, s.guarded(p))
	}
	return nil
}

const startPath = "GET /{$}"

// Time-outs of one request.
const (
	bodyPatience   = 30 * time.Second
	answerPatience = 60 * time.Second
	mostForm       = 64 << 10 // bytes of a body
)

// Policy is the Content-Security-Policy of every page: files of its own, and nothing of anybody else's.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP is the way of every request: logged by its route, given the headers that every answer has, and handed on.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	out := &reqlog.Writer{ResponseWriter: w}
	_, pattern := s.mux.Handler(r)
	defer func() {
		cause := recover()
		if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
			reqlog.Panicked(s.log, cause)
			if !out.Started {
				s.fail(out, r, http.StatusInternalServerError)
				cause = nil
			}
		}
		level := slog.LevelInfo
		if strings.HasPrefix(pattern, "GET "+filesPath) {
			level = slog.LevelDebug
		}
		reqlog.Line(r.Context(), s.log, level, r.Method, pattern, out.Status, time.Since(began))
		if cause != nil {
			panic(http.ErrAbortHandler) // the client must not take what it has for the whole
		}
	}()
	rc := http.NewResponseController(w)
	if r.Body != http.NoBody {
		_ = rc.SetReadDeadline(began.Add(bodyPatience)) // not all writers can; the server's can
	}
	_ = rc.SetWriteDeadline(began.Add(answerPatience))
	secureHeaders(w.Header())
	if unclean(r.URL.Path) {
		pattern = ""
		s.fail(out, r, http.StatusNotFound)
		return
	}
	if pattern == "" {
		s.notRouted(out, r)
		return
	}
	if err := s.origin.Check(r); err != nil {
		s.fail(out, r, http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(out, r.Body, mostForm)
		if err := r.ParseForm(); err != nil {
			s.fail(out, r, http.StatusBadRequest)
			return
		}
	}
	s.mux.ServeHTTP(out, r)
}

// secureHeaders are those of every answer. The referrer is told to this site alone: with none at all, browsers would leave out
// where a form comes from, which is looked at.
func secureHeaders(h http.Header) {
	for name, value := range map[string]string{
		"Content-Security-Policy":      Policy,
		"X-Frame-Options":              "DENY",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
		"Cache-Control":                "no-store",
		"X-Robots-Tag":                 "noindex",
	} {
		h.Set(name, value)
	}
}

// unclean is a path that net/http would answer by sending elsewhere: paths are to be written right.
func unclean(p string) bool {
	return !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "\\") || strings.Contains(p, "//") ||
		slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == "." || s == ".." })
}

// notRouted answers where no route fits: 405 where another method would, 404 otherwise.
func (s *Site) notRouted(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "" {
			allow = append(allow, method)
		}
	}
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		s.fail(w, r, http.StatusMethodNotAllowed)
		return
	}
	s.fail(w, r, http.StatusNotFound)
}

// guarded lets those to a page who may see it.
func (s *Site) guarded(p Page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		one := s.session(r)
		if one == nil {
			s.toSignIn(w, r)
			return
		}
		if r.Method == http.MethodPost && !s.hasToken(r, one.ID) {
			s.fail(w, r, http.StatusForbidden)
			return
		}
		if p.Roles != nil && !slices.Contains(p.Roles, one.Role) {
			s.note(audit.Entry{Event: audit.NotAllowed, Who: one.Name, Role: string(one.Role), Via: one.Via, What: p.Path})
			s.notAllowed(w, r, one, p.Roles)
			return
		}
		s.refresh(w, r, one)
		p.Handler(w, r, s.visit(one))
	}
}

func (s *Site) visit(one *session) *Visit {
	return &Visit{Holder: one.holder(), CSRF: s.csrf(one.ID), site: s, session: one}
}

// note writes to the audit log. A disk that is full keeps nobody out, who may be the one to make room; it is told in the log.
func (s *Site) note(e audit.Entry) {
	if err := s.o.Audit.Note(e); err != nil {
		s.log.Error("the audit log lacks an entry", "event", e.Event, "who", e.Who, "error", err)
	}
}
