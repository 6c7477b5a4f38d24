package mint_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
	"mailbeacon/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const publicURL = "https://t.example"

// crowd keeps the population as sets, so that a test can look into it.
type crowd struct {
	mu    sync.Mutex
	calls int
	sets  map[aggregate.Member]map[uint64]bool
	fail  error
}

func (c *crowd) AddPopulation(_ context.Context, ps []aggregate.Population) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.fail != nil {
		return c.fail
	}
	if c.sets == nil {
		c.sets = map[aggregate.Member]map[uint64]bool{}
	}
	for _, p := range ps {
		if c.sets[p.Member] == nil {
			c.sets[p.Member] = map[uint64]bool{}
		}
		for _, h := range p.Hashes {
			c.sets[p.Member][h] = true
		}
	}
	return nil
}

func (c *crowd) size(opens, clicks event.Reason) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sets[aggregate.Member{Opens: opens, Clicks: clicks}])
}

// house is a minter over the real registry, consent table and key ring.
type house struct {
	*mint.Minter
	ring     *token.Ring
	log      *control.Memory
	registry *campaign.Registry
	writer   *campaign.Writer
	consent  *consent.Writer
	crowd    *crowd
	mails    *storetest.Memory
	number   uint32
}

func newHouse(t testing.TB, basis consent.Basis) *house {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	log := control.NewMemory()
	h := &house{log: log, registry: campaign.NewRegistry(), crowd: &crowd{}, mails: storetest.NewMemory()}
	table := consent.NewTable(basis)
	follower, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{h.registry, table}})
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = follower.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })

	h.writer = campaign.NewWriter(log, follower, h.registry)
	h.consent = consent.NewWriter(log, follower, table)
	h.ring = newRing(t)
	h.Minter, err = mint.New(mint.Options{
		Ring: h.ring, Consent: table, Campaigns: h.registry, Links: h.writer, Population: h.crowd, Mails: h.mails, PublicURL: publicURL,
	})
	must(t, err)
	c, err := h.writer.Create(ctx, "spring", "Spring")
	must(t, err)
	h.number = c.Number
	return h
}

func newRing(t testing.TB) *token.Ring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	_, err := token.CreateKeyring(path)
	must(t, err)
	ring, err := token.OpenRing(path)
	must(t, err)
	return ring
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) decide(t testing.TB, address string, c consent.Change) {
	t.Helper()
	var err error
	c.Subject, err = h.Subject(address)
	must(t, err)
	_, _, err = h.consent.Change(t.Context(), c)
	must(t, err)
}

// open reads the token of a URL, which must be one of ours.
func (h *house) open(t testing.TB, url string) (token.Kind, token.Claims) {
	t.Helper()
	rest, ok := strings.CutPrefix(url, publicURL+"/")
	if !ok || len(rest) < 2 {
		t.Fatalf("%q is not ours", url)
	}
	kind := token.Kind(rest[0])
	claims, err := h.ring.Open(kind, []byte(strings.TrimSuffix(rest[2:], ".gif")))
	if err != nil {
		t.Fatalf("%q: %v", url, err)
	}
	return kind, claims
}

type minted struct {
	To             string            `json:"to"`
	Subject        string            `json:"subject"`
	PixelURL       string            `json:"pixel_url"`
	UnsubscribeURL string            `json:"unsubscribe_url"`
	Links          map[string]string `json:"links"`
	Tracking       mint.Tracking     `json:"tracking"`
	Line           uint64            `json:"line"`
	Error          string            `json:"error"`
}

func (h *house) stream(t testing.TB, in io.Reader) ([]minted, mint.Summary) {
	t.Helper()
	var out bytes.Buffer
	sum, err := h.Recipients(t.Context(), "spring", mint.Stream{In: in, Out: &out})
	must(t, err)
	return parse(t, &out), sum
}

func parse(t testing.TB, out io.Reader) []minted {
	t.Helper()
	var all []minted
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m minted
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		all = append(all, m)
	}
	must(t, lines.Err())
	return all
}

func to(addresses ...string) io.Reader {
	var b strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&b, "{\"to\":%q}\n", a)
	}
	return strings.NewReader(b.String())
}

func TestRecipientsCarryWhatThePersonAgreedTo(t *testing.T) {
	t.Parallel()
	const (
		counted = event.Counted
		sum     = event.AggregateOnly
		date    = event.DateOnly
	)
	refuse, grant := consent.Refused, consent.Granted
	for name, c := range map[string]struct {
		basis         consent.Basis
		choice        consent.Change // zero: nothing said
		opens, clicks event.Reason
		reason        string
	}{
		"nothing said":                {consent.BasisSubject, consent.Change{}, counted, counted, ""},
		"opens refused":               {consent.BasisSubject, consent.Change{Opens: refuse}, event.OptedOut, counted, "opted_out"},
		"clicks refused":              {consent.BasisSubject, consent.Change{Clicks: refuse}, counted, event.OptedOut, "opted_out"},
		"both refused":                {consent.BasisSubject, consent.Change{Opens: refuse, Clicks: refuse}, event.OptedOut, event.OptedOut, "opted_out"},
		"plain text":                  {consent.BasisSubject, consent.Change{Format: consent.Plain, Opens: grant}, event.PlainText, event.PlainText, "plain_text"},
		"unsubscribed":                {consent.BasisSubject, consent.Change{Unsubscribed: new(true)}, event.OptedOut, event.OptedOut, "opted_out"},
		"aggregate, nothing said":     {consent.BasisAggregate, consent.Change{}, sum, sum, "aggregate_only"},
		"aggregate, opens granted":    {consent.BasisAggregate, consent.Change{Opens: grant}, counted, sum, "aggregate_only"},
		"aggregate, clicks refused":   {consent.BasisAggregate, consent.Change{Clicks: refuse}, sum, event.OptedOut, "opted_out"},
		"none, nothing said":          {consent.BasisNone, consent.Change{}, event.NoBasis, event.NoBasis, "no_basis"},
		"none, clicks granted":        {consent.BasisNone, consent.Change{Clicks: grant}, event.NoBasis, counted, "no_basis"},
		"none, both granted":          {consent.BasisNone, consent.Change{Opens: grant, Clicks: grant}, counted, counted, ""},
		"date-only":                   {consent.BasisSubject, consent.Change{Tracking: consent.DateOnly}, date, date, "date_only"},
		"date-only, clicks refused":   {consent.BasisSubject, consent.Change{Tracking: consent.DateOnly, Clicks: refuse}, date, event.OptedOut, "opted_out"},
		"date-only, plain text":       {consent.BasisSubject, consent.Change{Tracking: consent.DateOnly, Format: consent.Plain}, event.PlainText, event.PlainText, "plain_text"},
		"date-only, none":             {consent.BasisNone, consent.Change{Tracking: consent.DateOnly, Opens: grant}, date, event.NoBasis, "no_basis"},
		"date-only, aggregate":        {consent.BasisAggregate, consent.Change{Tracking: consent.DateOnly, Opens: grant}, date, event.NoBasis, "no_basis"},
		"aggregate, both are granted": {consent.BasisAggregate, consent.Change{Opens: grant, Clicks: grant}, counted, counted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, c.basis)
			_, err := h.writer.AddLink(t.Context(), "spring", campaign.Link{URL: "https://example.com/1"})
			must(t, err)
			if c.choice != (consent.Change{}) {
				h.decide(t, "anna@example.com", c.choice)
			}
			all, _ := h.stream(t, to("Anna@Example.com"))
			h.check(t, all[0], c.opens, c.clicks)
			if all[0].Tracking.Reason != c.reason {
				t.Errorf("reason %q, want %q", all[0].Tracking.Reason, c.reason)
			}
			if h.crowd.size(c.opens, c.clicks) != 1 || len(h.crowd.sets) != 1 {
				t.Errorf("population %v", h.crowd.sets)
			}
		})
	}
}

// check holds what was minted for anna against how it should have been.
func (h *house) check(t *testing.T, m minted, opens, clicks event.Reason) {
	t.Helper()
	anna, err := h.Subject("anna@example.com")
	must(t, err)
	carried := func(r event.Reason) uint64 {
		if r == event.Counted || r == event.DateOnly {
			return anna
		}
		return 0
	}
	measured := func(r event.Reason) bool {
		return r == event.Counted || r == event.AggregateOnly || r == event.DateOnly
	}

	if m.To != "Anna@Example.com" {
		t.Errorf("to %q", m.To)
	}
	if named := carried(opens)+carried(clicks) != 0; named != (m.Subject == fmt.Sprintf("%016x", anna)) || !named && m.Subject != "" {
		t.Errorf("subject %q", m.Subject)
	}
	if m.Tracking.Opens != measured(opens) || (m.PixelURL != "") != measured(opens) {
		t.Errorf("opens %v, pixel %q", m.Tracking.Opens, m.PixelURL)
	}
	if m.PixelURL != "" {
		if kind, claims := h.open(t, m.PixelURL); kind != token.Open || claims != (token.Claims{Campaign: h.number, Subject: carried(opens)}) {
			t.Errorf("pixel carries %c %+v", kind, claims)
		}
	}
	if m.Tracking.Clicks != measured(clicks) || (len(m.Links) == 1) != measured(clicks) {
		t.Errorf("clicks %v, links %v", m.Tracking.Clicks, m.Links)
	}
	for number, url := range m.Links {
		if kind, claims := h.open(t, url); number != "1" || kind != token.Click || claims != (token.Claims{Campaign: h.number, Link: 1, Subject: carried(clicks)}) {
			t.Errorf("link %s carries %c %+v", number, kind, claims)
		}
	}
	if kind, claims := h.open(t, m.UnsubscribeURL); kind != token.Preferences || claims != (token.Claims{Campaign: h.number, Subject: anna}) {
		t.Errorf("unsubscribe carries %c %+v", kind, claims)
	}
}

// In a campaign of which dates alone are kept mail names its person for that, and mail that may name nobody measures
// nothing.
func TestDateOnlyCampaign(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		basis         consent.Basis
		choice        consent.Change
		opens, clicks event.Reason
		reason        string
	}{
		{consent.BasisSubject, consent.Change{}, event.DateOnly, event.DateOnly, "date_only"},
		{consent.BasisSubject, consent.Change{Opens: consent.Refused}, event.OptedOut, event.DateOnly, "opted_out"},
		{consent.BasisAggregate, consent.Change{}, event.NoBasis, event.NoBasis, "no_basis"},
		{consent.BasisAggregate, consent.Change{Clicks: consent.Granted}, event.NoBasis, event.DateOnly, "no_basis"},
		{consent.BasisNone, consent.Change{}, event.NoBasis, event.NoBasis, "no_basis"},
	} {
		h := newHouse(t, c.basis)
		made, err := h.writer.CreateDateOnly(t.Context(), "dates", "")
		must(t, err)
		_, err = h.writer.AddLink(t.Context(), "dates", campaign.Link{URL: "https://example.com/1"})
		must(t, err)
		if c.choice != (consent.Change{}) {
			h.decide(t, "anna@example.com", c.choice)
		}
		h.number = made.Number
		var out bytes.Buffer
		_, err = h.Recipients(t.Context(), "dates", mint.Stream{In: to("Anna@Example.com"), Out: &out})
		must(t, err)
		var m minted
		must(t, json.Unmarshal(out.Bytes(), &m))
		h.check(t, m, c.opens, c.clicks)
		mail, err := h.Message(t.Context(), "dates", mint.Request{To: "anna@example.com", HTML: `<a href="https://example.com/1">x</a>`})
		must(t, err)
		if m.Tracking.Reason != c.reason || mail.Tracking != m.Tracking || h.crowd.size(c.opens, c.clicks) != 1 {
			t.Errorf("%+v: %+v, %+v, %v", c, m.Tracking, mail.Tracking, h.crowd.sets)
		}
	}
}

func TestBadLinesAreAnsweredAndTheStreamGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	long := strings.Repeat("x", mint.MaxLine+1)
	for _, c := range []struct{ line, want string }{
		{`{"to":"anna"}`, "address has no @"},
		{`{"to":"Anna <anna@example.com>"}`, "display name"},
		{`{"to":""}`, "address is empty"},
		{`{"to":"anna@example.com"`, "not an object"},
		{`{"to":"anna@example.com"}}`, "not an object"},
		{`{"to":"anna@example.com"} x`, "not an object"},
		{`"anna@example.com"`, "not an object"},
		{`["anna@example.com"]`, "not an object"},
		{`null`, "not an object"},
		{`{}`, "to is missing"},
		{`{"to":null}`, "to is not a string"},
		{`{"to":["anna@example.com"]}`, "to is not a string"},
		{`{"to":"a@b.example","to":"anna@example.com"}`, "to is given twice"},
		{`{"to":"a@b.example","name":"x"}`, "field name is unknown"},
		{`{"anna@example.com":1}`, "a field other than to"},
		{`{"TO":"a@b.example"}`, "a field other than to"},
		{"{\"to\":\"a\xff@b.example\"}", "not UTF-8"},
		{"{\"to\":\"a\tb@b.example\"}", "not an object"},
		{`{"to":"` + long + `@b.example"}`, "longer than 4096"},
		{long, "longer than 4096"},
	} {
		// The same line in the middle, and as the last one without an end.
		all, sum := h.stream(t, strings.NewReader("{\"to\":\"first@example.com\"}\n"+c.line+"\n\n \r\n{\"to\":\"last@example.com\"}\r\n"+c.line))
		if len(all) != 4 || sum != (mint.Summary{Lines: 6, Minted: 2, Bad: 2}) {
			t.Errorf("%.40s: %d lines out, %+v", c.line, len(all), sum)
			continue
		}
		if all[0].To != "first@example.com" || all[2].To != "last@example.com" {
			t.Errorf("%.40s: %+v", c.line, all)
		}
		for i, number := range map[int]uint64{1: 2, 3: 6} {
			if m := all[i]; m.Line != number || !strings.Contains(m.Error, c.want) {
				t.Errorf("%.40s: line %d: %q, want %q", c.line, m.Line, m.Error, c.want)
			} else if strings.Contains(m.Error, "anna@") || strings.Contains(m.Error, "xxx") {
				t.Errorf("%.40s: the error repeats what was sent: %q", c.line, m.Error)
			}
		}
	}
}

func TestUnusualSpellingsAreRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	want, err := h.Subject("jörg@bücher.example")
	must(t, err)
	all, _ := h.stream(t, strings.NewReader(" {\t\"to\" : \"jörg@bücher.example\" } \n{\"\\u0074o\":\"j\\u00f6rg@xn--bcher-kva.example\"}\n{\"to\":\"JÖRG@BÜCHER.example\"}"))
	for _, m := range all {
		if m.Error != "" || m.Subject != fmt.Sprintf("%016x", want) {
			t.Errorf("%+v", m)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d lines", len(all))
	}
}

// A line is answered without the next one being there: a mailer may send one at a time.
func TestEachLineIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	in, feed := io.Pipe()
	out, sink := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := h.Recipients(t.Context(), "spring", mint.Stream{In: in, Out: sink})
		sink.Close()
		done <- err
	}()
	lines := bufio.NewScanner(out)
	for i := range 50 {
		if _, err := fmt.Fprintf(feed, "{\"to\":\"p%d@example.com\"}\n", i); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf("p%d@example.com", i)) {
			t.Fatalf("line %d: %q", i, lines.Text())
		}
		if got := h.crowd.size(event.Counted, event.Counted); got != i+1 {
			t.Fatalf("answered line %d with a population of %d", i, got)
		}
	}
	feed.Close()
	must(t, <-done)
}

func TestManyPeopleInAnyPieces(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	const people = 20_000
	var b strings.Builder
	for i := range people {
		fmt.Fprintf(&b, "{\"to\":\"p%d@example.com\"}\n", i)
	}
	all, sum := h.stream(t, &chopped{strings.NewReader(b.String()), 0})
	if len(all) != people || sum.Minted != people || h.crowd.size(event.Counted, event.Counted) != people {
		t.Fatalf("%d lines, %+v", len(all), sum)
	}
	for i := range all {
		if all[i].To != fmt.Sprintf("p%d@example.com", i) {
			t.Fatalf("line %d is for %s", i, all[i].To)
		}
	}
}

// chopped reads in pieces of all sizes.
type chopped struct {
	r io.Reader
	n int
}

func (c *chopped) Read(p []byte) (int, error) {
	c.n = c.n*7%8191 + 1
	return c.r.Read(p[:min(len(p), c.n)])
}

var errDisk = errors.New("disk on fire")

func TestNothingIsMintedThatIsNotInThePopulation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	h.crowd.fail = errDisk
	var out bytes.Buffer
	_, err := h.Recipients(t.Context(), "spring", mint.Stream{In: to("anna@example.com", "bob@example.com"), Out: &out})
	if !errors.Is(err, errDisk) {
		t.Fatalf("error %v", err)
	}
	all := parse(t, &out)
	if len(all) != 1 || all[0].Line != 1 || all[0].To != "" || !strings.Contains(all[0].Error, "send these lines again") {
		t.Errorf("%+v", all)
	}
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.Recipients(ctx, "spring", mint.Stream{In: in, Out: io.Discard, Interrupt: func() { in.CloseWithError(io.ErrClosedPipe) }})
		done <- err
	}()
	_, err := io.WriteString(feed, "{\"to\":\"anna@example.com\"}\n{\"to")
	must(t, err)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type brokenWriter struct{ room int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestAStreamEndsWithItsReaderOrWriter(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	in, feed := io.Pipe()
	go func() {
		for {
			if _, err := io.WriteString(feed, "{\"to\":\"anna@example.com\"}\n"); err != nil {
				return
			}
		}
	}()
	_, err := h.Recipients(t.Context(), "spring", mint.Stream{In: in, Out: &brokenWriter{10_000}, Interrupt: func() { in.Close() }})
	if !errors.Is(err, errDisk) {
		t.Errorf("writer: %v", err)
	}
	_, err = h.Recipients(t.Context(), "spring", mint.Stream{In: io.MultiReader(to("anna@example.com"), &failing{}), Out: io.Discard})
	if !errors.Is(err, errDisk) {
		t.Errorf("reader: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }

func TestAnUnknownCampaignIsSaidBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	var out bytes.Buffer
	_, err := h.Recipients(t.Context(), "autumn", mint.Stream{In: to("anna@example.com"), Out: &out})
	if !errors.Is(err, campaign.ErrNotFound) || out.Len() > 0 {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	if _, err := h.Message(t.Context(), "autumn", mint.Request{To: "anna@example.com"}); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
