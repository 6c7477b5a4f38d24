package main

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	style.Options = table.Options{SeparateHeader: true}
	t.SetStyle(style)
	t.AppendHeader(header)
	var columns []table.ColumnConfig
	for i := 2; i <= len(header); i++ {
		columns = append(columns, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	return t
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

func printLoad(w io.Writer, r *result) error {
	loop := "closed loop"
	if r.Rate > 0 {
		loop = fmt.Sprintf("open loop, %.0f/s due", r.Rate)
	}
	t := newTable(loop, "connections", "seconds", "answered", "per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "errors")
	t.AppendRow(table.Row{"", r.Conns, fmt.Sprintf("%.1f", r.Seconds), r.Answered, fmt.Sprintf("%.0f", r.PerSec),
		millis(r.P50), millis(r.P99), millis(r.P999), millis(r.Max), r.failed()})
	_, err := fmt.Fprintf(w, "%s\n%s", t.Render(), errorLines(r.Errors))
	return err
}

func errorLines(errs map[string]uint64) string {
	var lines []string
	for kind, n := range errs {
		lines = append(lines, fmt.Sprintf("%d × %s\n", n, kind))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// printComparison shows the median of each contender's rounds, and ratios to the first contender
// round by round: the machine's speed drifts, so only what ran side by side is compared.
func printComparison(w io.Writer, contenders []*contender) error {
	t := newTable("", "requests/s", "of bare", "p50 ms", "p99 ms", "of bare", "p99.9 ms", "server µs", "errors")
	base := contenders[0].results
	for _, c := range contenders {
		if len(c.results) == 0 {
			t.AppendRow(table.Row{c.name, "-", "", "", "", "", "", "", c.skipped})
			continue
		}
		var errs uint64
		for _, r := range c.results {
			errs += r.failed()
		}
		t.AppendRow(table.Row{c.name,
			fmt.Sprintf("%.0f", median(c.results, func(_ int, r *result) float64 { return r.PerSec })),
			fmt.Sprintf("%.2f", median(c.results, func(i int, r *result) float64 { return r.PerSec / base[i].PerSec })),
			fmt.Sprintf("%.2f", median(c.results, func(_ int, r *result) float64 { return float64(r.P50) / 1e6 })),
			fmt.Sprintf("%.2f", median(c.results, func(_ int, r *result) float64 { return float64(r.P99) / 1e6 })),
			fmt.Sprintf("%.2f", median(c.results, func(i int, r *result) float64 { return float64(r.P99) / float64(base[i].P99) })),
			fmt.Sprintf("%.2f", median(c.results, func(_ int, r *result) float64 { return float64(r.P999) / 1e6 })),
			// Processor time of the server per request: what the ratios come from once the machine is busy.
			fmt.Sprintf("%.1f", median(c.results, func(_ int, r *result) float64 { return float64(r.Processor) / 1e3 / float64(r.Answered) })),
			errs,
		})
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

func median(rs []*result, of func(i int, r *result) float64) float64 {
	vs := make([]float64, len(rs))
	for i, r := range rs {
		vs[i] = of(i, r)
	}
	slices.Sort(vs)
	if n := len(vs); n%2 == 0 {
		return (vs[n/2-1] + vs[n/2]) / 2
	}
	return vs[len(vs)/2]
}
