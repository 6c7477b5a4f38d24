package api

import (
	"context"
	"net/http"

	"mailbeacon/internal/mint"
)

// MailRequest asks for one person's mail.
type MailRequest struct {
	To        string `json:"to" doc:"the person's address" example:"anna@example.com"`
	HTML      string `json:"html,omitempty" doc:"the mail's HTML"`
	Text      string `json:"text,omitempty" doc:"the mail's plain text"`
	EML       []byte `json:"eml,omitempty" doc:"a whole mail (RFC 5322) instead, in base64"`
	TextLinks bool   `json:"text_links,omitempty" doc:"count the links in plain text too"`
}

// Mail is one person's mail.
type Mail struct {
	HTML           string            `json:"html,omitempty"`
	Text           string            `json:"text,omitempty"`
	EML            []byte            `json:"eml,omitempty" doc:"in base64, with the header fields in it"`
	Headers        map[string]string `json:"headers" doc:"to be set by whoever sends html and text: List-Unsubscribe, List-Unsubscribe-Post" nullable:"false"`
	UnsubscribeURL string            `json:"unsubscribe_url" doc:"the person's preference page, for a link in the mail's foot"`
	Tracking       mint.Tracking     `json:"tracking"`
	Links          int               `json:"links" doc:"links in the mail that are counted"`
	Kept           map[string]int    `json:"kept,omitempty" doc:"links left as they are, by reason"`
	Warnings       []MailWarning     `json:"warnings,omitempty" doc:"what the sender should know: each code once"`
}

// MailWarning is something that the sender should know.
type MailWarning struct {
	Code string `json:"code" doc:"a word for programs" example:"many_links"`
	Text string `json:"text" doc:"the same as a sentence for people"`
}

// mailLimit bounds a request for a mail: 32 MiB, which base64 makes a third more.
const mailLimit = 44 << 20

func (a *API) routeMint() {
	register(a, operation{
		id: "render-message", method: http.MethodPost, path: "/v1/campaigns/{name}/messages",
		summary: "Make one person's mail", errors: []int{404}, body: new(MailRequest), limit: mailLimit,
		detail: "Puts in the pixel and counted links, as far as the person agreed, and leaves every other byte alone. " +
			"Links that the campaign does not know are registered; once it has as many as it can have, further ones stay as they " +
			"are and a warning says so. For people who refused, or who read plain text, the content comes back as it was given.",
	}, a.renderMessage)
	a.routeRecipients()
}

func (a *API) renderMessage(ctx context.Context, in *struct {
	InCampaign
	RawBody []byte
}) (*answer[Mail], error) {
	b, err := body[MailRequest](in.RawBody)
	if err != nil {
		return nil, err
	}
	if len(b.EML) > 0 && (b.HTML != "" || b.Text != "") {
		return nil, wrongField("eml", "comes together with html or text; right would be one or the other")
	}
	m, err := a.o.Minter.Message(ctx, in.Name, mint.Request{To: b.To, HTML: b.HTML, Text: b.Text, EML: b.EML, TextLinks: b.TextLinks})
	if err != nil {
		return nil, err
	}
	out := Mail{
		HTML: m.HTML, Text: m.Text, EML: m.EML, Headers: m.Headers, UnsubscribeURL: m.Unsubscribe,
		Tracking: m.Tracking, Links: m.Links,
	}
	for why, n := range m.Kept {
		if out.Kept == nil {
			out.Kept = map[string]int{}
		}
		out.Kept[string(why)] = n
	}
	out.Warnings = showWarnings(m.Warnings)
	return &answer[Mail]{out}, nil
}

func showWarnings(all []mint.Warning) (shown []MailWarning) {
	for _, w := range all {
		shown = append(shown, MailWarning{string(w), w.Explain()})
	}
	return shown
}

// Recipient is a line of the stream that comes in.
type Recipient struct {
	To string `json:"to" doc:"the person's address" example:"anna@example.com"`
}

// Minted is a line of the stream that goes out.
type Minted struct {
	To             string            `json:"to,omitempty" doc:"as it was given"`
	Subject        string            `json:"subject,omitempty" doc:"the person's number, 16 hex digits; absent where the mail names nobody"`
	PixelURL       string            `json:"pixel_url,omitempty" doc:"absent where opens are not to be measured"`
	UnsubscribeURL string            `json:"unsubscribe_url,omitempty"`
	Links          map[string]string `json:"links,omitempty" doc:"what to put in place of each link, by its number; empty where clicks are not to be measured"`
	Tracking       *mint.Tracking    `json:"tracking,omitempty"`
	Line           uint64            `json:"line,omitempty" doc:"instead of all this, for a line that can't be used: its number"`
	Error          string            `json:"error,omitempty" doc:"and why"`
}

func (a *API) routeRecipients() {
	op := streamOperation("mint-recipients", http.MethodPost, "/v1/campaigns/{name}/recipients",
		"Mint for a stream of people",
		"One JSON object per line in, one per line out, in order, for any number of people. A line that can't be used is "+
			"answered by its number and a reason, and the stream goes on. Read while you write: what is sent back waits for you. "+
			"The people of a line stand in the campaign's population before the line is answered. "+
			"A stream that is cut short ends without the end of the chunked encoding; people minted twice count once. "+
			"The trailers Mailbeacon-Lines, Mailbeacon-Minted and Mailbeacon-Bad sum up.")
	a.stream(op, streamDoc{in: new(Recipient), out: new(Minted), errors: []int{404}}, a.recipients)
}

func (a *API) recipients(ctx context.Context, x *exchange) error {
	sum, err := a.o.Minter.Recipients(ctx, x.request.PathValue("name"), mint.Stream{
		In: x, Out: x, Flush: x.flush, Interrupt: x.interrupt,
	})
	if err != nil {
		return err
	}
	x.trailer("Mailbeacon-Lines", sum.Lines)
	x.trailer("Mailbeacon-Minted", sum.Minted)
	x.trailer("Mailbeacon-Bad", sum.Bad)
	return nil
}
