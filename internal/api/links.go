package api

import (
	"context"
	"net/http"

	"mailbeacon/internal/campaign"
)

// Link is a link as the API shows it.
type Link struct {
	Link       uint16 `json:"link" doc:"its number within the campaign" example:"1"`
	URL        string `json:"url" doc:"where a click leads, byte for byte" example:"https://example.com/offer"`
	Label      string `json:"label" example:"the offer"`
	Advertiser string `json:"advertiser" doc:"whose advertisement it is; empty for nobody's"`
	Hidden     bool   `json:"hidden" doc:"no person can see it: who follows it is a machine"`
}

// LinkPage is a part of the list of a campaign's links.
type LinkPage struct {
	Links []Link `json:"links" nullable:"false"`
	Next  uint32 `json:"next,omitempty" doc:"?after= of the next page; absent on the last one"`
}

// NewLink asks for a link.
type NewLink struct {
	URL        string `json:"url" doc:"http or https, with a host, without a user; at most 8192 bytes" minLength:"1" example:"https://example.com/offer"`
	Label      string `json:"label,omitempty" doc:"at most 300 bytes, on one line" example:"the offer"`
	Advertiser string `json:"advertiser,omitempty" doc:"at most 100 bytes" example:"acme"`
	Hidden     bool   `json:"hidden,omitempty" doc:"no person can see it: who follows it is a machine"`
}

// MendedLink says what a link is to be from now on.
type MendedLink struct {
	URL        string  `json:"url" doc:"where clicks lead from now on, in mail already sent too" minLength:"1" example:"https://example.com/offer-2"`
	Label      *string `json:"label,omitempty" doc:"as it is, where absent"`
	Advertiser *string `json:"advertiser,omitempty" doc:"as it is, where absent"`
	Hidden     *bool   `json:"hidden,omitempty" doc:"as it is, where absent"`
}

func showLink(l campaign.Link) Link {
	return Link{l.Number, l.URL, l.Label, l.Advertiser, l.Hidden}
}

func (a *API) routeLinks() {
	register(a, operation{
		id: "add-link", method: http.MethodPost, path: "/v1/campaigns/{name}/links", status: http.StatusCreated,
		summary: "Register a link", errors: []int{404, 409}, body: new(NewLink),
		detail: "A link with the same URL and label is not registered twice: the answer is then the one that is there.",
	}, func(ctx context.Context, in *struct {
		InCampaign
		RawBody []byte
	}) (*answer[Link], error) {
		if _, err := a.known(in.Name); err != nil {
			return nil, err
		}
		b, err := body[NewLink](in.RawBody)
		if err != nil {
			return nil, err
		}
		l, err := a.o.Writer.AddLink(ctx, in.Name, campaign.Link{URL: b.URL, Label: b.Label, Advertiser: b.Advertiser, Hidden: b.Hidden})
		if err != nil {
			return nil, err
		}
		return &answer[Link]{showLink(l)}, nil
	})
	register(a, operation{
		id: "list-links", method: http.MethodGet, path: "/v1/campaigns/{name}/links",
		summary: "List a campaign's links", errors: []int{404},
	}, func(_ context.Context, in *struct {
		InCampaign
		Paging
	}) (*answer[LinkPage], error) {
		c, err := a.known(in.Name)
		if err != nil {
			return nil, err
		}
		out := LinkPage{Links: []Link{}}
		for _, l := range a.o.Campaigns.Links(c.Number) {
			if uint32(l.Number) <= in.After {
				continue
			}
			if len(out.Links) == in.Limit {
				out.Next = uint32(out.Links[in.Limit-1].Link)
				break
			}
			out.Links = append(out.Links, showLink(l))
		}
		return &answer[LinkPage]{out}, nil
	})
	register(a, operation{
		id: "mend-link", method: http.MethodPut, path: "/v1/campaigns/{name}/links/{link}",
		summary: "Mend a link's destination", errors: []int{404}, body: new(MendedLink),
		detail: "Mail that was sent already leads to the new destination from now on.",
	}, a.mendLink)
}

type mend struct {
	InCampaign
	Link    uint16 `path:"link" doc:"the link's number" minimum:"1" maximum:"65534" example:"1"`
	RawBody []byte
}

func (a *API) mendLink(ctx context.Context, in *mend) (*answer[Link], error) {
	c, err := a.known(in.Name)
	if err != nil {
		return nil, err
	}
	l, ok := a.o.Campaigns.Link(c.Number, in.Link)
	if !ok {
		return nil, newProblem(http.StatusNotFound, "the campaign has no link of this number")
	}
	b, err := body[MendedLink](in.RawBody)
	if err != nil {
		return nil, err
	}
	l.URL = b.URL
	orElse(&l.Label, b.Label)
	orElse(&l.Advertiser, b.Advertiser)
	orElse(&l.Hidden, b.Hidden)
	if l, err = a.o.Writer.SetLink(ctx, in.Name, in.Link, l); err != nil {
		return nil, err
	}
	return &answer[Link]{showLink(l)}, nil
}

func orElse[T any](field *T, given *T) {
	if given != nil {
		*field = *given
	}
}
