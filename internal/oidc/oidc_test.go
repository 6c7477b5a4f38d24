package oidc_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/internal/oidc"
	"mailbeacon/internal/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const redirect = "http://127.0.0.1:1/sign-in/oidc"

var roles = []string{"admin", "sender", "marketer", "privacy", "advertiser"}

func options(issuer string) oidc.Options {
	return oidc.Options{
		Issuer: issuer, ClientID: oidctest.ClientID, ClientSecret: oidctest.Secret, Redirect: redirect,
		RoleClaim: oidctest.RoleClaim, NameClaim: "preferred_username", Pseudonyms: []byte("secret"),
		Grants: []oidc.Grant{{Value: "staff", Role: "admin"}, {Value: "acme", Role: "advertiser", Advertiser: "acme-shoes"}},
	}
}

func open(t *testing.T, o oidc.Options) *oidc.Provider {
	t.Helper()
	p, err := oidc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestRealProvider goes the whole way at a real provider, and wrong ways.
func TestRealProvider(t *testing.T) {
	t.Parallel()
	real := oidctest.Start(t, []string{redirect},
		oidctest.User{Name: "ann", Group: "staff"}, oidctest.User{Name: "buyer", Group: "acme"}, oidctest.User{Name: "eve", Group: "others"}, oidctest.User{Name: "bob@example.com", Group: "staff"})
	p := open(t, options(real.Issuer))
	begin := func() (oidc.Attempt, string) {
		t.Helper()
		a, address, err := p.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a, address
	}
	for name, want := range map[string]struct {
		person oidc.Person
		err    error
	}{
		"ann":             {oidc.Person{Name: "oidc:ann", Role: "admin"}, nil},
		"buyer":           {oidc.Person{Name: "oidc:buyer", Role: "advertiser", Advertiser: "acme-shoes"}, nil},
		"eve":             {oidc.Person{Name: "oidc:eve"}, oidc.ErrNoRole},
		"bob@example.com": {oidc.Person{Name: "oidc:8c1a7d9d", Role: "admin"}, nil}, // a pseudonym
	} {
		a, address := begin()
		if q, _ := url.Parse(address); q.Query().Get("code_challenge_method") != "S256" || q.Query().Get("nonce") != a.Nonce || strings.Contains(address, a.Verifier) {
			t.Errorf("%s", address)
		}
		back := real.Visit(t, address, name)
		got, err := p.Finish(t.Context(), a, back.Query())
		if strings.Contains(name, "@") {
			if strings.Contains(got.Name, "@") || strings.Contains(got.Name, "bob") || len(got.Name) != len("oidc:")+16 {
				t.Errorf("%s is called %s", name, got.Name)
			}
			got.Name = want.person.Name
		}
		if got != want.person || !errors.Is(err, want.err) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		if _, err := p.Finish(t.Context(), a, back.Query()); !errors.Is(err, oidc.ErrRefused) {
			t.Errorf("the code again: %v", err)
		}
	}
	wrong := func(what string, want error, change func(a *oidc.Attempt, q url.Values)) {
		t.Helper()
		a, address := begin()
		q := real.Visit(t, address, "ann").Query()
		change(&a, q)
		who, err := p.Finish(t.Context(), a, q)
		if !errors.Is(err, want) || who != (oidc.Person{}) || strings.Contains(err.Error(), q.Get("code")) && q.Get("code") != "" {
			t.Errorf("%s: %+v %v", what, who, err)
		}
	}
	wrong("another state", oidc.ErrForged, func(a *oidc.Attempt, _ url.Values) { a.State = "x" })
	wrong("no state", oidc.ErrForged, func(a *oidc.Attempt, q url.Values) { a.State = ""; q.Del("state") })
	wrong("another nonce", oidc.ErrForged, func(a *oidc.Attempt, _ url.Values) { a.Nonce = "x" })
	wrong("another verifier", oidc.ErrRefused, func(a *oidc.Attempt, _ url.Values) { a.Verifier = strings.Repeat("x", 43) })
	wrong("no code", oidc.ErrRefused, func(_ *oidc.Attempt, q url.Values) { q.Del("code") })
	wrong("an error", oidc.ErrRefused, func(_ *oidc.Attempt, q url.Values) { q.Set("error", "access_denied") })
	a, address := begin()
	q := real.Visit(t, address, "ann").Query()
	real.Stop()
	if _, err := p.Finish(t.Context(), a, q); !errors.Is(err, oidc.ErrDown) || strings.Contains(err.Error(), q.Get("code")) {
		t.Errorf("of a provider that died: %v", err)
	}
}

// TestDown: a provider that is down at first is asked again later.
func TestDown(t *testing.T) {
	t.Parallel()
	p := open(t, options("http://127.0.0.1:1/"))
	began := time.Now()
	for range 3 {
		if _, _, err := p.Begin(t.Context()); !errors.Is(err, oidc.ErrDown) {
			t.Errorf("%v", err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	o := options("http://localhost:1/")
	same := open(t, o).Mark()
	o.ClientSecret, o.Redirect = "other", "http://other/"
	if open(t, o).Mark() != same {
		t.Error("the secret gives nobody a role")
	}
	o.Grants = o.Grants[:1]
	if open(t, o).Mark() == same {
		t.Error("other roles, the same mark")
	}
}

func TestNewNeeds(t *testing.T) {
	t.Parallel()
	for i, change := range []func(*oidc.Options){
		func(o *oidc.Options) { o.Issuer = "" }, func(o *oidc.Options) { o.ClientID = "" }, func(o *oidc.Options) { o.Redirect = "" }, func(o *oidc.Options) { o.RoleClaim = "" },
		func(o *oidc.Options) { o.NameClaim = "" }, func(o *oidc.Options) { o.Grants = nil }, func(o *oidc.Options) { o.Pseudonyms = nil },
	} {
		o := options("http://localhost:1/")
		change(&o)
		if _, err := oidc.New(o); err == nil {
			t.Errorf("option %d is not missed", i)
		}
	}
}

func TestParseRoles(t *testing.T) {
	t.Parallel()
	got, err := oidc.ParseRoles("staff=admin, cn%3Dnews%2Cdc%3Dx = marketer,acme=advertiser:acme-shoes", roles)
	want := []oidc.Grant{{"staff", "admin", ""}, {"cn=news,dc=x", "marketer", ""}, {"acme", "advertiser", "acme-shoes"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	for text, want := range map[string]string{
		"": "right would be VALUE=ROLE", "staff": "right would be VALUE=ROLE", "=admin": "right would be VALUE=ROLE", "staff=": "right would be VALUE=ROLE", "a=admin,": "right would be",
		"staff=god": "right would be one of admin, sender", "acme=advertiser": "VALUE=advertiser:NAME", "staff=admin:x": "only the role advertiser", "a=admin,a=sender": "twice",
	} {
		if _, err := oidc.ParseRoles(text, roles); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := oidc.ParseRoles("acme=advertiser:x", roles[:4]); err == nil {
		t.Error("a role that there is not was taken")
	}
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	for _, c := range []struct {
		content string
		mode    os.FileMode
		want    string
	}{{"abc\n", 0o600, ""}, {"abc", 0o640, "set it to 0600"}, {"\n", 0o600, "holds no secret"}, {"a\nb", 0o600, "holds no secret"}} {
		if err := errors.Join(os.WriteFile(path, []byte(c.content), 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		secret, err := oidc.ReadSecret(path)
		if c.want == "" && (err != nil || secret != "abc") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %q %v", c.content, secret, err)
		}
	}
}
