package dashboard

import (
	"time"

	"mailbeacon/internal/report"
)

const (
	mostHours = report.SeriesHours // that are drawn by hour
	mostDays  = 92                 // that are drawn by day
)

// timeline is a campaign's course by hour or by day, in the viewer's zone.
type timeline struct {
	By    string
	Ways  []choiceLink
	Plot  *plot  // nil where nothing is counted
	slots []slot // that are drawn, without a gap
	all   []slot // in which anything was counted
	later slot   // what came after all that is drawn
	sum   slot
	title string
}

// slot is what was counted in an hour or a day.
type slot struct {
	at            time.Time
	name          string
	opens, clicks uint64
}

// newTimeline begins with the first hour, or day, in which anything was counted.
func newTimeline(r *report.Report, k *look, by string) *timeline {
	t := &timeline{By: by, Ways: k.choices("by", by, []string{"hour", "day"}, []string{"by hour, first week", "by day"})}
	t.title = "Opens and clicks " + t.way() + ", times in " + k.zone.String()
	if len(r.Series) == 0 {
		return t
	}
	begin := func(at time.Time) time.Time { return at.In(k.zone.Location) }
	next, name, bound := func(at time.Time) time.Time { return at.Add(time.Hour) }, "Mon 2 Jan 2006, 15:04", mostHours
	if by == "day" {
		begin = func(at time.Time) time.Time { return midnight(at.In(k.zone.Location)) }
		next, name, bound = func(at time.Time) time.Time { return midnight(at.AddDate(0, 0, 1)) }, "Mon 2 Jan 2006", mostDays
	}
	for _, h := range r.Series {
		at := begin(h.Hour)
		if n := len(t.all); n == 0 || !t.all[n-1].at.Equal(at) {
			t.all = append(t.all, slot{at: at, name: at.Format(name)})
		}
		t.all[len(t.all)-1].add(h.Opens, h.Clicks)
		t.sum.add(h.Opens, h.Clicks)
	}
	last, i := t.all[len(t.all)-1].at, 0
	for at := t.all[0].at; !at.After(last) && len(t.slots) < bound; at = next(at) {
		s := slot{at: at, name: at.Format(name)}
		if t.all[i].at.Equal(at) {
			s = t.all[i]
			i++
		}
		t.slots = append(t.slots, s)
	}
	for _, s := range t.all[i:] {
		t.later.add(s.opens, s.clicks)
	}
	t.Plot = t.plot()
	return t
}

func (s *slot) add(opens, clicks uint64) {
	s.opens += opens
	s.clicks += clicks
}

func (t *timeline) way() string {
	if t.By == "day" {
		return "by day"
	}
	return "by hour"
}

// midnight is when the day of a moment begins, which is not 0:00 where clocks are put forward then.
func midnight(t time.Time) time.Time {
	year, month, day := t.Date()
	at := time.Date(year, month, day, 0, 0, 0, 0, t.Location())
	for at.Day() != day {
		at = at.Add(time.Hour)
	}
	return at
}

func (t *timeline) plot() *plot {
	label := t.title + ": " + count(t.sum.opens) + " opens and " + count(t.sum.clicks) + " clicks, beginning " + t.slots[0].name + ". The table below has the numbers."
	p := newPlot(label, "Opens", "Clicks")
	opens, clicks := make([]uint64, len(t.slots)), make([]uint64, len(t.slots))
	for i, s := range t.slots {
		opens[i], clicks[i] = s.opens, s.clicks
	}
	// A short course is not drawn as a few broad blocks.
	for len(opens) < 24 {
		opens, clicks = append(opens, 0), append(clicks, 0)
	}
	p.Panels[0].columns(opens)
	p.Panels[1].columns(clicks)
	t.mark(p, slotWidth(len(opens)))
	return p
}

// mark names the days. The first hour has its own word where the first midnight leaves it room.
func (t *timeline) mark(p *plot, wide float64) {
	var days []int
	for i, s := range t.slots {
		if t.By == "day" || i > 0 && s.at.Day() != t.slots[i-1].at.Day() {
			days = append(days, i)
		}
	}
	free := 0.0
	if t.By == "hour" && (len(days) == 0 || float64(days[0])*wide >= markRoom) {
		p.mark(0, "start", t.slots[0].at.Format("2 Jan, 15:04"))
		free = markRoom
	}
	for _, i := range days {
		if at := float64(i) * wide; at >= free {
			p.mark(at, "start", t.slots[i].at.Format("Mon 2 Jan"))
			free = at + markRoom
		}
	}
}

// table is the same in numbers, without what has none. The page shows what is drawn, files all.
func (t *timeline) table() *table {
	what := "Hour"
	if t.By == "day" {
		what = "Day"
	}
	tab := &table{
		ID: "timeline", Caption: t.title, Empty: "Nothing is counted yet.",
		Columns: []column{
			{Title: what, Fields: []string{"begins"}}, {Title: "Opens", Number: true, Fields: []string{"opens"}}, {Title: "Clicks", Number: true, Fields: []string{"clicks"}},
		},
	}
	add := func(rows *[]row, class, name string, s slot) {
		*rows = append(*rows, row{Class: class, Cells: []cell{{Text: name, Values: []any{s.at}}, number(s.opens), number(s.clicks)}})
	}
	for _, s := range t.all {
		add(&tab.Rows, "", s.name, s)
		if !s.at.After(t.slots[len(t.slots)-1].at) {
			tab.Most++
		}
	}
	if len(t.slots) > 0 {
		if t.later.opens+t.later.clicks > 0 {
			add(&tab.Foot, "", "Later", t.later)
		}
		add(&tab.Foot, "sum", "Counted", t.sum)
	}
	return tab
}
