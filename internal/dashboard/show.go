package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"mailbeacon/internal/campaign"
)

// patience bounds how long a page waits for the store.
const patience = 10 * time.Second

// Policy is the Content-Security-Policy of every page: nothing but files of its own.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// leaf is a page that is a sheet: its template, and what fills it.
type leaf struct {
	template string
	make     func(*look) (*sheet, error)
}

// look is one request for a page.
type look struct {
	*http.Request
	viewer Viewer
	zone   zone
	now    time.Time
	query  url.Values
}

// sheet is what a page shows, and what of it can be had as a file.
type sheet struct {
	Title  string
	Status int // 0 is 200
	AsOf   time.Time
	// Stale says, in a sentence, what is older than it should be; the page looks by itself whether that is over.
	Stale  string
	Body   any
	Tables []*table
	// whole writes all of it as CSV where no table is named; nil: the first table.
	whole func(w *bytes.Buffer) error
	next  string // address of the next part, "" on the last
	// frames: it shows pages of this site in frames.
	frames bool
}

// problem is an error that is told to the viewer as it is.
type problem struct {
	status      int
	title, text string
}

func (p *problem) Error() string { return p.title }

func bad(title, text string) error { return &problem{http.StatusBadRequest, title, text} }

// unread is the error of a store that could not be asked.
type unread struct {
	since time.Time // when it last could, zero if never
	err   error
}

func (u *unread) Error() string { return "the counts can't be read: " + u.err.Error() }
func (u *unread) Unwrap() error { return u.err }

// show answers with a sheet: as a page, or as a file of its tables.
func (d *Dashboard) show(w http.ResponseWriter, r *http.Request, v Viewer, l leaf) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	k := &look{Request: r.WithContext(ctx), viewer: v, now: d.o.Now(), query: r.URL.Query()}
	k.zone = d.zoneOf(w, k)
	s, err := l.make(k)
	switch {
	case errors.Is(r.Context().Err(), context.Canceled):
		return // nobody is there any more
	case err != nil:
		d.fail(w, k, err)
	case k.query.Has("format"):
		d.export(w, k, s)
	default:
		d.render(w, k, s, l.template)
	}
}

// fail tells of what went wrong.
func (d *Dashboard) fail(w http.ResponseWriter, k *look, err error) {
	var p *problem
	var u *unread
	switch {
	case errors.As(err, &p):
	case errors.As(err, &u):
		d.o.Logger.Error("a page could not be made", "error", err)
		w.Header().Set("Retry-After", "5")
		p = &problem{http.StatusServiceUnavailable, "The counts can't be read at the moment", d.silence(k, u) + " Nothing is lost by that: what was answered is kept and will be counted. This page looks again every few seconds; the page System says what is at fault."}
	default:
		d.o.Logger.Error("a page failed", "error", err)
		p = &problem{http.StatusInternalServerError, "This page could not be made", "The server's log says why."}
	}
	d.problem(w, k, p)
}

// silence says since when the store does not answer.
func (d *Dashboard) silence(k *look, u *unread) string {
	if u.since.IsZero() {
		return "The store did not answer since this server was started."
	}
	return "The store last answered " + k.zone.moment(u.since) + "."
}

// Problem shows an error in the dashboard's frame. It is for whoever mounts the pages: who is not allowed, what is not there.
func (d *Dashboard) Problem(w http.ResponseWriter, r *http.Request, v Viewer, status int, title, text string) {
	k := &look{Request: r, viewer: v, now: d.o.Now(), query: url.Values{}, zone: utc}
	d.problem(w, k, &problem{status, title, text})
}

// NotFound is Problem for an address that nothing stands behind.
func (d *Dashboard) NotFound(w http.ResponseWriter, r *http.Request, v Viewer) {
	d.Problem(w, r, v, http.StatusNotFound, "There is no such page", "The address may be mistyped, or what it led to was moved.")
}

// Frame shows a body of somebody else's in the dashboard's frame.
func (d *Dashboard) Frame(w http.ResponseWriter, r *http.Request, v Viewer, status int, title string, body template.HTML) {
	k := &look{Request: r, viewer: v, now: d.o.Now(), query: url.Values{}, zone: utc}
	d.render(w, k, &sheet{Title: title, Status: status, Body: body}, "other")
}

func (d *Dashboard) problem(w http.ResponseWriter, k *look, p *problem) {
	s := &sheet{Title: p.title, Status: p.status, Body: p.text}
	if p.status == http.StatusServiceUnavailable {
		s.Stale = p.text
	}
	d.render(w, k, s, "problem")
}

// view is what the templates see.
type view struct {
	*sheet
	Files   *files
	Viewer  Viewer
	Nav     []entry
	SignOut string
	Field   string
	Version string
	Zone    zoneView
	Moment  string // of AsOf, in the zone
}

func (d *Dashboard) render(w http.ResponseWriter, k *look, s *sheet, name string) {
	var b bytes.Buffer
	err := d.templates[name].ExecuteTemplate(&b, "frame.html", view{
		sheet: s, Files: d.files, Viewer: k.viewer, Nav: d.entries(k.viewer, k.URL.Path), SignOut: d.o.SignOut, Field: d.o.CSRFField,
		Version: d.o.Version, Zone: k.zone.view(k.query), Moment: k.zone.moment(s.AsOf),
	})
	if err != nil {
		d.o.Logger.Error("a page could not be written", "page", name, "error", err)
		http.Error(w, "this page could not be made; the server's log says why", http.StatusInternalServerError)
		return
	}
	head(w, "text/html; charset=utf-8")
	if s.frames {
		w.Header().Set("Content-Security-Policy", Policy+"; frame-src 'self'")
	}
	w.Header().Set("Content-Language", "en")
	if s.Status != 0 {
		w.WriteHeader(s.Status)
	}
	_, _ = w.Write(b.Bytes()) // whoever hung up needs no answer
}

// head are the headers of every answer: numbers are for who asked, now.
func head(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", Policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// known finds a campaign by the name in a path.
func (d *Dashboard) known(name string) (campaign.Campaign, error) {
	c, ok := d.o.Campaigns.ByName(name)
	if !ok {
		return c, &problem{http.StatusNotFound, "There is no such campaign", fmt.Sprintf("Nothing is registered under the name %q. The list of campaigns can be searched by a part of a name or title.", short(name, 64))}
	}
	return c, nil
}

// with is the address of the same page with other parameters, by name and value; "" takes one away.
func (k *look) with(pairs ...string) string {
	q := url.Values{}
	for name, values := range k.query {
		if name != "format" && name != "table" && len(values) > 0 && values[0] != "" {
			q.Set(name, values[0])
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		q.Del(pairs[i])
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	path := k.URL.EscapedPath()
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// choice is a parameter that is one of few words, the first unless told.
func (k *look) choice(name string, words ...string) (string, error) {
	got := k.query.Get(name)
	if got == "" {
		return words[0], nil
	}
	for _, w := range words {
		if got == w {
			return w, nil
		}
	}
	return "", bad("This page does not know how to show that", fmt.Sprintf("In the address, %s is one of: %s.", name, list(words)))
}
