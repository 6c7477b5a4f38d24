package advertiser

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"mailbeacon/internal/report"
)

// columns is the first row of CSV.
var columns = []string{"advertiser", "campaign", "title", "from", "to", "people", "state"}

// Told of a cell, in the column state.
const (
	toldReleased = "released"
	toldWithheld = "withheld"
)

// CSV writes a report as a table: a row for each released number, and one for each campaign of which further clicks are not simply
// counted, or none was released yet. What is withheld is empty.
func CSV(w io.Writer, r *Report) error {
	out := csv.NewWriter(w)
	_ = out.Write(columns) // the writer keeps the first error for Flush
	for i := range r.Campaigns {
		c := &r.Campaigns[i]
		row := func(from, to, people, state string) {
			_ = out.Write([]string{report.Cell(r.Advertiser), report.Cell(c.Campaign), report.Cell(c.Title), from, to, people, state})
		}
		for _, cell := range c.Cells {
			people, state := "", toldWithheld
			if cell.People != nil {
				people, state = strconv.FormatUint(*cell.People, 10), toldReleased
			}
			row(cell.From.Format(time.RFC3339), cell.To.Format(time.RFC3339), people, state)
		}
		if c.State != Counting || len(c.Cells) == 0 {
			row("", "", "", string(c.State))
		}
	}
	out.Flush()
	return out.Error()
}

// Table writes a report for a person at a terminal, as plain text.
func Table(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s people clicked, as far as it is released%s\n\n", report.Plain(r.Advertiser), report.Grouped(r.People), more(r.Withheld))
	if len(r.Campaigns) == 0 {
		b.WriteString("No campaign has a link of this advertiser.\n")
	} else {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CAMPAIGN\tFROM\tTO\tPEOPLE\tFURTHER CLICKS")
		for i := range r.Campaigns {
			c := &r.Campaigns[i]
			name, state := report.Plain(c.Campaign), strings.ReplaceAll(string(c.State), "_", " ")
			for _, cell := range c.Cells {
				people := toldWithheld
				if cell.People != nil {
					people = report.Grouped(*cell.People)
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, day(cell.From), day(cell.To), people, state)
				name, state = "", ""
			}
			if len(c.Cells) == 0 {
				fmt.Fprintf(t, "%s\t-\t-\t-\t%s\n", name, state)
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, y := range r.Ledger {
		fmt.Fprintf(&b, "\n%d: %d numbers released, which cost %s of %d (ε)", y.Year, y.Releases, y.Spent, y.Budget)
	}
	fmt.Fprintf(&b, "\n\nEach number has noise (ε = %s), is rounded to %d, and is withheld below %d. It was drawn once and stays.\n", r.Method.Epsilon, r.Method.RoundedTo, r.Method.LeastShown)
	_, err := io.WriteString(w, b.String())
	return err
}

func more(withheld int) string {
	switch withheld {
	case 0:
		return ""
	case 1:
		return "; 1 number was too small to be shown"
	}
	return fmt.Sprintf("; %d numbers were too small to be shown", withheld)
}

// day is how an epoch's bound is printed: with the time only where it is not midnight.
func day(t time.Time) string {
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.DateTime)
}
