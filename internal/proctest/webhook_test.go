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

// inbox is a mailer's receiver, which takes some messages, refuses some, and forgets to answer others.
type inbox struct {
	*testing.T
	key []byte

	mu    sync.Mutex
	calls int
	took  map[string]string // type by id
	again int
	raw   strings.Builder
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
	var m struct{ Type, Subject string }
	if err := json.Unmarshal(body, &m); err != nil {
		in.Error(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.calls++
	fmt.Fprintln(&in.raw, r.Header, string(body))
	if in.calls%7 == 3 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if before, ok := in.took[id]; ok {
		in.again++
		if before != m.Type+m.Subject {
			in.Errorf("id %s stands for %q and %q", id, before, m.Type+m.Subject)
		}
	}
	in.took[id] = m.Type + m.Subject
	if in.calls%7 == 5 {
		panic(http.ErrAbortHandler) // kept, and the answer is lost
	}
}

func (in *inbox) people() map[string]bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	told := map[string]bool{}
	for v := range maps.Values(in.took) {
		told[v] = true
	}
	return told
}

// TestWebhookUnderKill unsubscribes people by one click while the server is killed again and again: the mailer
// is told of each who got an answer, and nothing tells the secret or an address.
func TestWebhookUnderKill(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdefghijklmnopqrstuv")
	in := &inbox{T: t, key: key, took: map[string]string{}}
	receiver := httptest.NewServer(in)
	t.Cleanup(receiver.Close)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, args := t.TempDir(), append([]string{"--webhook", receiver.URL + "/hook?key=hidden", "--webhook-secret", file}, quick...)
	s := start(t, data, args...)
	newLane(t.Context(), t, s.client(), "spring")
	client := &http.Client{}
	t.Cleanup(client.CloseIdleConnections)
	want := map[string]bool{}
	said := ""
	for i := range 12 {
		m := mint(t.Context(), t, s.client(), "spring", fmt.Sprintf("reader%d@example.org", i))
		answer, err := client.PostForm("http://"+s.public+pathOf(t, m.UnsubscribeURL), url.Values{"List-Unsubscribe": {"One-Click"}})
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 200 {
			t.Fatalf("status %d", answer.StatusCode)
		}
		want["unsubscribed"+m.Subject] = true
		if i%3 == 2 {
			s.kill()
			said += s.out.String()
			client.CloseIdleConnections()
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
	for _, hidden := range []string{secret[6:], string(key), "key=hidden", "example.org"} {
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
