package dashboard

import (
	"cmp"
	"strconv"
	"strings"

	"mailbeacon/internal/campaign"
	"mailbeacon/internal/report"
)

const (
	pageSize = 25
	// titleLength is how much of a title a list shows, in characters; the campaign's page has all of it.
	titleLength = 80
	// searchStep is how many campaigns are looked through at a time.
	searchStep = 512
)

// campaignList is the body of the list.
type campaignList struct {
	Query        string
	All          int // campaigns there are
	Newer, Older string
	First        bool
}

// campaigns is the list, the latest first, or what of it has a text in its name or title.
func (d *Dashboard) campaigns(k *look) (*sheet, error) {
	before, err := k.beforeNumber()
	if err != nil {
		return nil, err
	}
	query := strings.TrimSpace(k.query.Get("q"))
	if len(query) > campaign.MaxTitle {
		return nil, bad("That is too long to look for", "A title has at most 300 bytes, so no campaign has a text in it that is longer.")
	}
	found := d.find(query, before, pageSize+1)
	body := campaignList{Query: query, All: d.o.Campaigns.Len(), First: before == 0}
	s := &sheet{Title: "Campaigns", AsOf: k.now}
	if len(found) > pageSize {
		found = found[:pageSize]
		body.Older = k.with("before", strconv.FormatUint(uint64(found[pageSize-1].Number), 10))
		s.next = body.Older
	}
	if before > 0 {
		body.Newer = d.newer(k, query, found)
	}
	lines, err := d.memory.read(k.Context(), found)
	if err != nil {
		if lines, err = d.lastKnown(k, s, found, err); err != nil {
			return nil, err
		}
	}
	s.Body, s.Tables = body, []*table{d.campaignTable(k, found, lines)}
	return k.finish(s), nil
}

// beforeNumber is the parameter that says where a part of the list begins.
func (k *look) beforeNumber() (uint32, error) {
	text := k.query.Get("before")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, bad("The list can't begin there", "In the address, before is the number of a campaign. The list without it begins with the latest.")
	}
	return uint32(n), nil
}

// find is up to most campaigns below a number (0: from the latest on) whose name or title has a text in it, upper and lower
// case alike.
func (d *Dashboard) find(text string, before uint32, most int) []campaign.Campaign {
	if text == "" {
		return d.o.Campaigns.Latest(before, most)
	}
	text = strings.ToLower(text)
	var found []campaign.Campaign
	for {
		some := d.o.Campaigns.Latest(before, searchStep)
		for i := range some {
			if strings.Contains(some[i].Name, text) || strings.Contains(strings.ToLower(some[i].Title), text) {
				if found = append(found, some[i]); len(found) == most {
					return found
				}
			}
		}
		if len(some) < searchStep {
			return found
		}
		before = some[len(some)-1].Number
	}
}

// newer is the address of the part before the one that begins with the first of found. Within a search that is its beginning.
func (d *Dashboard) newer(k *look, query string, found []campaign.Campaign) string {
	if query != "" || len(found) == 0 {
		return k.with("before", "")
	}
	above := d.o.Campaigns.List(found[0].Number, pageSize+1)
	if len(above) <= pageSize {
		return k.with("before", "")
	}
	return k.with("before", strconv.FormatUint(uint64(above[pageSize].Number), 10))
}

// lastKnown is what the store last said of campaigns, where it says nothing now.
func (d *Dashboard) lastKnown(k *look, s *sheet, campaigns []campaign.Campaign, err error) ([]report.Line, error) {
	lines, asOf, missing := d.memory.known(campaigns)
	if missing > 0 || len(lines) == 0 {
		return nil, err
	}
	s.AsOf = asOf
	s.Status = 503
	s.Stale = "The counts can't be read at the moment. What is shown was read " + k.zone.moment(asOf) + "; this page looks again every few seconds."
	d.o.Logger.Error("the dashboard shows what it last read", "error", err)
	return lines, nil
}

// campaignTable is the list as a table.
func (d *Dashboard) campaignTable(k *look, campaigns []campaign.Campaign, lines []report.Line) *table {
	opens, clicks, ratios := axesOf(rangeWidth, lines)
	t := &table{
		ID: "campaigns", Caption: "Campaigns, the latest first",
		Columns: []column{
			{Title: "Campaign", Fields: []string{"campaign", "title"}},
			{Title: "Created", Fields: []string{"created"}},
			{Title: "Delivered", Number: true, Fields: []string{"delivered", "bounced"}},
			{Title: "Trackable", Number: true, Fields: []string{"trackable", "untracked"}},
			{Title: "People who opened", Number: true, Fields: peopleFields("opens")},
			{Title: "Open rate", Number: true, Fields: rateFields("opens"), Axis: opens},
			{Title: "People who clicked", Number: true, Fields: peopleFields("clicks")},
			{Title: "Click rate", Number: true, Fields: rateFields("clicks"), Axis: clicks},
			{Title: "Click-to-open", Number: true, Fields: rateFields("click_to_open"), Axis: ratios},
			{Title: "Opens, first week"},
		},
	}
	for i := range lines {
		l := &lines[i]
		course := cell{Text: blank}
		if sp := newSpark(l.Series); sp != nil {
			course = cell{Spark: sp, Sub: sp.Half}
		}
		t.Rows = append(t.Rows, row{Cells: []cell{
			nameCell(l, titleLength),
			{Text: k.zone.day(l.Created), Values: []any{l.Created}},
			{Text: count(l.Delivered), Number: true, Values: []any{l.Delivered, l.Bounced}},
			trackableCell(l),
			people(&l.Opens), rated(l.Opens.Rate, l.Opens.Interval, l.Opens.TooFew, opens),
			people(&l.Clicks), rated(l.Clicks.Rate, l.Clicks.Interval, l.Clicks.TooFew, clicks),
			rated(l.ClickToOpen.Rate, l.ClickToOpen.Interval, l.ClickToOpen.TooFew, ratios),
			course,
		}})
	}
	return t
}

// axesOf are the axes of what the lines have.
func axesOf(width int, lines []report.Line) (opens, clicks, ratios *axis) {
	var o, c, r []*report.Rate
	for i := range lines {
		l := &lines[i]
		o, c, r = told(o, l.Opens.Interval, l.Opens.TooFew), told(c, l.Clicks.Interval, l.Clicks.TooFew), told(r, l.ClickToOpen.Interval, l.ClickToOpen.TooFew)
	}
	return newAxis(width, o...), newAxis(width, c...), newAxis(width, r...)
}

func told(all []*report.Rate, interval *report.Rate, tooFew bool) []*report.Rate {
	if interval == nil || tooFew {
		return all
	}
	return append(all, interval)
}

// nameCell is a campaign's title over its name, and leads to it.
func nameCell(l *report.Line, most int) cell {
	c := cell{
		Text: short(cmp.Or(l.Title, l.Campaign), most), Href: "/campaigns/" + l.Campaign, Foreign: true, Values: []any{l.Campaign, l.Title},
	}
	if l.Title != "" {
		c.Sub = l.Campaign
	}
	return c
}

func trackableCell(l *report.Line) cell {
	return cell{Text: count(l.Trackable), Sub: parts(l.Untracked), Number: true, Values: []any{l.Trackable, l.Delivered - l.Trackable}}
}
