package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"time"
)

// lineColumns is the first row of LinesCSV.
var lineColumns = []string{
	"campaign", "title", "created", "delivered", "bounced", "trackable",
	"opens_received", "opens_total", "opens_people", "opens_certain", "opens_trackable",
	"opens_rate_low", "opens_rate_high", "opens_interval_low", "opens_interval_high", "opens_too_few",
	"clicks_received", "clicks_total", "clicks_people", "clicks_certain", "clicks_trackable",
	"clicks_rate_low", "clicks_rate_high", "clicks_interval_low", "clicks_interval_high", "clicks_too_few",
	"click_to_open_low", "click_to_open_high", "click_to_open_too_few",
}

// LinesCSV writes campaigns as a table, one row each, for a spreadsheet. What there is nothing to make a rate of is empty.
func LinesCSV(w io.Writer, lines []Line) error {
	out := csv.NewWriter(w)
	_ = out.Write(lineColumns) // the writer keeps the first error for Flush
	for i := range lines {
		l := &lines[i]
		row := []string{Cell(l.Campaign), Cell(l.Title), l.Created.Format(time.RFC3339), digits(l.Delivered), digits(l.Bounced), digits(l.Trackable)}
		for _, m := range []*Measure{&l.Opens, &l.Clicks} {
			row = append(row, digits(m.Received), digits(m.Total), digits(m.Unique), digits(m.Certain), digits(m.Trackable))
			row = append(append(row, m.Rate.ends()...), m.Interval.ends()...)
			row = append(row, strconv.FormatBool(m.TooFew))
		}
		row = append(append(row, l.ClickToOpen.Rate.ends()...), strconv.FormatBool(l.ClickToOpen.TooFew))
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

func digits(n uint64) string { return strconv.FormatUint(n, 10) }

// ends are a range's two ends.
func (r *Rate) ends() []string {
	if r == nil {
		return []string{"", ""}
	}
	return []string{share(r.Low), share(r.High)}
}

func share(f float64) string { return strconv.FormatFloat(f, 'f', 6, 64) }
