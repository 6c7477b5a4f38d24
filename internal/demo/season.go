// Package demo is a season of mailings that never were: some ten thousand people at made-up addresses, what they
// are sent over three months, and what they, their mail programs and the scanners before them do with it. New plans
// it, the same for the same Options. Fill has it happen: campaigns, mail and consent through the parts that make real
// ones, and every open and click as a request to a real edge. Tally says what a report must say of it then.
package demo

import (
	"cmp"
	"slices"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/consent"
)

// Options are what a season follows from.
type Options struct {
	// Seed tells one season from another.
	Seed uint64
	// Until is when the season ends, which is usually now.
	Until time.Time
	// Scale is how many people there are, of ten thousand: 1 if 0. The smallest lists stay as they are.
	Scale float64
}

// DefaultSeed is of the season that everybody sees who does not ask for another.
const DefaultSeed = 1

// Season is a plan. It does not change once it is made, and may be read concurrently.
type Season struct {
	People   []Person
	Mailings []Mailing // in the order of Sent
	Acts     []Act     // by mailing, and within it by person
	order    []int32   // of Acts, by time
}

// Person is somebody who is sent mail.
type Person struct {
	Address string
	// Before is what the person had said before the season began.
	Before consent.Choice

	client  int // into clients
	scanner int // into scanners; 0 is none
	keen    float64
	gpc     bool
	change  *change // nil: this person's mind stays as it is
}

// Mailing is one campaign.
type Mailing struct {
	Name, Title string
	Sent        time.Time
	DateOnly    bool
	Links       []campaign.Link // without their numbers
	To          []int           // into People
	Bounced     int

	spec  *spec
	first int // of its Acts
	end   int
}

// Do is what a request asks for.
type Do uint8

// What there is to do with a mail.
const (
	Open      Do = iota // load the pixel
	Click               // follow a link
	ProbeOpen           // ask for the pixel with HEAD
	ProbeLink           // ask for a link with HEAD
	Look                // look at the preference page
	Decide              // post a choice there, or leave with one click
)

// Act is one request.
type Act struct {
	At      int64 // milliseconds since the Unix epoch
	Mailing int   // into Mailings
	Person  int   // into People
	Link    int   // into the mailing's Links
	Do      Do
	// Class is what it counts as, if it counts.
	Class classify.Class
	GPC   bool
	// Together: what this act says of others is lost where a later one overtakes it (see Fill).
	Together bool

	agent int // into agents
	form  string
}

// change is when somebody's mind changes, and to what. They did nothing before: what is counted already would
// depend on whether the fold had seen it by then.
type change struct {
	after   float64 // the part of the mailings before it
	mailing int     // the next then, whose preference page it is; -1 until it is known
	delay   time.Duration
	at      int64 // 0 until it is known
	to      consent.Choice
	form    string
}

// choice is what a person had said by a time.
func (p *Person) choice(at int64) consent.Choice {
	if p.change != nil && p.change.at != 0 && at >= p.change.at {
		return p.change.to
	}
	return p.Before
}

// reason is why an act is not counted, or event.Counted.
func (s *Season) reason(a *Act, kind event.Kind) event.Reason {
	reason := consent.BasisSubject.Verdict(kind, s.People[a.Person].choice(a.At))
	if reason == event.Counted && s.Mailings[a.Mailing].DateOnly {
		reason = event.DateOnly
	}
	if a.GPC && (reason == event.Counted || reason == event.DateOnly) {
		reason = event.GPC
	}
	return reason
}

// Sum is what is to be known of one kind of act.
type Sum struct {
	ByClass    map[classify.Class]uint64
	Suppressed map[event.Reason]uint64
	// People did at least one thing that is not a machine's, and Certain one that is certainly a human's.
	People, Certain uint64
}

// Tally is what a report must say of a mailing.
type Tally struct {
	Delivered, Bounced uint64
	Opens, Clicks      Sum
	// Links are the clicks that count, by the link's place in the mailing's Links.
	Links []uint64
}

// Tally adds up what happened to a mailing, by its place in Mailings.
func (s *Season) Tally(mailing int) Tally {
	m := &s.Mailings[mailing]
	t := Tally{Delivered: uint64(len(m.To) - m.Bounced), Bounced: uint64(m.Bounced), Links: make([]uint64, len(m.Links))}
	opens, clicks := newSummer(), newSummer()
	for i := m.first; i < m.end; i++ {
		switch a := &s.Acts[i]; a.Do {
		case Open:
			opens.add(a, s.reason(a, event.Open))
		case Click:
			if clicks.add(a, s.reason(a, event.Click)) {
				t.Links[a.Link]++
			}
		}
	}
	t.Opens, t.Clicks = opens.sum(), clicks.sum()
	return t
}

// summer adds up one kind of act.
type summer struct {
	s               Sum
	people, certain map[int]bool
}

func newSummer() *summer {
	return &summer{Sum{ByClass: map[classify.Class]uint64{}, Suppressed: map[event.Reason]uint64{}}, map[int]bool{}, map[int]bool{}}
}

func (s *summer) add(a *Act, reason event.Reason) (counted bool) {
	if reason != event.Counted {
		s.s.Suppressed[reason]++
		return false
	}
	s.s.ByClass[a.Class]++
	if a.Class != classify.Machine {
		s.people[a.Person] = true
	}
	if a.Class == classify.Human {
		s.certain[a.Person] = true
	}
	return true
}

func (s *summer) sum() Sum {
	s.s.People, s.s.Certain = uint64(len(s.people)), uint64(len(s.certain))
	return s.s
}

// sorted is the order in which acts happen.
func sorted(acts []Act) []int32 {
	order := make([]int32, len(acts))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(acts[a].At, acts[b].At) })
	return order
}
