package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
	"mailbeacon/internal/config"
	pages "mailbeacon/internal/dashboard"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/oidc"
	"mailbeacon/internal/web"
)

// dashboard is what a browser reaches on the private side.
type dashboard struct {
	site  *web.Site
	pages *pages.Dashboard
	audit *audit.Log
	oidc  *oidc.Provider // nil where people sign in by keys and links alone
	url   string         // where people reach it
}

// openDashboard makes the dashboard of a private side that listens on addr.
func openDashboard(cfg *config.Config, dir *datadir.Dir, keys *api.Keys, addr net.Addr, show shown, logger *slog.Logger) (*dashboard, error) {
	d := &dashboard{url: cfg.DashboardURL}
	if d.url == "" {
		d.url = config.LocalURL(addr)
	}
	o := web.Options{Data: dir.Root(), Keys: keys, Logger: logger}
	if cfg.OIDCIssuer != "" {
		var err error
		if d.oidc, err = openProvider(cfg, dir, d.url); err != nil {
			return nil, err
		}
		o.OIDC, o.OIDCName = d.oidc, hostOf(cfg.OIDCIssuer)
	} else if cfg.OIDCClientID != "" || cfg.OIDCRoles != "" || cfg.OIDCClientSecret != "" {
		return nil, usage(&config.Error{Setting: "oidc-issuer", Source: "--oidc-issuer", Reason: "is not set, and other settings of the provider are; right would be all, or none"})
	}
	var err error
	if d.pages, o.Pages, err = newPages(show, logger); err != nil {
		return nil, err
	}
	o.Files = map[string]http.Handler{"GET " + pages.FilesPath: d.pages.Files()}
	if d.audit, err = audit.Open(dir.Root()); err != nil {
		return nil, err
	}
	o.Audit = d.audit
	if d.site, err = web.New(o); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// openProvider is the provider that the settings name.
func openProvider(cfg *config.Config, dir *datadir.Dir, dashboard string) (*oidc.Provider, error) {
	if cfg.OIDCClientID == "" {
		return nil, usage(&config.Error{Setting: "oidc-client-id", Source: "--oidc-client-id", Reason: "is not set, and --oidc-issuer is; right would be what the provider calls the dashboard"})
	}
	var roles []string
	for _, r := range api.Roles {
		roles = append(roles, string(r))
	}
	grants, err := oidc.ParseRoles(cfg.OIDCRoles, roles)
	if err != nil {
		return nil, usage(&config.Error{Setting: "oidc-roles", Source: "--oidc-roles", Reason: err.Error()})
	}
	secret := ""
	if cfg.OIDCClientSecret != "" {
		if secret, err = oidc.ReadSecret(cfg.OIDCClientSecret); err != nil {
			return nil, fmt.Errorf("setting oidc-client-secret-file: %w", err)
		}
	}
	pseudonyms, err := web.Pseudonyms(dir.Root())
	if err != nil {
		return nil, err
	}
	return oidc.New(oidc.Options{
		Issuer: cfg.OIDCIssuer, ClientID: cfg.OIDCClientID, ClientSecret: secret, Redirect: dashboard + "/sign-in/oidc",
		RoleClaim: cfg.OIDCRoleClaim, NameClaim: cfg.OIDCNameClaim, Grants: grants, Pseudonyms: pseudonyms,
	})
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "your account"
	}
	return u.Hostname()
}

// behind is the private side: the API, and the dashboard at every address that is not the API's.
func (d *dashboard) behind(a http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if api.Owns(r.URL.Path) {
			a.ServeHTTP(w, r)
			return
		}
		d.site.ServeHTTP(w, r)
	})
}

func (d *dashboard) close() error {
	if d.oidc != nil {
		d.oidc.Close()
	}
	return d.audit.Close()
}

// firstLink is the dashboard's address with a link that signs in once, for whoever started the server.
func (d *dashboard) firstLink() (string, error) {
	path, _, err := d.site.Link(api.AdminHolder)
	return d.url + path, err
}
