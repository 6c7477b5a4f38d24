// Package oidc signs people in by a provider of OpenID Connect that their house has: the authorisation code flow with PKCE, state
// and nonce. Who has no role by the provider's word does not come in, and nobody is known by an address.
package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"mailbeacon/internal/datadir"
)

// Options are what a Provider is made of. All but ClientSecret are needed.
type Options struct {
	Issuer       string // as the provider writes it
	ClientID     string
	ClientSecret string // "" for a client that has none
	Redirect     string // URL of this side that the provider sends people back to
	RoleClaim    string // the claim that says what somebody may do
	NameClaim    string // the claim that somebody is called by
	Grants       []Grant
	// Pseudonyms is what names of those are made with whose claim holds none that may be kept. It is a secret.
	Pseudonyms []byte
}

// Errors of Finish and Begin; they come wrapped.
var (
	ErrDown    = errors.New("the provider does not answer")
	ErrNoRole  = errors.New("the provider gives the person none of the roles")
	ErrRefused = errors.New("the provider let nobody in")
	ErrForged  = errors.New("the answer does not belong to what was asked")
)

// patience bounds each exchange with the provider.
const patience = 10 * time.Second

// pause is how long a provider that did not answer is not asked again.
const pause = 2 * time.Second

// Provider is one that people sign in by. It may be used concurrently. It is asked for what it can do when somebody first signs
// in, so it may be down when this side starts.
type Provider struct {
	o    Options
	http *http.Client

	mu     sync.Mutex
	known  *oidc.Provider // nil until it answered
	failed time.Time      // when it last did not, and why
	why    error
}

// New returns a provider, or an error that names the missing option.
func New(o Options) (*Provider, error) {
	switch {
	case o.Issuer == "" || o.ClientID == "" || o.Redirect == "":
		return nil, errors.New("oidc: no issuer, no client or no address to come back to")
	case o.RoleClaim == "" || o.NameClaim == "" || len(o.Grants) == 0:
		return nil, errors.New("oidc: nothing that gives roles or names")
	case len(o.Pseudonyms) == 0:
		return nil, errors.New("oidc: no secret for pseudonyms")
	}
	return &Provider{o: o, http: &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: patience, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
	}}, nil
}

// Mark changes with whatever gives people their roles: a session that was begun under another one is over.
func (p *Provider) Mark() string {
	b, err := json.Marshal([]any{p.o.Issuer, p.o.ClientID, p.o.RoleClaim, p.o.NameClaim, p.o.Grants})
	if err != nil { // texts always have a form
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Close gives idle connections back.
func (p *Provider) Close() { p.http.CloseIdleConnections() }

// Attempt is what one sign-in has to remember until the person comes back. It is that browser's own, and is to be kept from
// being changed.
type Attempt struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
}

func random() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Begin returns where to send the person, and what to remember. Where the provider is out of reach it is ErrDown.
func (p *Provider) Begin(ctx context.Context) (Attempt, string, error) {
	known, err := p.discover(ctx)
	if err != nil {
		return Attempt{}, "", err
	}
	a := Attempt{random(), random(), oauth2.GenerateVerifier()}
	return a, p.config(known).AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), nil
}

func (p *Provider) config(known *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Endpoint: known.Endpoint(), RedirectURL: p.o.Redirect,
		Scopes: []string{oidc.ScopeOpenID, "profile"},
	}
}

// discover reads what the provider can do, once.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	if p.why != nil && time.Since(p.failed) < pause {
		return nil, p.why // so that of many who wait, each waits once
	}
	// The library keeps the context's client for the provider's keys, and fetches those anew on later calls: the request's own
	// end must not be theirs.
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	known, err := oidc.NewProvider(oidc.ClientContext(bound, p.http), p.o.Issuer)
	if err != nil {
		p.failed, p.why = time.Now(), fmt.Errorf("%w: %w", ErrDown, plain(err))
		return nil, p.why
	}
	p.known = known
	return known, nil
}

// Person is who signed in.
type Person struct {
	Name       string // "oidc:" and a name that holds no address
	Role       string
	Advertiser string
}

// Finish takes what the provider sent the person back with.
func (p *Provider) Finish(ctx context.Context, a Attempt, answer url.Values) (Person, error) {
	if a.State == "" || subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(a.State)) != 1 {
		return Person{}, ErrForged
	}
	if answer.Get("error") != "" || answer.Get("code") == "" {
		return Person{}, ErrRefused // what it says may hold anything
	}
	known, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.http), patience)
	defer cancel()
	token, err := p.config(known).Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < 500 {
			return Person{}, fmt.Errorf("%w: it answers the code with status %d", ErrRefused, refused.Response.StatusCode)
		}
		return Person{}, fmt.Errorf("%w: %w", ErrDown, plain(err))
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := known.Verifier(&oidc.Config{ClientID: p.o.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Person{}, fmt.Errorf("%w: its token does not hold", ErrForged) // the library's words hold parts of the token
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return Person{}, fmt.Errorf("%w: the nonce is another", ErrForged)
	}
	return p.person(ctx, known, id, token)
}

// person reads the claims: of the token, and what it lacks of the provider's page about the person.
func (p *Provider) person(ctx context.Context, known *oidc.Provider, id *oidc.IDToken, token *oauth2.Token) (Person, error) {
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("%w: its token holds no claims", ErrForged)
	}
	if _, has := claims[p.o.RoleClaim]; !has || claims[p.o.NameClaim] == nil {
		if err := p.ask(ctx, known, id.Subject, token, claims); err != nil {
			return Person{}, err
		}
	}
	person := Person{Name: p.name(id.Subject, claims[p.o.NameClaim])}
	g, ok := granted(p.o.Grants, claims[p.o.RoleClaim])
	if !ok {
		return person, ErrNoRole
	}
	person.Role, person.Advertiser = g.Role, g.Advertiser
	return person, nil
}

// ask adds what the provider says of the person, without changing what the token says.
func (p *Provider) ask(ctx context.Context, known *oidc.Provider, subject string, token *oauth2.Token, claims map[string]any) error {
	if known.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := known.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, plain(err))
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil || info.Subject != subject {
		return fmt.Errorf("%w: it speaks of somebody else", ErrForged)
	}
	for name, value := range more {
		if _, has := claims[name]; !has {
			claims[name] = value
		}
	}
	return nil
}

var keepable = regexp.MustCompile(`^[\pL\pN][\pL\pN ._'-]{0,63}$`)

// name is what somebody is called in sessions and in the audit log: never an address.
func (p *Provider) name(subject string, claim any) string {
	if name, ok := claim.(string); ok && keepable.MatchString(name) {
		return "oidc:" + name
	}
	h := hmac.New(sha256.New, p.o.Pseudonyms)
	h.Write([]byte(p.o.Issuer + "\x00" + subject))
	return "oidc:" + hex.EncodeToString(h.Sum(nil)[:8])
}

// plain is an error without the address that was asked, which may hold a code, and without what was answered.
func plain(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if i := strings.IndexByte(text, ':'); i > 0 {
		text = text[:i]
	}
	return errors.New(text)
}

// ReadSecret reads a file that holds the client's secret alone and that only its owner may read.
func ReadSecret(path string) (string, error) {
	b, err := datadir.ReadPrivate(path, 64<<10)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" || len(secret) > 4096 || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("%s holds no secret; right would be one line", path)
	}
	return secret, nil
}
