package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
)

// Campaigns makes campaigns at the times that a Clock tells; see campaign.Writer.
type Campaigns interface {
	Create(ctx context.Context, name, title string) (campaign.Campaign, error)
	CreateDateOnly(ctx context.Context, name, title string) (campaign.Campaign, error)
	AddLinks(ctx context.Context, name string, links []campaign.Link) ([]campaign.Link, error)
	Deliver(ctx context.Context, name string, d campaign.Delivery) error
}

// Minter makes mail; see mint.Minter.
type Minter interface {
	Recipients(ctx context.Context, name string, s mint.Stream) (mint.Summary, error)
	Subject(address string) (uint64, error)
	Design(ctx context.Context, name string, html []byte) (*mint.Designed, error)
}

// Consent records what people said; see consent.Writer.
type Consent interface {
	Import(ctx context.Context, changes []consent.Change) (control.Position, int, error)
	Settle(ctx context.Context) error
}

// Target is what a season happens to.
type Target struct {
	Campaigns Campaigns
	Minter    Minter
	Consent   Consent
	// Clock is what Campaigns go by.
	Clock *Clock
	// Edge is the address of the public side, as host:port. It must take this machine for a trusted proxy, and the
	// times of its events from TimeOf.
	Edge string
	// PublicURL is what the Minter's addresses begin with.
	PublicURL string
}

// Clock is the time of the season. It may be used concurrently.
type Clock struct{ ms atomic.Int64 }

// Now is the time.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.ms.Load()) }

// Requests carry their time as the address that they are said to come from: each has one of its own, in the network that
// is for examples (RFC 3849). So a request goes the same way as any other, and no header is needed that is not
// read otherwise.
var requestNetwork = netip.MustParsePrefix("2001:db8::/64")

func addressOf(at int64) netip.Addr {
	b := requestNetwork.Addr().As16()
	for i := range 8 {
		b[8+i] = byte(at >> (56 - 8*i))
	}
	return netip.AddrFrom16(b)
}

// TimeOf is when a request from an address happened.
func TimeOf(from netip.Addr) time.Time {
	if !requestNetwork.Contains(from) {
		return time.Now()
	}
	at := int64(0)
	for _, b := range from.As16() {
		at = at<<8 | int64(b)
	}
	return time.UnixMilli(at)
}

// draftedBefore is how long before it is sent a mailing is made.
const draftedBefore = 3 * time.Hour

// Fill has the season happen, in its order. progress is told how many of how many steps are done, from one goroutine at a
// time. The error is ctx's, a part's, or says what the edge answered that it should not have.
//
// Requests are sent by many at once, and a later one may overtake an earlier one. For most that is of no matter: the
// times of events are their own. The acts that are marked are waited for before anything that is later by so much that
// the fold would take them for past.
func (s *Season) Fill(ctx context.Context, t Target, progress func(done, of int)) error {
	steps := len(s.Acts)
	for i := range s.Mailings {
		steps += len(s.Mailings[i].To)
	}
	readers, err := dialReaders(ctx, t.Edge)
	if err != nil {
		return err
	}
	defer readers.close()
	f := &filling{s: s, t: t, readers: readers, paths: make([]string, len(s.Acts)), tell: func(done int) { progress(done, steps) }}
	if err := f.before(ctx); err != nil {
		return err
	}
	rest := s.order
	for i := range s.Mailings {
		if rest, err = f.happen(ctx, rest, s.Mailings[i].Sent.UnixMilli()); err != nil {
			return err
		}
		if err := f.send(ctx, i); err != nil {
			return fmt.Errorf("send %s: %w", s.Mailings[i].Name, err)
		}
	}
	if _, err := f.happen(ctx, rest, never); err != nil {
		return err
	}
	return f.last(ctx)
}

const never = int64(1) << 62

type filling struct {
	s       *Season
	t       Target
	readers *readers
	paths   []string // of Acts, once their mailing was sent
	minted  int
	tell    func(done int)
}

func (f *filling) told() { f.tell(f.minted + f.readers.answered()) }

// before records what people had said before the season.
func (f *filling) before(ctx context.Context) error {
	var changes []consent.Change
	for i := range f.s.People {
		p := &f.s.People[i]
		if p.Before == (consent.Choice{}) {
			continue
		}
		subject, err := f.t.Minter.Subject(p.Address)
		if err != nil {
			return fmt.Errorf("a made-up address is none: %w", err)
		}
		c := consent.Change{Subject: subject, Opens: p.Before.Opens, Clicks: p.Before.Clicks, Format: p.Before.Format, Source: "import", TextVersion: "signup-form"}
		if p.Before.DateOnly {
			c.Tracking = consent.DateOnly
		}
		changes = append(changes, c)
	}
	if _, _, err := f.t.Consent.Import(ctx, changes); err != nil {
		return err
	}
	return f.t.Consent.Settle(ctx)
}

// send makes a campaign, its links and the mail to each person, and says what arrived.
func (f *filling) send(ctx context.Context, number int) error {
	m := &f.s.Mailings[number]
	f.t.Clock.ms.Store(m.Sent.Add(-draftedBefore).UnixMilli())
	create := f.t.Campaigns.Create
	if m.DateOnly {
		create = f.t.Campaigns.CreateDateOnly
	}
	if _, err := create(ctx, m.Name, m.Title); err != nil {
		return err
	}
	links, err := f.t.Campaigns.AddLinks(ctx, m.Name, m.Links)
	if err != nil {
		return err
	}
	html, err := m.design()
	if err != nil {
		return err
	}
	if _, err := f.t.Minter.Design(ctx, m.Name, html); err != nil {
		return err
	}
	f.t.Clock.ms.Store(m.Sent.UnixMilli())
	if err := f.mint(ctx, number, links); err != nil {
		return err
	}
	f.minted += len(m.To)
	f.told()
	return f.t.Campaigns.Deliver(ctx, m.Name, campaign.Delivery{ID: "all", Delivered: uint64(len(m.To) - m.Bounced), Bounced: uint64(m.Bounced)})
}

// minted is what a person's mail carries, as far as it is asked for.
type minted struct {
	Error       string            `json:"error"`
	Pixel       string            `json:"pixel_url"`
	Unsubscribe string            `json:"unsubscribe_url"`
	Links       map[string]string `json:"links"`
}

// mint makes the mail, and notes what will be asked for of it.
func (f *filling) mint(ctx context.Context, number int, links []campaign.Link) error {
	m := &f.s.Mailings[number]
	var in, out bytes.Buffer
	for _, person := range m.To {
		fmt.Fprintf(&in, "{\"to\":%q}\n", f.s.People[person].Address)
	}
	sum, err := f.t.Minter.Recipients(ctx, m.Name, mint.Stream{In: &in, Out: &out})
	if err != nil {
		return err
	}
	if sum.Bad > 0 || sum.Minted != uint64(len(m.To)) {
		return fmt.Errorf("mail for %d of %d people was made", sum.Minted, len(m.To))
	}
	at := m.first
	for _, person := range m.To {
		line, err := out.ReadBytes('\n')
		if err != nil {
			return errors.New("the answer is shorter than the question")
		}
		if at == m.end || f.s.Acts[at].Person != person {
			continue // who does nothing with it
		}
		var mail minted
		if err := json.Unmarshal(line, &mail); err != nil {
			return fmt.Errorf("read what a mail carries: %w", err)
		}
		for ; at < m.end && f.s.Acts[at].Person == person; at++ {
			if f.paths[at], err = f.path(&f.s.Acts[at], &mail, links); err != nil {
				return err
			}
		}
	}
	return nil
}

// path is what an act asks for.
func (f *filling) path(a *Act, mail *minted, links []campaign.Link) (string, error) {
	url := mail.Unsubscribe
	switch a.Do {
	case Open, ProbeOpen:
		url = mail.Pixel
	case Click, ProbeLink:
		url = mail.Links[strconv.Itoa(int(links[a.Link].Number))]
	}
	path, ok := strings.CutPrefix(url, f.t.PublicURL)
	if !ok || path == "" {
		return "", errors.New("a mail lacks what its reader was to ask for")
	}
	return path, nil
}

// window is the fold's; see classify.DefaultWindow.
const window = int64(15_000)

// happen has acts happen up to a time, all of which are answered then, and returns the rest.
func (f *filling) happen(ctx context.Context, order []int32, upTo int64) ([]int32, error) {
	first := never // of the acts under way that are to come together
	for n, i := range order {
		a := &f.s.Acts[i]
		if a.At >= upTo {
			return order[n:], f.settle(ctx)
		}
		if a.At-window >= first {
			if err := f.settle(ctx); err != nil {
				return nil, err
			}
			first = never
		}
		if a.Together {
			first = min(first, a.At)
		}
		if err := f.readers.ask(ctx, request{act: a, path: f.paths[i]}); err != nil {
			return nil, err
		}
		if n%256 == 0 {
			f.told()
		}
	}
	return nil, f.settle(ctx)
}

func (f *filling) settle(ctx context.Context) error {
	err := f.readers.wait(ctx)
	f.told()
	return err
}

// last asks for one more pixel with HEAD, later than everything: it is counted nowhere, and the fold need not wait for
// what comes next.
func (f *filling) last(ctx context.Context) error {
	for n := len(f.s.order) - 1; n >= 0; n-- {
		i := f.s.order[n]
		a := &f.s.Acts[i]
		if a.Do != Open || f.s.Mailings[a.Mailing].DateOnly || f.s.People[a.Person].choice(never) != (consent.Choice{}) {
			continue
		}
		end := f.s.Acts[f.s.order[len(f.s.order)-1]].At
		probe := &Act{At: end + 2*window, Do: ProbeOpen, agent: barracuda}
		if err := f.readers.ask(ctx, request{act: probe, path: f.paths[i]}); err != nil {
			return err
		}
		return f.readers.wait(ctx)
	}
	return nil
}
