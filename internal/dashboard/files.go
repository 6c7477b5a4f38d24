package dashboard

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
)

//go:embed templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// FilesPath is where Files is mounted.
const FilesPath = "/static/"

// files are what pages refer to, each by a name with its hash in it, so that it may be cached for ever.
type files struct {
	Style, Script, Icon string // addresses
	byName              map[string]file
}

type file struct {
	contentType string
	content     []byte
}

func loadFiles() (*files, error) {
	f := &files{byName: map[string]file{}}
	for _, one := range []struct {
		name, contentType string
		address           *string
	}{
		{"style.css", "text/css; charset=utf-8", &f.Style},
		{"page.js", "text/javascript; charset=utf-8", &f.Script},
		{"icon.svg", "image/svg+xml", &f.Icon},
	} {
		content, err := staticFiles.ReadFile("static/" + one.name)
		if err != nil {
			return nil, fmt.Errorf("dashboard: %w", err)
		}
		sum := sha256.Sum256(content)
		end := path.Ext(one.name)
		name := strings.TrimSuffix(one.name, end) + "." + hex.EncodeToString(sum[:6]) + end
		f.byName[name] = file{one.contentType, content}
		*one.address = FilesPath + name
	}
	return f, nil
}

// ServeHTTP implements http.Handler.
func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one, ok := f.byName[strings.TrimPrefix(r.URL.Path, FilesPath)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", one.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'")
	_, _ = w.Write(one.content) // whoever hung up needs no answer
}

// Style is the address of the style sheet, for pages of others that look alike.
func (d *Dashboard) Style() string { return d.files.Style }

// parseTemplates makes a template of each page in its frame, and one of the frame around anything.
func parseTemplates() (map[string]*template.Template, error) {
	shared, err := template.New("frame.html").ParseFS(templateFiles, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	all := map[string]*template.Template{}
	for _, name := range []string{"campaigns", "campaign", "heat", "compare", "consent", "system", "advertisers", "advertiser", "problem", "other"} {
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("dashboard: %w", err)
		}
		all[name] = t
	}
	return all, nil
}
