// Package intake is the one step that a pixel and a redirect share: who is it, may it be counted,
// what did the request tell of its sender, and onto the disk before anybody gets an answer. The
// address and the User-Agent are looked at once, here, and go no further.
package intake

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/kept"
	"mailbeacon/internal/plain"
	"mailbeacon/internal/token"
)

// Tokens opens what mail carries. Open may be called concurrently and does not allocate; text is
// the caller's again when it returns. Its errors are token.ErrMalformed or token.ErrForged.
type Tokens interface {
	Open(kind token.Kind, text []byte) (token.Claims, error)
}

// Spool makes events durable. Append returns nil once ev is on disk, and an error if it never will
// be; ev is the caller's again when it returns. It may be called concurrently.
type Spool interface {
	Append(ev *event.Event) error
}

// Classifier turns what a request says of its sender into signals. Signals may be called
// concurrently, does not allocate and keeps nothing of its argument.
type Classifier interface {
	Signals(r classify.Request) (event.Signals, event.Client)
}

// Options are what an Intake is made of. All but Proxies, Leave and Clock are needed.
type Options struct {
	Tokens     Tokens
	Consent    kept.Consent
	Campaigns  kept.Campaigns
	Classifier Classifier
	Spool      Spool
	Proxies    Proxies
	// Leave says whether Consent knows of all that was told to hold everywhere before the question; nil: always. It is asked
	// only about people who are counted and not named. It may be called concurrently and does not allocate.
	Leave func() bool
	// Clock says when a request from an address happened, for who replays what happened at other times. It may be
	// called concurrently. nil: when it was read.
	Clock func(from netip.Addr) time.Time
}

// Intake records what happened. All methods may be called concurrently; none allocates.
type Intake struct {
	o      Options
	rule   kept.Rule
	counts tally
	events sync.Pool
}

// New returns an Intake, or an error that names the missing option.
func New(o Options) (*Intake, error) {
	switch {
	case o.Tokens == nil:
		return nil, errors.New("intake: no tokens")
	case o.Consent == nil:
		return nil, errors.New("intake: no consent")
	case o.Campaigns == nil:
		return nil, errors.New("intake: no campaigns")
	case o.Classifier == nil:
		return nil, errors.New("intake: no classifier")
	case o.Spool == nil:
		return nil, errors.New("intake: no spool")
	}
	return &Intake{o: o, rule: kept.Rule{Consent: o.Consent, Campaigns: o.Campaigns}, events: sync.Pool{New: func() any { return new(event.Event) }}}, nil
}

// Observe authenticates a beacon's token and records what happened under it, Open or Probe.
func (in *Intake) Observe(ctx *fasthttp.RequestCtx, kind event.Kind, text []byte) {
	claims, ok := in.Claims(kind, token.Open, text)
	if ok {
		in.Record(ctx, kind, claims, 0)
	}
}

// ObservePlain is Observe for an Open that no RequestCtx was made for.
func (in *Intake) ObservePlain(r *plain.Request, text []byte) {
	claims, ok := in.Claims(event.Open, token.Open, text)
	if !ok {
		return
	}
	in.record(visit{
		at:  r.Time,
		gpc: string(r.SecGPC) == "1",
		request: classify.Request{
			UserAgent:  r.UserAgent,
			SecPurpose: r.SecPurpose,
			Purpose:    r.Purpose,
			XMoz:       r.XMoz,
			XPurpose:   r.XPurpose,
			IP:         in.o.Proxies.ClientPlain(r),
		},
	}, event.Open, claims, 0)
}

// Claims authenticates a token of a sort. Where it returns false the request was counted as forged
// or malformed under kind, and there is nothing to record.
func (in *Intake) Claims(kind event.Kind, sort token.Kind, text []byte) (token.Claims, bool) {
	claims, err := in.o.Tokens.Open(sort, text)
	if err == nil {
		return claims, true
	}
	reason := event.Malformed
	if errors.Is(err, token.ErrForged) {
		reason = event.Forged
	}
	in.counts.add(kind, reason)
	return token.Claims{}, false
}

// Refuse counts a request that leaves no event: an authentic token of a link that nobody registered.
func (in *Intake) Refuse(kind event.Kind, reason event.Reason) {
	in.counts.add(kind, reason)
}

// Record makes one event durable and counts it; when it returns the answer may be given, whatever
// became of the event. More signals than the request tells (HiddenLink) are added to the event's.
//
// An event that may not count goes the same way, through the same work and the same commit, as one
// that does: neither the answer nor the time it takes tells what somebody chose.
func (in *Intake) Record(ctx *fasthttp.RequestCtx, kind event.Kind, claims token.Claims, more event.Signals) {
	header := &ctx.Request.Header
	in.record(visit{
		at:  ctx.Time(),
		gpc: string(header.PeekCanonical(secGPC)) == "1",
		request: classify.Request{
			UserAgent:  header.UserAgent(),
			SecPurpose: header.PeekCanonical(secPurpose),
			Purpose:    header.PeekCanonical(purpose),
			XMoz:       header.PeekCanonical(xMoz),
			XPurpose:   header.PeekCanonical(xPurpose),
			IP:         in.o.Proxies.Client(ctx),
		},
	}, kind, claims, more)
}

// visit is what is looked at of a request.
type visit struct {
	at      time.Time
	gpc     bool
	request classify.Request
}

func (in *Intake) record(v visit, kind event.Kind, claims token.Claims, more event.Signals) {
	reason, named := in.rule.Allows(kind, claims.Subject, claims.Campaign)
	if !named && reason == event.Counted && claims.Subject != 0 {
		reason, named = in.unnamed(kind, claims)
	}
	if !named {
		claims.Subject = 0
	}
	if v.gpc && (reason == event.Counted || reason == event.DateOnly) {
		reason = event.GPC
	}
	signals, client := in.o.Classifier.Signals(v.request)
	if in.o.Clock != nil {
		v.at = in.o.Clock(v.request.IP)
	}

	ev := in.events.Get().(*event.Event)
	*ev = event.Event{
		Time:     v.at.UnixMilli(),
		Subject:  claims.Subject,
		Campaign: claims.Campaign,
		Link:     claims.Link,
		Signals:  signals | more,
		Kind:     kind,
		Client:   client,
	}
	if reason != event.Counted {
		classify.Suppress(ev, reason)
	}
	if in.o.Spool.Append(ev) != nil {
		reason = event.SpoolFailed
	}
	in.events.Put(ev)
	in.counts.add(kind, reason)
}

// unnamed decides on what counts without its person. Once the person is let go no refusal finds the event any more, so this
// takes leave, which is asked before consent: then what is known here is all that may have been told to hold everywhere.
// Without leave the person stays with the event, in the spool and no further, until the shipper has leave and decides.
func (in *Intake) unnamed(kind event.Kind, claims token.Claims) (reason event.Reason, named bool) {
	leave := in.o.Leave == nil || in.o.Leave()
	reason, named = in.rule.Allows(kind, claims.Subject, claims.Campaign)
	return reason, named || !leave && reason == event.Counted
}

// Counters is a snapshot of what was counted so far.
func (in *Intake) Counters() Counters { return in.counts.snapshot() }

// Header names in the form that fasthttp gives to all.
var (
	secGPC     = []byte("Sec-Gpc")
	secPurpose = []byte("Sec-Purpose")
	purpose    = []byte("Purpose")
	xMoz       = []byte("X-Moz")
	xPurpose   = []byte("X-Purpose")
)
