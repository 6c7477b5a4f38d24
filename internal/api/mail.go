package api

import (
	"context"
	"fmt"
	"net/http"
)

// DesignedMail is a campaign's mail as it was designed.
type DesignedMail struct {
	HTML string `json:"html" doc:"UTF-8, at most 512 KiB; empty for none"`
}

// KeptMail is what came of it.
type KeptMail struct {
	Bytes    int           `json:"bytes"`
	Links    int           `json:"links" doc:"links in it that are counted, each once"`
	Warnings []MailWarning `json:"warnings,omitempty" doc:"what the sender should know: each code once"`
}

// designLimit bounds a request for a design: what JSON may make of it.
const designLimit = 4 << 20

func (a *API) routeMail() {
	register(a, operation{
		id: "keep-mail", method: http.MethodPut, path: "/v1/campaigns/{name}/mail",
		summary: "Keep the campaign's mail as it was designed", errors: []int{404}, body: new(DesignedMail), limit: designLimit,
		detail: "What reports draw the clicks on: the mail before it is made for anybody, so with merge tags where names will stand. Its links are " +
			"registered. It takes the place of the one before; an empty one takes that away.",
	}, func(ctx context.Context, in *struct {
		InCampaign
		RawBody []byte
	}) (*answer[KeptMail], error) {
		b, err := body[DesignedMail](in.RawBody)
		if err != nil {
			return nil, err
		}
		d, err := a.o.Minter.Design(ctx, in.Name, []byte(b.HTML))
		if err != nil {
			return nil, err
		}
		return &answer[KeptMail]{KeptMail{Bytes: len(b.HTML), Links: d.Links, Warnings: showWarnings(d.Warnings)}}, nil
	})
	register(a, operation{
		id: "show-mail", method: http.MethodGet, path: "/v1/campaigns/{name}/mail",
		summary: "Show the campaign's mail as it was designed", errors: []int{404},
	}, func(ctx context.Context, in *struct{ InCampaign }) (*answer[DesignedMail], error) {
		c, err := a.known(in.Name)
		if err != nil {
			return nil, err
		}
		html, err := a.o.Mails.Mail(ctx, c.Number)
		if err != nil {
			return nil, fmt.Errorf("show a mail: %w", err)
		}
		if len(html) == 0 {
			return nil, newProblem(http.StatusNotFound, "no mail is kept of this campaign; `mailbeacon campaign mail` does that")
		}
		return &answer[DesignedMail]{DesignedMail{string(html)}}, nil
	})
}
