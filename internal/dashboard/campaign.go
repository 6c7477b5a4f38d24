package dashboard

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"mailbeacon/internal/report"
)

const (
	mostLinks = 100 // that the page shows; files have all
	urlLength = 60  // characters of a destination
)

// campaignBody is the body of a campaign's page.
type campaignBody struct {
	Name, Title string
	Created     string
	DateOnly    bool
	Heat        string // address of the heat map, "" where there is none
	Delivered   uint64
	Bounced     uint64
	Figures     []figure
	Time        *timeline
	Reasons     []meaning
	CSV, JSON   string
}

// figure is a rate in large.
type figure struct {
	Title  string
	Value  string
	Range  *ranged
	Axis   *axis
	Detail []string
	Few    bool
}

// meaning explains a word.
type meaning struct{ Word, Text string }

// figureWidth is the width of a large rate's axis.
const figureWidth = 280

// campaign is one campaign.
func (d *Dashboard) campaign(k *look) (*sheet, error) {
	c, err := d.known(k.PathValue("name"))
	if err != nil {
		return nil, err
	}
	by, err := k.choice("by", "hour", "day")
	if err != nil {
		return nil, err
	}
	r, err := report.Query(k.Context(), d.o.Counts, report.SubjectOf(c, d.o.Campaigns.Links(c.Number)), k.now)
	if err := d.memory.answered(err); err != nil {
		return nil, err
	}
	body := campaignBody{
		Name: c.Name, Title: cmp.Or(c.Title, c.Name), Created: k.zone.day(c.Created), DateOnly: c.DateOnly, Delivered: r.Delivered, Bounced: r.Bounced,
		Figures: figures(r), Time: newTimeline(r, k, by), Reasons: meanings(r),
		CSV: k.with("format", formatCSV), JSON: k.with("format", formatJSON),
	}
	if _, err := d.mailOf(k.Context(), c); err == nil { // else the page does without the link
		body.Heat = heatPath(c)
	}
	s := &sheet{
		Title: body.Title, AsOf: r.AsOf, Body: body,
		Tables: []*table{deliveryTable(r), eventTable(r), rateTable(r), body.Time.table(), linkTable(r), clientTable(r)},
		whole:  func(b *bytes.Buffer) error { return report.CSV(b, r) },
	}
	return k.finish(s), nil
}

// figures are the three rates of a campaign.
func figures(r *report.Report) []figure {
	all := []figure{
		newFigure("Opened", r.Opens.Rate, r.Opens.Interval, r.Opens.TooFew),
		newFigure("Clicked", r.Clicks.Rate, r.Clicks.Interval, r.Clicks.TooFew),
		newFigure("Clicked, of those who opened", r.ClickToOpen.Rate, r.ClickToOpen.Interval, r.ClickToOpen.TooFew),
	}
	for i, m := range []*report.Measure{&r.Opens, &r.Clicks} {
		all[i].Detail = append(all[i].Detail, between(m.Certain, m.Unique)+" people of "+plural(m.Trackable, "mail that measures it", "mails that measure it"))
		if r.Delivered == 0 {
			all[i].Detail = append(all[i].Detail, "no deliveries are told yet, so there is no rate")
		}
	}
	all[2].Detail = append(all[2].Detail, between(r.Clicks.Certain, r.Clicks.Unique)+" people clicked, "+between(r.Opens.Certain, r.Opens.Unique)+" opened")
	return all
}

func newFigure(title string, rate, interval *report.Rate, tooFew bool) figure {
	f := figure{Title: title, Value: blank}
	switch {
	case rate == nil:
	case tooFew:
		f.Value, f.Few = tooFewWords, true
		f.Detail = []string{"below " + strconv.Itoa(report.Few) + ", chance alone makes most of a rate"}
	default:
		f.Value = span(rate)
		f.Axis = newAxis(figureWidth, interval)
		f.Range = f.Axis.ranged(rate, interval)
		f.Detail = []string{"95" + thin + "% interval " + span(interval)}
	}
	return f
}

// deliveryTable writes out delivered = trackable + each reason.
func deliveryTable(r *report.Report) *table {
	t := &table{
		ID: "delivered", Caption: "Mails delivered, and what they measure",
		Columns: []column{{Title: "Mails", Fields: []string{"part"}}, {Title: "Number", Number: true, Fields: []string{"mails"}}, {Title: "Why"}},
		Foot:    []row{{Class: "sum", Cells: []cell{words("Delivered"), number(r.Delivered), {Text: bounced(r.Bounced)}}}},
	}
	t.Rows = append(t.Rows, row{Cells: []cell{
		{Text: "Trackable", Values: []any{"trackable"}}, number(r.Trackable), {Text: "Opens or clicks of the person are measured: what rates are of."},
	}})
	for _, reason := range most(r.Untracked) {
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: capital(word(reason)), Values: []any{reason}}, number(r.Untracked[reason]), {Text: reasons[reason].mail},
		}})
	}
	return t
}

func bounced(n uint64) string {
	if n == 0 {
		return ""
	}
	return plural(n, "more bounced", "more bounced") + "."
}

// eventTable writes out received = counted + each reason, and counted by who was behind it.
func eventTable(r *report.Report) *table {
	t := &table{
		ID: "events", Caption: "Opens and clicks that came in, and what became of them",
		Columns: []column{
			{Title: "Events", Fields: []string{"part"}}, {Title: "Opens", Number: true, Fields: []string{"opens"}}, {Title: "Clicks", Number: true, Fields: []string{"clicks"}}, {Title: "What it is"},
		},
	}
	add := func(class, name, key string, opens, clicks uint64, what string) row {
		return row{Class: class, Cells: []cell{{Text: name, Values: []any{key}}, number(opens), number(clicks), {Text: what}}}
	}
	o, c := &r.Opens, &r.Clicks
	t.Rows = []row{
		add("part", "A person", "human", o.ByClass.Human, c.ByClass.Human, "as far as can be known"),
		add("part", "Through a privacy proxy", "proxied", o.ByClass.Proxied, c.ByClass.Proxied, "which hides when and whether somebody read"),
		add("part", "Not clear", "unknown", o.ByClass.Unknown, c.ByClass.Unknown, "no sign tells"),
		add("part", "A machine", "machine", o.ByClass.Machine, c.ByClass.Machine, "a scanner, a prefetch or a bot: in no number of people"),
		add("subtotal", "Counted", "counted", o.Total, c.Total, "the sum of the four above"),
	}
	for _, reason := range most(r.Suppressed) {
		t.Rows = append(t.Rows, add("part reason", "Not counted: "+word(reason), reason, o.Suppressed[reason], c.Suppressed[reason], reasons[reason].event))
	}
	t.Foot = []row{add("sum", "Received", "received", o.Received, c.Received, "counted, and each reason")}
	return t
}

// meanings explain what the page's words mean, where they occur.
func meanings(*report.Report) []meaning {
	return []meaning{
		{"A rate is a range.", "It begins with people who opened or clicked for certain, and ends with all who may have: behind a privacy proxy nobody can tell."},
		{"The thin line around it is the 95 % interval", "(Wilson): how far chance alone may have moved the rate among so few or so many mails. Two campaigns whose lines overlap can't be told apart."},
		{"Too few", "stands where fewer than 50 mails, or people, are what a rate is of."},
		{"People", "are counted once each, and are an estimate, about 1 % off for large numbers. Opens and clicks are events: one person may make several."},
	}
}

func rateTable(r *report.Report) *table {
	t := &table{
		ID: "rates", Caption: "Rates with their intervals",
		Columns: []column{
			{Title: "Measure", Fields: []string{"measure"}}, {Title: "People, or mails, it is of", Number: true, Fields: []string{"of"}},
			{Title: "People", Number: true, Fields: peopleFields("measure")}, {Title: "Rate", Number: true, Fields: rateFields("measure")},
		},
	}
	for _, one := range []struct {
		name, key      string
		of             uint64
		m              *report.Measure
		rate, interval *report.Rate
		tooFew         bool
	}{
		{"Opened", "opens", r.Opens.Trackable, &r.Opens, r.Opens.Rate, r.Opens.Interval, r.Opens.TooFew},
		{"Clicked", "clicks", r.Clicks.Trackable, &r.Clicks, r.Clicks.Rate, r.Clicks.Interval, r.Clicks.TooFew},
		{"Clicked, of those who opened", "click_to_open", r.Opens.Unique, &r.Clicks, r.ClickToOpen.Rate, r.ClickToOpen.Interval, r.ClickToOpen.TooFew},
	} {
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: one.name, Values: []any{one.key}}, number(one.of), people(one.m), rated(one.rate, one.interval, one.tooFew, nil),
		}})
	}
	return t
}

// linkTable is the links, most clicks first; the page shows the first of them, and the rest as one sum.
func linkTable(r *report.Report) *table {
	t := &table{
		ID: "links", Caption: "Links, the most clicked first", Most: mostLinks, Empty: "No link is registered yet: links are registered as mail is rendered.",
		Columns: []column{
			{Title: "Link", Fields: []string{"link", "label", "url"}},
			{Title: "Position", Number: true, Fields: []string{"position"}},
			{Title: "Advertiser", Fields: []string{"advertiser"}},
			{Title: "Clicks", Number: true, Fields: []string{"clicks"}},
			{Title: "Share of clicks", Number: true, Fields: []string{"share"}},
			{Title: "People", Number: true, Fields: peopleFields("clicks")},
		},
	}
	all := slices.Clone(r.Links)
	slices.SortStableFunc(all, func(a, b report.LinkCount) int { return cmp.Compare(b.Total, a.Total) })
	var rest uint64
	for i := range all {
		l := &all[i]
		if i >= mostLinks {
			rest += l.Total
		}
		t.Rows = append(t.Rows, row{Cells: []cell{
			linkCell(l), positionCell(l), {Text: l.Advertiser, Foreign: true, Values: []any{l.Advertiser}},
			number(l.Total), shareCell(l.Total, r.Clicks.Total),
			{Text: between(l.Certain, l.Unique), Number: true, Values: []any{l.Certain, l.Unique}},
		}})
	}
	if n := len(all) - mostLinks; n > 0 {
		t.Foot = append(t.Foot, row{Cells: []cell{
			{Text: plural(n, "other link", "other links")}, {}, {}, number(rest), shareCell(rest, r.Clicks.Total), {},
		}})
	}
	if len(all) > 0 {
		t.Foot = append(t.Foot, row{Class: "sum", Cells: []cell{
			{Text: "All links"}, {}, {}, number(r.Clicks.Total), shareCell(r.Clicks.Total, r.Clicks.Total), {Text: between(r.Clicks.Certain, r.Clicks.Unique), Number: true},
		}})
		t.Note = "Who clicked on several links is one person in each of them, and one in the last line: people do not add up."
	}
	return t
}

func linkCell(l *report.LinkCount) cell {
	c := cell{Text: short(l.Label, titleLength), Foreign: true, Sub: short(l.URL, urlLength), Values: []any{int(l.Link), l.Label, l.URL}}
	switch {
	case l.Label == "" && l.URL == "":
		c.Text = "Link " + strconv.Itoa(int(l.Link)) + ", not registered"
	case l.Label == "":
		c.Text, c.Sub = c.Sub, ""
	}
	return c
}

func positionCell(l *report.LinkCount) cell {
	c := cell{Text: strconv.Itoa(l.Position), Number: true, Values: []any{l.Position}}
	if l.Position == 0 {
		c.Text = blank
		if l.URL != "" {
			c.Text = "hidden"
		}
	}
	return c
}

// shareCell is part of whole; nothing has no shares.
func shareCell(part, whole uint64) cell {
	if whole == 0 {
		return cell{Text: blank, Number: true, Values: []any{nil}}
	}
	share := float64(part) / float64(whole)
	return cell{Text: percent(share) + thin + "%", Number: true, Values: []any{share}}
}

func clientTable(r *report.Report) *table {
	t := &table{
		ID: "clients", Caption: "Mail programs and browsers, as far as requests told", Empty: "Nothing is counted yet.",
		Columns: []column{
			{Title: "Family", Fields: []string{"client"}}, {Title: "Opens", Number: true, Fields: []string{"opens"}}, {Title: "Share of opens", Number: true},
			{Title: "Clicks", Number: true, Fields: []string{"clicks"}}, {Title: "Share of clicks", Number: true},
		},
	}
	for _, f := range r.Clients {
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: client(f.Client), Values: []any{f.Client}}, number(f.Opens), shareCell(f.Opens, r.Opens.Total), number(f.Clicks), shareCell(f.Clicks, r.Clicks.Total),
		}})
	}
	if len(r.Clients) > 0 {
		t.Foot = []row{{Class: "sum", Cells: []cell{
			{Text: "Counted"}, number(r.Opens.Total), shareCell(r.Opens.Total, r.Opens.Total), number(r.Clicks.Total), shareCell(r.Clicks.Total, r.Clicks.Total),
		}}}
	}
	return t
}
