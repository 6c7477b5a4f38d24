package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/ingest/sqlite"
	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/api"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
	"mailbeacon/internal/reconfirm"
	"mailbeacon/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is the API over the real stores, served over TCP.
type house struct {
	url, key string
	dir      string
	api      *api.API
	ring     *token.Ring
	counts   *sqlite.Counts
	reports  *advertiser.Reports
	log      *sink
	notReady []string
	http     *http.Client
}

// sink is a log that a test can read.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{dir: t.TempDir(), log: &sink{}}
	ctx, stop := context.WithCancel(context.Background())
	controlLog, err := sqlite.OpenControl(ctx, filepath.Join(h.dir, "control.db"))
	must(t, err)
	h.counts, err = sqlite.OpenCounts(ctx, filepath.Join(h.dir, "counts.db"))
	must(t, err)
	registry, table := campaign.NewRegistry(), consent.NewTable(consent.BasisSubject)
	follower, err := control.OpenFollower(control.FollowerOptions{Log: controlLog, Folders: []control.Folder{registry, table}})
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = follower.Run(ctx) })
	ringFile := filepath.Join(h.dir, "keyring.json")
	_, err = token.CreateKeyring(ringFile)
	must(t, err)
	h.ring, err = token.OpenRing(ringFile)
	must(t, err)
	writer := campaign.NewWriter(controlLog, follower, registry)
	minter, err := mint.New(mint.Options{
		Ring: h.ring, Consent: table, Campaigns: registry, Links: writer, Population: h.counts, Mails: h.counts, PublicURL: "https://t.example",
	})
	must(t, err)
	_, err = api.EnsureAdminKey(h.dir)
	must(t, err)
	h.key, err = api.ReadAdminKey(h.dir)
	must(t, err)
	keys, err := api.LoadKeys(h.dir, nil)
	must(t, err)
	consents := consent.NewWriter(controlLog, follower, table)
	inactive, err := reconfirm.New(reconfirm.Options{Activity: h.counts, Plans: table, Ledger: consents})
	must(t, err)
	h.reports, err = advertiser.New(advertiser.Options{Store: h.counts, Campaigns: registry, Epoch: time.Second})
	must(t, err)
	h.api, err = api.New(api.Options{
		Campaigns: registry, Writer: writer, Consent: consents, Minter: minter, Inactive: inactive, Advertisers: h.reports,
		Receipts: func() (uint8, func([]byte) []byte) { return h.ring.Keyring().ReceiptSigner() },
		SignInLink: func(who api.Holder) (string, time.Time, error) {
			return "/sign-in/link/of-" + who.Name, time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), nil
		},
		Counts: h.counts, Mails: h.counts, Keys: keys, NotReady: func() []string { return h.notReady },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "mailbeacon_up 1\n") }),
		Logger:  slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(t, err)
	h.serve(t)
	t.Cleanup(func() {
		stop()
		running.Wait()
		must(t, h.counts.Close())
		must(t, controlLog.Close())
	})
	return h
}

func (h *house) serve(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := api.NewServer(h.api)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	h.url = "http://" + ln.Addr().String()
	h.http = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		h.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		must(t, server.Shutdown(ctx))
		must(t, <-served)
	})
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem reads the answer as one, and fails the test where it is none.
func (a *answer) problem(t testing.TB) *api.Problem {
	t.Helper()
	p := &api.Problem{}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d %s is no problem: %v\n%s", a.status, a.header.Get("Content-Type"), err, a.body)
	}
	if p.Status != a.status || p.Title != http.StatusText(a.status) || p.Detail == "" || p.Type != "about:blank" {
		t.Errorf("status %d, and %+v", a.status, p)
	}
	return p
}

func (a *answer) into(t testing.TB, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// do sends a request with the key; header is name, value, name, value.
func (h *house) do(t testing.TB, method, path string, body io.Reader, header ...string) *answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, body)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+h.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := h.http.Do(req)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	for name, values := range resp.Trailer {
		resp.Header[name] = values
	}
	return &answer{resp.StatusCode, resp.Header, b}
}

func (h *house) post(t testing.TB, path, body string) *answer {
	t.Helper()
	return h.do(t, http.MethodPost, path, strings.NewReader(body))
}

func (h *house) get(t testing.TB, path string) *answer {
	t.Helper()
	return h.do(t, http.MethodGet, path, nil)
}

// good is an answer that must be a success of a certain kind.
func good(t testing.TB, a *answer, status int, into any) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if into != nil {
		a.into(t, into)
	}
}

func newLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
