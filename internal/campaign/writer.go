package campaign

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"mailbeacon/internal/control"
)

const (
	// writePatience bounds one change, its turn and the fold included.
	writePatience = 10 * time.Second
	// attempts is how often a number that a rival took meanwhile is proposed anew.
	attempts = 8
)

// errRivals says that other writers were first, again and again.
var errRivals = errors.New("other writers took every number that was proposed")

// Writer changes campaigns: it checks, appends to the control log, and returns when the change is
// folded here. All methods may be called concurrently; changes of one Writer are made one after the
// other.
//
// It proposes numbers, a campaign's led by the clock (see nextNumber), a link's the highest known
// plus one, and the fold decides (see Registry.Apply). Where
// a rival on another machine was first, the Writer appends the rival's record again, so that the
// newest record of a key is the one that holds (a compacted log keeps only that), and proposes
// another number.
//
// Errors: *InvalidError, ErrNotFound, ErrExists, ErrFull, or what the log or ctx said. After the
// latter the change may have been made; the same call again is safe.
type Writer struct {
	log      control.Log
	follower *control.Follower
	registry *Registry
	turn     chan struct{} // holds one element while a change is under way
	now      func() time.Time
}

// NewWriter returns a writer to log; follower folds it into registry.
func NewWriter(log control.Log, follower *control.Follower, registry *Registry) *Writer {
	return &Writer{log: log, follower: follower, registry: registry, turn: make(chan struct{}, 1), now: time.Now}
}

// At returns a writer that makes campaigns at the times that now says, in turns with w. now may be called concurrently.
func (w *Writer) At(now func() time.Time) *Writer {
	next := *w
	next.now = now
	return &next
}

// take waits for the turn; done gives it back and must be called if err is nil.
func (w *Writer) take(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	select {
	case w.turn <- struct{}{}:
		return ctx, func() { <-w.turn; cancel() }, nil
	case <-ctx.Done():
		cancel()
		return nil, nil, fmt.Errorf("wait for the turn to change campaigns: %w", context.Cause(ctx))
	}
}

// commit appends and waits for the fold.
func (w *Writer) commit(ctx context.Context, records ...control.Record) error {
	if len(records) == 0 {
		return nil
	}
	pos, err := w.log.Append(ctx, records...)
	if err != nil {
		return fmt.Errorf("record a change of campaigns: %w", err)
	}
	return w.follower.WaitApplied(ctx, pos)
}

// Create makes a campaign.
func (w *Writer) Create(ctx context.Context, name, title string) (Campaign, error) {
	return w.create(ctx, name, about{title: title})
}

// CreateDateOnly makes a campaign of whose opens and clicks nothing is kept but the date of each person's last activity.
// It stays so.
func (w *Writer) CreateDateOnly(ctx context.Context, name, title string) (Campaign, error) {
	return w.create(ctx, name, about{title: title, dateOnly: true})
}

func (w *Writer) create(ctx context.Context, name string, a about) (Campaign, error) {
	if err := CheckName(name); err != nil {
		return Campaign{}, err
	}
	if err := checkText("title", a.title, MaxTitle); err != nil {
		return Campaign{}, err
	}
	ctx, done, err := w.take(ctx)
	if err != nil {
		return Campaign{}, err
	}
	defer done()
	a.created = w.now().UTC().Truncate(time.Millisecond)
	rand.Read(a.key[:]) // never fails: the process ends where there is no randomness
	for range attempts {
		if _, taken := w.registry.about(name); taken {
			return Campaign{}, fmt.Errorf("campaign %q: %w", name, ErrExists)
		}
		if a.number = nextNumber(w.registry.highest(), a.created); a.number > MaxNumber {
			return Campaign{}, fmt.Errorf("create a campaign: %w", ErrFull)
		}
		r, err := a.record(name)
		if err != nil {
			return Campaign{}, err
		}
		if err := w.commit(ctx, r); err != nil {
			return Campaign{}, err
		}
		switch holds, taken := w.registry.about(name); {
		case taken && holds.key == a.key:
			c, _ := w.registry.ByName(name)
			return c, nil
		case taken: // the name is a rival's
			r, err := holds.record(name)
			if err != nil {
				return Campaign{}, err
			}
			if err := w.commit(ctx, r); err != nil {
				return Campaign{}, err
			}
		}
	}
	return Campaign{}, fmt.Errorf("create a campaign: %w", errRivals)
}

// numbersBegin is the minute that campaign number 0 stands for.
var numbersBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// nextNumber is the minute since numbersBegin, or one more than the highest. Where a log was put back
// from a backup, the numbers given out since, which stand in mail, lie in the past and are not
// given out again. The minutes last until 2041, and half of the numbers are left for what comes after.
func nextNumber(highest uint32, now time.Time) uint32 {
	minute := now.Sub(numbersBegin) / time.Minute
	return max(highest+1, uint32(min(max(minute, 1), MaxNumber/2)))
}

// AddLink registers a link, or finds it: see AddLinks.
func (w *Writer) AddLink(ctx context.Context, name string, l Link) (Link, error) {
	links, err := w.AddLinks(ctx, name, []Link{l})
	if err != nil {
		return Link{}, err
	}
	return links[0], nil
}

// AddLinks registers links in one step, and returns each with its number. A link with the same URL
// and label is not registered twice: the one that is there is returned, unless another advertiser
// is asked for, or one is hidden and the other is not. Finding all of them costs no turn and no record.
//
// Where numbers run out, ErrFull comes wrapped together with the links: those that are there or still got
// a number have it, the others have number 0. Of no other error do links come.
func (w *Writer) AddLinks(ctx context.Context, name string, wanted []Link) ([]Link, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	for i := range wanted {
		if err := wanted[i].check(); err != nil {
			return nil, err
		}
	}
	number, err := w.numberOf(name)
	if err != nil {
		return nil, err
	}
	found, missing := w.registry.find(number, wanted)
	if missing == 0 {
		return found, nil
	}
	if w.registry.nextLink(number) > MaxLinks { // for good: a turn would change nothing
		return found, full()
	}
	ctx, done, err := w.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var lost []control.Record // rivals' records, to append again
	for try := 0; ; try++ {
		if found, missing = w.registry.find(number, wanted); missing == 0 && len(lost) == 0 {
			return found, nil
		}
		if try == attempts {
			return nil, fmt.Errorf("add links to campaign %q: %w", name, errRivals)
		}
		proposed := w.propose(number, found)
		if len(proposed) == 0 && len(lost) == 0 {
			return found, full()
		}
		records := lost
		for _, p := range proposed {
			r, err := p.link.record(name, p.number)
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
		if err := w.commit(ctx, records...); err != nil {
			return nil, err
		}
		if lost, err = w.lost(name, number, proposed); err != nil {
			return nil, err
		}
	}
}

// proposal is a link under the number that it is to have.
type proposal struct {
	number uint16
	link   *link
}

func full() error { return fmt.Errorf("add a link to a campaign of %d: %w", MaxLinks, ErrFull) }

// propose gives numbers to what was not found, as far as there are any, the same to what is the same.
func (w *Writer) propose(campaign uint32, links []Link) []proposal {
	var proposed []proposal
	next := w.registry.nextLink(campaign)
	seen := map[Link]bool{}
	for _, l := range links {
		if l.Number != 0 || seen[l] {
			continue
		}
		seen[l] = true
		if next > MaxLinks {
			break
		}
		proposed = append(proposed, proposal{uint16(next), newLink(l, newID())})
		next++
	}
	return proposed
}

// lost returns the records of rivals who hold numbers that were proposed.
func (w *Writer) lost(name string, campaign uint32, proposed []proposal) ([]control.Record, error) {
	var records []control.Record
	set := w.registry.state.Load().numbered(campaign).set()
	for _, p := range proposed {
		if holds := set.at(p.number); holds != nil && holds.id != p.link.id {
			r, err := holds.record(name, p.number)
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
	}
	return records, nil
}

// SetLink replaces what a link's number stands for: mail that was sent already leads to the new
// destination. Link.Number is ignored.
func (w *Writer) SetLink(ctx context.Context, name string, number uint16, l Link) (Link, error) {
	if err := CheckName(name); err != nil {
		return Link{}, err
	}
	if err := l.check(); err != nil {
		return Link{}, err
	}
	campaign, err := w.numberOf(name)
	if err != nil {
		return Link{}, err
	}
	ctx, done, err := w.take(ctx)
	if err != nil {
		return Link{}, err
	}
	defer done()
	old := w.registry.state.Load().numbered(campaign).set().at(number)
	if old == nil {
		return Link{}, fmt.Errorf("link %d of campaign %q: %w", number, name, ErrNotFound)
	}
	l.Number = number
	if old.view(number) == l {
		return l, nil
	}
	r, err := newLink(l, old.id).record(name, number)
	if err != nil {
		return Link{}, err
	}
	return l, w.commit(ctx, r)
}

// Deliver adds a delivery to a campaign's sums. The same id again replaces what it said before.
func (w *Writer) Deliver(ctx context.Context, name string, d Delivery) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	if _, err := w.numberOf(name); err != nil {
		return err
	}
	ctx, done, err := w.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if w.registry.delivered(name, d) {
		return nil
	}
	r, err := newRecord(control.KindDelivery, deliveryKey(name, d.ID), deliveryBody{d.Delivered, d.Bounced})
	if err != nil {
		return err
	}
	return w.commit(ctx, r)
}

func (w *Writer) numberOf(name string) (uint32, error) {
	a, ok := w.registry.about(name)
	if !ok {
		return 0, fmt.Errorf("campaign %q: %w", name, ErrNotFound)
	}
	return a.number, nil
}

func (a *about) record(name string) (control.Record, error) {
	return newRecord(control.KindCampaign, name, campaignBody{Number: a.number, Title: a.title, Created: a.created, HashKey: a.key, DateOnly: a.dateOnly})
}

func (l *link) record(name string, number uint16) (control.Record, error) {
	return newRecord(control.KindLink, linkKey(name, number),
		linkBody{ID: l.id, URL: string(l.url), Label: l.label, Advertiser: l.advertiser, Hidden: l.hidden})
}

func newLink(l Link, id string) *link {
	return &link{id: id, url: []byte(l.URL), label: l.Label, advertiser: l.Advertiser, hidden: l.Hidden}
}

func newID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
