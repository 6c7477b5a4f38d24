// Package preferences is the page behind every message: what may be counted, in what form mail
// comes, and whether any comes at all. It works without script, without cookie and from any
// browser; the token in the address is the whole authority.
//
// That is why there is no protection against forged cross-site requests, and Sec-Fetch-Site is not
// looked at: no browser adds anything to a request here that its sender did not know already, and
// whoever knows the address may use it directly. Mail programs do post from pages of their own.
// The page can't be framed, so nobody can be led to press its buttons unknowingly.
package preferences

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/token"
)

// Tokens opens what mail carries. It may be called concurrently; text stays the caller's.
type Tokens interface {
	Open(kind token.Kind, text []byte) (token.Claims, error)
}

// Choices is what people chose, as far as it is known here. It may be called concurrently.
type Choices interface {
	Look(subject uint64) consent.Choice
	// Verdict says what follows from it now, with the configured basis: event.Counted, or why not.
	Verdict(kind event.Kind, subject uint64) event.Reason
	// Attributed says whether what counts is kept with the person.
	Attributed(kind event.Kind, subject uint64) bool
}

// Writer records a choice, durably, before it returns without an error, and returns it as it stands in the
// ledger. effective says whether it holds already. It may be called concurrently.
type Writer interface {
	Record(ctx context.Context, c consent.Change) (r consent.Recorded, effective bool, err error)
}

// Options are what a Handler is made of. All but Pages are needed.
type Options struct {
	Tokens  Tokens
	Choices Choices
	Writer  Writer
	// Receipts is the key that signs what people are told to be recorded, and its number. It may be called
	// concurrently.
	Receipts func() (key uint8, sign func(text []byte) []byte)
	// Pages are what is shown. nil: those that come with the program.
	Pages *Pages
}

// Handler answers /u/TOKEN. It may be used concurrently.
type Handler struct {
	o      Options
	rates  *rates
	counts [outcomes]atomic.Uint64
}

// saveTime bounds how long somebody waits for a choice to be recorded.
const saveTime = 5 * time.Second

// New returns a handler, or an error that names the missing option.
func New(o Options) (*Handler, error) {
	switch {
	case o.Tokens == nil:
		return nil, errors.New("preferences: no tokens")
	case o.Choices == nil:
		return nil, errors.New("preferences: no choices")
	case o.Writer == nil:
		return nil, errors.New("preferences: no writer")
	case o.Receipts == nil:
		return nil, errors.New("preferences: no key for receipts")
	}
	if o.Pages == nil {
		var err error
		if o.Pages, err = builtinPages(); err != nil {
			return nil, err
		}
	}
	return &Handler{o: o, rates: newRates()}, nil
}

// Serve answers a GET, HEAD or POST for "/u/" + text, or returns false, having written nothing,
// where there is no authentic token. GET and HEAD change nothing.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx, text []byte) bool {
	claims, err := h.o.Tokens.Open(token.Preferences, text)
	if err != nil {
		h.counts[NotFound].Add(1)
		return false
	}
	page := h.o.Pages.choose(ctx.Request.Header.PeekCanonical(acceptLanguage))
	var outcome Outcome
	if ctx.IsPost() {
		outcome = h.post(ctx, page, claims)
	} else {
		outcome = h.get(ctx, page, claims.Subject)
	}
	h.counts[outcome].Add(1)
	return true
}

func (h *Handler) get(ctx *fasthttp.RequestCtx, page *page, subject uint64) Outcome {
	outcome := Shown
	if subject == 0 {
		outcome = Nobody
	}
	return page.write(ctx, outcome, h.state(subject), "")
}

// post takes a choice in. Every answer but Saved, Soon and OneClick means that nothing changed.
func (h *Handler) post(ctx *fasthttp.RequestCtx, page *page, claims token.Claims) Outcome {
	subject := claims.Subject
	form, err := parseForm(ctx.Request.Header.ContentType(), ctx.PostBody())
	form = form.since(h.o.Choices.Look(subject))
	receipt := ""
	answer := func(o Outcome) Outcome {
		if form.oneClick {
			return page.writePlain(ctx, o, receipt)
		}
		return page.write(ctx, o, h.state(subject), receipt)
	}
	switch {
	case subject == 0:
		defer ctx.SetStatusCode(fasthttp.StatusConflict)
		return answer(Nobody)
	case err != nil:
		return answer(Invalid)
	case form.empty():
		return answer(Unchanged)
	case !h.rates.allow(subject, time.Now()):
		return answer(Limited)
	}
	change := form.change(claims, page.version)
	bounded, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	recorded, effective, err := h.o.Writer.Record(bounded, change)
	if err != nil {
		return answer(Failed)
	}
	receipt = recorded.Receipt(h.o.Receipts())
	switch {
	case form.oneClick:
		return answer(OneClick)
	case !effective:
		return page.write(ctx, Soon, h.state(subject).after(change), receipt)
	}
	return answer(Saved)
}

// state is what the page shows of a person.
type state struct {
	consent.Choice
	OpensCount, ClicksCount bool // whether they are counted now
	// OpensUnnamed and ClicksUnnamed: they are counted without the person.
	OpensUnnamed, ClicksUnnamed bool
	// OpensDate and ClicksDate: they are not counted, but the date of the last one is kept.
	OpensDate, ClicksDate bool
}

func (h *Handler) state(subject uint64) state {
	opens, clicks := h.o.Choices.Verdict(event.Open, subject), h.o.Choices.Verdict(event.Click, subject)
	s := state{
		Choice:     h.o.Choices.Look(subject),
		OpensCount: opens == event.Counted, ClicksCount: clicks == event.Counted,
		OpensDate: opens == event.DateOnly, ClicksDate: clicks == event.DateOnly,
	}
	s.OpensUnnamed = s.OpensCount && !h.o.Choices.Attributed(event.Open, subject)
	s.ClicksUnnamed = s.ClicksCount && !h.o.Choices.Attributed(event.Click, subject)
	return s
}

// after is the state once a change that is recorded holds everywhere.
func (s state) after(c consent.Change) state {
	if c.Opens != consent.Unset {
		s.Opens, s.OpensUnnamed = c.Opens, false
		s.OpensCount, s.OpensDate = c.Opens == consent.Granted && !s.DateOnly, c.Opens == consent.Granted && s.DateOnly
	}
	if c.Clicks != consent.Unset {
		s.Clicks, s.ClicksUnnamed = c.Clicks, false
		s.ClicksCount, s.ClicksDate = c.Clicks == consent.Granted && !s.DateOnly, c.Clicks == consent.Granted && s.DateOnly
	}
	if c.Format != consent.FormatUnset {
		s.Format = c.Format
	}
	if c.Unsubscribed != nil {
		s.Unsubscribed = *c.Unsubscribed
	}
	if s.Unsubscribed || s.Format == consent.Plain {
		s.OpensCount, s.ClicksCount = false, false
		s.OpensDate, s.ClicksDate = false, false
	}
	return s
}

// Outcome is how a request for the page ended.
type Outcome int

const (
	Shown     Outcome = iota // the page, and nothing else
	Saved                    // recorded and in effect
	Soon                     // recorded, in effect within moments
	OneClick                 // unsubscribed by the mail program
	Unchanged                // a form without a choice
	Invalid                  // not the page's form
	Limited                  // too many changes in a short time
	Failed                   // the choice could not be recorded
	Nobody                   // the token names no person
	NotFound                 // forged or malformed

	outcomes = int(NotFound) + 1
)

var outcomeNames = [...]string{
	Shown: "shown", Saved: "saved", Soon: "soon", OneClick: "one_click", Unchanged: "unchanged", Invalid: "invalid",
	Limited: "limited", Failed: "failed", Nobody: "nobody", NotFound: "not_found",
}

// String is the outcome's word as a metric's label.
func (o Outcome) String() string { return outcomeNames[o] }

// Each calls fn with the number of requests that ended each way, since the start.
func (h *Handler) Each(fn func(o Outcome, n uint64)) {
	for o := range h.counts {
		fn(Outcome(o), h.counts[o].Load())
	}
}
