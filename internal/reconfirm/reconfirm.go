// Package reconfirm finds the people who are to be asked whether they wish to go on getting mail: their last activity,
// of which nothing but the date is known, is long ago.
//
// It calls nobody inactive of whom silence says nothing. Left out is, whatever date is kept of them:
//
//   - who refuses opens or clicks, reads plain text, or left: what they do is not seen;
//   - who is not measured by name because of the basis;
//   - who decided anything since: they spoke, and before that they may not have been measured.
//
// Who has no date may never have been sent anything: which people were is known in sketches alone, and by nobody's
// number. They are told apart (Never), for somebody who knows from elsewhere that they were.
package reconfirm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
)

// Plans says how mail to a person is made; see consent.Table.
type Plans interface {
	Plan(subject uint64) (opens, clicks event.Reason)
}

// Ledger knows who decided something lately; see consent.Writer.
type Ledger interface {
	DecidedSince(ctx context.Context, since time.Time) (*consent.People, error)
}

// Options are what a Finder is made of. All are needed.
type Options struct {
	Activity aggregate.Activity
	Plans    Plans
	Ledger   Ledger
}

// Finder finds people. It may be used concurrently.
type Finder struct{ o Options }

// New returns a Finder, or an error that names what is missing.
func New(o Options) (*Finder, error) {
	if o.Activity == nil || o.Plans == nil || o.Ledger == nil {
		return nil, errors.New("reconfirm: activity, plans or ledger is missing")
	}
	return &Finder{o}, nil
}

const (
	day = 24 * time.Hour
	// Least and Most bound how long somebody must have been silent.
	Least = day
	Most  = 36_500 * day
	// Page is how many people are asked about at a time.
	Page = 8192
)

// List is who is inactive by what is known at one moment. It holds at most 16 bytes for each person who decided
// something since. It may be used concurrently.
type List struct {
	o       Options
	before  uint32 // whose last day is before this one
	decided *consent.People
}

// Begin makes the list of those who were last active more than a time ago, which is rounded up to days that have
// wholly passed. The time is from Least to Most.
func (f *Finder) Begin(ctx context.Context, now time.Time, inactive time.Duration) (*List, error) {
	if inactive < Least || inactive > Most {
		return nil, fmt.Errorf("reconfirm: %v is not between %v and %v", inactive, Least, Most)
	}
	edge := now.Add(-inactive)
	decided, err := f.o.Ledger.DecidedSince(ctx, edge)
	if err != nil {
		return nil, err
	}
	return &List{o: f.o, before: uint32(max(edge.Unix(), 0) / int64(day/time.Second)), decided: decided}, nil
}

// silent says whether silence of a person says anything.
func (l *List) silent(subject uint64) bool {
	opens, clicks := l.o.Plans.Plan(subject)
	return subject != 0 && seen(opens) && seen(clicks) && !l.decided.Has(subject)
}

// seen says whether the day of what mail so made measures is kept.
func seen(r event.Reason) bool { return r == event.Counted || r == event.DateOnly }

// Inactive calls fn with everybody who is inactive, ascending by subject, beginning after one (0: with the first);
// fn's error ends it and is returned. It holds a page at a time.
func (l *List) Inactive(ctx context.Context, after uint64, fn func(aggregate.LastActive) error) error {
	for {
		page, err := l.o.Activity.Idle(ctx, l.before, after, Page)
		if err != nil {
			return err
		}
		for _, a := range page {
			if !l.silent(a.Subject) {
				continue
			}
			if err := fn(a); err != nil {
				return err
			}
		}
		if len(page) < Page {
			return nil
		}
		after = page[len(page)-1].Subject
	}
}

// Standing is what is said of a person who is asked about.
type Standing string

const (
	// Kept: was active, or can't be judged. The two are not told apart.
	Kept Standing = "kept"
	// Inactive: was active, and that is long ago.
	Inactive Standing = "inactive"
	// Never: would be seen, and never was. It says nothing of how long mail was sent.
	Never Standing = "never"
)

// Answer is what is said of one person.
type Answer struct {
	Standing Standing
	Day      uint32 // of the last activity, in days since the Unix epoch; for Inactive alone
}

// Judge tells of each of up to Page people, in their order.
func (l *List) Judge(ctx context.Context, subjects []uint64) ([]Answer, error) {
	all := make([]Answer, len(subjects))
	asked := make([]uint64, 0, len(subjects))
	for i, s := range subjects {
		// Asked once: somebody who decides meanwhile is not to be half one and half the other.
		if all[i].Standing = Kept; l.silent(s) {
			all[i].Standing = Never
			asked = append(asked, s)
		}
	}
	known, err := l.o.Activity.LastDays(ctx, asked)
	if err != nil {
		return nil, err
	}
	days := make(map[uint64]uint32, len(known))
	for _, a := range known {
		days[a.Subject] = a.Day
	}
	for i, s := range subjects {
		last, active := days[s]
		switch {
		case all[i].Standing == Kept || !active:
		case last >= l.before:
			all[i].Standing = Kept
		default:
			all[i] = Answer{Inactive, last}
		}
	}
	return all, nil
}
