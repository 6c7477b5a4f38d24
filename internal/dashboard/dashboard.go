// Package dashboard is what a person sees of the counts in a browser: campaigns, one of them, several side by side, consent in
// numbers, and how the system does. It shows what internal/report says, drawn on the server; there is no page that needs script.
//
// Who may come in is not its business: whoever mounts its pages signs people in, looks at a page's roles, and hands over a Viewer.
package dashboard

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
)

// Campaigns are what is registered. They may be asked concurrently. See campaign.Registry.
type Campaigns interface {
	ByName(name string) (campaign.Campaign, bool)
	List(after uint32, limit int) []campaign.Campaign
	Latest(before uint32, limit int) []campaign.Campaign
	Len() int
	Links(number uint32) []campaign.Link
}

// Consent is what people chose, in numbers. It may be asked concurrently. See consent.Table.
type Consent interface {
	Census() consent.Census
	Bytes() int
	Basis() consent.Basis
}

// Entry is a page of somebody else's in the navigation.
type Entry struct {
	Title string
	Path  string
	Roles []string
}

// Options are what a Dashboard is made of. Campaigns, Counts, Consent, System and NotReady are needed.
type Options struct {
	Campaigns Campaigns
	Counts    aggregate.Reader
	Consent   Consent
	// System says how the parts of this process do. It may be called concurrently.
	System func() System
	// NotReady says, each in a sentence, what is at fault; nothing if nothing is. It may be called concurrently.
	NotReady    func() []string
	Advertisers Advertisers
	// Mails are what heat maps are drawn on. nil: there are none.
	Mails aggregate.Mails
	// Entries are added to the navigation, after the dashboard's own.
	Entries []Entry
	// SignOut is where a form with the Viewer's CSRF token is posted to by whoever leaves; "" for no such button.
	SignOut string
	// CSRFField is the name of the token in that form; "" is "csrf".
	CSRFField string
	// Secure says whether a request came over https, perhaps by a proxy's word. nil: where it did so itself.
	Secure func(r *http.Request) bool
	// Logger gets what failed inside. nil is silence.
	Logger  *slog.Logger
	Version string
	// Now is the clock. nil is time.Now.
	Now func() time.Time
}

// Viewer is who looks.
type Viewer struct {
	Name       string
	Role       string // of the words of api.Role
	Advertiser string // the one whose numbers an advertiser may see; "" for every other role
	CSRF       string // the token of the session
}

// Page is an address and who may see it.
type Page struct {
	// Title is what the navigation calls it, "" where it does not.
	Title string
	// Path is a pattern of net/http, with the method.
	Path string
	// Roles are all that may see it.
	Roles []string
	// Handler shows it to a viewer whose role is among them.
	Handler func(w http.ResponseWriter, r *http.Request, v Viewer)

	leaf leaf // of the pages that are sheets
}

// The roles, as api.Role has them. internal/api says what each may ask of it; a page shows nobody more.
const (
	admin          = "admin"
	sender         = "sender"
	marketer       = "marketer"
	privacy        = "privacy"
	advertiserRole = "advertiser"
)

// Dashboard are the pages. They may be called concurrently.
type Dashboard struct {
	o         Options
	pages     []Page
	templates map[string]*template.Template
	files     *files
	memory    *memory
}

// New returns the pages, or an error that names the missing option.
func New(o Options) (*Dashboard, error) {
	switch {
	case o.Campaigns == nil:
		return nil, errors.New("dashboard: no campaigns")
	case o.Counts == nil:
		return nil, errors.New("dashboard: no counts")
	case o.Consent == nil:
		return nil, errors.New("dashboard: no consent")
	case o.Advertisers == nil:
		return nil, errors.New("dashboard: no advertisers")
	case o.System == nil:
		return nil, errors.New("dashboard: nothing that knows the system")
	case o.NotReady == nil:
		return nil, errors.New("dashboard: no readiness")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Secure == nil {
		o.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if o.CSRFField == "" {
		o.CSRFField = "csrf"
	}
	d := &Dashboard{o: o, memory: newMemory(o.Counts, o.Now)}
	var err error
	if d.files, err = loadFiles(); err != nil {
		return nil, err
	}
	if d.templates, err = parseTemplates(); err != nil {
		return nil, err
	}
	d.pages = d.list()
	return d, nil
}

// list is every page. What is numbers of campaigns is for those whose keys may ask for reports; consent, even in numbers,
// for those who answer people; the system for all who work here.
func (d *Dashboard) list() []Page {
	everybody := []string{admin, sender, marketer, privacy, advertiserRole}
	reports := []string{admin, marketer}
	pages := []Page{
		{Path: "GET /{$}", Roles: everybody, Handler: d.home},
		{Title: "Campaigns", Path: "GET /campaigns", Roles: reports, leaf: leaf{"campaigns", d.campaigns}},
		{Path: "GET /campaigns/{name}", Roles: reports, leaf: leaf{"campaign", d.campaign}},
		{Path: "GET /campaigns/{name}/heat", Roles: reports, leaf: leaf{"heat", d.heat}},
		{Path: "GET /campaigns/{name}/heat/mail", Roles: reports, Handler: d.heatMail},
		{Title: "Comparison", Path: "GET /compare", Roles: reports, leaf: leaf{"compare", d.compare}},
		{Title: "Advertisers", Path: "GET /advertisers", Roles: reports, leaf: leaf{"advertisers", d.advertisers}},
		{Path: "GET /advertisers/{name}", Roles: []string{admin, marketer, advertiserRole}, leaf: leaf{"advertiser", d.advertiser}},
		{Title: "Consent", Path: "GET /consent", Roles: []string{admin, privacy}, leaf: leaf{"consent", d.consent}},
		{Title: "System", Path: "GET /system", Roles: []string{admin, sender, marketer, privacy}, leaf: leaf{"system", d.system}},
	}
	for i := range pages {
		if l := pages[i].leaf; l.make != nil {
			pages[i].Handler = func(w http.ResponseWriter, r *http.Request, v Viewer) { d.show(w, r, v, l) }
		}
	}
	return pages
}

// Pages lists them. The list is the caller's.
func (d *Dashboard) Pages() []Page { return slices.Clone(d.pages) }

// Files answers FilesPath + name: style, script and icon. They are the same for everybody and tell nothing, so no sign-in
// need stand before them.
func (d *Dashboard) Files() http.Handler { return d.files }

// Run keeps the numbers of the latest campaigns at hand for the comparison, until ctx ends, and returns nil. Without it whoever
// looks first waits for them.
func (d *Dashboard) Run(ctx context.Context) error {
	return d.memory.run(ctx, d.o.Campaigns, d.o.Logger)
}

// Export is the format in which a request asks for tables as a file, "csv" or "json"; "" where it asks for a page.
func Export(r *http.Request) string {
	switch f := r.URL.Query().Get("format"); f {
	case formatCSV, formatJSON:
		return f
	}
	return ""
}

// home leads to the first page of the viewer's.
func (d *Dashboard) home(w http.ResponseWriter, r *http.Request, v Viewer) {
	entries := d.entries(v, "")
	if len(entries) == 0 {
		d.Problem(w, r, v, http.StatusForbidden, "Nothing to see here yet", "A key of the role "+v.Role+" has no page. Whoever runs the server can make one of another role: mailbeacon key add NAME --role marketer.")
		return
	}
	http.Redirect(w, r, entries[0].Path, http.StatusSeeOther)
}

// entry is a line of the navigation.
type entry struct {
	Title, Path string
	Here        bool
}

// entries is what a viewer may go to, from a path.
func (d *Dashboard) entries(v Viewer, at string) []entry {
	var all []entry
	add := func(title, path string, roles []string) {
		if title != "" && slices.Contains(roles, v.Role) {
			all = append(all, entry{title, path, at == path || strings.HasPrefix(at, path+"/")})
		}
	}
	for i := range d.pages {
		_, path, _ := strings.Cut(d.pages[i].Path, " ")
		add(d.pages[i].Title, path, d.pages[i].Roles)
	}
	if v.Role == advertiserRole {
		add("Your report", advertiserPath(v.Advertiser), []string{advertiserRole})
	}
	for _, e := range d.o.Entries {
		add(e.Title, e.Path, e.Roles)
	}
	return all
}
