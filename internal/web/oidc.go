package web

import (
	"errors"
	"net/http"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
	"mailbeacon/internal/oidc"
)

// attemptLife is how long somebody may take at the provider's.
const attemptLife = 10 * time.Minute

// attempt is what the cookie of a sign-in at the provider's holds.
type attempt struct {
	oidc.Attempt
	Next   string `json:"x,omitempty"`
	Issued int64  `json:"t"`
}

// beginOIDC sends somebody to the provider. A GET does, since a form may only be sent to this site; it changes nothing but the
// browser's own cookie, and who is lured here signs in as no one else.
func (s *Site) beginOIDC(w http.ResponseWriter, r *http.Request) {
	if s.o.OIDC == nil {
		s.fail(w, r, http.StatusNotFound)
		return
	}
	next := s.local(r.URL.Query().Get("next"))
	a, address, err := s.o.OIDC.Begin(r.Context())
	if err != nil {
		s.log.Warn("nobody can sign in at the provider", "error", err)
		s.showSignIn(w, r, http.StatusServiceUnavailable, next, "The sign-in service does not answer. A key works meanwhile, and so does a one-time link.")
		return
	}
	s.setCookie(w, r, cookieOIDC, s.attempts.sign(attempt{a, next, s.now().Unix()}), attemptLife)
	redirect(w, address)
}

// again marks the second of two looks at what the provider sent somebody back with.
const again = "here"

// finishOIDC takes what the provider sent somebody back with. The first request comes from another site, so the browser keeps the
// cookies to itself; a page that leads to the same address makes it one of this site's.
func (s *Site) finishOIDC(w http.ResponseWriter, r *http.Request) {
	if s.o.OIDC == nil {
		s.fail(w, r, http.StatusNotFound)
		return
	}
	answer := r.URL.Query()
	a := attempt{}
	if !s.attempts.open(s.cookie(r, cookieOIDC), &a) || s.now().Sub(time.Unix(a.Issued, 0)) >= attemptLife {
		if answer.Get(again) == "" {
			answer.Set(again, "1")
			s.views.show(w, http.StatusOK, "go-on", "Signing you in", "/sign-in/oidc?"+answer.Encode())
			return
		}
		s.showSignIn(w, r, http.StatusForbidden, "/", "This sign-in was begun elsewhere, or too long ago. Please try again.")
		return
	}
	s.dropCookie(w, r, cookieOIDC)
	who, err := s.o.OIDC.Finish(r.Context(), a.Attempt, answer)
	holder := api.Holder{Name: who.Name, Role: api.Role(who.Role), Advertiser: who.Advertiser}
	if err == nil && !signsIn(holder) {
		err = oidc.ErrNoRole
	}
	if err != nil {
		s.refuseOIDC(w, r, who, err)
		return
	}
	s.begin(w, r, holder, viaOIDC, s.o.OIDC.Mark())
	s.note(audit.Entry{Event: audit.SignIn, Who: holder.Name, Role: string(holder.Role), Via: viaOIDC})
	redirect(w, s.local(a.Next))
}

// refuseOIDC says why somebody does not come in.
func (s *Site) refuseOIDC(w http.ResponseWriter, r *http.Request, who oidc.Person, err error) {
	status, what, wrong := http.StatusForbidden, "not let in by the provider", "The sign-in service did not let you in. Please try again, or use a key."
	switch {
	case errors.Is(err, oidc.ErrDown):
		status, what, wrong = http.StatusServiceUnavailable, "the provider does not answer", "The sign-in service does not answer. A key works meanwhile, and so does a one-time link."
	case errors.Is(err, oidc.ErrNoRole):
		what, wrong = "no role", "You are known to the sign-in service, but it gives you no role here. Whoever runs this server can tell which group has one."
	case errors.Is(err, oidc.ErrForged):
		what, wrong = "an answer that was not asked for", "This sign-in does not belong to this browser, or was used already. Please try again."
	}
	s.log.Warn("a sign-in at the provider failed", "error", err)
	s.noteRefused(audit.Entry{Who: who.Name, Via: viaOIDC, What: what})
	s.showSignIn(w, r, status, "/", wrong)
}

var _ Provider = (*oidc.Provider)(nil)
