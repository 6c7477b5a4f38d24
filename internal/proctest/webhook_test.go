package proctest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// inbox is a mailer's receiver. Every message has to be signed; ids tell repetitions.
type inbox struct {
	*testing.T
	key    []byte
	answer func(call int) reaction // from 1; nil: as a program that is now and then in trouble

	mu    sync.Mutex
	calls int
	tried map[string]string // what was said by each id, whether it was taken or not
	took  map[string]string // what was taken
	again int
	raw   strings.Builder
}

// reaction is what a receiver does with a message.
type reaction int

const (
	take   reaction = iota
	refuse          // answer that it can't be taken
	forget          // take it, and let the answer be lost
	hang            // take it, and do not answer for as long as the sender lives
)

func inTrouble(call int) reaction {
	switch call % 7 {
	case 3:
		return refuse
	case 5:
		return forget
	}
	return take
}

// newInbox starts a receiver.
func newInbox(t *testing.T) (*inbox, *httptest.Server) {
	t.Helper()
	in := &inbox{T: t, key: []byte("0123456789abcdefghijklmnopqrstuv"), tried: map[string]string{}, took: map[string]string{}, answer: inTrouble}
	s := httptest.NewServer(in)
	t.Cleanup(s.Close)
	return in, s
}

func (in *inbox) secret() string { return "whsec_" + base64.StdEncoding.EncodeToString(in.key) }

func (in *inbox) secretFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(name, []byte(in.secret()+"\n"), 0o600))
	return name
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	h := hmac.New(sha256.New, in.key)
	fmt.Fprintf(h, "%s.%s.%s", id, at, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); r.Header.Get("Webhook-Signature") != want {
		in.Errorf("signature %q, want %q", r.Header.Get("Webhook-Signature"), want)
	}
	var m struct{ Type, Subject, Campaign string }
	if err := json.Unmarshal(body, &m); err != nil {
		in.Error(err)
	}
	switch in.takes(id, m.Type+" "+m.Subject+" "+m.Campaign, fmt.Sprintln(r.Header, string(body))) {
	case refuse:
		w.WriteHeader(http.StatusServiceUnavailable)
	case forget:
		panic(http.ErrAbortHandler)
	case hang:
		<-r.Context().Done()
	}
}

// takes notes a message, and says how to react.
func (in *inbox) takes(id, said, raw string) reaction {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.calls++
	in.raw.WriteString(raw)
	if before, ok := in.tried[id]; ok && before != said {
		in.Errorf("id %s stands for %q and %q", id, before, said)
	}
	in.tried[id] = said
	react := in.answer(in.calls)
	if react == refuse {
		return react
	}
	if _, ok := in.took[id]; ok {
		in.again++
	}
	in.took[id] = said
	return react
}

// reacts sets what is done with all that comes from now on.
func (in *inbox) reacts(how reaction) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.answer = func(int) reaction { return how }
}

// people are what was taken, each message once.
func (in *inbox) people() map[string]bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	told := map[string]bool{}
	for v := range maps.Values(in.took) {
		told[v] = true
	}
	return told
}

// told is how many messages were taken.
func (in *inbox) told() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.took)
}

// oneClick unsubscribes as a mail program does, again where it is told to try later, until it is acknowledged.
func oneClick(t *testing.T, public, unsubscribe string) {
	t.Helper()
	client := &http.Client{}
	defer client.CloseIdleConnections()
	await(t, "one click is acknowledged", func() bool {
		answer, err := client.PostForm("http://"+public+pathOf(t, unsubscribe), url.Values{"List-Unsubscribe": {"One-Click"}})
		must(t, err)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("one click is answered %d", answer.StatusCode)
		}
		return answer.StatusCode == http.StatusOK
	})
}

// TestWebhookUnderKill unsubscribes people by one click while the server is killed again and again: the mailer
// is told of each who got an answer, and nothing tells the secret or an address.
func TestWebhookUnderKill(t *testing.T) {
	t.Parallel()
	in, receiver := newInbox(t)
	data, args := t.TempDir(), append([]string{"--webhook", receiver.URL + "/hook?key=hidden", "--webhook-secret", in.secretFile(t)}, quick...)
	s := start(t, data, args...)
	newLane(t.Context(), t, s.client(), "spring")
	want := map[string]bool{}
	said := ""
	for i := range 12 {
		m := mint(t.Context(), t, s.client(), "spring", fmt.Sprintf("reader%d@example.org", i))
		oneClick(t, s.public, m.UnsubscribeURL)
		want["unsubscribed "+m.Subject+" spring"] = true
		if i%3 == 2 {
			s.kill()
			said += s.out.String()
			s = start(t, data, args...)
		}
	}
	deadline := time.Now().Add(patience)
	for !maps.Equal(in.people(), want) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if got := in.people(); !maps.Equal(got, want) {
		t.Errorf("told of %v\nwant    %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	s.stop()
	said += s.out.String()
	in.mu.Lock()
	defer in.mu.Unlock()
	t.Logf("%d calls, %d messages, %d repeated", in.calls, len(in.took), in.again)
	if len(in.took) != len(want) {
		t.Errorf("%d ids for %d decisions", len(in.took), len(want))
	}
	for _, hidden := range []string{in.secret()[6:], string(in.key), "key=hidden", "example.org"} {
		if strings.Contains(said, hidden) {
			t.Errorf("the log holds %q", hidden)
		}
		if strings.Contains(in.raw.String(), hidden) {
			t.Errorf("a message holds %q", hidden)
		}
	}
}

// TestWebhookSettings starts with settings that can't work.
func TestWebhookSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"setting --webhook-secret is not set": {"--webhook", "https://a.example/"},
		"setting --webhook is not set":        {"--webhook-secret", file},
		"setting webhook-secret":              {"--webhook", "https://a.example/", "--webhook-secret", file},
		"setting --webhook is not of https":   {"--webhook", "http://a.example/?key=hidden", "--webhook-secret", file},
		"setting --preference-page":           {"--preference-page", "/nowhere"},
		"setting preference-page: ":           {"--preference-page", filepath.Dir(file)},
	} {
		s := launch(t, binary(t), t.TempDir(), args...)
		if code := s.wait(); code == 0 || !strings.Contains(s.out.String(), want) || strings.Contains(s.out.String(), "hunter2") || strings.Contains(s.out.String(), "hidden") {
			t.Errorf("%v: exit code %d: %s", args, code, &s.out)
		}
	}
}
