package api

import (
	"context"
	"net/http"
	"time"

	"mailbeacon/internal/campaign"
)

// Campaign is a campaign as the API shows it.
type Campaign struct {
	Name      string    `json:"name" doc:"1 to 64 of a-z, 0-9, '.', '_' and '-'" example:"spring"`
	Number    uint32    `json:"number" doc:"what its tokens carry" example:"1"`
	Title     string    `json:"title" example:"Spring news"`
	Created   time.Time `json:"created"`
	Links     int       `json:"links" doc:"links registered"`
	Delivered uint64    `json:"delivered" doc:"messages delivered, over all deliveries told"`
	Bounced   uint64    `json:"bounced" doc:"messages bounced, likewise"`
	DateOnly  bool      `json:"date_only,omitempty" doc:"nothing is kept of opens and clicks but the date of each person's last activity"`
}

// CampaignPage is a part of the list of campaigns.
type CampaignPage struct {
	Campaigns []Campaign `json:"campaigns" nullable:"false"`
	Next      uint32     `json:"next,omitempty" doc:"?after= of the next page; absent on the last one"`
}

// NewCampaign asks for a campaign.
type NewCampaign struct {
	Name     string `json:"name" minLength:"1" maxLength:"64" pattern:"^[a-z0-9][a-z0-9._-]*$" example:"spring"`
	DateOnly bool   `json:"date_only,omitempty" doc:"keep nothing of opens and clicks but the date of each person's last activity; it can't be taken back"`
	Title    string `json:"title,omitempty" doc:"at most 300 bytes, on one line" example:"Spring news"`
}

// Delivery is what a mailer tells of one batch.
type Delivery struct {
	ID        string `json:"id" doc:"names the batch; the same id again replaces what it said before, and counts once" minLength:"1" maxLength:"128" example:"batch-1"`
	Delivered uint64 `json:"delivered" doc:"messages accepted by their mail servers" example:"9800"`
	Bounced   uint64 `json:"bounced,omitempty" doc:"messages refused" example:"200"`
}

func showCampaign(c campaign.Campaign) Campaign {
	return Campaign{c.Name, c.Number, c.Title, c.Created.UTC(), c.Links, c.Delivered, c.Bounced, c.DateOnly}
}

// Paging is which part of a list is asked for.
type Paging struct {
	After uint32 `query:"after" doc:"show what comes after this number" minimum:"0"`
	Limit int    `query:"limit" doc:"how many at most" minimum:"1" maximum:"1000" default:"100"`
}

// InCampaign is the path of everything within a campaign.
type InCampaign struct {
	Name string `path:"name" doc:"the campaign's name" example:"spring"`
}

type answer[T any] struct{ Body T }

func (a *API) routeCampaigns() {
	register(a, operation{
		id: "create-campaign", method: http.MethodPost, path: "/v1/campaigns", status: http.StatusCreated,
		summary: "Create a campaign", errors: []int{409}, body: new(NewCampaign),
	}, func(ctx context.Context, in *struct{ RawBody []byte }) (*answer[Campaign], error) {
		b, err := body[NewCampaign](in.RawBody)
		if err != nil {
			return nil, err
		}
		create := a.o.Writer.Create
		if b.DateOnly {
			create = a.o.Writer.CreateDateOnly
		}
		c, err := create(ctx, b.Name, b.Title)
		if err != nil {
			return nil, err
		}
		return &answer[Campaign]{showCampaign(c)}, nil
	})
	register(a, operation{
		id: "list-campaigns", method: http.MethodGet, path: "/v1/campaigns",
		summary: "List campaigns", detail: "In the order of their numbers, a page at a time.",
	}, func(_ context.Context, in *struct{ Paging }) (*answer[CampaignPage], error) {
		out := CampaignPage{Campaigns: []Campaign{}}
		for i, c := range a.o.Campaigns.List(in.After, in.Limit+1) {
			if i == in.Limit {
				out.Next = out.Campaigns[i-1].Number
				break
			}
			out.Campaigns = append(out.Campaigns, showCampaign(c))
		}
		return &answer[CampaignPage]{out}, nil
	})
	register(a, operation{
		id: "show-campaign", method: http.MethodGet, path: "/v1/campaigns/{name}",
		summary: "Show a campaign", errors: []int{404},
	}, func(_ context.Context, in *struct{ InCampaign }) (*answer[Campaign], error) {
		c, err := a.known(in.Name)
		if err != nil {
			return nil, err
		}
		return &answer[Campaign]{showCampaign(c)}, nil
	})
	register(a, operation{
		id: "add-delivery", method: http.MethodPost, path: "/v1/campaigns/{name}/deliveries",
		summary: "Tell how many messages were delivered", errors: []int{404}, body: new(Delivery),
		detail: "What a mail server accepted and what bounced. Sums over all ids are the denominator of the report's rates.",
	}, func(ctx context.Context, in *struct {
		InCampaign
		RawBody []byte
	}) (*answer[Delivery], error) {
		if _, err := a.known(in.Name); err != nil {
			return nil, err
		}
		b, err := body[Delivery](in.RawBody)
		if err != nil {
			return nil, err
		}
		return &answer[Delivery]{b}, a.o.Writer.Deliver(ctx, in.Name, campaign.Delivery(b))
	})
}
