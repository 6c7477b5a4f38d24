package proctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
)

const (
	clickers = 60
	// shortEpoch has numbers released within a test's time.
	shortEpoch = "--advertiser-epoch=3s"
)

// advertise makes a campaign with an advertisement that people click, and says that it was delivered only once all of
// them are counted: so they are in one number.
func advertise(ctx context.Context, t *testing.T, c *client.Client, public, campaign string) {
	t.Helper()
	_, err := c.CreateCampaign(ctx, api.NewCampaign{Name: campaign})
	must(t, err)
	for i, name := range []string{"ACME", "", "Bolt"} {
		_, err := c.AddLink(ctx, campaign, api.NewLink{URL: fmt.Sprintf("https://example.com/%d", i), Advertiser: name})
		must(t, err)
	}
	var in, out bytes.Buffer
	for i := range clickers {
		fmt.Fprintf(&in, "{\"to\":\"reader-%d@example.com\"}\n", i)
	}
	_, err = c.Recipients(ctx, campaign, &in, &out)
	must(t, err)
	browser := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer browser.CloseIdleConnections()
	for d := json.NewDecoder(&out); d.More(); {
		var m api.Minted
		must(t, d.Decode(&m))
		for range 2 { // twice is once
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+public+pathOf(t, m.Links["1"]), nil)
			must(t, err)
			req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
			resp, err := browser.Do(req)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusFound {
				t.Fatalf("a click is answered %d", resp.StatusCode)
			}
		}
	}
	await(t, "that all clicks are counted", func() bool {
		r, err := c.Report(ctx, campaign)
		return err == nil && r.Clicks.ByClass.Human == 2*clickers
	})
	_, err = c.Deliver(ctx, campaign, api.Delivery{ID: "all", Delivered: 1000})
	must(t, err)
}

// cells is what the command prints of a campaign, and waits until there are some.
func cells(ctx context.Context, t *testing.T, data, name, campaign string) (all []advertiser.Cell) {
	t.Helper()
	await(t, "that a number is released", func() bool {
		out, _, code := mailbeacon(ctx, t, "", "advertiser", "report", name, "--json", "--data", data)
		var r advertiser.Report
		if code != 0 || json.Unmarshal([]byte(out), &r) != nil {
			return false
		}
		for _, c := range r.Campaigns {
			if c.Campaign == campaign {
				all = c.Cells
			}
		}
		return len(all) > 0
	})
	return all
}

// same fails where a cell is not what it was.
func same(t *testing.T, was, is []advertiser.Cell) {
	t.Helper()
	if len(is) < len(was) {
		t.Fatalf("%d cells, were %d", len(is), len(was))
	}
	for i := range was {
		a, _ := json.Marshal(was[i]) // these have a form
		b, _ := json.Marshal(is[i])
		if !bytes.Equal(a, b) {
			t.Errorf("cell %d was %s and is %s", i, a, b)
		}
	}
}

// TestAdvertiser: people click, a week of three seconds ends, and what was told then is told ever after, whatever dies. A key of the
// advertiser sees that, and nothing else.
func TestAdvertiser(t *testing.T) {
	ctx, data := t.Context(), t.TempDir()
	args := append([]string{shortEpoch}, quick...)
	s := start(t, data, args...)
	advertise(ctx, t, s.client(), s.public, "spring")
	first := cells(ctx, t, data, "ACME", "spring")
	if n := first[0].People; n == nil || *n < clickers-25 || *n > clickers+25 || *n%5 != 0 {
		t.Errorf("%d people clicked, and released is %+v", clickers, first[0])
	}
	// Who says no afterwards stays part of what is out, which names nobody.
	if _, serr, code := mailbeacon(ctx, t, "", "consent", "set", "reader-0@example.com", "--clicks", "refused", "--data", data); code != 0 {
		t.Fatal(serr)
	}
	for range 3 {
		s.kill()
		s = start(t, data, args...)
		next := cells(ctx, t, data, "ACME", "spring")
		same(t, first, next)
		first = next
	}
	bolt := cells(ctx, t, data, "Bolt", "spring")
	if !bolt[0].Withheld || bolt[0].People != nil {
		t.Errorf("nobody clicked, and released is %+v", bolt[0])
	}

	key, serr, code := mailbeacon(ctx, t, "", "key", "add", "acme", "--role", "advertiser", "--advertiser", "ACME", "--data", data)
	if code != 0 {
		t.Fatal(serr)
	}
	key = strings.TrimSpace(key)
	var listed string
	await(t, "that the key is taken", func() bool {
		_, listed, code = mailbeacon(ctx, t, "", "advertiser", "report", "ACME", "--data", data, "--key", key)
		return code == 0
	})
	for _, args := range [][]string{{"advertiser", "report", "Bolt"}, {"advertiser", "report", "Nobody"}, {"advertiser", "list"}, {"report", "spring"}, {"campaign", "list"}} {
		out, serr, code := mailbeacon(ctx, t, "", append(args, "--data", data, "--key", key)...)
		if code != 1 || out != "" || !strings.HasPrefix(serr, "mailbeacon: forbidden: ") {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, serr)
		}
	}
	for _, args := range [][]string{
		{"key", "add", "x", "--role", "advertiser"}, {"key", "add", "x", "--role", "marketer", "--advertiser", "ACME"}, {"advertiser", "report", "ACME", "--csv", "--json"}, {"advertiser"},
	} {
		if _, serr, code := mailbeacon(ctx, t, "", append(args, "--data", data)...); code != 2 {
			t.Errorf("%v: exit code %d, %s", args, code, serr)
		}
	}
	out, _, code := mailbeacon(ctx, t, "", "advertiser", "list", "--data", data)
	if code != 0 || !strings.Contains(out, "ACME") || !strings.Contains(out, "Bolt") {
		t.Errorf("%s%s", out, listed)
	}
	if m := s.metric("mailbeacon_advertiser_faulty"); m != 0 {
		t.Errorf("it is faulty: %v", m)
	}
	s.stop()
	if strings.Contains(s.out.String(), "level=ERROR") {
		t.Errorf("%s", &s.out)
	}
}

// TestClusterAdvertiser: two admins close over one ClickHouse, and tell the same, also after one is killed and the store was.
func TestClusterAdvertiser(t *testing.T) {
	ctx, c := t.Context(), &cluster{t: t, extra: func(role string) []string {
		if role == "admin" {
			return []string{shortEpoch}
		}
		return nil
	}}
	c.own()
	second := c.start("admin", 1)
	advertise(ctx, t, c.admin.client(), c.edges[0].public, "spring")
	folders := []string{c.folder("admin", 0), c.folder("admin", 1)}
	first := cells(ctx, t, folders[0], "ACME", "spring")
	if n := first[0].People; n == nil || *n < clickers-25 || *n > clickers+25 {
		t.Errorf("%d people clicked, and released is %+v", clickers, first[0])
	}
	same(t, first, cells(ctx, t, folders[1], "ACME", "spring"))
	c.store.Kill()
	time.Sleep(4 * time.Second) // an epoch ends meanwhile
	must(t, c.store.Restart(ctx))
	second.kill()
	same(t, first, cells(ctx, t, folders[0], "ACME", "spring"))
	second = c.start("admin", 1)
	await(t, "that the campaign had all its epochs", func() bool {
		return len(cells(ctx, t, folders[1], "ACME", "spring")) == advertiser.MostCells
	})
	all := cells(ctx, t, folders[1], "ACME", "spring")
	same(t, first, all)
	same(t, all, cells(ctx, t, folders[0], "ACME", "spring"))
	if second.metric("mailbeacon_advertiser_closings_total")+c.admin.metric("mailbeacon_advertiser_closings_total") == 0 {
		t.Error("nobody closed")
	}
	second.stop()
	c.stop()
}
