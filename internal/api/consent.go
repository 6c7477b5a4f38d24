package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

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
	Tracking     string `json:"tracking,omitempty" enum:"full,date-only" doc:"date-only: of what is not refused nothing is kept but the date of the last activity"`
	Source       string `json:"source,omitempty" doc:"how the decision came: a word or two, no address" maxLength:"64" example:"signup form"`
	TextVersion  string `json:"text_version,omitempty" doc:"which text the person was shown" maxLength:"64" example:"2026-11"`
}

// Effect is what became of a decision.
type Effect struct {
	Subject   string `json:"subject" doc:"the person's number, 16 hex digits"`
	Position  uint64 `json:"position" doc:"where it stands in the control log"`
	Effective bool   `json:"effective" doc:"no later event is counted against it; false: recorded, and soon will be"`
	Receipt   string `json:"receipt" doc:"what was recorded, signed, as text; mailbeacon consent verify checks it"`
}

// Who asks for a person.
type Who struct {
	Subject  string `json:"subject" doc:"the person's address" example:"anna@example.com"`
	Receipts bool   `json:"receipts,omitempty" doc:"give the receipt of every decision too"`
}

// Choices are what holds for a person.
type Choices struct {
	Subject      string  `json:"subject" doc:"the person's number, 16 hex digits"`
	Opens        string  `json:"opens" enum:"unset,granted,refused"`
	Clicks       string  `json:"clicks" enum:"unset,granted,refused"`
	Format       string  `json:"format" enum:"unset,html,plain"`
	Unsubscribed bool    `json:"unsubscribed"`
	Tracking     string  `json:"tracking" enum:"full,date-only"`
	History      []Event `json:"history" doc:"oldest first" nullable:"false"`
}

// Held is what held for a person at a moment.
type Held struct {
	Opens        string `json:"opens" enum:"unset,granted,refused"`
	Clicks       string `json:"clicks" enum:"unset,granted,refused"`
	Format       string `json:"format" enum:"unset,html,plain"`
	Unsubscribed bool   `json:"unsubscribed"`
	Tracking     string `json:"tracking" enum:"full,date-only"`
}

func showHeld(c consent.Choice) Held {
	return Held{Opens: c.Opens.String(), Clicks: c.Clicks.String(), Format: c.Format.String(), Unsubscribed: c.Unsubscribed, Tracking: c.Tracking().String()}
}

// Event is a decision in a person's history: what was said, and what that changed.
type Event struct {
	Position     uint64    `json:"position"`
	Time         time.Time `json:"time"`
	Opens        string    `json:"opens,omitempty"`
	Clicks       string    `json:"clicks,omitempty"`
	Format       string    `json:"format,omitempty"`
	Unsubscribed *bool     `json:"unsubscribed,omitempty"`
	Tracking     string    `json:"tracking,omitempty"`
	Source       string    `json:"source,omitempty"`
	TextVersion  string    `json:"text_version,omitempty"`
	By           string    `json:"by,omitempty" doc:"page, or key: and the name of the API key"`
	Campaign     string    `json:"campaign,omitempty" doc:"name of the campaign whose message led to it"`
	Before       Held      `json:"before" doc:"what held before"`
	After        Held      `json:"after" doc:"what holds since"`
	Receipt      string    `json:"receipt,omitempty"`
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
	Tracking     string    `json:"tracking,omitempty"`
	Source       string    `json:"source,omitempty"`
	TextVersion  string    `json:"text_version,omitempty"`
	By           string    `json:"by,omitempty" doc:"page, or key: and the name of the API key"`
	Campaign     string    `json:"campaign,omitempty" doc:"name of the campaign whose message led to it"`
	More         bool      `json:"more,omitempty" doc:"the next line has the same position: this one is not whole yet, and after= it would leave something out"`
}

func showChange(r *consent.Recorded) Change {
	c := Change{
		Position: uint64(r.Position), Time: r.Time.UTC(), Subject: subject.Number(r.Subject).String(),
		Unsubscribed: r.Unsubscribed, Source: r.Source, TextVersion: r.TextVersion, By: r.By, More: r.More,
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
	if r.Tracking != consent.TrackingUnset {
		c.Tracking = r.Tracking.String()
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
			"It ends at the present end of the log, or soon after as many lines as limit says; the trailer Mailbeacon-Next is the "+
			"position to go on from. Whoever was cut off goes on from the last line without \"more\".")
	a.stream(op, streamDoc{out: new(Change), query: []*huma.Param{&changesQuery, &limitQuery}}, a.changes)
	a.routeImport()
}

func (a *API) setConsent(ctx context.Context, in *struct{ RawBody []byte }) (*answer[Effect], error) {
	b, err := body[Decision](in.RawBody)
	if err != nil {
		return nil, err
	}
	c := consent.Change{Unsubscribed: b.Unsubscribed, Source: b.Source, TextVersion: b.TextVersion, By: broughtBy(ctx)}
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
	if c.Tracking, err = consent.ParseTracking(b.Tracking); err != nil {
		return nil, wrongField("tracking", err.Error())
	}
	r, effective, err := a.o.Consent.Record(ctx, c)
	if err != nil {
		return nil, err
	}
	return &answer[Effect]{Effect{subject.Number(c.Subject).String(), uint64(r.Position), effective, r.Receipt(a.o.Receipts())}}, nil
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
		Format: p.Choice.Format.String(), Unsubscribed: p.Choice.Unsubscribed, Tracking: p.Choice.Tracking().String(), History: []Event{},
	}
	for i := range p.History {
		r := &p.History[i]
		c := showChange(r)
		e := Event{
			Position: c.Position, Time: c.Time, Opens: c.Opens, Clicks: c.Clicks, Format: c.Format, Unsubscribed: c.Unsubscribed, Tracking: c.Tracking,
			Source: c.Source, TextVersion: c.TextVersion, By: c.By, Campaign: a.o.Campaigns.NameOf(r.Campaign), Before: showHeld(r.Before), After: showHeld(r.After),
		}
		if b.Receipts {
			e.Receipt = r.Receipt(a.o.Receipts())
		}
		out.History = append(out.History, e)
	}
	return &answer[Choices]{out}, nil
}

// errEnough ends the feed at its limit.
var errEnough = errors.New("as many lines as were asked for")

// changes streams the feed.
func (a *API) changes(ctx context.Context, x *exchange) error {
	asked := map[string]uint64{"after": 0, "limit": 0}
	for name, values := range x.request.URL.Query() {
		if _, known := asked[name]; !known {
			return newProblem(http.StatusUnprocessableEntity, "after and limit are the only parameters", Field{"query", "has an unknown parameter"})
		}
		n, err := strconv.ParseUint(values[0], 10, 64)
		if err != nil || len(values) != 1 {
			return newProblem(http.StatusUnprocessableEntity, name+" is not a number", Field{"query." + name, "is not a whole number from 0"})
		}
		asked[name] = n
	}
	lines, within := uint64(0), false
	next, err := a.o.Consent.Changes(ctx, control.Position(asked["after"]), func(r consent.Recorded) error {
		if lines++; asked["limit"] != 0 && lines > asked["limit"] && !within {
			return errEnough
		}
		within = r.More // a position is told of wholly
		change := showChange(&r)
		change.Campaign = a.o.Campaigns.NameOf(r.Campaign)
		line, err := json.Marshal(change)
		if err != nil {
			return err
		}
		return x.line(line)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return errors.Join(err, x.flush())
	}
	x.trailer("Mailbeacon-Next", uint64(next))
	return nil
}
