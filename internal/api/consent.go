package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/subject"
)

// Decision is a person's decision as it is told.
type Decision struct {
	Subject      string `json:"subject" doc:"the person's address" example:"anna@example.com"`
	Opens        string `json:"opens,omitempty" enum:"granted,refused" doc:"as it is, where absent"`
	Clicks       string `json:"clicks,omitempty" enum:"granted,refused" doc:"as it is, where absent"`
	Format       string `json:"format,omitempty" enum:"html,plain" doc:"plain: neither pixel nor counted links, ever"`
	Unsubscribed *bool  `json:"unsubscribed,omitempty" doc:"wants no more mail, and no measuring of what was sent"`
	Source       string `json:"source,omitempty" doc:"how the decision came: a word or two, no address" maxLength:"64" example:"signup form"`
	TextVersion  string `json:"text_version,omitempty" doc:"which text the person was shown" maxLength:"64" example:"2026-11"`
}

// Effect is what became of a decision.
type Effect struct {
	Subject   string `json:"subject" doc:"the person's number, 16 hex digits"`
	Position  uint64 `json:"position" doc:"where it stands in the control log"`
	Effective bool   `json:"effective" doc:"no later event is counted against it; false: recorded, and soon will be"`
}

// Who asks for a person.
type Who struct {
	Subject string `json:"subject" doc:"the person's address" example:"anna@example.com"`
}

// Choices are what holds for a person.
type Choices struct {
	Subject      string   `json:"subject" doc:"the person's number, 16 hex digits"`
	Opens        string   `json:"opens" enum:"unset,granted,refused"`
	Clicks       string   `json:"clicks" enum:"unset,granted,refused"`
	Format       string   `json:"format" enum:"unset,html,plain"`
	Unsubscribed bool     `json:"unsubscribed"`
	History      []Change `json:"history" doc:"oldest first" nullable:"false"`
}

// Change is a decision as it stands in the ledger.
type Change struct {
	Position     uint64    `json:"position"`
	Time         time.Time `json:"time"`
	Subject      string    `json:"subject" doc:"16 hex digits"`
	Opens        string    `json:"opens,omitempty"`
	Clicks       string    `json:"clicks,omitempty"`
	Format       string    `json:"format,omitempty"`
	Unsubscribed *bool     `json:"unsubscribed,omitempty"`
	Source       string    `json:"source,omitempty"`
	TextVersion  string    `json:"text_version,omitempty"`
}

func showChange(r *consent.Recorded) Change {
	c := Change{
		Position: uint64(r.Position), Time: r.Time.UTC(), Subject: subject.Number(r.Subject).String(),
		Unsubscribed: r.Unsubscribed, Source: r.Source, TextVersion: r.TextVersion,
	}
	if r.Opens != consent.Unset {
		c.Opens = r.Opens.String()
	}
	if r.Clicks != consent.Unset {
		c.Clicks = r.Clicks.String()
	}
	if r.Format != consent.FormatUnset {
		c.Format = r.Format.String()
	}
	return c
}

func (a *API) routeConsent() {
	register(a, operation{
		id: "set-consent", method: http.MethodPost, path: "/v1/consent",
		summary: "Record a decision", body: new(Decision),
		detail: "What is absent stays as it is. It holds for mail already sent.",
	}, a.setConsent)
	register(a, operation{
		id: "look-up-consent", method: http.MethodPost, path: "/v1/consent/lookup",
		summary: "Show what holds for a person, and how it came to be", body: new(Who),
	}, a.lookUp)
	op := streamOperation("list-consent-changes", http.MethodGet, "/v1/consent/changes",
		"Feed of decisions",
		"Every decision after a position, by subject number, one JSON object per line, for mailers that keep lists of their own. "+
			"It ends at the present end of the log; the trailer Mailbeacon-Next is the position to go on from.")
	a.stream(op, streamDoc{out: new(Change), query: &changesQuery}, a.changes)
}

func (a *API) setConsent(ctx context.Context, in *struct{ RawBody []byte }) (*answer[Effect], error) {
	b, err := body[Decision](in.RawBody)
	if err != nil {
		return nil, err
	}
	c := consent.Change{Unsubscribed: b.Unsubscribed, Source: b.Source, TextVersion: b.TextVersion}
	if c.Subject, err = a.o.Minter.Subject(b.Subject); err != nil {
		return nil, err
	}
	if c.Opens, err = consent.ParseState(b.Opens); err != nil {
		return nil, wrongField("opens", err.Error())
	}
	if c.Clicks, err = consent.ParseState(b.Clicks); err != nil {
		return nil, wrongField("clicks", err.Error())
	}
	if c.Format, err = consent.ParseFormat(b.Format); err != nil {
		return nil, wrongField("format", err.Error())
	}
	pos, effective, err := a.o.Consent.Change(ctx, c)
	if err != nil {
		return nil, err
	}
	return &answer[Effect]{Effect{subject.Number(c.Subject).String(), uint64(pos), effective}}, nil
}

func (a *API) lookUp(ctx context.Context, in *struct{ RawBody []byte }) (*answer[Choices], error) {
	b, err := body[Who](in.RawBody)
	if err != nil {
		return nil, err
	}
	number, err := a.o.Minter.Subject(b.Subject)
	if err != nil {
		return nil, err
	}
	p, err := a.o.Consent.Lookup(ctx, number)
	if err != nil {
		return nil, err
	}
	out := Choices{
		Subject: subject.Number(number).String(), Opens: p.Choice.Opens.String(), Clicks: p.Choice.Clicks.String(),
		Format: p.Choice.Format.String(), Unsubscribed: p.Choice.Unsubscribed, History: []Change{},
	}
	for i := range p.History {
		out.History = append(out.History, showChange(&p.History[i]))
	}
	return &answer[Choices]{out}, nil
}

// changes streams the feed.
func (a *API) changes(ctx context.Context, x *exchange) error {
	var after uint64
	for name, values := range x.request.URL.Query() {
		n, err := strconv.ParseUint(values[0], 10, 64)
		switch {
		case name != "after":
			return newProblem(http.StatusUnprocessableEntity, "after is the only parameter", Field{"query", "has an unknown parameter"})
		case err != nil || len(values) != 1:
			return newProblem(http.StatusUnprocessableEntity, "after is not a position", Field{"query.after", "is not a whole number from 0"})
		}
		after = n
	}
	next, err := a.o.Consent.Changes(ctx, control.Position(after), func(r consent.Recorded) error {
		line, err := json.Marshal(showChange(&r))
		if err != nil {
			return err
		}
		return x.line(line)
	})
	if err != nil {
		return errors.Join(err, x.flush())
	}
	x.trailer("Mailbeacon-Next", uint64(next))
	return nil
}
