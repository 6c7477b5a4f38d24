package proctest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/report"
)

// lane is a campaign that one connection has to itself, with a reader who agreed and one who
// refused after the mail was sent. What is asked one after the other leaves at most one request
// without an answer when the server dies: so the counts of a lane are known to within one event.
type lane struct {
	campaign string
	path     [kinds]string
	answered [kinds]uint64 // answers that were given
	doubtful [kinds]uint64 // requests whose answer did not come
	longest  time.Duration // that an answer took
}

// The requests of a lane.
const (
	open = iota
	click
	refused
	kinds
)

// newLanes makes campaigns with their mail.
func newLanes(ctx context.Context, t *testing.T, c *client.Client, prefix string, n int) []*lane {
	t.Helper()
	lanes := make([]*lane, n)
	for i := range lanes {
		lanes[i] = newLane(ctx, t, c, fmt.Sprintf("%s-%d", prefix, i))
	}
	no := "refused"
	if _, err := c.SetConsent(ctx, api.Decision{Subject: refuser, Opens: no, Clicks: no}); err != nil {
		t.Fatal(err)
	}
	return lanes
}

// People of the tests.
const (
	reader  = "ann.reader@example.com"
	refuser = "bob.refuser@example.com"
)

func newLane(ctx context.Context, t *testing.T, c *client.Client, name string) *lane {
	t.Helper()
	if _, err := c.CreateCampaign(ctx, api.NewCampaign{Name: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddLink(ctx, name, api.NewLink{URL: "https://example.com/" + name}); err != nil {
		t.Fatal(err)
	}
	if yes := "granted"; strings.HasSuffix(name, "-0") { // so that the next round's mail has its pixel
		if _, err := c.SetConsent(ctx, api.Decision{Subject: refuser, Opens: yes, Clicks: yes}); err != nil {
			t.Fatal(err)
		}
	}
	l := &lane{campaign: name}
	ann, bob := mint(ctx, t, c, name, reader), mint(ctx, t, c, name, refuser)
	l.path = [kinds]string{open: pathOf(t, ann.PixelURL), click: pathOf(t, ann.Links["1"]), refused: pathOf(t, bob.PixelURL)}
	return l
}

// mint makes the tokens of one person's mail.
func mint(ctx context.Context, t *testing.T, c *client.Client, campaign, address string) api.Minted {
	t.Helper()
	in, err := json.Marshal(map[string]string{"to": address})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, err := c.Recipients(ctx, campaign, strings.NewReader(string(in)+"\n"), &out); err != nil {
		t.Fatal(err)
	}
	var m api.Minted
	if err := json.Unmarshal([]byte(out.String()), &m); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	return m
}

func pathOf(t *testing.T, u string) string {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil || len(parsed.Path) < 10 {
		t.Fatalf("minted URL %q: %v", u, err)
	}
	return parsed.Path
}

var wantStatus = [kinds]int{open: 200, click: 302, refused: 200}

// drive sends requests over one connection until one fails, which it then was the death of the
// server, or until ctx ends. Where the server says that it closes, which it does now and then, the
// next request opens another.
func (l *lane) drive(ctx context.Context, addr string) error {
	c, err := dial(addr)
	if err != nil {
		return nil //nolint:nilerr // dead already
	}
	defer func() { c.close() }()
	for i := 0; ctx.Err() == nil; i++ {
		if c.last {
			c.close()
			again, err := dial(addr)
			if err != nil {
				return nil //nolint:nilerr // that was its end
			}
			c = again
		}
		kind, began := i%kinds, time.Now()
		status, err := c.get(l.path[kind])
		if err != nil {
			l.doubtful[kind]++
			return nil
		}
		if status != wantStatus[kind] {
			return fmt.Errorf("%s: status %d, want %d", l.path[kind], status, wantStatus[kind])
		}
		l.answered[kind]++
		l.longest = max(l.longest, time.Since(began))
	}
	return nil
}

// check compares the report with what was answered.
func (l *lane) check(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	r, err := c.Report(ctx, l.campaign)
	if err != nil {
		t.Fatal(err)
	}
	got := [kinds]uint64{open: r.Opens.Total, click: r.Clicks.Total, refused: r.Opens.Suppressed["opted_out"]}
	for kind, name := range [kinds]string{"opens", "clicks", "refused opens"} {
		least, most := l.answered[kind], l.answered[kind]+l.doubtful[kind]
		if got[kind] < least || got[kind] > most {
			t.Errorf("%s: %s: %d counted, %d answered and %d in doubt", l.campaign, name, got[kind], l.answered[kind], l.doubtful[kind])
		}
	}
	addsUp(t, r)
}

// addsUp checks what must hold for every report.
func addsUp(t *testing.T, r *report.Report) {
	t.Helper()
	for name, m := range map[string]report.Measure{"opens": r.Opens, "clicks": r.Clicks} {
		sum := m.Total
		for _, n := range m.Suppressed {
			sum += n
		}
		if m.Received != sum {
			t.Errorf("%s: %s: received %d, counted and suppressed %d", r.Campaign, name, m.Received, sum)
		}
	}
}
