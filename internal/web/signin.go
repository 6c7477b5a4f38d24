package web

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
)

// formLife is how long the form of the sign-in page may lie open.
const formLife = time.Hour

// refusal is when a refused sign-in is answered, from its beginning: whatever was wrong took as long.
const refusal = 150 * time.Millisecond

// form is what the cookie holds that comes with a form before there is a session.
type form struct {
	ID     string `json:"i"`
	Issued int64  `json:"t"`
}

// formOf is the request's form, nil where it has none that holds.
func (s *Site) formOf(r *http.Request) *form {
	f := &form{}
	if !s.forms.open(s.cookie(r, cookieForm), f) || f.ID == "" {
		return nil
	}
	if age := s.now().Sub(time.Unix(f.Issued, 0)); age >= formLife || age < -skew {
		return nil
	}
	return f
}

// freshForm is the request's form, or a new one whose cookie is handed out.
func (s *Site) freshForm(w http.ResponseWriter, r *http.Request) *form {
	f := s.formOf(r)
	if f == nil || s.now().Sub(time.Unix(f.Issued, 0)) > formLife/2 {
		f = &form{newID(), s.now().Unix()}
		s.setCookie(w, r, cookieForm, s.forms.sign(f), 0)
	}
	return f
}

// hasToken says whether the request's form carries the token of a session or a form.
func (s *Site) hasToken(r *http.Request, id string) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostForm.Get(CSRFField)), []byte(s.csrf(id))) == 1
}

// local is a path that somebody may be sent to after the sign-in: one of this site's own that shows something, else the first.
func (s *Site) local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || len(next) > 1024 ||
		unclean(u.Path) || strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return "/"
	}
	_, pattern := s.mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: u.Path}, Host: "local"})
	if pattern == "" || strings.HasPrefix(u.Path, "/sign") {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}

// toSignIn sends whoever has no session to where one begins, and back afterwards.
func (s *Site) toSignIn(w http.ResponseWriter, r *http.Request) {
	to := "/sign-in"
	if next := s.local(r.URL.RequestURI()); r.Method != http.MethodPost && next != "/" {
		to += "?" + url.Values{"next": {next}}.Encode()
	}
	redirect(w, to)
}

// redirect sends elsewhere on this site with a GET.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// signInBody is the body of the sign-in page.
type signInBody struct {
	CSRF  string
	Next  string // "" for the first page
	Begin string // address to begin at the provider's, "" where there is none
	OIDC  string
	Wrong string // why the last try failed
}

func (s *Site) signInPage(w http.ResponseWriter, r *http.Request) {
	next := s.local(r.URL.Query().Get("next"))
	if s.session(r) != nil {
		redirect(w, next)
		return
	}
	s.showSignIn(w, r, http.StatusOK, next, "")
}

func (s *Site) showSignIn(w http.ResponseWriter, r *http.Request, status int, next, wrong string) {
	b := signInBody{CSRF: s.csrf(s.freshForm(w, r).ID), Wrong: wrong}
	if next != "/" {
		b.Next = next
	}
	if s.o.OIDC != nil {
		b.Begin, b.OIDC = "/sign-in/oidc/start", s.o.OIDCName
		if b.Next != "" {
			b.Begin += "?" + url.Values{"next": {next}}.Encode()
		}
	}
	s.views.show(w, status, "sign-in", "Sign in", b)
}

// signIn looks at a key.
func (s *Site) signIn(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	next := s.local(r.PostForm.Get("next"))
	f := s.formOf(r)
	if f == nil || !s.hasToken(r, f.ID) {
		s.showSignIn(w, r, http.StatusForbidden, next, "This form was too old, or your browser keeps no cookies. Please try again.")
		return
	}
	if wait := s.guard.admit(f.ID); wait > 0 {
		seconds := int(wait/time.Second) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		s.noteRefused(audit.Entry{Via: viaKey, What: "too many wrong keys; not looked at"})
		s.showSignIn(w, r, http.StatusTooManyRequests, next, "Too many wrong keys were tried. Wait "+plural(seconds, "second")+", or use a one-time link, which works at any time.")
		return
	}
	who, mark, ok := s.o.Keys.Identify(strings.TrimSpace(r.PostForm.Get("key")))
	if !ok || !signsIn(who) {
		s.noteRefused(audit.Entry{Via: viaKey, What: "wrong key"})
		hold(r.Context(), began)
		s.showSignIn(w, r, http.StatusForbidden, next, "This key opens nothing here.")
		return
	}
	s.guard.passed(f.ID)
	s.begin(w, r, who, viaKey, mark)
	s.note(audit.Entry{Event: audit.SignIn, Who: who.Name, Role: string(who.Role), Via: viaKey})
	redirect(w, next)
}

// hold waits until a refusal may be answered.
func hold(ctx context.Context, began time.Time) {
	t := time.NewTimer(time.Until(began.Add(refusal)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// linkBody is the body of a one-time link's page.
type linkBody struct {
	CSRF string
	Good bool
}

// linkPage shows a link's button. Looking at it uses nothing up: programs that preview links would.
func (s *Site) linkPage(w http.ResponseWriter, r *http.Request) {
	if !s.links.good(r.PathValue("token")) {
		s.spentLink(w)
		return
	}
	s.views.show(w, http.StatusOK, "link", "Sign in by one-time link", linkBody{CSRF: s.csrf(s.freshForm(w, r).ID), Good: true})
}

func (s *Site) spentLink(w http.ResponseWriter) {
	s.views.show(w, http.StatusGone, "link", "This link is spent", linkBody{})
}

func (s *Site) useLink(w http.ResponseWriter, r *http.Request) {
	f := s.formOf(r)
	if f == nil || !s.hasToken(r, f.ID) {
		s.fail(w, r, http.StatusForbidden)
		return
	}
	one, ok := s.links.use(r.PathValue("token"))
	var who api.Holder
	if ok {
		who, ok = s.o.Keys.Held(one.name, one.mark)
	}
	if !ok || !signsIn(who) {
		s.noteRefused(audit.Entry{Via: viaLink, What: "spent link"})
		s.spentLink(w)
		return
	}
	s.begin(w, r, who, viaLink, one.mark)
	s.note(audit.Entry{Event: audit.SignIn, Who: who.Name, Role: string(who.Role), Via: viaLink})
	redirect(w, "/")
}

func (s *Site) signOut(w http.ResponseWriter, r *http.Request) {
	if one := s.session(r); one != nil {
		if !s.hasToken(r, one.ID) {
			s.fail(w, r, http.StatusForbidden)
			return
		}
		s.end(one, "")
	}
	s.dropCookie(w, r, cookieSession)
	redirect(w, "/signed-out")
}

// end ends a session for good.
func (s *Site) end(one *session, why string) {
	s.ended.add(one.ID, one.Expires)
	s.note(audit.Entry{Event: audit.SignOut, Who: one.Name, Role: string(one.Role), Via: one.Via, What: why})
}

func (s *Site) signedOut(w http.ResponseWriter, _ *http.Request) {
	s.views.show(w, http.StatusOK, "signed-out", "You are signed out", nil)
}

// sampler bounds how many refusals have a line of their own, so that whoever is refused all day fills no disk.
type sampler struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	lines int
	alike uint64
}

const mostRefusals = 30 // lines a minute

// take says whether the next refusal gets a line, and how many before it got none.
func (l *sampler) take() (alike uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= time.Minute || now.Before(l.since) {
		l.since, l.lines = now, 0
	}
	if l.lines >= mostRefusals {
		l.alike++
		return 0, false
	}
	l.lines++
	alike, l.alike = l.alike, 0
	return alike, true
}

func (s *Site) noteRefused(e audit.Entry) {
	alike, ok := s.refused.take()
	if !ok {
		return
	}
	e.Event, e.Alike = audit.Refused, alike
	s.note(e)
}
