package mint

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/rewrite"
	"mailbeacon/internal/token"
)

// Names of the header fields by which a mail program offers to unsubscribe (RFC 2369, RFC 8058).
const (
	ListUnsubscribe     = "List-Unsubscribe"
	ListUnsubscribePost = "List-Unsubscribe-Post"
	oneClick            = "List-Unsubscribe=One-Click"
)

// Request asks for one person's mail. HTML and Text, or EML, hold it; all may be empty, to learn
// nothing but the headers.
type Request struct {
	To   string
	HTML string
	Text string
	EML  []byte // a whole mail (RFC 5322)
	// TextLinks has the addresses in plain text counted too.
	TextLinks bool
}

// Message is one person's mail.
type Message struct {
	HTML, Text string
	EML        []byte // with the header fields in it
	// Unsubscribe is the address of the preference page.
	Unsubscribe string
	// Headers are to be set by whoever sends HTML and Text.
	Headers  map[string]string
	Tracking Tracking
	Links    int // links that are counted
	Kept     map[rewrite.Kept]int
	Warnings []Warning // each once
}

// Message makes a person's mail and notes the person in the population. Links that the campaign
// does not know are registered; where its numbers have run out they stay as they are. Where the person is not to be measured, what was given comes back
// byte for byte, but for the header fields of EML.
//
// The error is campaign.ErrNotFound, *BadAddressError, what rewrite or the registry refuse, or that
// of the population's store. It never holds the address.
func (m *Minter) Message(ctx context.Context, name string, r Request) (*Message, error) {
	c, hash, err := m.campaign(name)
	if err != nil {
		return nil, err
	}
	p, err := m.person(r.To, c.DateOnly)
	if err != nil {
		return nil, &BadAddressError{err}
	}
	j := &letter{m: m, name: name, campaign: c, plan: p, request: r}
	out, err := j.write(ctx)
	if err != nil {
		return nil, err
	}
	hashed, ok := hash.Hash(c.Number, p.subject)
	if !ok {
		return nil, errKeyGone
	}
	people := []aggregate.Population{{Campaign: c.Number, Member: p.member(), Hashes: []uint64{hashed}}}
	if err := m.o.Population.AddPopulation(ctx, people); err != nil {
		return nil, fmt.Errorf("note the population: %w", err)
	}
	return out, nil
}

// BadAddressError says why an address is none. It does not hold it.
type BadAddressError struct{ Reason error }

func (e *BadAddressError) Error() string { return e.Reason.Error() }
func (e *BadAddressError) Unwrap() error { return e.Reason }

// letter is one mail in the making.
type letter struct {
	m        *Minter
	name     string
	campaign campaign.Campaign
	plan     plan
	request  Request
	ways     ways                     // out, of the mail itself
	wanted   []campaign.Link          // met in the mail, to be registered
	numbers  map[campaign.Link]uint16 // of what was met; 0 for what has none
	marks    *marks                   // of the person's address; nil until a link is met
}

func (j *letter) write(ctx context.Context) (*Message, error) {
	out := &Message{
		Unsubscribe: string(j.m.unsubscribe(nil, j.campaign.Number, j.plan.subject)),
		Tracking:    j.plan.tracking(),
	}
	j.ways = j.readWays(j.request.EML)
	out.Headers = map[string]string{ListUnsubscribe: j.ways.header(out.Unsubscribe), ListUnsubscribePost: oneClick}
	if len(j.ways.web) > 0 {
		out.warn(WarnUnsubscribe)
	}
	if err := j.register(ctx, out); err != nil {
		return nil, err
	}
	if err := j.writeParts(out); err != nil {
		return nil, err
	}
	if len(j.request.EML) == 0 {
		return out, nil
	}
	return out, j.writeEML(out)
}

func (j *letter) writeParts(out *Message) error {
	o := j.options()
	if j.request.HTML != "" {
		html, result, err := rewrite.HTML(nil, []byte(j.request.HTML), o)
		if err != nil {
			return err
		}
		out.add(&result)
		out.HTML = string(html)
	}
	o.Pixel = "" // which has no place in plain text
	if j.request.Text != "" {
		text, result, err := rewrite.Text(nil, []byte(j.request.Text), o)
		if err != nil {
			return err
		}
		out.add(&result)
		out.Text = string(text)
	}
	return nil
}

func (j *letter) writeEML(out *Message) error {
	eml, result, err := rewrite.Message(nil, j.request.EML, j.options())
	if err != nil {
		return err
	}
	out.add(&result)
	out.EML, err = rewrite.SetHeaders(nil, eml, []rewrite.Header{
		{Name: ListUnsubscribe, Value: out.Headers[ListUnsubscribe]},
		{Name: ListUnsubscribePost, Value: out.Headers[ListUnsubscribePost]},
	})
	return err
}

// add takes in what was done to one part of the mail.
func (out *Message) add(r *rewrite.Result) {
	out.Links += r.Rewritten
	for why, n := range r.Kept {
		if out.Kept == nil {
			out.Kept = map[rewrite.Kept]int{}
		}
		out.Kept[why] += n
	}
	for _, w := range r.Warnings {
		out.warn(Warning(w))
	}
}

// options are those of the second pass, when every link has its number.
func (j *letter) options() rewrite.Options {
	o := rewrite.Options{Keep: j.stays, TextLinks: j.request.TextLinks}
	if p := &j.plan; p.measured(p.opens) {
		o.Pixel = string(j.m.url(nil, token.Open, token.Claims{Campaign: j.campaign.Number, Subject: p.carried(p.opens)}, ".gif"))
	}
	if !j.plan.measured(j.plan.clicks) {
		return o
	}
	o.Href = func(l rewrite.Link) (string, bool, error) {
		number := j.numbers[j.asLink(l)]
		if number == 0 {
			return "", false, nil
		}
		claims := token.Claims{Campaign: j.campaign.Number, Link: number, Subject: j.plan.carried(j.plan.clicks)}
		return string(j.m.url(nil, token.Click, claims, "")), true, nil
	}
	return o
}

// stays says whether an address is never exchanged: it is ours already, or a way out.
func (j *letter) stays(url string) bool { return j.ours(url) || j.ways.leads(url) }

// ours says whether an address is one of our own tokens already: the unsubscribe address above all.
func (j *letter) ours(url string) bool {
	rest, ok := strings.CutPrefix(url, j.m.o.PublicURL)
	return ok && (strings.HasPrefix(rest, "/u/") || strings.HasPrefix(rest, "/c/") || strings.HasPrefix(rest, "/o/"))
}

// register walks over the mail a first time and has every link that may be counted registered, in
// one step. One for which no number is left is no reason not to send the mail: it stays as it is.
func (j *letter) register(ctx context.Context, out *Message) error {
	if !j.plan.measured(j.plan.clicks) {
		return nil
	}
	j.numbers = map[campaign.Link]uint16{}
	o := rewrite.Options{Keep: j.stays, TextLinks: j.request.TextLinks, Href: j.meet}
	if _, _, err := rewrite.HTML(nil, []byte(j.request.HTML), o); err != nil {
		return err
	}
	if _, _, err := rewrite.Text(nil, []byte(j.request.Text), o); err != nil {
		return err
	}
	if len(j.request.EML) > 0 {
		if _, _, err := rewrite.Message(nil, j.request.EML, o); err != nil {
			return err
		}
	}
	if len(j.wanted) == 0 {
		return nil
	}
	asked := j.familiar(j.wanted)
	found, err := j.m.o.Links.AddLinks(ctx, j.name, asked)
	if errors.Is(err, campaign.ErrFull) {
		out.warn(WarnNoNumber)
	} else if err != nil {
		return fmt.Errorf("register the links of the mail: %w", err)
	}
	for i := range found {
		j.numbers[j.wanted[i]] = found[i].Number
	}
	if c, _ := j.m.o.Campaigns.ByName(j.name); c.Links >= manyLinks {
		out.warn(WarnManyLinks)
	}
	return nil
}

// meet notes a link to be registered; nothing is changed in this pass.
func (j *letter) meet(l rewrite.Link) (string, bool, error) {
	want := j.asLink(l)
	if _, met := j.numbers[want]; met || want.URL == "" {
		return "", false, nil
	}
	j.numbers[want] = 0
	j.wanted = append(j.wanted, want)
	return "", false, nil
}

// asLink is what would be registered for a link that was met: the zero Link where nothing may. The
// registry is for ever and for everybody to read: an address that holds the person's own is not put
// there, and the link stays as it is.
func (j *letter) asLink(l rewrite.Link) campaign.Link {
	if campaign.CheckURL(l.URL) != nil || j.names(l.URL) {
		return campaign.Link{}
	}
	return campaign.Link{URL: l.URL, Label: label(l.Label)}
}

// maxLabels is how many labels one URL can have in a campaign before a further one is taken for
// personal: "Anna, read on". It then counts with the first.
const maxLabels = 8

// familiar exchanges labels that would be one too many.
func (j *letter) familiar(wanted []campaign.Link) []campaign.Link {
	type known struct {
		first  string
		labels map[string]bool
	}
	byURL := map[string]*known{}
	note := func(l *campaign.Link) {
		k := byURL[l.URL]
		if k == nil {
			k = &known{l.Label, map[string]bool{}}
			byURL[l.URL] = k
		}
		k.labels[l.Label] = true
	}
	links := j.m.o.Campaigns.Links(j.campaign.Number)
	for i := range links {
		if !links[i].Hidden && links[i].Advertiser == "" {
			note(&links[i])
		}
	}
	asked := make([]campaign.Link, len(wanted))
	for i, w := range wanted {
		if k := byURL[w.URL]; k != nil && !k.labels[w.Label] && len(k.labels) >= maxLabels {
			w.Label = k.first
		}
		note(&w)
		asked[i] = w
	}
	return asked
}
