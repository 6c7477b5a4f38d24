// Package api is the private side: campaigns, minting, consent and reports over HTTP and JSON, each
// behind a key, and its OpenAPI document. Addresses of people come in request bodies only; nothing
// of a body goes into a path, an error or a log line.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
	"mailbeacon/internal/reconfirm"
)

// Campaigns are what is registered. They may be asked concurrently.
type Campaigns interface {
	ByName(name string) (campaign.Campaign, bool)
	NameOf(number uint32) string // "" where it is not known
	List(after uint32, limit int) []campaign.Campaign
	Latest(before uint32, limit int) []campaign.Campaign
	Links(number uint32) []campaign.Link
	Link(number uint32, link uint16) (campaign.Link, bool)
}

// CampaignWriter changes them; it may be called concurrently. See campaign.Writer for its errors.
type CampaignWriter interface {
	Create(ctx context.Context, name, title string) (campaign.Campaign, error)
	CreateDateOnly(ctx context.Context, name, title string) (campaign.Campaign, error)
	AddLink(ctx context.Context, name string, l campaign.Link) (campaign.Link, error)
	SetLink(ctx context.Context, name string, number uint16, l campaign.Link) (campaign.Link, error)
	Deliver(ctx context.Context, name string, d campaign.Delivery) error
}

// Consent records and reads decisions; it may be called concurrently. See consent.Writer.
type Consent interface {
	Record(ctx context.Context, c consent.Change) (r consent.Recorded, effective bool, err error)
	Import(ctx context.Context, changes []consent.Change) (pos control.Position, stood int, err error)
	Settle(ctx context.Context) error
	Effective(ctx context.Context, pos control.Position) bool
	Lookup(ctx context.Context, subject uint64) (consent.Person, error)
	Changes(ctx context.Context, after control.Position, fn func(consent.Recorded) error) (control.Position, error)
}

// Minter makes what goes into mail; it may be called concurrently. See mint.Minter.
type Minter interface {
	Message(ctx context.Context, campaign string, r mint.Request) (*mint.Message, error)
	Recipients(ctx context.Context, campaign string, s mint.Stream) (mint.Summary, error)
	Design(ctx context.Context, campaign string, html []byte) (*mint.Designed, error)
	Subject(address string) (uint64, error)
}

// Authorizer knows the keys. It may be called concurrently.
type Authorizer interface {
	// Allow says whether a key opens the API, and whose it is, in a time that tells nothing of how
	// near it came.
	Allow(key string) (holder Holder, ok bool)
}

// Options are what an API is made of. All but Logger and Version are needed.
type Options struct {
	Campaigns Campaigns
	Writer    CampaignWriter
	Consent   Consent
	Minter    Minter
	Counts    aggregate.Reader // what reports are made of
	Mails     aggregate.Mails  // what they draw on
	Keys      Authorizer
	// Advertisers are told what was released to them.
	Advertisers Advertisers
	Inactive    *reconfirm.Finder // who is to be asked whether they wish to go on
	// Receipts is the key that receipts are signed with at the moment. It may be called concurrently.
	Receipts func() (key uint8, sign func(text []byte) []byte)
	// SignInLink makes a link to the dashboard for a key's holder. It may be called concurrently.
	SignInLink func(h Holder) (path string, expires time.Time, err error)
	// NotReady says, each in a sentence, why no traffic should come here; nothing if it may. It may
	// be called concurrently.
	NotReady func() []string
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// Logger gets one line a request (method, route, status, duration) and what failed inside. nil
	// is silence.
	Logger  *slog.Logger
	Version string
}

func (o *Options) check() error {
	switch {
	case o.Campaigns == nil || o.Writer == nil:
		return errors.New("api: no campaigns")
	case o.Consent == nil:
		return errors.New("api: no consent")
	case o.Minter == nil:
		return errors.New("api: no minter")
	case o.Counts == nil:
		return errors.New("api: no counts")
	case o.Mails == nil:
		return errors.New("api: no mails")
	case o.Keys == nil:
		return errors.New("api: no keys")
	case o.Advertisers == nil:
		return errors.New("api: no advertisers")
	case o.Inactive == nil:
		return errors.New("api: nothing that finds inactive people")
	case o.Receipts == nil:
		return errors.New("api: no key for receipts")
	case o.SignInLink == nil:
		return errors.New("api: nothing that makes links to sign in with")
	case o.NotReady == nil:
		return errors.New("api: no readiness")
	case o.Metrics == nil:
		return errors.New("api: no metrics")
	}
	return nil
}

// API is the handler of the private side. It may be called concurrently.
type API struct {
	o        Options
	mux      *routes
	huma     huma.API
	document []byte
	listing  chan struct{} // full while a list of inactive people is made
}

// New returns the handler, or an error that names the missing option.
func New(o Options) (*API, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{o: o, mux: &routes{ServeMux: http.NewServeMux()}, listing: make(chan struct{}, 1)}
	a.huma = humago.New(a.mux, configuration(o.Version))
	a.huma.UseMiddleware(a.admit)
	a.routeCampaigns()
	a.routeLinks()
	a.routeMint()
	a.routeConsent()
	a.routeMail()
	a.routeReport()
	a.routeOverview()
	a.routeAdvertisers()
	a.routeReconfirm()
	a.routeSignIn()
	a.routeSystem()
	return a, a.finishDocument()
}

// routes is the mux, with a list of what was put into it.
type routes struct {
	*http.ServeMux
	patterns []string
}

// HandleFunc implements humago.Mux.
func (r *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.HandleFunc(pattern, handler)
}

// operation is a route whose answer is one JSON value.
type operation struct {
	id, method, path string
	summary, detail  string
	status           int // 0 is 200
	errors           []int
	body             any   // a pointer to the struct that decode fills; nil for none
	limit            int64 // of the body, in bytes; 0 is 1 MiB
}

// register adds a route. I has the parameters of path and query, and RawBody if op has a body.
func register[I, O any](a *API, op operation, answer func(context.Context, *I) (*O, error)) {
	h := huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Description: op.detail,
		DefaultStatus: op.status, Security: withKey, Responses: problems(op.errors...),
	}
	if op.body != nil {
		if op.limit == 0 {
			op.limit = 1 << 20
		}
		h.MaxBodyBytes = op.limit + 1 // huma refuses a body of just its limit
		h.BodyReadTimeout = bodyPatience
		h.Metadata = map[string]any{mediaTypes: []string{jsonType}, bodyLimit: op.limit}
	}
	huma.Register(a.huma, h, func(ctx context.Context, in *I) (*O, error) {
		out, err := answer(ctx, in)
		if err != nil {
			return nil, a.explain(err, op.id)
		}
		return out, nil
	})
	if op.body != nil {
		a.documentBody(op.method, op.path, op.body)
	}
}

// explain says an error to the client, and to the log where the client can't be told.
func (a *API) explain(err error, what string) *Problem {
	if p := problemOf(err); p != nil {
		return p
	}
	a.o.Logger.Error("a request failed", "operation", what, "error", err)
	return internalProblem
}

// body reads a request's body, whose name in the document is its type's.
func body[T any](raw []byte) (T, error) {
	var b T
	err := decode(raw, &b)
	return b, err
}

// known finds a campaign by the name in a path.
func (a *API) known(name string) (campaign.Campaign, error) {
	c, ok := a.o.Campaigns.ByName(name)
	if !ok {
		return c, campaign.ErrNotFound
	}
	return c, nil
}
