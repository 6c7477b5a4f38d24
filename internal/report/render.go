package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Table writes the report for a person at a terminal: plain text, no colour, at most about 100
// columns wide.
func Table(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, as of %s\n\n", Plain(r.Campaign), r.AsOf.Format(time.DateTime+" MST"))
	delivered(&b, r)
	kinds(&b, r)
	links(&b, r.Links)
	suppressed(&b, r)
	_, err := io.WriteString(w, b.String())
	return err
}

func delivered(b *strings.Builder, r *Report) {
	if r.Delivered == 0 {
		b.WriteString("No deliveries reported yet, so there are no rates: `mailbeacon delivery add` reports them.\n\n")
		return
	}
	fmt.Fprintf(b, "%s delivered, %s trackable", Grouped(r.Delivered), Grouped(r.Trackable))
	for _, reason := range sorted(r.Untracked) {
		fmt.Fprintf(b, ", %s %s", Grouped(r.Untracked[reason]), words(reason))
	}
	b.WriteString("\n\n")
}

func kinds(b *strings.Builder, r *Report) {
	t := newTable("", "total", "human", "proxied", "machine", "unknown", "people", "certain", "rate", "95 % interval")
	for _, row := range []struct {
		name string
		m    *Measure
	}{{"opens", &r.Opens}, {"clicks", &r.Clicks}} {
		c := row.m.ByClass
		t.AppendRow(table.Row{row.name, Grouped(row.m.Total), Grouped(c.Human), Grouped(c.Proxied), Grouped(c.Machine),
			Grouped(c.Unknown), Grouped(row.m.Unique), Grouped(row.m.Certain), row.m.Rate.Told(row.m.TooFew), row.m.Interval.Told(row.m.TooFew)})
	}
	b.WriteString(t.Render() + "\n")
	if c := r.ClickToOpen; c.Rate != nil && !c.TooFew {
		fmt.Fprintf(b, "\nOf those who opened, %s clicked (95 %% interval %s).\n", c.Rate, c.Interval)
	}
}

func links(b *strings.Builder, all []LinkCount) {
	if len(all) == 0 {
		return
	}
	t := newTable("link", "clicks", "people", "label", "advertiser", "leads to")
	t.SetColumnConfigs([]table.ColumnConfig{
		right(1), right(2), right(3), left(4, 20), left(5, 14), left(6, 38),
	})
	for _, l := range all {
		t.AppendRow(table.Row{strconv.Itoa(int(l.Link)), Grouped(l.Total), Grouped(l.Unique),
			short(l.Label, 20), short(l.Advertiser, 14), short(l.URL, 38)})
	}
	b.WriteString("\n" + t.Render() + "\n")
}

func suppressed(b *strings.Builder, r *Report) {
	if len(r.Suppressed) == 0 {
		return
	}
	t := newTable("not counted", "opens", "clicks")
	for _, reason := range sorted(r.Suppressed) {
		t.AppendRow(table.Row{words(reason), Grouped(r.Opens.Suppressed[reason]), Grouped(r.Clicks.Suppressed[reason])})
	}
	b.WriteString("\n" + t.Render() + "\n")
}

// String is the range in per cent, or a dash where there is none.
func (r *Rate) String() string {
	if r == nil {
		return "-"
	}
	low, high := percent(r.Low), percent(r.High)
	if low == high {
		return low + " %"
	}
	return low + " - " + high + " %"
}

// Told is String, or "too few" where there is a rate and too little that it is of.
func (r *Rate) Told(tooFew bool) string {
	if r != nil && tooFew {
		return "too few"
	}
	return r.String()
}

func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 1, 64) }

func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	style.Options = table.Options{SeparateHeader: true, SeparateColumns: false}
	t.SetStyle(style)
	t.AppendHeader(header)
	configs := make([]table.ColumnConfig, 0, len(header)-1)
	for i := 2; i <= len(header); i++ {
		configs = append(configs, right(i))
	}
	t.SetColumnConfigs(configs)
	return t
}

func right(column int) table.ColumnConfig {
	return table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight}
}

func left(column, width int) table.ColumnConfig {
	return table.ColumnConfig{Number: column, Align: text.AlignLeft, WidthMax: width}
}

// CSV writes the report as rows of section, name, measure and number: one form for everything, so
// that a spreadsheet can filter it.
func CSV(w io.Writer, r *Report) error {
	out := csv.NewWriter(w)
	put := func(section, name, measure, value string) {
		// The writer keeps the first error for Flush.
		_ = out.Write([]string{Cell(section), Cell(name), Cell(measure), value})
	}
	count := digits
	put("section", "name", "measure", "value")
	put("campaign", r.Campaign, "as_of", r.AsOf.Format(time.RFC3339))
	put("campaign", r.Campaign, "delivered", count(r.Delivered))
	put("campaign", r.Campaign, "bounced", count(r.Bounced))
	put("campaign", r.Campaign, "trackable", count(r.Trackable))
	for _, reason := range sorted(r.Untracked) {
		put("untracked", reason, "people", count(r.Untracked[reason]))
	}
	for _, k := range []struct {
		name string
		m    *Measure
	}{{"opens", &r.Opens}, {"clicks", &r.Clicks}} {
		m := k.m
		for _, row := range []struct {
			measure string
			n       uint64
		}{
			{"received", m.Received}, {"total", m.Total}, {"human", m.ByClass.Human}, {"proxied", m.ByClass.Proxied},
			{"machine", m.ByClass.Machine}, {"unknown", m.ByClass.Unknown}, {"unique", m.Unique},
			{"certain", m.Certain}, {"trackable", m.Trackable},
		} {
			put("kind", k.name, row.measure, count(row.n))
		}
		rates(put, k.name, m.Rate, m.Interval, m.TooFew)
		for _, reason := range sorted(m.Suppressed) {
			put("suppressed", k.name, reason, count(m.Suppressed[reason]))
		}
	}
	rates(put, "click_to_open", r.ClickToOpen.Rate, r.ClickToOpen.Interval, r.ClickToOpen.TooFew)
	for _, l := range r.Links {
		name := strconv.Itoa(int(l.Link))
		for _, row := range [][2]string{{"position", strconv.Itoa(l.Position)}, {"label", Cell(l.Label)}, {"advertiser", Cell(l.Advertiser)},
			{"url", Cell(l.URL)}, {"total", count(l.Total)}, {"unique", count(l.Unique)}, {"certain", count(l.Certain)}} {
			put("link", name, row[0], row[1])
		}
	}
	for _, f := range r.Clients {
		put("client", f.Client, "opens", count(f.Opens))
		put("client", f.Client, "clicks", count(f.Clicks))
	}
	for _, h := range r.Series {
		put("hour", h.Hour.Format(time.RFC3339), "opens", count(h.Opens))
		put("hour", h.Hour.Format(time.RFC3339), "clicks", count(h.Clicks))
	}
	out.Flush()
	return out.Error()
}

// rates puts a range and its interval, where there are any.
func rates(put func(section, name, measure, value string), name string, rate, interval *Rate, tooFew bool) {
	if rate == nil {
		return
	}
	for _, row := range []struct {
		measure string
		share   float64
	}{{"rate_low", rate.Low}, {"rate_high", rate.High}, {"interval_low", interval.Low}, {"interval_high", interval.High}} {
		put("kind", name, row.measure, share(row.share))
	}
	put("kind", name, "too_few", strconv.FormatBool(tooFew))
}

// Cell defuses what a spreadsheet would take for a formula.
func Cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Plain is a text as it may be printed to a terminal: what somebody else wrote can't steer it.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}

// short cuts a text to a width, in columns.
func short(s string, width int) string {
	s = Plain(s)
	if text.StringWidthWithoutEscSequences(s) <= width {
		return s
	}
	return text.Trim(s, width-1) + "…"
}

// Grouped is a number with its digits grouped by thousands.
func Grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// words is a reason as people read it.
func words(reason string) string { return strings.ReplaceAll(reason, "_", " ") }

func sorted(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }
