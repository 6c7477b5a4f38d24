package dashboard

import (
	"math"
	"strconv"
	"strings"
)

// plot is a drawing of one or two panels over a common axis of time.
type plot struct {
	Label         string // what it shows, in words
	Width, Height int
	Panels        []panel
	X             []tick
	Marks         string // on the axis of time
	Base          int    // where the words of that axis stand
}

// panel is a measure's part of a plot.
type panel struct {
	Title    string
	Top      int
	Grid     string
	Ticks    []level
	Interval string // thin lines
	Bars     string
	Accent   bool
}

// level is a mark on an upright axis.
type level struct{ Y, Text string }

const (
	plotWidth   = 960
	plotLeft    = 64 // room for the numbers of the upright axes
	plotRight   = 8
	panelHeight = 96
	panelGap    = 40 // room for a title
	titleRise   = 10 // how far above its panel a title stands
	axisRoom    = 24
)

// newPlot lays out so many panels.
func newPlot(label string, titles ...string) *plot {
	p := &plot{Label: label, Width: plotWidth}
	top := 28
	for i, title := range titles {
		p.Panels = append(p.Panels, panel{Title: title, Top: top, Accent: i > 0})
		top += panelHeight + panelGap
	}
	p.Base = top - panelGap + 18
	p.Height = top - panelGap + axisRoom
	return p
}

// TitleY is where a panel's title stands.
func (p *panel) TitleY() int { return p.Top - titleRise }

// scale draws the lines of an upright axis that reaches to top, in so many steps, each with what text says of it.
func (p *panel) scale(top float64, steps int, text func(float64) string) {
	for i := range steps + 1 {
		v := top * float64(i) / float64(steps)
		y := pixel(p.y(v, top))
		p.Grid += "M" + strconv.Itoa(plotLeft) + " " + y + "H" + strconv.Itoa(plotWidth-plotRight)
		p.Ticks = append(p.Ticks, level{pixel(p.y(v, top) + 4), text(v)})
	}
}

func (p *panel) y(v, top float64) float64 {
	return float64(p.Top) + panelHeight*(1-v/top)
}

// columns draws counts as columns, each in its slot.
func (p *panel) columns(values []uint64) {
	var highest uint64
	for _, v := range values {
		highest = max(highest, v)
	}
	top, steps := niceCount(highest)
	p.scale(top, steps, func(v float64) string { return count(uint64(math.Round(v))) })
	slot := slotWidth(len(values))
	gap := min(2, slot/5)
	var b strings.Builder
	for i, v := range values {
		if v == 0 {
			continue
		}
		x := plotLeft + float64(i)*slot
		y := min(p.y(float64(v), top), float64(p.Top+panelHeight)-1) // what is there can be seen
		b.WriteString("M" + pixel(x+gap/2) + " " + strconv.Itoa(p.Top+panelHeight) + "V" + pixel(y) + "H" + pixel(x+slot-gap/2) + "V" + strconv.Itoa(p.Top+panelHeight) + "z")
	}
	p.Bars = b.String()
}

func slotWidth(n int) float64 { return float64(plotWidth-plotLeft-plotRight) / float64(max(1, n)) }

// markRoom is what a word on the axis of time needs, in pixels.
const markRoom = 76

// mark puts a word on the axis of time, so far from its beginning.
func (p *plot) mark(at float64, anchor, text string) {
	x := pixel(plotLeft + at)
	bottom := p.Panels[len(p.Panels)-1].Top + panelHeight
	p.Marks += "M" + x + " " + strconv.Itoa(bottom) + "v5"
	p.X = append(p.X, tick{At: x, Text: text, Anchor: anchor})
}

// niceCount is a round number at or above n, and in how many steps whole numbers lead there.
func niceCount(n uint64) (top float64, steps int) {
	if n <= 4 {
		return 4, 4
	}
	power := math.Pow(10, math.Floor(math.Log10(float64(n))))
	for _, step := range []struct {
		of    float64
		steps int
	}{{1, 2}, {2, 4}, {4, 4}, {6, 3}, {8, 4}, {10, 2}} {
		if t := step.of * power; float64(n) <= t {
			if power == 1 && step.of == 10 {
				return 10, 2
			}
			return t, step.steps
		}
	}
	return 10 * power, 2
}
