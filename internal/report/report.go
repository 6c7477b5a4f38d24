// Package report says what is known of a campaign, from aggregates alone: no row behind it names a
// person. Its numbers add up, and where something is not known no number is invented.
package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Report is a campaign in numbers.
//
// For opens and clicks alike: Received = Total + the sum of Suppressed, and Total is the sum of
// ByClass, of the series, of the clients, and (clicks) of the links. Delivered = Trackable + the sum of Untracked.
type Report struct {
	Campaign string    `json:"campaign"`
	AsOf     time.Time `json:"as_of" doc:"everything counted up to this moment is in here"`
	// Delivered is what the mailer reported; everything below it needs that.
	Delivered uint64 `json:"delivered" doc:"mails delivered, as the mailer reported"`
	Bounced   uint64 `json:"bounced" doc:"mails bounced, as the mailer reported"`
	// Trackable is how many of the delivered mails measure anything with their person.
	Trackable uint64            `json:"trackable" doc:"delivered mails that measure opens or clicks of their person: delivered, shared out as the people are whom mail was made for, each under the strictest choice it was made with"`
	Untracked map[string]uint64 `json:"untracked" doc:"the other delivered mails, by the reason"`
	Opens     Measure           `json:"opens"`
	Clicks    Measure           `json:"clicks"`
	// ClickToOpen is Clicks over Opens.
	ClickToOpen Ratio             `json:"click_to_open"`
	Links       []LinkCount       `json:"links" nullable:"false"`
	Series      []HourCount       `json:"series" nullable:"false"`
	Clients     []ClientCount     `json:"clients" nullable:"false"`
	Suppressed  map[string]uint64 `json:"suppressed" doc:"opens and clicks that were not counted, by the reason"`
}

// Measure is what is known of one kind of event.
type Measure struct {
	Received   uint64            `json:"received" doc:"events that came in with a valid token: total + suppressed"`
	Total      uint64            `json:"total" doc:"events counted"`
	ByClass    ByClass           `json:"by_class"`
	Unique     uint64            `json:"unique" doc:"people with at least one event that is not a machine's"`
	Certain    uint64            `json:"certain" doc:"people with at least one event that is certainly a human's"`
	Trackable  uint64            `json:"trackable" doc:"delivered mails that measure this kind: what the rate is of"`
	Rate       *Rate             `json:"rate" doc:"null where there is nothing to make a rate of"`
	Interval   *Rate             `json:"interval" doc:"95 % interval (Wilson) around the rate's range; null as the rate is"`
	TooFew     bool              `json:"too_few" doc:"fewer than 50 mails measure this: the rate says more of chance than of the mail"`
	Suppressed map[string]uint64 `json:"suppressed" doc:"events not counted, by the reason"`
}

// ByClass is events by who is behind them.
type ByClass struct {
	Human   uint64 `json:"human"`
	Proxied uint64 `json:"proxied"`
	Machine uint64 `json:"machine"`
	Unknown uint64 `json:"unknown"`
}

// Rate is a range: from what is certain to what is possible.
type Rate struct {
	Low  float64 `json:"low" doc:"certain humans over trackable"`
	High float64 `json:"high" doc:"people with anything but a machine's event over trackable"`
}

// LinkCount is the clicks on one link.
type LinkCount struct {
	Link       uint16 `json:"link"`
	Position   int    `json:"position" doc:"which of the mail's visible links it is, from the top, as they were registered; 0 for one that no person sees, or that is not registered"`
	Label      string `json:"label"`
	URL        string `json:"url"`
	Advertiser string `json:"advertiser"`
	Total      uint64 `json:"total"`
	Unique     uint64 `json:"unique"`
	Certain    uint64 `json:"certain" doc:"people with at least one click that is certainly a human's"`
}

// ClientCount is what was counted of a family of mail clients, as far as requests told.
type ClientCount struct {
	Client string `json:"client"`
	Opens  uint64 `json:"opens"`
	Clicks uint64 `json:"clicks"`
}

// HourCount is what was counted in an hour.
type HourCount struct {
	Hour   time.Time `json:"hour" doc:"start of the hour, UTC"`
	Opens  uint64    `json:"opens"`
	Clicks uint64    `json:"clicks"`
}

// Query makes the report of a campaign as of now. What is stored while it asks may be in the totals and not yet in the unique
// numbers, or the other way round; the next report has both.
func Query(ctx context.Context, store aggregate.Reader, s Subject, now time.Time) (*Report, error) {
	var counts []aggregate.Count
	var uniques []aggregate.UniqueCount
	var people []aggregate.PopulationCount
	// At once: over a network the answers take longer than the work.
	if err := all(
		func() (err error) { counts, err = store.Counts(ctx, s.Number); return reading("counts", s, err) },
		func() (err error) {
			uniques, err = store.UniqueCounts(ctx, s.Number)
			return reading("distinct counts", s, err)
		},
		func() (err error) {
			people, err = store.Populations(ctx, s.Number)
			return reading("population", s, err)
		},
	); err != nil {
		return nil, err
	}
	r := newReport(&s)
	r.AsOf = now.UTC()
	links := newLinkTable(s.Links)
	hours := map[uint32]*HourCount{}
	clients := map[event.Client]*ClientCount{}
	for i := range counts {
		r.count(&counts[i], links, hours, clients)
	}
	for _, u := range uniques {
		r.distinct(u, links)
	}
	r.populate(people)
	r.ClickToOpen = clickToOpen(&r.Opens, &r.Clicks)
	r.Links, r.Series, r.Clients = links.rows(), series(hours), families(clients)
	return r, nil
}

func newReport(s *Subject) *Report {
	return &Report{
		Campaign: s.Name, Delivered: s.Delivered, Bounced: s.Bounced,
		Untracked: map[string]uint64{}, Suppressed: map[string]uint64{},
		Opens:  Measure{Suppressed: map[string]uint64{}},
		Clicks: Measure{Suppressed: map[string]uint64{}},
	}
}

// reading says what could not be read.
func reading(what string, s Subject, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read the %s of campaign %s: %w", what, s.Name, err)
}

// all runs every one of the functions at the same time.
func all(fns ...func() error) error {
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *Report) measure(k event.Kind) *Measure {
	switch k {
	case event.Open:
		return &r.Opens
	case event.Click:
		return &r.Clicks
	default:
		return nil
	}
}

func (r *Report) count(c *aggregate.Count, links *linkTable, hours map[uint32]*HourCount, clients map[event.Client]*ClientCount) {
	m := r.measure(c.Kind)
	if m == nil {
		return
	}
	if c.Reason != event.Counted {
		r.Suppressed[c.Reason.String()] += c.N
	}
	if !m.add(c) {
		return
	}
	inHour(hours, c)
	f := clients[c.Client]
	if f == nil {
		f = &ClientCount{Client: c.Client.String()}
		clients[c.Client] = f
	}
	if c.Kind == event.Open {
		f.Opens += c.N
		return
	}
	f.Clicks += c.N
	links.of(c.Link).Total += c.N
}

// add takes a cell in; false: it is not counted.
func (m *Measure) add(c *aggregate.Count) bool {
	m.Received += c.N
	if c.Reason != event.Counted {
		m.Suppressed[c.Reason.String()] += c.N
		return false
	}
	m.Total += c.N
	*m.ByClass.of(c.Class) += c.N
	return true
}

// inHour adds a cell that is counted to its hour.
func inHour(hours map[uint32]*HourCount, c *aggregate.Count) {
	h := hours[c.Hour]
	if h == nil {
		h = &HourCount{Hour: time.Unix(int64(c.Hour)*3600, 0).UTC()}
		hours[c.Hour] = h
	}
	switch c.Kind {
	case event.Open:
		h.Opens += c.N
	case event.Click:
		h.Clicks += c.N
	}
}

func (b *ByClass) of(c classify.Class) *uint64 {
	switch c {
	case classify.Human:
		return &b.Human
	case classify.Proxied:
		return &b.Proxied
	case classify.Machine:
		return &b.Machine
	default:
		return &b.Unknown
	}
}

func (r *Report) distinct(u aggregate.UniqueCount, links *linkTable) {
	m := r.measure(u.Kind)
	switch {
	case m == nil:
	case u.Whole:
		m.Unique, m.Certain = u.People, min(u.Human, u.People)
	case u.Kind == event.Click:
		l := links.of(u.Link)
		l.Unique, l.Certain = u.People, min(u.Human, u.People)
	}
}

// families are the clients, most opens and clicks first.
func families(clients map[event.Client]*ClientCount) []ClientCount {
	all := make([]ClientCount, 0, len(clients))
	for _, f := range clients {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b ClientCount) int {
		return cmp.Or(cmp.Compare(b.Opens+b.Clicks, a.Opens+a.Clicks), cmp.Compare(a.Client, b.Client))
	})
	return all
}

func series(hours map[uint32]*HourCount) []HourCount {
	all := make([]HourCount, 0, len(hours))
	for _, h := range hours {
		all = append(all, *h)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Hour.Before(all[j].Hour) })
	return all
}

// linkTable gathers clicks by link; one that was counted and is not registered has a row too.
type linkTable struct{ byNumber map[uint16]*LinkCount }

func newLinkTable(links []Link) *linkTable {
	t := &linkTable{make(map[uint16]*LinkCount, len(links))}
	position := 0
	for _, l := range links {
		c := &LinkCount{Link: l.Number, Label: l.Label, URL: l.URL, Advertiser: l.Advertiser}
		if !l.Hidden {
			position++
			c.Position = position
		}
		t.byNumber[l.Number] = c
	}
	return t
}

func (t *linkTable) of(number uint16) *LinkCount {
	l := t.byNumber[number]
	if l == nil {
		l = &LinkCount{Link: number}
		t.byNumber[number] = l
	}
	return l
}

func (t *linkTable) rows() []LinkCount {
	all := make([]LinkCount, 0, len(t.byNumber))
	for _, l := range t.byNumber {
		all = append(all, *l)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Link < all[j].Link })
	return all
}
