package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/api"
	pages "mailbeacon/internal/dashboard"
	"mailbeacon/internal/reqlog"
	"mailbeacon/internal/web"
)

// shown is what the dashboard shows.
type shown struct {
	state    *state
	store    aggregate.Store
	told     *advertiser.Reports
	system   func() pages.System
	notReady func() []string
}

// newPages are the dashboard's pages, as the door takes them.
func newPages(s shown, logger *slog.Logger) (*pages.Dashboard, []web.Page, error) {
	d, err := pages.New(pages.Options{
		Campaigns: s.state.campaigns, Counts: s.store, Mails: s.store, Consent: s.state.consent, Advertisers: s.told, System: s.system, NotReady: s.notReady,
		SignOut: web.SignOutPath, CSRFField: web.CSRFField, Secure: web.Secure, Logger: logger, Version: version(),
	})
	if err != nil {
		return nil, nil, err
	}
	var all []web.Page
	for _, p := range d.Pages() {
		var roles api.RoleList
		for _, r := range p.Roles {
			roles = append(roles, api.Role(r))
		}
		all = append(all, web.Page{Title: p.Title, Path: p.Path, Roles: roles, Handler: func(w http.ResponseWriter, r *http.Request, v *web.Visit) {
			out := &reqlog.Writer{ResponseWriter: w}
			p.Handler(out, r, pages.Viewer{Name: v.Name, Role: string(v.Role), Advertiser: v.Advertiser, CSRF: v.CSRF})
			if as := pages.Export(r); as != "" && out.Status == http.StatusOK {
				v.NoteExport(as + " of " + pageOf(p.Path, r))
			}
		}})
	}
	return d, all, nil
}

// pageOf is which page a file was made of: its route, and the name in it where that is one that is registered.
func pageOf(path string, r *http.Request) string {
	if name := r.PathValue("name"); name != "" {
		return strings.Replace(path, "{name}", url.PathEscape(name), 1)
	}
	return path
}

// controlOf is how the control log does. clustered: others write it, and what is known here needs their proof.
func (s *state) controlOf(clustered bool) *pages.Control {
	st := s.follower.Stats()
	return &pages.Control{
		Position: uint64(st.Applied), LastContact: st.LastContact, Failing: st.LogFailing, ApplyErrors: st.ApplyErrors,
		HasLease: clustered, Lease: clustered && s.follower.Fresh(),
	}
}

// systemOf is how the parts of a server do that is everything in one process.
func systemOf(state *state, events *events, fold *fold) func() pages.System {
	return func() pages.System {
		sp, f := events.spool.Stats(), fold.runner.Stats()
		counting := &pages.Fold{Waiting: events.left(fold), Held: f.Held, LastCommit: f.LastCommit, Retries: f.Retries, Lost: f.Lost}
		if since, err := fold.runner.Fault(); err != nil {
			counting.FaultSince, counting.Fault = since, err.Error()
		}
		return pages.System{
			Spool: &pages.Spool{Healthy: sp.Healthy, Bytes: sp.Bytes, Segments: sp.Segments, Age: sp.Age, FailedAppends: sp.FailedAppends, Damaged: sp.Damaged},
			Fold:  counting, Control: state.controlOf(false),
		}
	}
}

// keepPages keeps the comparison's numbers at hand.
func (d *dashboard) keepPages(ctx context.Context) error { return d.pages.Run(ctx) }
