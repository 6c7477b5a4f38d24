package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"mailbeacon/internal/api"
)

const (
	sessionLife = 12 * time.Hour
	sessionIdle = 2 * time.Hour
	// seenEvery is how often a session is told anew when it was last used.
	seenEvery = time.Minute
	// skew is how far ahead of this clock one may be that was set back since.
	skew = time.Minute
)

// The ways in.
const (
	viaKey  = "key"
	viaLink = "link"
	viaOIDC = "oidc"
)

// session is what its cookie holds. The browser's user can read it and can't change it.
type session struct {
	ID         string   `json:"i"`
	Name       string   `json:"n"`
	Role       api.Role `json:"r"`
	Advertiser string   `json:"a,omitempty"`
	Via        string   `json:"v"`
	// Mark is that of the key that it was begun with (of the link's maker, for a link), or of the provider's settings. It is over
	// with them.
	Mark    string `json:"m"`
	Issued  int64  `json:"t"` // all in Unix seconds
	Expires int64  `json:"e"`
	Seen    int64  `json:"s"`
}

func (s *session) holder() api.Holder {
	return api.Holder{Name: s.Name, Role: s.Role, Advertiser: s.Advertiser}
}

// begin makes a session and hands its cookie out. A session that the browser had before is over: nobody can have planted one
// that goes on as somebody else's.
func (s *Site) begin(w http.ResponseWriter, r *http.Request, who api.Holder, via, mark string) {
	if old := s.session(r); old != nil {
		s.end(old, "another sign-in")
	}
	now := s.now()
	fresh := &session{
		ID: newID(), Name: who.Name, Role: who.Role, Advertiser: who.Advertiser, Via: via, Mark: mark,
		Issued: now.Unix(), Expires: now.Add(sessionLife).Unix(), Seen: now.Unix(),
	}
	s.setCookie(w, r, cookieSession, s.sessions.sign(fresh), 0)
	s.dropCookie(w, r, cookieForm)
}

// session is the request's, nil where it has none that holds.
func (s *Site) session(r *http.Request) *session {
	one := &session{}
	if !s.sessions.open(s.cookie(r, cookieSession), one) {
		return nil
	}
	now := s.now()
	switch {
	case one.ID == "" || now.Unix() >= one.Expires || now.Add(skew).Unix() < one.Issued,
		now.Sub(time.Unix(one.Seen, 0)) >= sessionIdle,
		s.ended.has(one.ID):
		return nil
	}
	if one.Via == viaOIDC {
		if s.o.OIDC == nil || s.o.OIDC.Mark() != one.Mark || !signsIn(one.holder()) {
			return nil
		}
		return one
	}
	holder, ok := s.o.Keys.Held(one.Name, one.Mark)
	if !ok || !signsIn(holder) {
		return nil
	}
	one.Role, one.Advertiser = holder.Role, holder.Advertiser // what the key may do now
	return one
}

// roleAdvertiser is bound to one advertiser; without a name there is nobody whose numbers it might see.
const roleAdvertiser = "advertiser"

// signsIn says whether the holder may have a session at all.
func signsIn(h api.Holder) bool {
	return slices.Contains(api.Roles, h.Role) && (h.Role == roleAdvertiser) == (h.Advertiser != "")
}

// refresh tells the browser that its session was used.
func (s *Site) refresh(w http.ResponseWriter, r *http.Request, one *session) {
	now := s.now()
	if now.Sub(time.Unix(one.Seen, 0)) < seenEvery {
		return
	}
	again := *one
	again.Seen = now.Unix()
	s.setCookie(w, r, cookieSession, s.sessions.sign(&again), 0)
}

// csrf is the token that every form of a session, or of a page before it, carries.
func (s *Site) csrf(id string) string { return s.tokens.word(id) }

// Names of cookies, before the install's own end: cookies know hosts and not ports, and several servers may run on one machine.
const (
	cookieSession = "session"
	cookieForm    = "form"
	cookieOIDC    = "oidc"
)

// Secure says whether a request came over https, by itself or by a proxy's word. Who lies in that header harms his own cookie.
func Secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func (s *Site) cookieName(r *http.Request, name string) string {
	name = "mailbeacon-" + name + "-" + s.install
	if Secure(r) {
		return "__Host-" + name // no other host of the domain can have set it
	}
	return name
}

func (s *Site) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(r, name))
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie hands a cookie out; without a life it ends with the browser.
func (s *Site) setCookie(w http.ResponseWriter, r *http.Request, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure goes by how the request came
		Name: s.cookieName(r, name), Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: Secure(r), SameSite: http.SameSiteStrictMode,
	})
}

func (s *Site) dropCookie(w http.ResponseWriter, r *http.Request, name string) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as above
		Name: s.cookieName(r, name), Path: "/", MaxAge: -1,
		HttpOnly: true, Secure: Secure(r), SameSite: http.SameSiteStrictMode,
	})
}
