package dashboard

import (
	"math"
	"strconv"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/report"
)

const (
	compareTitle = 50  // characters of a title
	compareWidth = 360 // of the common axis
	mostMonths   = 36  // that are drawn and listed; files have all
	leastSlots   = 12  // a drawing has, so that few months do not stand far apart
)

// comparison is the body of the page.
type comparison struct {
	By, N    string
	ByOther  []choiceLink
	Ns       []choiceLink
	Placed   int
	Without  int // that have no place
	Trend    *plot
	Earlier  int // months that are not shown
	Measures string
}

// choiceLink is one of a few ways to see a page.
type choiceLink struct {
	Title, Path string
	Here        bool
}

// choices are the links to each value of a parameter.
func (k *look) choices(name, now string, values, titles []string) []choiceLink {
	all := make([]choiceLink, len(values))
	for i, v := range values {
		all[i] = choiceLink{titles[i], k.with(name, v), v == now}
	}
	return all
}

// compare ranks the latest campaigns, and sums them up by month.
func (d *Dashboard) compare(k *look) (*sheet, error) {
	by, err := k.choice("by", "opens", "clicks")
	if err != nil {
		return nil, err
	}
	n, err := k.choice("n", "50", "100", "200")
	if err != nil {
		return nil, err
	}
	most, err := strconv.Atoi(n)
	if err != nil {
		return nil, err
	}
	latest := d.o.Campaigns.Latest(0, most)
	s := &sheet{Title: "Comparison"}
	lines, asOf, err := d.memory.recent(k.Context(), latest)
	if err != nil {
		if lines, err = d.lastKnown(k, s, latest, err); err != nil {
			return nil, err
		}
		asOf = s.AsOf
	}
	s.AsOf = asOf
	kind, measure := event.Open, "Open rate"
	if by == "clicks" {
		kind, measure = event.Click, "Click rate"
	}
	ranked, months := report.Rank(lines, kind), report.Trend(lines, k.zone.Location)
	body := comparison{
		By: by, N: n, Placed: len(ranked), Without: len(lines) - len(ranked), Measures: measure,
		ByOther: k.choices("by", by, []string{"opens", "clicks"}, []string{"Opens", "Clicks"}),
		Ns:      k.choices("n", n, []string{"50", "100", "200"}, []string{"latest 50", "latest 100", "latest 200"}),
	}
	trend := trendTable(months)
	if len(months) > mostMonths {
		body.Earlier = len(months) - mostMonths
		months = months[body.Earlier:]
	}
	if len(months) > 1 {
		body.Trend = trendPlot(months)
	}
	s.Body = body
	s.Tables = []*table{rankTable(ranked, kind, measure), trend}
	return k.finish(s), nil
}

// rankTable is the ranking. Who shares a range of places with the next is joined to it.
func rankTable(ranked []report.Ranked, kind event.Kind, measure string) *table {
	var intervals []*report.Rate
	for i := range ranked {
		intervals = append(intervals, ranked[i].Of(kind).Interval)
	}
	on := newAxis(compareWidth, intervals...)
	t := &table{
		ID: "ranking", Caption: "Campaigns by " + kindWords(kind),
		Columns: []column{
			{Title: "Place", Fields: []string{"best_place", "worst_place", "tied"}},
			{Title: "Campaign", Fields: []string{"campaign", "title"}},
			{Title: "Mails", Number: true, Fields: []string{"trackable"}},
			{Title: "People", Number: true, Fields: peopleFields(kind.String() + "s")},
			{Title: measure, Number: true, Fields: rateFields(kind.String() + "s")},
			{Title: "95" + thin + "% interval", Number: true},
			{Title: "On one axis", Axis: on},
		},
	}
	for i := range ranked {
		r := &ranked[i]
		m := r.Of(kind)
		class := ""
		if ranked[i].Joined {
			class = "joined"
		}
		t.Rows = append(t.Rows, row{Class: class, Cells: []cell{
			placeCell(r), nameCell(&r.Line, compareTitle),
			{Text: count(m.Trackable), Number: true, Values: []any{m.Trackable}},
			people(m),
			{Text: span(m.Rate), Number: true, Values: rateValues(m.Rate, m.Interval, m.TooFew)}, {Text: span(m.Interval), Number: true},
			{Range: on.ranged(m.Rate, m.Interval)},
		}})
	}
	return t
}

func kindWords(k event.Kind) string {
	if k == event.Click {
		return "the share of mails whose readers clicked"
	}
	return "the share of mails that were opened"
}

// placeCell is a place, or the range of places that a campaign may have.
func placeCell(r *report.Ranked) cell {
	c := cell{Text: strconv.Itoa(r.Best), Values: []any{r.Best, r.Worst, r.Tied}}
	if r.Best != r.Worst {
		c.Text += blank + strconv.Itoa(r.Worst)
	}
	if r.Tied {
		c.Sub = "tied"
	}
	return c
}

func trendTable(months []report.Month) *table {
	t := &table{
		ID: "trend", Caption: "By the month in which campaigns were created", Most: mostMonths,
		Columns: []column{
			{Title: "Month", Fields: []string{"month"}},
			{Title: "Campaigns", Number: true, Fields: []string{"campaigns"}},
			{Title: "Mails that measure opens", Number: true, Fields: []string{"opens_trackable"}},
			{Title: "Open rate", Number: true, Fields: rateFields("opens")},
			{Title: "Mails that measure clicks", Number: true, Fields: []string{"clicks_trackable"}},
			{Title: "Click rate", Number: true, Fields: rateFields("clicks")},
		},
	}
	for i := range months {
		m := &months[len(months)-1-i] // the latest first
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: m.Month.Format("January 2006"), Values: []any{m.Month}},
			number(uint64(m.Campaigns)),
			number(m.Opens.Trackable), rated(m.Opens.Rate, m.Opens.Interval, m.Opens.TooFew, nil),
			number(m.Clicks.Trackable), rated(m.Clicks.Rate, m.Clicks.Interval, m.Clicks.TooFew, nil),
		}})
	}
	return t
}

// trendPlot draws each month's rate as a range within its interval, opens over clicks.
func trendPlot(months []report.Month) *plot {
	label := "Rates by month, from " + months[0].Month.Format("January 2006") + " to " + months[len(months)-1].Month.Format("January 2006") + ". The table below has the numbers."
	p := newPlot(label, "Open rate, %", "Click rate, %")
	p.Panels[0].Accent = true
	slots := max(len(months), leastSlots)
	for i, share := range []func(*report.Month) *report.Share{
		func(m *report.Month) *report.Share { return &m.Opens }, func(m *report.Month) *report.Share { return &m.Clicks },
	} {
		p.Panels[i].months(months, slots, share)
	}
	wide := slotWidth(slots)
	for i, at := 0, -math.MaxFloat64; i < len(months); i++ {
		if float64(i)*wide-at >= markRoom {
			p.mark((float64(i)+0.5)*wide, "middle", months[i].Month.Format("Jan 2006"))
			at = float64(i) * wide
		}
	}
	return p
}

func (p *panel) months(months []report.Month, slots int, share func(*report.Month) *report.Share) {
	var all []*report.Rate
	for i := range months {
		s := share(&months[i])
		all = told(all, s.Interval, s.TooFew)
	}
	top := newAxis(plotWidth, all...).Max
	p.scale(top, 4, func(v float64) string { return pixelShare(v) })
	slot := slotWidth(slots)
	for i := range months {
		s := share(&months[i])
		if s.Interval == nil || s.TooFew {
			continue
		}
		x := plotLeft + (float64(i)+0.5)*slot
		low, high := p.y(s.Interval.Low, top), p.y(s.Interval.High, top)
		p.Interval += "M" + pixel(x) + " " + pixel(low) + "V" + pixel(high) + "M" + pixel(x-4) + " " + pixel(low) + "h8M" + pixel(x-4) + " " + pixel(high) + "h8"
		from, to := p.y(s.Rate.Low, top), p.y(s.Rate.High, top)
		if from-to < 3 {
			from, to = (from+to)/2+1.5, (from+to)/2-1.5
		}
		p.Bars += "M" + pixel(x-3) + " " + pixel(from) + "V" + pixel(to) + "h6V" + pixel(from) + "z"
	}
}

// pixelShare is a share as an axis has it, in per cent without the sign.
func pixelShare(v float64) string { return strconv.FormatFloat(v*100, 'g', 3, 64) }
