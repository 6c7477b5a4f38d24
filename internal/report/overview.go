package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// SeriesHours is how much of a campaign's course an overview has: its first week, in which nearly all is read that ever is.
const SeriesHours = 7 * 24

// MaxOverview is how many campaigns are looked at together at most.
const MaxOverview = 200

// Line is a campaign among others: what Report says of it, without its links and clients.
type Line struct {
	Campaign  string            `json:"campaign"`
	Title     string            `json:"title"`
	Created   time.Time         `json:"created"`
	DateOnly  bool              `json:"date_only" doc:"nothing is kept of this campaign's events but dates"`
	Delivered uint64            `json:"delivered"`
	Bounced   uint64            `json:"bounced"`
	Trackable uint64            `json:"trackable"`
	Untracked map[string]uint64 `json:"untracked"`
	Opens     Measure           `json:"opens"`
	Clicks    Measure           `json:"clicks"`
	// ClickToOpen is Clicks over Opens.
	ClickToOpen Ratio `json:"click_to_open"`
	// Series is the campaign's first week.
	Series []HourCount `json:"series" nullable:"false" doc:"counted in each hour of the first week from the first event on; hours without any are left out"`
}

// Overview asks for several campaigns at once, MaxOverview at most; the lines are in the order of the campaigns. As in Query,
// what is stored meanwhile may be in one number of a campaign and not in another yet.
func Overview(ctx context.Context, store aggregate.Reader, campaigns []Subject) ([]Line, error) {
	if len(campaigns) > MaxOverview {
		return nil, fmt.Errorf("make an overview: %d campaigns are more than %d", len(campaigns), MaxOverview)
	}
	numbers := make([]uint32, len(campaigns))
	for i := range campaigns {
		numbers[i] = campaigns[i].Number
	}
	sums, err := store.Summaries(ctx, numbers, SeriesHours)
	if err != nil {
		return nil, fmt.Errorf("make an overview of %d campaigns: %w", len(campaigns), err)
	}
	byNumber := make(map[uint32]*aggregate.Summary, len(sums))
	for i := range sums {
		byNumber[sums[i].Campaign] = &sums[i]
	}
	lines := make([]Line, len(campaigns))
	for i := range campaigns {
		lines[i] = line(&campaigns[i], byNumber[campaigns[i].Number])
	}
	return lines, nil
}

// line is what is known of a campaign; a nil summary is of one that nothing is stored of.
func line(s *Subject, sum *aggregate.Summary) Line {
	if sum == nil {
		sum = &aggregate.Summary{}
	}
	r := newReport(s)
	for i := range sum.Totals {
		if m := r.measure(sum.Totals[i].Kind); m != nil {
			m.add(&sum.Totals[i])
		}
	}
	for _, u := range sum.Uniques {
		r.distinct(u, nil)
	}
	r.populate(sum.Populations)
	hours := map[uint32]*HourCount{}
	for i := range sum.Series {
		inHour(hours, &sum.Series[i])
	}
	r.ClickToOpen, r.Series = clickToOpen(&r.Opens, &r.Clicks), series(hours)
	return LineOf(s, r)
}

// LineOf is the line of a campaign whose report is at hand; its Series is all of the report's.
func LineOf(s *Subject, r *Report) Line {
	return Line{
		Campaign: s.Name, Title: s.Title, Created: s.Created.UTC(), DateOnly: s.DateOnly, Delivered: r.Delivered, Bounced: r.Bounced,
		Trackable: r.Trackable, Untracked: r.Untracked, Opens: r.Opens, Clicks: r.Clicks, ClickToOpen: r.ClickToOpen, Series: r.Series,
	}
}

// Of is the line's measure of a kind of event: clicks, or otherwise opens.
func (l *Line) Of(k event.Kind) *Measure {
	if k == event.Click {
		return &l.Clicks
	}
	return &l.Opens
}

// Ranked is a campaign's place among others by the interest that it met. Places are ranges: where nothing tells which of two
// campaigns met more, both have the same.
type Ranked struct {
	Line
	Best  int `json:"best" doc:"the highest place that it may have: behind those alone that certainly met more"`
	Worst int `json:"worst" doc:"the lowest"`
	// Tied: nothing tells it from a neighbour in the list.
	Tied bool `json:"tied" doc:"nothing tells it from the campaign before or after it in the list"`
	// Joined: nothing tells it from the one before it.
	Joined bool `json:"joined" doc:"nothing tells it from the campaign before it"`
}

// standing is what campaigns are compared by. What proxies and unknown clients hide is hidden of all campaigns alike, so the
// share of people who certainly read is compared with the same share of others, and that of all who may have with theirs.
type standing struct{ certain, possible Rate }

// above says whether one met more by either count, and by more than chance.
func (s *standing) above(o *standing) bool {
	return s.certain.Low > o.certain.High && s.possible.Low > o.possible.High
}

// Rank orders campaigns by the rate of a kind of event, by the middle of its range, the highest first. One stands above another
// where its 95 % intervals (Wilson) of certain and of possible people both lie above the other's; all else is a tie. Those that have
// too few mails for a rate, or none, have no place, and are left out.
func Rank(lines []Line, k event.Kind) []Ranked {
	var all []Ranked
	for i := range lines {
		if m := lines[i].Of(k); m.Rate != nil && !m.TooFew {
			all = append(all, Ranked{Line: lines[i]})
		}
	}
	middle := func(r *Ranked) float64 { rate := r.Of(k).Rate; return rate.Low + rate.High }
	slices.SortStableFunc(all, func(a, b Ranked) int {
		return cmp.Or(cmp.Compare(middle(&b), middle(&a)), cmp.Compare(a.Campaign, b.Campaign))
	})
	at := make([]standing, len(all))
	for i := range all {
		m := all[i].Of(k)
		at[i] = standing{Wilson(m.Certain, m.Trackable), Wilson(m.Unique, m.Trackable)}
	}
	for i := range all {
		all[i].Best, all[i].Worst = 1, len(all)
		for j := range all {
			switch {
			case at[j].above(&at[i]):
				all[i].Best++
			case at[i].above(&at[j]):
				all[i].Worst--
			}
		}
		if i > 0 && !at[i-1].above(&at[i]) {
			all[i-1].Tied, all[i].Tied, all[i].Joined = true, true, true
		}
	}
	return all
}

// Month is what the campaigns of a month met together.
type Month struct {
	Month     time.Time `json:"month" doc:"its first moment, in the zone that was asked for"`
	Campaigns int       `json:"campaigns"`
	Opens     Share     `json:"opens"`
	Clicks    Share     `json:"clicks"`
}

// Share is a rate over the mails of several campaigns: who got several counts in each.
type Share struct {
	Trackable uint64 `json:"trackable"`
	Certain   uint64 `json:"certain"`
	Unique    uint64 `json:"unique"`
	Rate      *Rate  `json:"rate" doc:"null where there is nothing to make a rate of"`
	Interval  *Rate  `json:"interval" doc:"95 % interval (Wilson) around the range"`
	TooFew    bool   `json:"too_few"`
}

func (s *Share) add(m *Measure) {
	s.Trackable += m.Trackable
	s.Certain += min(m.Certain, m.Trackable)
	s.Unique += min(m.Unique, m.Trackable)
}

func (s *Share) end() {
	m := Measure{Certain: s.Certain, Unique: s.Unique}
	m.rate(s.Trackable)
	s.Rate, s.Interval, s.TooFew = m.Rate, m.Interval, m.TooFew
}

// Trend sums campaigns up by the month in which they were created, by the calendar of a zone; months without any are left out.
func Trend(lines []Line, zone *time.Location) []Month {
	byMonth := map[time.Time]*Month{}
	for i := range lines {
		year, month, _ := lines[i].Created.In(zone).Date()
		at := time.Date(year, month, 1, 0, 0, 0, 0, zone)
		m := byMonth[at]
		if m == nil {
			m = &Month{Month: at}
			byMonth[at] = m
		}
		m.Campaigns++
		m.Opens.add(&lines[i].Opens)
		m.Clicks.add(&lines[i].Clicks)
	}
	all := make([]Month, 0, len(byMonth))
	for _, m := range byMonth {
		m.Opens.end()
		m.Clicks.end()
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Month) int { return a.Month.Compare(b.Month) })
	return all
}
