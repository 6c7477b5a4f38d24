package intake

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/plain"
	"mailbeacon/internal/token"
)

// tokens opens texts of one letter: a to z authentic, with the letter as subject; '!' forged.
type tokens struct{}

func (tokens) Open(kind token.Kind, text []byte) (token.Claims, error) {
	switch {
	case len(text) != 1:
		return token.Claims{}, token.ErrMalformed
	case text[0] == '!':
		return token.Claims{}, token.ErrForged
	}
	c := token.Claims{Campaign: 7, Subject: uint64(text[0])}
	if kind == token.Click {
		c.Link = 3
	}
	return c, nil
}

// choices: p asked for plain text, r refused, n is not known where nothing is allowed unasked,
// a may be counted in the aggregate only; everybody else counts.
type choices struct{}

func (choices) Verdict(_ event.Kind, subject uint64) event.Reason {
	switch subject {
	case 'p':
		return event.PlainText
	case 'r':
		return event.OptedOut
	case 'n':
		return event.NoBasis
	case 'd':
		return event.DateOnly
	}
	return event.Counted
}

func (c choices) Attributed(kind event.Kind, subject uint64) bool {
	r := c.Verdict(kind, subject)
	return (r == event.Counted || r == event.DateOnly) && subject != 'a'
}
func (c choices) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return c.Verdict(k, s), s != 0 && c.Attributed(k, s)
}

// datesOf is the campaign of which only dates are kept; 0 is none.
type datesOf uint32

func (c datesOf) DateOnly(campaign uint32) bool { return campaign == uint32(c) && c != 0 }

// signals tells Prefetch from any of the headers, Chrome from any agent, and remembers the address.
type signals struct{ addr netip.Addr }

func (s *signals) Signals(r classify.Request) (event.Signals, event.Client) {
	s.addr = r.IP
	var bits event.Signals
	for _, value := range [][]byte{r.Purpose, r.SecPurpose, r.XMoz, r.XPurpose} {
		if string(value) == "prefetch" {
			bits = event.Prefetch
		}
	}
	if len(r.UserAgent) > 0 {
		return bits, event.Chrome
	}
	return bits | event.NoAgent, event.OtherClient
}

// spool keeps events, or fails.
type spool struct {
	events []event.Event
	fails  bool
}

func (s *spool) Append(ev *event.Event) error {
	if s.fails {
		return errors.New("no space")
	}
	s.events = append(s.events, *ev)
	return nil
}

func newIntake(t testing.TB, s Spool, c Classifier) *Intake {
	t.Helper()
	in, err := New(Options{Tokens: tokens{}, Consent: choices{}, Campaigns: datesOf(0), Classifier: c, Spool: s})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestObserve(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		gpc        string
		kind       event.Kind
		want       *event.Event // nil: nothing is spooled; Time is compared apart
		reason     event.Reason
	}{
		{"counted", "x", "", event.Open, &event.Event{Subject: 'x', Signals: event.Prefetch, Client: event.Chrome}, event.Counted},
		{"probe", "x", "", event.Probe, &event.Event{Subject: 'x', Signals: event.Prefetch, Client: event.Chrome}, event.Counted},
		{"aggregate only", "a", "", event.Open, &event.Event{Signals: event.Prefetch, Client: event.Chrome}, event.Counted},
		{"refused", "r", "", event.Open, &event.Event{}, event.OptedOut},
		{"plain", "p", "", event.Open, &event.Event{}, event.PlainText},
		{"no basis", "n", "", event.Open, &event.Event{}, event.NoBasis},
		{"refused probe", "r", "", event.Probe, &event.Event{}, event.OptedOut},
		{"GPC", "x", "1", event.Open, &event.Event{}, event.GPC},
		{"GPC after a refusal", "r", "1", event.Open, &event.Event{}, event.OptedOut},
		{"GPC off", "x", "0", event.Open, &event.Event{Subject: 'x', Signals: event.Prefetch, Client: event.Chrome}, event.Counted},
		{"GPC with another value", "x", "1, 1", event.Open, &event.Event{Subject: 'x', Signals: event.Prefetch, Client: event.Chrome}, event.Counted},
		{"forged", "!", "", event.Open, nil, event.Forged},
		{"malformed", "", "", event.Open, nil, event.Malformed},
		{"forged probe", "!", "1", event.Probe, nil, event.Forged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := from("192.0.2.1", "Purpose", "prefetch")
			ctx.Request.Header.SetUserAgent("somebody")
			if tc.gpc != "" {
				ctx.Request.Header.Set("sec-gpc", tc.gpc)
			}
			sp, cl := &spool{}, &signals{}
			in := newIntake(t, sp, cl)
			in.Observe(ctx, tc.kind, []byte(tc.text))

			counters := in.Counters()
			total := uint64(0)
			counters.Each(func(_ event.Kind, _ event.Reason, n uint64) { total += n })
			if total != 1 || counters.Get(tc.kind, tc.reason) != 1 {
				t.Errorf("counted %v, want one %v %v", counters, tc.kind, tc.reason)
			}
			if tc.want == nil {
				if len(sp.events) != 0 {
					t.Fatalf("spooled %+v", sp.events)
				}
				return
			}
			if len(sp.events) != 1 {
				t.Fatalf("spooled %d events", len(sp.events))
			}
			got, want := sp.events[0], *tc.want
			want.Kind, want.Reason, want.Campaign = tc.kind, tc.reason, 7
			want.Time = ctx.Time().UnixMilli()
			if tc.reason != event.Counted {
				want.Time -= want.Time % time.Hour.Milliseconds()
			}
			if got != want {
				t.Errorf("spooled\n%+v, want\n%+v", got, want)
			}
			if cl.addr != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("classified with address %v", cl.addr)
			}
		})
	}
}

// TestClock has the events of a replay happen when its clock says, by the address that they are from; what is not
// counted keeps the hour of that.
func TestClock(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 20, 30, 0, time.UTC)
	var asked []netip.Addr
	sp := &spool{}
	in, err := New(Options{Tokens: tokens{}, Consent: choices{}, Campaigns: datesOf(0), Classifier: &classify.Edge{}, Spool: sp,
		Clock: func(from netip.Addr) time.Time { asked = append(asked, from); return at }})
	if err != nil {
		t.Fatal(err)
	}
	home := netip.MustParseAddr("192.0.2.1")
	in.Observe(from("192.0.2.1", "Accept", "*/*"), event.Open, []byte("x"))
	in.ObservePlain(&plain.Request{Peer: home, Time: time.Now()}, []byte("x"))
	in.Observe(from("192.0.2.1", "Accept", "*/*"), event.Open, []byte("r"))
	if want := []netip.Addr{home, home, home}; !slices.Equal(asked, want) {
		t.Errorf("the clock was asked for %v, want %v", asked, want)
	}
	var got []int64
	for _, ev := range sp.events {
		got = append(got, ev.Time)
	}
	if want := []int64{at.UnixMilli(), at.UnixMilli(), at.Truncate(time.Hour).UnixMilli()}; !slices.Equal(got, want) {
		t.Errorf("the events happened at %v, want %v", got, want)
	}
}

// Of who counts without a name no refusal can be found later: the name goes only where what is known, and looked at after
// leave was asked for, is all there is. Elsewhere it waits in the spool.
func TestNameWaitsForLeave(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text, gpc string
		leave           func(*decided) bool
		subject         uint64
		reason          event.Reason
		asked           int
	}{
		{"serve", "a", "", nil, 0, event.Counted, 0},
		{"leave", "a", "", func(*decided) bool { return true }, 0, event.Counted, 1},
		{"no leave", "a", "", func(*decided) bool { return false }, 'a', event.Counted, 1},
		{"no leave, GPC", "a", "1", func(*decided) bool { return false }, 0, event.GPC, 1},
		{"leave, and a refusal that came just before", "a", "", func(d *decided) bool { d.to('r'); return true }, 0, event.OptedOut, 1},
		{"leave, and an agreement that came just before", "a", "", func(d *decided) bool { d.to('x'); return true }, 'a', event.Counted, 1},
		{"named: nobody asks", "x", "", func(*decided) bool { return false }, 'x', event.Counted, 0},
		{"refused: nobody asks", "r", "", func(*decided) bool { return false }, 0, event.OptedOut, 0},
	} {
		sp, d, asked := &spool{}, &decided{}, 0
		o := Options{Tokens: tokens{}, Consent: d, Campaigns: datesOf(0), Classifier: &classify.Edge{}, Spool: sp}
		if tc.leave != nil {
			o.Leave = func() bool { asked++; return tc.leave(d) }
		}
		in, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx := from("192.0.2.1", "Accept", "*/*")
		if tc.gpc != "" {
			ctx.Request.Header.Set("sec-gpc", tc.gpc)
		}
		in.Observe(ctx, event.Open, []byte(tc.text))
		if ev := sp.events[0]; ev.Subject != tc.subject || ev.Reason != tc.reason || asked != tc.asked {
			t.Errorf("%s: spooled %+v, leave was asked for %d times", tc.name, ev, asked)
		}
	}
}

// decided are choices of which all can become another's.
type decided struct {
	choices
	now uint64
}

func (d *decided) to(subject uint64) { d.now = subject }

func (d *decided) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	if d.now != 0 {
		s = d.now
	}
	return d.choices.Allows(k, s)
}

// Of who, or what campaign, has dates alone the edge keeps person and day: no hour, no signal, no client; and nobody where
// a machine opened it, somebody may not be named, or a browser asks not to be tracked. What a scanner does goes with its
// person: it tells that what is next to it was no person.
func TestDateOnlyKeepsNoMore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		campaign   datesOf
		kind       event.Kind
		agent, gpc string
		subject    uint64
		reason     event.Reason
	}{
		{"person, open", "d", 0, event.Open, "somebody", "", 'd', event.DateOnly},
		{"person, click", "d", 0, event.Click, "somebody", "", 'd', event.DateOnly},
		{"person, probe", "d", 0, event.Probe, "somebody", "", 'd', event.DateOnly},
		{"person, machine's open", "d", 0, event.Open, "", "", 0, event.DateOnly},
		{"person, machine's click", "d", 0, event.Click, "", "", 'd', event.DateOnly},
		{"campaign, machine's click, not to be named", "a", 7, event.Click, "", "", 0, event.DateOnly},
		{"person, GPC", "d", 0, event.Open, "somebody", "1", 0, event.GPC},
		{"campaign", "x", 7, event.Open, "somebody", "", 'x', event.DateOnly},
		{"campaign, date-only person", "d", 7, event.Open, "somebody", "", 'd', event.DateOnly},
		{"campaign, not to be named", "a", 7, event.Open, "somebody", "", 0, event.DateOnly},
		{"campaign, refused", "r", 7, event.Open, "somebody", "", 0, event.OptedOut},
		{"campaign, plain text", "p", 7, event.Click, "somebody", "", 0, event.PlainText},
		{"campaign, GPC", "x", 7, event.Click, "somebody", "1", 0, event.GPC},
		{"another campaign", "x", 8, event.Open, "somebody", "", 'x', event.Counted},
	} {
		sp := &spool{}
		in, err := New(Options{Tokens: tokens{}, Consent: choices{}, Campaigns: tc.campaign, Classifier: &classify.Edge{}, Spool: sp})
		if err != nil {
			t.Fatal(err)
		}
		ctx := from("192.0.2.1", "Accept", "*/*")
		if tc.agent != "" {
			ctx.Request.Header.SetUserAgent("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
		}
		if tc.gpc != "" {
			ctx.Request.Header.Set("sec-gpc", tc.gpc)
		}
		sort := token.Open
		if tc.kind == event.Click {
			sort = token.Click
		}
		claims, ok := in.Claims(tc.kind, sort, []byte(tc.text))
		if !ok {
			t.Fatal(tc.name)
		}
		in.Record(ctx, tc.kind, claims, 0)
		got, at := sp.events[0], ctx.Time().UnixMilli()
		want := event.Event{Time: at - at%3_600_000, Campaign: 7, Kind: tc.kind, Reason: tc.reason}
		switch {
		case tc.reason == event.Counted:
			want = got
		case tc.subject != 0:
			want.Subject, want.Time = tc.subject, at-at%86_400_000
			if tc.agent == "" {
				want.Signals = event.Automaton
			}
		}
		if got != want || got.Subject != tc.subject || got.Reason != tc.reason || got.Check() != nil {
			t.Errorf("%s: spooled\n%+v, want\n%+v; %v", tc.name, got, want, got.Check())
		}
	}
}

func TestRecordAddsSignalsAndLink(t *testing.T) {
	t.Parallel()
	sp := &spool{}
	in := newIntake(t, sp, &signals{})
	claims, ok := in.Claims(event.Click, token.Click, []byte("x"))
	if !ok {
		t.Fatal("an authentic token was refused")
	}
	in.Record(from("192.0.2.1", "A"), event.Click, claims, event.HiddenLink)
	if ev := sp.events[0]; ev.Link != 3 || ev.Signals != event.HiddenLink|event.NoAgent || ev.Kind != event.Click {
		t.Errorf("spooled %+v", ev)
	}
}

func TestEveryPrefetchHeaderIsLookedAt(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sec-purpose", "Purpose", "X-MOZ", "x-Purpose"} {
		sp := &spool{}
		newIntake(t, sp, &signals{}).Observe(from("192.0.2.1", name, "prefetch"), event.Open, []byte("x"))
		if sp.events[0].Signals&event.Prefetch == 0 {
			t.Errorf("%s was not looked at", name)
		}
	}
}

func TestLostEventsAreCountedAsLost(t *testing.T) {
	t.Parallel()
	in := newIntake(t, &spool{fails: true}, &signals{})
	for _, text := range []string{"x", "r"} {
		in.Observe(from("192.0.2.1", "A"), event.Open, []byte(text))
	}
	c := in.Counters()
	if c.Get(event.Open, event.SpoolFailed) != 2 || c.Get(event.Open, event.Counted) != 0 || c.Get(event.Open, event.OptedOut) != 0 {
		t.Errorf("counted %v", c)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	in := newIntake(t, &spool{}, &signals{})
	in.Refuse(event.Click, event.UnknownLink)
	if c := in.Counters(); c.Get(event.Click, event.UnknownLink) != 1 {
		t.Errorf("counted %v", c)
	}
}

func TestCountersHoldTheClosedSets(t *testing.T) {
	t.Parallel()
	if n := len(event.Reasons()); n != reasons {
		t.Errorf("there are %d reasons, the table has %d", n, reasons)
	}
	if (event.Kind(kinds)).String() != "invalid" || event.Kind(kinds-1).String() == "invalid" {
		t.Errorf("the table has %d kinds", kinds)
	}
	var c Counters
	if c.Get(200, event.Counted) != 0 || c.Get(event.Open, 200) != 0 {
		t.Error("something was counted outside the sets")
	}
	n := 0
	c.Each(func(k event.Kind, r event.Reason, _ uint64) {
		n++
		if k.String() == "invalid" || r.String() == "invalid" {
			t.Errorf("pair %d/%d has no words", k, r)
		}
	})
	if n != (kinds-1)*reasons {
		t.Errorf("%d pairs", n)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	whole := Options{Tokens: tokens{}, Consent: choices{}, Campaigns: datesOf(0), Classifier: &signals{}, Spool: &spool{}}
	for _, cut := range []func(*Options){
		func(o *Options) { o.Tokens = nil }, func(o *Options) { o.Consent = nil }, func(o *Options) { o.Campaigns = nil },
		func(o *Options) { o.Classifier = nil }, func(o *Options) { o.Spool = nil },
	} {
		o := whole
		cut(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
