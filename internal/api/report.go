package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"mailbeacon/internal/report"
)

func (a *API) routeReport() {
	register(a, operation{
		id: "show-report", method: http.MethodGet, path: "/v1/campaigns/{name}/report",
		summary: "What is known of a campaign", errors: []int{404},
		detail: "Counts from aggregates alone, rates as ranges from what is certain to what is possible.",
	}, a.report)
}

func (a *API) report(ctx context.Context, in *struct{ InCampaign }) (*answer[report.Report], error) {
	c, err := a.known(in.Name)
	if err != nil {
		return nil, err
	}
	s := report.SubjectOf(c, a.o.Campaigns.Links(c.Number))
	r, err := report.Query(ctx, a.o.Counts, s, time.Now())
	if err != nil {
		return nil, fmt.Errorf("make a report: %w", err)
	}
	return &answer[report.Report]{*r}, nil
}
