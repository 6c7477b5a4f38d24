package proctest

import (
	"bytes"
	"context"
	little "encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/token"
)

// What went in and must not be found anywhere afterwards.
const (
	secretAddress = "Zaphod.Quux+tag@xylophone-mail.example"
	secretIP      = "203.0.113.77"
	secretAgent   = "Zyzzyva/7.3 (quokka)"
)

// TestNothingOfPeopleIsLeft runs everything once and looks through every file, the log and the
// metrics for the address, the IP and the User-Agent that went in.
func TestNothingOfPeopleIsLeft(t *testing.T) {
	ctx, data := t.Context(), t.TempDir()
	s := start(t, data, append(quick, "--trusted-proxies=127.0.0.0/8", "--log-level=debug")...)
	useAddress(ctx, t, s.client(), s.public)
	badRequests(t, s)
	s.drain()
	metrics := s.scrape()
	search(t, "metrics", metrics)
	live := files(t, data) // a database's log holds what its file does not yet
	s.stop()
	for name, content := range live {
		search(t, name+" (running)", content)
	}
	for name, content := range files(t, data) {
		search(t, name, content)
	}
	search(t, "log", s.out.String())
	if !strings.Contains(s.out.String(), "msg=request") {
		t.Error("the log at level debug says nothing of requests: this test looks in the wrong place")
	}
}

// TestCountedEventsLeaveTheSpool looks for a person's number in the spool: it goes with a stop once it
// is counted, and what a kill leaves of it goes with the next start.
func TestCountedEventsLeaveTheSpool(t *testing.T) {
	ctx, data := t.Context(), t.TempDir()
	s := start(t, data, quick...)
	l := newLanes(ctx, t, s.client(), "spring", 1)[0]
	ring, err := token.LoadKeyring(filepath.Join(data, "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	number := little.LittleEndian.AppendUint64(nil, ring.Subject([]byte(reader)))
	inSpool := func() (names []string) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(data, "spool", "*"))
		if err != nil || len(all) < 2 {
			t.Fatalf("the spool has the files %v, %v", all, err)
		}
		for _, name := range all {
			b, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // trimmed meanwhile
			}
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, number) {
				names = append(names, filepath.Base(name))
			}
		}
		return names
	}

	ask(t, s, l, 30)
	s.drain()
	if len(inSpool()) == 0 {
		t.Fatal("this test looks for the wrong number")
	}
	s.stop()
	if left := inSpool(); len(left) > 0 {
		t.Errorf("counted events are left in %v after a stop", left)
	}
	if out, stderr, code := mailbeacon(ctx, t, "", "doctor", "--data", data); code != 0 || !strings.Contains(out, "0 events, no damage") {
		t.Errorf("the doctor's exit code is %d:\n%s%s", code, out, stderr)
	}

	s = start(t, data, quick...)
	ask(t, s, l, 30)
	s.drain()
	s.kill()
	if len(inSpool()) == 0 {
		t.Fatal("a kill left nothing")
	}
	s = start(t, data, quick...)
	for deadline := time.Now().Add(patience); len(inSpool()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("what was counted before the kill is still in %v", inSpool())
		}
	}
	ask(t, s, l, 30)
	s.drain()
	l.check(ctx, t, s.client())
	s.stop()
}

// useAddress lets the address through everything that takes one.
func useAddress(ctx context.Context, t *testing.T, c *client.Client, public string) {
	t.Helper()
	if _, err := c.CreateCampaign(ctx, api.NewCampaign{Name: "spring", Title: "Spring"}); err != nil {
		t.Fatal(err)
	}
	mail, err := c.Render(ctx, "spring", api.MailRequest{To: secretAddress, HTML: `<a href="https://example.com/">x</a>`})
	if err != nil {
		t.Fatal(err)
	}
	if !mail.Tracking.Opens {
		t.Fatal("nothing is measured")
	}
	m := mint(ctx, t, c, "spring", secretAddress)
	headers := []string{"X-Forwarded-For: " + secretIP, "Referer: https://webmail.example/" + url.QueryEscape(secretAddress)}
	for _, path := range []string{pathOf(t, m.PixelURL), pathOf(t, m.Links["1"]), pathOf(t, m.UnsubscribeURL), "/o/forged-" + url.PathEscape(secretAddress), "/nothing?to=" + url.QueryEscape(secretAddress)} {
		conn, err := dial(public)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.getAs(secretAgent, path, headers...); err != nil {
			t.Fatal(err)
		}
		conn.close()
	}
	if _, err := c.SetConsent(ctx, api.Decision{Subject: secretAddress, Opens: "refused", Source: "letter"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Consent(ctx, secretAddress); err != nil {
		t.Fatal(err)
	}
	conn, err := dial(public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	if _, err := conn.getAs(secretAgent, pathOf(t, m.PixelURL), headers...); err != nil {
		t.Fatal(err)
	}
}

// badRequests sends the address where it does not belong.
func badRequests(t *testing.T, s *server) {
	t.Helper()
	addr, err := os.ReadFile(filepath.Join(s.data, "admin.addr"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(s.data, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSpace(string(addr))
	quoted, err := json.Marshal(secretAddress)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"subject":` + string(quoted), `{` + string(quoted) + `:1}`, `{"subject":` + string(quoted) + `,"opens":` + string(quoted) + `}`} {
		post(t, base+"/v1/consent", strings.TrimSpace(string(key)), body)
	}
	post(t, base+"/v1/"+url.PathEscape(secretAddress)+"?q="+url.QueryEscape(secretAddress), secretAddress, "")
	post(t, base+"/v1/campaigns/"+url.PathEscape(secretAddress)+"/messages", strings.TrimSpace(string(key)), "{}")
}

// search fails where a text holds what went in, in any form that it may have been given.
func search(t *testing.T, where, text string) {
	t.Helper()
	lower := strings.ToLower(text)
	for _, secret := range []string{secretAddress, url.QueryEscape(secretAddress), "zaphod", "xylophone", secretIP, secretAgent, "zyzzyva"} {
		if i := strings.Index(lower, strings.ToLower(secret)); i >= 0 {
			t.Errorf("%s holds %q: ...%q...", where, secret, text[max(0, i-60):min(len(text), i+60)])
		}
	}
}

// files is every file below a folder.
func files(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 6 {
		t.Fatalf("only %d files", len(all))
	}
	return all
}
