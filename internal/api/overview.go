package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/report"
)

// Overview is several campaigns side by side.
type Overview struct {
	AsOf      time.Time      `json:"as_of" doc:"everything counted up to this moment is in here"`
	Campaigns []report.Line  `json:"campaigns" nullable:"false" doc:"the latest first"`
	Next      uint32         `json:"next,omitempty" doc:"?before= of the campaigns before these; absent where there are none"`
	Opens     []Place        `json:"by_opens" nullable:"false" doc:"by the rate of opens; those with too few mails have no place"`
	Clicks    []Place        `json:"by_clicks" nullable:"false" doc:"by the rate of clicks"`
	Trend     []report.Month `json:"trend" nullable:"false" doc:"these campaigns by the month in which they were created"`
}

// Place is where a campaign stands among the others: a range, since of two campaigns nothing may tell which met
// more interest.
type Place struct {
	Campaign string      `json:"campaign"`
	Best     int         `json:"best" doc:"the highest place that it may have"`
	Worst    int         `json:"worst" doc:"the lowest"`
	Tied     bool        `json:"tied" doc:"nothing tells it from the one before or after it in the list"`
	Rate     report.Rate `json:"rate"`
	Interval report.Rate `json:"interval" doc:"95 % interval (Wilson) around the rate's range"`
}

func (a *API) routeOverview() {
	register(a, operation{
		id: "compare-campaigns", method: http.MethodGet, path: "/v1/overview",
		summary: "Compare campaigns",
		detail: "What is known of the latest campaigns, which of them met more interest, as far as that can be told, and how that went over time. " +
			"Counts are of aggregates alone.",
	}, a.overview)
}

func (a *API) overview(ctx context.Context, in *struct {
	Before uint32 `query:"before" doc:"campaigns of lower numbers than this; 0 begins with the latest" minimum:"0"`
	Limit  int    `query:"limit" doc:"how many at most" minimum:"1" maximum:"200" default:"50"`
	Zone   string `query:"zone" doc:"whose calendar months are, by its name in the IANA database" default:"UTC" maxLength:"64" example:"Europe/Berlin"`
}) (*answer[Overview], error) {
	zone, err := time.LoadLocation(in.Zone)
	if err != nil || in.Zone == "Local" {
		return nil, newProblem(http.StatusUnprocessableEntity, "the query does not fit", Field{"query.zone", "is no time zone that is known here; right would be one as Europe/Berlin"})
	}
	out := Overview{AsOf: time.Now().UTC(), Opens: []Place{}, Clicks: []Place{}}
	var subjects []report.Subject
	for i, c := range a.o.Campaigns.Latest(in.Before, in.Limit+1) {
		if i == in.Limit {
			out.Next = subjects[i-1].Number
			break
		}
		subjects = append(subjects, report.SubjectOf(c, nil))
	}
	if out.Campaigns, err = report.Overview(ctx, a.o.Counts, subjects); err != nil {
		return nil, fmt.Errorf("compare campaigns: %w", err)
	}
	out.Opens, out.Clicks = places(out.Campaigns, event.Open), places(out.Campaigns, event.Click)
	out.Trend = report.Trend(out.Campaigns, zone)
	return &answer[Overview]{out}, nil
}

func places(lines []report.Line, k event.Kind) []Place {
	all := []Place{}
	for _, r := range report.Rank(lines, k) {
		m := r.Of(k)
		all = append(all, Place{r.Campaign, r.Best, r.Worst, r.Tied, *m.Rate, *m.Interval})
	}
	return all
}
