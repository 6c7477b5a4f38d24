package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestSignature has the answer from another implementation, the Standard Webhooks library for Go, v0.0.1.
func TestSignature(t *testing.T) {
	t.Parallel()
	s, err := parseSecret(testSecret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,X0Fwom+VHBnERBaBnF56ydsPOl+jiSQ9PbBxrVZqXuw="
	if got := s.sign("4711-8f3a0c55d1e2b746", 1795572000, []byte(`{"type":"unsubscribed"}`)); got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%v", Options{Secret: s})} {
		if strings.Contains(text, "49 242") || strings.Contains(text, "0x31") {
			t.Errorf("the secret prints as %s", text)
		}
	}
}

func TestSecretsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + strings.Repeat("AAAA", 22)} {
		if _, err := parseSecret(text); err == nil || len(text) > 8 && strings.Contains(err.Error(), text[6:]) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadSecret(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://mailer.example/hook?k=v": "", "http://127.0.0.1:1/": "", "http://[::1]/x": "", "http://localhost:9/x": "",
		"http://mailer.example/": "https", "http://10.0.0.1/": "https", "http://localhost.example/": "https", "ftp://a/": "https",
		"": "none", "mailer.example": "none", "https://": "none", "https:mailer": "none", "://": "none",
		"https://u:p@a/": "password", "https://a/#f": "fragment",
	} {
		err := CheckURL(address)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
}

// ledger is a list of decisions.
type ledger []consent.Recorded

func (l *ledger) Changes(_ context.Context, after control.Position, fn func(consent.Recorded) error) (control.Position, error) {
	done := after
	for _, r := range *l {
		if r.Position <= after {
			continue
		}
		if err := fn(r); err != nil {
			return done, err
		}
		done = r.Position
	}
	return done, nil
}

func (l *ledger) applied() control.Position {
	if len(*l) == 0 {
		return 0
	}
	return (*l)[len(*l)-1].Position
}

func (l *ledger) add(at control.Position, subject uint64, gone bool) {
	*l = append(*l, consent.Recorded{Position: at, Time: time.Unix(1795572000, 0), Change: consent.Change{Subject: subject, Unsubscribed: &gone, Source: "one-click"}})
}

// receiver answers with codes in turn, then with 200; 0 is no answer at all, and -1 one that is lost on its way.
type receiver struct {
	codes []int
	got   []string // ids that were taken
	tries []time.Time
	last  *http.Request
	body  string
}

func (r *receiver) RoundTrip(request *http.Request) (*http.Response, error) {
	r.tries = append(r.tries, time.Now())
	if request.Body == nil {
		return nil, errors.New("not a POST: a redirect was followed")
	}
	b, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.last, r.body = request, string(b)
	code := 200
	if len(r.codes) > 0 {
		code, r.codes = r.codes[0], r.codes[1:]
	}
	if code == 0 {
		return nil, errors.New("connection refused")
	}
	if code < 300 {
		r.got = append(r.got, request.Header.Get("Webhook-Id"))
	}
	if code < 0 {
		return nil, errors.New("connection reset")
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("thanks")), Header: http.Header{"Location": {"https://elsewhere.example/"}}}, nil
}

// names are the names of campaigns.
func names(number uint32) string { return map[uint32]string{12: "spring"}[number] }

func newSender(t *testing.T, l *ledger, r *receiver, progress string) *Sender {
	t.Helper()
	secret, err := parseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{URL: "https://mailer.example/hook", Secret: secret, Ledger: l, Applied: l.applied, Campaign: names, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	s.client.Transport = r
	return s
}

// running runs a sender for so long.
func running(t *testing.T, s *Sender, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTellsWhoLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, r, progress := &ledger{}, &receiver{}, filepath.Join(t.TempDir(), "p")
		l.add(3, 1, true) // before there was a webhook
		s := newSender(t, l, r, progress)
		l.add(5, 0x8f3a0c55d1e2b746, true)
		*l = append(*l, consent.Recorded{Position: 6, Change: consent.Change{Subject: 7, Opens: consent.Refused}})
		l.add(9, 7, false)
		running(t, s, time.Minute)
		if want := []string{"5-8f3a0c55d1e2b746", "9-0000000000000007"}; !slices.Equal(r.got, want) {
			t.Errorf("told %v, want %v", r.got, want)
		}
		if want := `{"type":"subscribed","subject":"0000000000000007","time":"` + time.Unix(1795572000, 0).UTC().Format(time.RFC3339) + `","source":"one-click"}`; r.body != want {
			t.Errorf("body %s\nwant %s", r.body, want)
		}
		h := r.last.Header
		if want := s.o.Secret.sign(h.Get("Webhook-Id"), r.tries[1].Unix(), []byte(r.body)); h.Get("Webhook-Signature") != want || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
		if got := s.Stats(); got != (Stats{Sent: 2, Position: 9}) {
			t.Errorf("stats %+v", got)
		}
		again := newSender(t, l, r, progress)
		running(t, again, time.Minute)
		if len(r.got) != 2 {
			t.Errorf("a new start tells again: %v", r.got)
		}
		if st, err := os.Stat(progress); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st, err)
		}
	})
}

// TestTellsTheCampaign: it is in the message where the decision came by one, and is known.
// TestEachDecisionHasItsID: an import may speak of a person twice, at one position. Whoever drops what came before, by
// its id, must not drop the last word; and after a kill in between the ids are the same.
func TestEachDecisionHasItsID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, r, progress := &ledger{}, &receiver{codes: []int{200, 200, 500}}, filepath.Join(t.TempDir(), "position")
		s := newSender(t, l, r, progress)
		l.add(4, 9, false)
		l.add(4, 8, true)
		l.add(4, 9, true)
		l.add(5, 9, false)
		running(t, s, time.Second/2)
		first, second, third := "4-0000000000000009", "4-0000000000000008", "4-0000000000000009-2"
		if want := []string{first, second}; !slices.Equal(r.got, want) {
			t.Fatalf("got %q, want %q", r.got, want)
		}
		running(t, newSender(t, l, r, progress), time.Minute)
		if want := []string{first, second, first, second, third, "5-0000000000000009"}; !slices.Equal(r.got, want) {
			t.Errorf("got %q, want %q", r.got, want)
		}
	})
}

// TestLogFromAnEarlierTime: what is decided at positions that were told once would never be told, and nobody would know.
func TestLogFromAnEarlierTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, r, progress := &ledger{}, &receiver{}, filepath.Join(t.TempDir(), "position")
		s := newSender(t, l, r, progress)
		l.add(9, 9, true)
		running(t, s, time.Second)
		*l = nil
		l.add(4, 8, true)
		s = newSender(t, l, r, progress)
		running(t, s, mostAhead*lookAgain/2)
		if s.Stats().Faulty {
			t.Error("a log that may not be read yet is taken for an older one")
		}
		running(t, s, mostAhead*lookAgain)
		if !s.Stats().Faulty || !strings.Contains(s.fault, "position 9") {
			t.Errorf("nothing is said of it: %+v", s.Stats())
		}
	})
}

func TestTellsTheCampaign(t *testing.T) {
	t.Parallel()
	for number, want := range map[uint32]string{12: `,"campaign":"spring"}`, 13: `"one-click"}`, 0: `"one-click"}`} {
		synctest.Test(t, func(t *testing.T) {
			l, r := &ledger{}, &receiver{}
			s := newSender(t, l, r, filepath.Join(t.TempDir(), "p"))
			l.add(5, 7, true)
			(*l)[0].Campaign = number
			running(t, s, time.Minute)
			if !strings.HasSuffix(r.body, want) {
				t.Errorf("campaign %d: body %s, want %s at its end", number, r.body, want)
			}
		})
	}
}

// TestInsists answers wrongly in every way: nothing is skipped, nothing overtakes, and the pauses grow.
func TestInsists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, r := &ledger{}, &receiver{codes: []int{0, 500, 302, 404, -1, 410, 429}}
		s := newSender(t, l, r, filepath.Join(t.TempDir(), "p"))
		l.add(1, 1, true)
		l.add(2, 2, true)
		running(t, s, time.Hour)
		if want := []string{"1-0000000000000001", "1-0000000000000001", "2-0000000000000002"}; !slices.Equal(r.got, want) {
			t.Errorf("taken %v, want the first twice, since an answer was lost", r.got)
		}
		for i := 1; i < 7; i++ {
			if got, want := r.tries[i].Sub(r.tries[i-1]), min(firstPause<<(i-1), mostPause); got != want {
				t.Errorf("pause %d is %v, want %v", i, got, want)
			}
		}
		if got := s.Stats(); got != (Stats{Sent: 2, Failed: 7, Position: 2}) {
			t.Errorf("stats %+v", got)
		}
	})
}

// TestStopsAnywhere ends the sender after each number of attempts, and starts it anew: everything is told.
func TestStopsAnywhere(t *testing.T) {
	t.Parallel()
	for stop := range 8 {
		synctest.Test(t, func(t *testing.T) {
			l, progress := &ledger{}, filepath.Join(t.TempDir(), "p")
			r := &receiver{codes: []int{500, 200, 500, 200, 200, 500}}
			s := newSender(t, l, r, progress)
			// An import puts several decisions into one record: they share its position.
			for i, at := range []control.Position{4, 7, 7, 7, 9} {
				l.add(at, uint64(i+1), true)
			}
			running(t, s, time.Duration(stop)*900*time.Millisecond)
			s = newSender(t, l, r, progress)
			running(t, s, time.Hour)
			told := slices.Compact(slices.Sorted(slices.Values(r.got)))
			if len(told) != 5 || s.Stats().Position != 9 {
				t.Errorf("stopped after %d: told %v, up to %d", stop, told, s.Stats().Position)
			}
			if len(r.got) > 5+3 {
				t.Errorf("stopped after %d: told %d times", stop, len(r.got))
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	secret, err := parseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	whole := Options{URL: "https://a/", Secret: secret, Ledger: l, Applied: l.applied, Campaign: names, Progress: filepath.Join(t.TempDir(), "p")}
	for name, cut := range map[string]func(*Options){
		"URL": func(o *Options) { o.URL = "http://a/" }, "secret": func(o *Options) { o.Secret = Secret{} }, "ledger": func(o *Options) { o.Ledger = nil },
		"applied": func(o *Options) { o.Applied = nil }, "progress": func(o *Options) { o.Progress = "" }, "campaigns": func(o *Options) { o.Campaign = nil }, "damaged": func(o *Options) { o.Progress = bad },
		"no folder": func(o *Options) { o.Progress = "/nowhere/p" },
	} {
		o := whole
		cut(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestProgressNeedsNoRoom: were the progress not noted because others filled the disk, the same message would be sent over and over.
func TestProgressNeedsNoRoom(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p")
	s := newSender(t, &ledger{}, &receiver{}, path)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range 5 {
		if err := s.done(control.Position(at * 1000)); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
		t.Errorf("it is another file, or has another size: %v", err)
	}
	if again := newSender(t, &ledger{}, &receiver{}, path); again.position != 4000 {
		t.Errorf("it goes on from %d", again.position)
	}
	if err := os.WriteFile(path, []byte("17\n"), 0o600); err != nil { // as it was written once
		t.Fatal(err)
	}
	if again := newSender(t, &ledger{}, &receiver{}, path); again.position != 17 {
		t.Errorf("it goes on from %d", again.position)
	}
}
