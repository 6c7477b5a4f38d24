package dashboard

import (
	"math"
	"strconv"
	"strings"

	"mailbeacon/internal/report"
)

// What is drawn is simple enough for paths and a few words, whose looks are the style sheet's: a page may hold no style of
// its own, and light and dark are the reader's. Everything has its size in it, so that nothing moves when it comes.

// axis is a scale of shares from 0 on.
type axis struct {
	Max           float64
	Width, Height int
	Ticks         []tick
}

// tick is a mark on an axis.
type tick struct {
	At     string // where
	Text   string
	Anchor string // which side of the text stands there
}

// rangeWidth is the width of a range in a table, in pixels.
const rangeWidth = 120

// margin keeps the ends of lines and words inside.
const margin = 2

// newAxis reaches over all intervals.
func newAxis(width int, all ...*report.Rate) *axis {
	highest := 0.0
	for _, r := range all {
		if r != nil {
			highest = max(highest, r.High)
		}
	}
	a := &axis{Max: 1, Width: width, Height: 18}
	for _, nice := range []float64{0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8} {
		if highest <= nice {
			a.Max = nice
			break
		}
	}
	steps := 2
	if width > 2*rangeWidth {
		steps = 4
	}
	for i := range steps + 1 {
		share := a.Max * float64(i) / float64(steps)
		t := tick{At: pixel(a.x(share)), Text: strconv.FormatFloat(math.Round(share*10000)/100, 'f', -1, 64), Anchor: "middle"}
		switch i {
		case 0:
			t.Anchor = "start"
		case steps:
			t.Anchor, t.Text = "end", t.Text+thin+"%"
		}
		a.Ticks = append(a.Ticks, t)
	}
	return a
}

// x is where a share stands.
func (a *axis) x(share float64) float64 {
	return margin + share/a.Max*float64(a.Width-2*margin)
}

// ranged is a rate and its interval on an axis.
type ranged struct {
	Width    int
	Grid     string // of the axis's ticks
	Interval string
	Rate     string
}

func (a *axis) ranged(rate, interval *report.Rate) *ranged {
	low, high := a.x(interval.Low), a.x(interval.High)
	from, to := a.x(rate.Low), a.x(rate.High)
	if to-from < 3 { // a single value is a mark that can be seen
		from, to = (from+to)/2-1.5, (from+to)/2+1.5
	}
	r := &ranged{Width: a.Width}
	for _, t := range a.Ticks {
		r.Grid += "M" + t.At + " 0v16"
	}
	r.Interval = "M" + pixel(low) + " 8H" + pixel(high) + "M" + pixel(low) + " 4v8M" + pixel(high) + " 4v8"
	r.Rate = "M" + pixel(from) + " 5H" + pixel(to) + "v6H" + pixel(from) + "z"
	return r
}

// pixel is a place to a tenth of a pixel.
func pixel(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }

// spark is the course of a campaign's opens over its first week, in steps of six hours.
type spark struct {
	Bars  string
	Label string
	Half  string // in how many hours half of them came
}

const (
	sparkHours  = 6
	sparkBars   = report.SeriesHours / sparkHours
	sparkWidth  = 4
	sparkHeight = 24
)

// newSpark draws a first week; nil where nobody opened.
func newSpark(series []report.HourCount) *spark {
	if len(series) == 0 {
		return nil
	}
	var bars [sparkBars]uint64
	var all, top uint64
	for _, h := range series {
		if i := int(h.Hour.Sub(series[0].Hour).Hours()) / sparkHours; i < sparkBars {
			bars[i] += h.Opens
			all += h.Opens
			top = max(top, bars[i])
		}
	}
	if all == 0 {
		return nil
	}
	s := &spark{Label: count(all) + " opens in the first week", Half: half(series, all)}
	var b strings.Builder
	for i, n := range bars {
		if n > 0 {
			high := max(1, float64(n)/float64(top)*sparkHeight)
			b.WriteString("M" + strconv.Itoa(i*sparkWidth) + " " + pixel(sparkHeight-high) + "h3V" + strconv.Itoa(sparkHeight) + "h-3z")
		}
	}
	s.Bars = b.String()
	return s
}

// half says in how many hours half of the opens came.
func half(series []report.HourCount, all uint64) string {
	var sum uint64
	for _, h := range series {
		if sum += h.Opens; 2*sum >= all {
			hours := int(h.Hour.Sub(series[0].Hour).Hours()) + 1
			return "half in " + count(hours) + thin + "h"
		}
	}
	return ""
}
