package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"mailbeacon/internal/advertiser"
)

// Advertisers report to those who have links in mail; they may be asked concurrently. See advertiser.Reports.
type Advertisers interface {
	List(after string, limit int) []advertiser.Listed
	Report(ctx context.Context, name string) (*advertiser.Report, error)
}

// AdvertiserPage is a part of the list of advertisers.
type AdvertiserPage struct {
	Advertisers []advertiser.Listed `json:"advertisers" nullable:"false"`
	Next        string              `json:"next,omitempty" doc:"?after= of the next page; absent on the last one"`
}

func (a *API) routeAdvertisers() {
	register(a, operation{
		id: "list-advertisers", method: http.MethodGet, path: "/v1/advertisers",
		summary: "List advertisers", detail: "Those who have links, in any campaign, by name, a page at a time.",
	}, a.listAdvertisers)
	const path = "/v1/advertisers/{name}/report"
	register(a, operation{
		id: "show-advertiser-report", method: http.MethodGet, path: path,
		summary: "What an advertiser is told", errors: []int{404},
		detail: "How many people clicked the advertiser's links for sure, per campaign and epoch, as it was released: once, when the epoch closed, with noise. " +
			"Asking again tells nothing more. A key of the role advertiser sees the report of its own advertiser alone. " +
			"CSV where format says so, or the header Accept prefers text/csv.",
	}, a.advertiserReport)
	a.operation(http.MethodGet, path).Responses["200"] = &huma.Response{
		Description: http.StatusText(http.StatusOK),
		Content: map[string]*huma.MediaType{
			jsonType: {Schema: a.schema(new(advertiser.Report))}, csvType: {Schema: a.schema(nil)},
		},
	}
}

func (a *API) listAdvertisers(_ context.Context, in *struct {
	After string `query:"after" doc:"show what comes after this name" maxLength:"100"`
	Limit int    `query:"limit" doc:"how many at most" minimum:"1" maximum:"1000" default:"100"`
}) (*answer[AdvertiserPage], error) {
	out := AdvertiserPage{Advertisers: a.o.Advertisers.List(in.After, in.Limit+1)}
	if len(out.Advertisers) > in.Limit {
		out.Advertisers = out.Advertisers[:in.Limit]
		out.Next = out.Advertisers[in.Limit-1].Name
	}
	return &answer[AdvertiserPage]{out}, nil
}

// text is an answer in the form that was asked for.
type text struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// notYours is the same, at once and whatever there is, so that a key of one advertiser can't find out who the others are.
var notYours = newProblem(http.StatusForbidden, "this key sees the report of its own advertiser, and no other's")

func (a *API) advertiserReport(ctx context.Context, in *struct {
	Name   string `path:"name" doc:"the advertiser's name, as links have it" example:"ACME"`
	Format string `query:"format" doc:"the answer's form; by the header Accept where it is absent" enum:"json,csv"`
	Accept string `header:"Accept" doc:"text/csv, or what JSON fits"`
}) (*text, error) {
	holder, _ := ctx.Value(keyHeld{}).(Holder)
	if holder.Role == RoleAdvertiser && in.Name != holder.Advertiser {
		return nil, notYours
	}
	r, err := a.o.Advertisers.Report(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if in.Format == "csv" || in.Format == "" && prefersCSV(in.Accept) {
		var b bytes.Buffer
		if err := advertiser.CSV(&b, r); err != nil {
			return nil, fmt.Errorf("write a report as CSV: %w", err)
		}
		return &text{csvType, b.Bytes()}, nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write a report: %w", err)
	}
	return &text{jsonType, append(b, '\n')}, nil
}

// prefersCSV says whether a header Accept names CSV before anything that JSON is.
func prefersCSV(accept string) bool {
	for one := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(one, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case csvType:
			return true
		case jsonType, "application/*", "*/*":
			return false
		}
	}
	return false
}
