package dashboard

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mailbeacon/internal/advertiser"
)

// Advertisers are who has advertisements in mail, and what they are told. They may be asked concurrently. See advertiser.Reports.
type Advertisers interface {
	List(after string, limit int) []advertiser.Listed
	Report(ctx context.Context, name string) (*advertiser.Report, error)
}

// mostAdvertisers is how many a page lists.
const mostAdvertisers = 500

func advertiserPath(name string) string { return "/advertisers/" + url.PathEscape(name) }

// advertisers lists who has links in campaigns.
func (d *Dashboard) advertisers(k *look) (*sheet, error) {
	t := &table{
		ID: "advertisers", Caption: "Advertisers, by name", Empty: "No link is an advertiser's yet. Say whose it is with: mailbeacon link add CAMPAIGN URL --advertiser NAME",
		Columns: []column{
			{Title: "Advertiser", Fields: []string{"advertiser"}}, {Title: "Campaigns", Number: true, Fields: []string{"campaigns"}},
			{Title: "Links", Number: true, Fields: []string{"links"}},
		},
	}
	after, err := k.text("after")
	if err != nil {
		return nil, err
	}
	s := &sheet{Title: "Advertisers", AsOf: k.now, Tables: []*table{t}}
	for i, a := range d.o.Advertisers.List(after, mostAdvertisers+1) {
		if i == mostAdvertisers {
			s.next = k.with("after", t.Rows[i-1].Cells[0].Text)
			break
		}
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: a.Name, Href: advertiserPath(a.Name), Foreign: true, Values: []any{a.Name}}, number(uint64(a.Campaigns)), number(uint64(a.Links)),
		}})
	}
	s.Body = s.next
	return k.finish(s), nil
}

// text is a parameter that anybody may have written.
func (k *look) text(name string) (string, error) {
	s := k.query.Get(name)
	if len(s) > 300 {
		return "", bad("That is too long", "In the address, "+name+" has 300 bytes at most.")
	}
	return s, nil
}

// advertiserBody is the body of the page of one.
type advertiserBody struct {
	Name, People, Spent string
	Withheld            string // numbers too small to be shown, "" for none
	Epsilon, Epoch      string
	Delivered, Least    int
	Rounded             int
}

// states are what becomes of further clicks, in words.
var states = map[advertiser.State]string{
	advertiser.Counting:     "further people are in the next number",
	advertiser.Ended:        "it had all its numbers",
	advertiser.FewDelivered: "too few mails were delivered to release a number",
	advertiser.LinksChanged: "a link is somebody else's now; numbers wait until it is back",
	advertiser.BudgetSpent:  "the year's budget is spent; numbers wait for the next year",
	advertiser.DateOnly:     "nothing is kept of this campaign's clicks",
	advertiser.Gone:         "the campaign has no link of the advertiser any more",
}

// otherName is the answer to an advertiser who asks for another, whether there is one or not.
var otherName = &problem{http.StatusForbidden, "This is not your report", "Who signs in as an advertiser sees the report of that one alone."}

// advertiser is what one is told: what was released, and nothing else.
func (d *Dashboard) advertiser(k *look) (*sheet, error) {
	name := k.PathValue("name")
	if k.viewer.Role == advertiserRole && name != k.viewer.Advertiser {
		return nil, otherName
	}
	r, err := d.o.Advertisers.Report(k.Context(), name)
	if errors.Is(err, advertiser.ErrUnknown) {
		return nil, &problem{http.StatusNotFound, "There is no such advertiser", "No link of a campaign has this name. Names are as links have them, in upper and lower case."}
	}
	if err := d.memory.answered(err); err != nil {
		return nil, err
	}
	body := advertiserBody{
		Name: r.Advertiser, People: count(r.People), Epsilon: r.Method.Epsilon, Epoch: epochWords(time.Duration(r.Method.EpochSeconds) * time.Second),
		Delivered: r.Method.LeastDelivered, Least: r.Method.LeastShown, Rounded: r.Method.RoundedTo,
	}
	if r.Withheld > 0 {
		body.Withheld = plural(uint64(r.Withheld), "number", "numbers")
	}
	s := &sheet{Title: r.Advertiser, AsOf: k.now, Body: body, Tables: []*table{releasedTable(r, k), ledgerTable(r)}}
	return k.finish(s), nil
}

// epochWords is an epoch's length.
func epochWords(length time.Duration) string {
	switch {
	case length == 7*24*time.Hour:
		return "week"
	case length%(24*time.Hour) == 0:
		return plural(uint64(length/(24*time.Hour)), "day", "days")
	}
	return length.String()
}

// releasedTable has a row for each number, and one for each campaign that has none yet.
func releasedTable(r *advertiser.Report, k *look) *table {
	t := &table{
		ID: "released", Caption: "People who clicked for sure, by campaign and epoch", Note: "Each person is in one number of a campaign at most.",
		Empty: "No campaign has a link of this advertiser.",
		Columns: []column{
			{Title: "Campaign", Fields: []string{"campaign", "title"}}, {Title: "From", Fields: []string{"from"}}, {Title: "To", Fields: []string{"to"}},
			{Title: "People", Number: true, Fields: []string{"people"}}, {Title: "What comes", Fields: []string{"state"}},
		},
	}
	for i := range r.Campaigns {
		c := &r.Campaigns[i]
		campaign := cell{Text: cmp.Or(c.Title, c.Campaign), Sub: c.Campaign, Foreign: true, Values: []any{c.Campaign, c.Title}}
		state := cell{Text: states[c.State], Values: []any{string(c.State)}}
		for _, one := range c.Cells {
			people := cell{Text: "withheld", Number: true, Values: []any{nil}}
			if one.People != nil {
				people = number(*one.People)
			}
			t.Rows = append(t.Rows, row{Cells: []cell{
				campaign, {Text: k.zone.day(one.From), Values: []any{one.From}}, {Text: k.zone.day(one.To.Add(-time.Second)), Values: []any{one.To}}, people, state,
			}})
		}
		if len(c.Cells) == 0 {
			t.Rows = append(t.Rows, row{Cells: []cell{campaign, {Text: blank, Values: []any{nil}}, {Text: blank, Values: []any{nil}}, {Text: "none yet", Number: true, Values: []any{nil}}, state}})
		}
	}
	if len(t.Rows) > 0 {
		t.Foot = []row{{Class: "sum", Cells: []cell{{Text: "Sum of the numbers shown"}, {}, {}, number(r.People), {}}}}
	}
	return t
}

// ledgerTable is what the numbers cost.
func ledgerTable(r *advertiser.Report) *table {
	t := &table{
		ID: "ledger", Caption: "What the numbers cost, in ε", Empty: "No number was released yet.",
		Columns: []column{
			{Title: "Year", Fields: []string{"year"}}, {Title: "Numbers", Number: true, Fields: []string{"releases"}},
			{Title: "Spent", Number: true, Fields: []string{"spent"}}, {Title: "Budget", Number: true, Fields: []string{"budget"}},
		},
	}
	for _, y := range r.Ledger {
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: strconv.Itoa(y.Year), Values: []any{y.Year}}, number(uint64(y.Releases)), {Text: y.Spent, Number: true, Values: []any{y.Spent}}, number(uint64(y.Budget)),
		}})
	}
	return t
}
