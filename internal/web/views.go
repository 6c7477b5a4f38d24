package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"mailbeacon/internal/api"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/door.css
var style []byte

// filesPath is where the door's own files are; pages may have others elsewhere.
const filesPath = "/door/"

// views are the door's own pages. They never change, and may be used concurrently.
type views struct {
	pages map[string]*template.Template
	style string // the file's name, with a hash of what it holds, so that it may be cached for ever
}

func loadViews() (*views, error) {
	sum := sha256.Sum256(style)
	v := &views{pages: map[string]*template.Template{}, style: "door." + hex.EncodeToString(sum[:6]) + ".css"}
	layout, err := template.ParseFS(templateFiles, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	for _, name := range []string{"sign-in", "link", "signed-out", "go-on", "start", "problem"} {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(templateFiles, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("web: page %s: %w", name, err)
		}
		v.pages[name] = page
	}
	return v, nil
}

// sheet is what the layout shows.
type sheet struct {
	Title string
	Style string
	Body  any
}

// show answers with a page.
func (v *views) show(w http.ResponseWriter, status int, name, title string, body any) {
	var b bytes.Buffer
	if err := v.pages[name].ExecuteTemplate(&b, "layout.html", sheet{title, filesPath + v.style, body}); err != nil {
		panic(err) // of the program's own templates and types
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever hung up needs no answer
}

// file answers with the style sheet.
func (v *views) file(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("file") != v.style {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(style)
}

// problemBody is the body of a page that says what went wrong, and what to do.
type problemBody struct {
	Text   string
	Roles  api.RoleList // that may, where the viewer's may not
	CSRF   string       // of the viewer's session, "" where there is none
	Viewer *api.Holder
}

// problems are the titles and texts of statuses.
var problems = map[int][2]string{
	http.StatusBadRequest:          {"This can't be read", "What was sent is too large, or broke off. Go back and try again."},
	http.StatusForbidden:           {"This form no longer holds", "It was open for too long, or belongs to another session, or was sent from elsewhere. Nothing was changed. Go back, load the page anew, and try again."},
	http.StatusNotFound:            {"There is nothing here", "No page has this address. It may have been mistyped, or the page may be gone."},
	http.StatusMethodNotAllowed:    {"This can't be done here", "The address exists, and is for something else."},
	http.StatusInternalServerError: {"The server failed at this", "Its log says why. Try again; if it stays, whoever runs the server has to look."},
}

// Fail answers with a page that says what went wrong: 400, 403 (of a form), 404, 405 or 500. It is for pages, too.
func (v *Visit) Fail(w http.ResponseWriter, r *http.Request, status int) { v.site.fail(w, r, status) }

func (s *Site) fail(w http.ResponseWriter, r *http.Request, status int) {
	p, known := problems[status]
	if !known {
		status, p = http.StatusInternalServerError, problems[http.StatusInternalServerError]
	}
	b := problemBody{Text: p[1]}
	if one := s.session(r); one != nil {
		who := one.holder()
		b.CSRF, b.Viewer = s.csrf(one.ID), &who
	}
	s.views.show(w, status, "problem", p[0], b)
}

// notAllowed says that a page is for other roles.
func (s *Site) notAllowed(w http.ResponseWriter, _ *http.Request, one *session, roles api.RoleList) {
	who := one.holder()
	s.views.show(w, http.StatusForbidden, "problem", "This page is not for you", problemBody{
		Text: "You are signed in as " + who.Name + ", whose role is " + string(who.Role) + ".", Roles: roles, CSRF: s.csrf(one.ID), Viewer: &who,
	})
}

// startBody is the body of the start page.
type startBody struct {
	*Visit
	Pages      []entry
	Operations []string // of the API
}

type entry struct{ Title, Path string }

// start lists what the viewer may see.
func (s *Site) start(w http.ResponseWriter, _ *http.Request, v *Visit) {
	b := startBody{Visit: v, Operations: api.Operations(v.Role)}
	for _, p := range s.o.Pages {
		if p.Title != "" && (p.Roles == nil || slices.Contains(p.Roles, v.Role)) {
			_, path, _ := strings.Cut(p.Path, " ")
			b.Pages = append(b.Pages, entry{p.Title, path})
		}
	}
	s.views.show(w, http.StatusOK, "start", "Welcome", b)
}
