package campaign

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/internal/control"
)

const (
	// patience is how long a click on something unknown waits for the control log.
	patience = 250 * time.Millisecond
	// maxWaiting bounds how many wait at a time: tokens of campaigns that are gone can be authentic
	// and come in any number. Who comes when all places are taken is answered at once.
	maxWaiting = 256
)

// Registry is the folded state of all campaigns (it is a control.Folder). All methods but Apply,
// Snapshot and Restore, which are the Follower's, may be called concurrently with everything.
type Registry struct {
	state   atomic.Pointer[state]
	bell    control.Bell
	waiting chan struct{}
}

// state is the folded content. What the hot path reads hangs on atomic pointers, from the page
// downwards; mu guards the rest.
type state struct {
	pages [(MaxNumber + 1) / pageSize]atomic.Pointer[page]

	mu      sync.RWMutex
	byName  map[string]*campaign
	numbers []uint32 // of the announced campaigns, ascending
}

const pageSize = 1 << 12

// page holds the campaigns of pageSize numbers in a row.
type page [pageSize]atomic.Pointer[campaign]

// campaign is one campaign. Links and deliveries may come before the campaign's own record, in a
// compacted log; it is announced, and known to readers, from that record on.
type campaign struct {
	name  string
	about atomic.Pointer[about] // nil until it is announced
	links atomic.Pointer[linkSet]

	// Guarded by state.mu.
	deliveries         map[string]Delivery
	delivered, bounced uint64
}

// about is immutable.
type about struct {
	number   uint32
	title    string
	created  time.Time
	key      [16]byte
	dateOnly bool
}

// linkSet is immutable as far as its length reaches: a new link may stand in the array behind it.
type linkSet struct {
	all     []*link // by number - 1; nil where a number is not taken
	count   int     // links there are
	visible int     // links that are not hidden
}

// link is immutable.
type link struct {
	id                string
	url               []byte
	label, advertiser string
	hidden            bool
}

var noLinks = new(linkSet)

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	r := &Registry{waiting: make(chan struct{}, maxWaiting)}
	r.state.Store(newState())
	return r
}

func newState() *state { return &state{byName: map[string]*campaign{}} }

// numbered finds an announced campaign; nil if there is none.
func (s *state) numbered(number uint32) *campaign {
	if number > MaxNumber {
		return nil
	}
	p := s.pages[number/pageSize].Load()
	if p == nil {
		return nil
	}
	return p[number%pageSize].Load()
}

func (c *campaign) set() *linkSet {
	if c == nil {
		return noLinks
	}
	return c.links.Load()
}

// at returns the link of a number; nil if there is none.
func (s *linkSet) at(number uint16) *link {
	if number == 0 || int(number) > len(s.all) {
		return nil
	}
	return s.all[number-1]
}

// Destination is where a link leads. It does not allocate and takes no lock. The bytes are the
// registry's and must not be changed; they stay as they are, even when the link is mended.
func (r *Registry) Destination(campaign uint32, link uint16) (url []byte, ok bool) {
	l := r.state.Load().numbered(campaign).set().at(link)
	if l == nil {
		return nil, false
	}
	return l.url, true
}

// WaitDestination is Destination for a link that may have been registered a moment ago, by another
// role: it gives the control log 250 ms to bring it, or until ctx ends. At most 256 callers wait at
// a time; whoever comes beyond that is answered at once.
func (r *Registry) WaitDestination(ctx context.Context, campaign uint32, link uint16) ([]byte, bool) {
	url, ok := r.Destination(campaign, link)
	if ok || campaign == 0 || campaign > MaxNumber || link == 0 || link > MaxLinks {
		return url, ok
	}
	select {
	case r.waiting <- struct{}{}:
		defer func() { <-r.waiting }()
	default:
		return nil, false
	}
	tooLong := time.NewTimer(patience)
	defer tooLong.Stop()
	for {
		rung := r.bell.C()
		if url, ok := r.Destination(campaign, link); ok {
			return url, true
		}
		select {
		case <-rung:
		case <-tooLong.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

// Hidden says whether a link is one that no person can see; false where there is none. It does not
// allocate.
func (r *Registry) Hidden(campaign uint32, link uint16) bool {
	l := r.state.Load().numbered(campaign).set().at(link)
	return l != nil && l.hidden
}

// LinkCount is the number of a campaign's links that a person can see. It does not allocate.
func (r *Registry) LinkCount(campaign uint32) int {
	return r.state.Load().numbered(campaign).set().visible
}

// NameOf is a campaign's name by its number, "" where it is not known, as 0 never is.
func (r *Registry) NameOf(number uint32) string {
	c, _ := r.ByNumber(number)
	return c.Name
}

// DateOnly says whether nothing is kept of a campaign's events but dates of activity; false where it is not known. It does
// not allocate.
func (r *Registry) DateOnly(campaign uint32) bool {
	c := r.state.Load().numbered(campaign)
	return c != nil && c.about.Load().dateOnly
}

// HashKey is the key under which people are hashed for a campaign's distinct counts; false where
// the campaign is not known. It does not allocate.
func (r *Registry) HashKey(campaign uint32) ([16]byte, bool) {
	c := r.state.Load().numbered(campaign)
	if c == nil {
		return [16]byte{}, false
	}
	return c.about.Load().key, true
}

// ByName finds a campaign.
func (r *Registry) ByName(name string) (Campaign, bool) {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName[name].view()
}

// ByNumber finds a campaign.
func (r *Registry) ByNumber(number uint32) (Campaign, bool) {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.numbered(number).view()
}

// List returns up to limit campaigns with numbers above after, ascending.
func (r *Registry) List(after uint32, limit int) []Campaign {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	from, found := slices.BinarySearch(s.numbers, after)
	if found {
		from++
	}
	numbers := s.numbers[from:]
	numbers = numbers[:min(max(limit, 0), len(numbers))]
	list := make([]Campaign, 0, len(numbers))
	for _, n := range numbers {
		c, _ := s.numbered(n).view()
		list = append(list, c)
	}
	return list
}

// Latest returns up to limit campaigns with numbers below before, descending; 0 begins with the highest.
func (r *Registry) Latest(before uint32, limit int) []Campaign {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	end := len(s.numbers)
	if before > 0 {
		end, _ = slices.BinarySearch(s.numbers, before)
	}
	list := make([]Campaign, 0, min(max(limit, 0), end))
	for i := end - 1; i >= 0 && len(list) < limit; i-- {
		c, _ := s.numbered(s.numbers[i]).view()
		list = append(list, c)
	}
	return list
}

// Len is how many campaigns there are.
func (r *Registry) Len() int {
	s := r.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.numbers)
}

// Links returns a campaign's links by ascending number; none where the campaign is not known.
func (r *Registry) Links(campaign uint32) []Link {
	set := r.state.Load().numbered(campaign).set()
	links := make([]Link, 0, set.count)
	for i, l := range set.all {
		if l != nil {
			links = append(links, l.view(uint16(i+1)))
		}
	}
	return links
}

// Link returns one link of a campaign.
func (r *Registry) Link(campaign uint32, number uint16) (Link, bool) {
	l := r.state.Load().numbered(campaign).set().at(number)
	if l == nil {
		return Link{}, false
	}
	return l.view(number), true
}

// view is what readers see of c; state.mu is held. Nothing of a campaign that is not announced.
func (c *campaign) view() (Campaign, bool) {
	if c == nil || c.about.Load() == nil {
		return Campaign{}, false
	}
	a := c.about.Load()
	return Campaign{
		Name: c.name, Number: a.number, Title: a.title, Created: a.created, DateOnly: a.dateOnly,
		Links: c.set().count, Delivered: c.delivered, Bounced: c.bounced,
	}, true
}

func (l *link) view(number uint16) Link {
	return Link{Number: number, URL: string(l.url), Label: l.label, Advertiser: l.advertiser, Hidden: l.hidden}
}
