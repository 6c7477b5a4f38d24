package dashboard

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/report"
)

var decimal = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?`)

// TestRanged: whatever the rates, what is drawn is inside, the rate within its interval, and both where the axis says.
func TestRanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		four := rapid.SliceOfN(rapid.Float64Range(0, 1), 4, 4).Draw(rt, "shares")
		slices.Sort(four)
		rate, interval := &report.Rate{Low: four[1], High: four[2]}, &report.Rate{Low: four[0], High: four[3]}
		a := newAxis(rangeWidth, interval)
		if a.Max < interval.High || a.Max > 1 {
			rt.Fatalf("an axis up to %v for %v", a.Max, interval)
		}
		r := a.ranged(rate, interval)
		numbers := func(path string) (all []float64) {
			for _, s := range decimal.FindAllString(path, -1) {
				f, err := strconv.ParseFloat(s, 64)
				must(t, err)
				all = append(all, f)
			}
			return all
		}
		in, out := numbers(r.Rate), numbers(r.Interval)
		if at := margin + interval.Low/a.Max*(rangeWidth-2*margin); math.Abs(out[0]-at) > 0.06 {
			rt.Fatalf("the interval begins at %v, want %v", out[0], at)
		}
		if out[0] < 0 || out[2] > rangeWidth || in[0] < out[0]-1.6 || in[2] > out[2]+1.6 || in[2]-in[0] < 2.8 {
			rt.Fatalf("%v within %v is drawn as %s within %s", rate, interval, r.Rate, r.Interval)
		}
	})
	// Among others that reach further, and alone.
	small, large := &report.Rate{Low: 0.01, High: 0.02}, &report.Rate{Low: 0.1, High: 0.35}
	if a := newAxis(rangeWidth, small, nil, large); a.Max != 0.4 || a.Ticks[len(a.Ticks)-1].Text != "40"+thin+"%" {
		t.Errorf("%+v", a)
	}
	if a := newAxis(compareWidth); a.Max != 0.01 || len(a.Ticks) != 5 {
		t.Errorf("of nothing: %+v", a)
	}
}

func TestSpark(t *testing.T) {
	t.Parallel()
	at := func(hour int, opens uint64) report.HourCount {
		return report.HourCount{Hour: now.Add(time.Duration(hour) * time.Hour), Opens: opens}
	}
	s := newSpark([]report.HourCount{at(0, 20), at(5, 20), at(6, 10), at(167, 10), at(168, 1000)})
	if s.Half != "half in 6"+thin+"h" || !strings.HasPrefix(s.Label, "60 opens") || s.Bars != "M0 0h3V24h-3zM4 18h3V24h-3zM108 18h3V24h-3z" {
		t.Errorf("%+v", s)
	}
	if newSpark(nil) != nil || newSpark([]report.HourCount{at(0, 0)}) != nil {
		t.Error("a course of nothing")
	}
}

// TestJoined: those are joined to the one before that nothing tells from it, and no others.
func TestJoined(t *testing.T) {
	t.Parallel()
	lines := []report.Line{}
	for _, r := range []report.Rate{{Low: 0.8, High: 0.9}, {Low: 0.5, High: 0.6}, {Low: 0.49, High: 0.59}, {Low: 0.1, High: 0.2}} {
		n := uint64(1000 * (r.Low + r.High) / 2)
		lines = append(lines, report.Line{Opens: report.Measure{Rate: &r, Interval: &r, Certain: n, Unique: n, Trackable: 1000}})
	}
	got := ""
	for _, r := range rankTable(report.Rank(lines, event.Open), event.Open, "Open rate").Rows {
		got += r.Cells[0].Text + r.Cells[0].Sub + r.Class + " "
	}
	if want := "1 2–3tied 2–3tiedjoined 4 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		count(uint64(0)): "0", count(999): "999", count(1000): "1" + thin + "000", count(-1234567): "-1" + thin + "234" + thin + "567", count(-123): "-123",
		percent(0): "0.0", percent(0.00994): "0.99", percent(0.00996): "1.0", percent(0.5): "50.0", percent(1): "100.0", percent(0.0004): "0.04",
		size(999): "999" + thin + "bytes", size(1_500_000): "1.5" + thin + "MB", lapse(90 * time.Second): "90" + thin + "s", lapse(49 * time.Hour): "2" + thin + "days", lapse(0): "0" + thin + "ms",
		short("abcdef", 6): "abcdef", short("ab cdef", 4): "ab…", short("äöüß", 3): "äö…",
		span(&report.Rate{Low: 0.1, High: 0.1001}): "10.0" + thin + "%", span(&report.Rate{Low: 0.1, High: 0.2}): "10.0–20.0" + thin + "%",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for n, want := range map[uint64]float64{0: 4, 3: 4, 5: 6, 9: 10, 10: 10, 11: 20, 99: 100, 101: 200, 1<<63 - 1: 1e19} {
		if top, steps := niceCount(n); top != want || math.Mod(top, float64(steps)) != 0 {
			t.Errorf("%d: up to %v in %d steps, want %v", n, top, steps, want)
		}
	}
}
