package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"mailbeacon/internal/campaign"
	"mailbeacon/internal/heatmap"
	"mailbeacon/internal/report"
)

// heatBody is the body of the page around a heat map.
type heatBody struct {
	Name, Title string
	Mail        string // address of the map itself
	Clicks      string
}

func heatPath(c campaign.Campaign) string { return "/campaigns/" + c.Name + "/heat" }

// heat is a campaign's mail as it was designed, with the clicks on it.
func (d *Dashboard) heat(k *look) (*sheet, error) {
	c, _, r, err := d.heated(k)
	if err != nil {
		return nil, err
	}
	title := cmp.Or(c.Title, c.Name)
	s := &sheet{
		Title: "Heat map of " + title, AsOf: r.AsOf, Tables: []*table{linkTable(r)}, frames: true,
		Body: heatBody{Name: c.Name, Title: title, Mail: heatPath(c) + "/mail", Clicks: plural(r.Clicks.Total, "click", "clicks")},
	}
	return k.finish(s), nil
}

// heated is the campaign that a heat map is asked of, its mail, and its report.
func (d *Dashboard) heated(k *look) (c campaign.Campaign, mail []byte, r *report.Report, err error) {
	if c, err = d.known(k.PathValue("name")); err != nil {
		return c, nil, nil, err
	}
	if mail, err = d.mailOf(k.Context(), c); err != nil {
		return c, nil, nil, err
	}
	r, err = report.Query(k.Context(), d.o.Counts, report.SubjectOf(c, d.o.Campaigns.Links(c.Number)), k.now)
	return c, mail, r, d.memory.answered(err)
}

// mailOf is the mail that is kept of a campaign, or why there is none to show.
func (d *Dashboard) mailOf(ctx context.Context, c campaign.Campaign) ([]byte, error) {
	if d.o.Mails == nil {
		return nil, &problem{http.StatusNotFound, "There are no heat maps here", "This server keeps no mail of campaigns."}
	}
	html, err := d.o.Mails.Mail(ctx, c.Number)
	if err := d.memory.answered(err); err != nil {
		return nil, err
	}
	if len(html) == 0 {
		return nil, &problem{http.StatusNotFound, "No mail is kept of this campaign", "A heat map is drawn on the mail as it was designed. Keep it with: mailbeacon campaign mail " + c.Name + " --html FILE"}
	}
	return html, nil
}

// heatMail is the map itself, which is shown in a frame: somebody else's HTML, with nothing active left in it.
func (d *Dashboard) heatMail(w http.ResponseWriter, r *http.Request, v Viewer) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	k := &look{Request: r.WithContext(ctx), viewer: v, now: d.o.Now(), query: r.URL.Query(), zone: utc}
	page, err := d.drawn(k)
	if err != nil {
		d.fail(w, k, err)
		return
	}
	head(w, "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", heatmap.Policy)
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	_, _ = w.Write(page) // whoever hung up needs no answer
}

func (d *Dashboard) drawn(k *look) ([]byte, error) {
	_, mail, r, err := d.heated(k)
	if err != nil {
		return nil, err
	}
	links := make([]heatmap.Link, len(r.Links))
	for i, l := range r.Links {
		links[i] = heatmap.Link{URL: l.URL, Label: l.Label, Clicks: l.Total}
	}
	page, err := heatmap.Render(mail, links)
	if err != nil {
		return nil, &problem{http.StatusUnprocessableEntity, "This mail can't be drawn on", fmt.Sprintf("What is kept of the campaign is no HTML that can be read: %v.", err)}
	}
	return page, nil
}
