// Package webhook tells the mailer's own system who left, and who came back. It spools nothing of its own: what
// it has to tell stands in the consent ledger, which is durable, and a file notes how far it got. So no kill
// and no outage loses a message, and however long the receiver is away, nothing grows for it.
//
// A message is sent again until it is taken, and may come twice; its id stays the same. Messages
// come in the ledger's order, one at a time: one that is not taken holds back those after it. README.md
// beside is for those who receive them.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/slotfile"
)

// Ledger is where decisions stand.
type Ledger interface {
	// Changes calls fn with every decision after a position, in order, and returns the position to go on from.
	Changes(ctx context.Context, after control.Position, fn func(consent.Recorded) error) (control.Position, error)
}

// Options are what a Sender is made of. All but Logger are needed.
type Options struct {
	URL    string // see CheckURL
	Secret Secret
	Ledger Ledger
	// Applied is the position up to which the control log is known here. It costs nothing to ask, and may be
	// called concurrently; the ledger is read where it went on.
	Applied func() control.Position
	// Campaign is the name of a campaign by its number, "" where it is not known. It may be called concurrently.
	Campaign func(number uint32) string
	// Progress is the file that notes how far it got. Where there is none, it begins behind Applied: what
	// was decided before there was a webhook is not told.
	Progress string
	Logger   *slog.Logger // nil is silence
}

// Sender sends. Run is for one goroutine; Stats may be called concurrently.
type Sender struct {
	o        Options
	client   *http.Client
	position control.Position // all up to it is done

	sent, failed atomic.Uint64
	at           atomic.Uint64
	noted        *slotfile.File // a full disk must not have a message sent again and again
	mu           sync.Mutex
	fault        string
}

const (
	answerTime = 10 * time.Second       // for the receiver to answer
	lookAgain  = 500 * time.Millisecond // for new decisions
	mostAhead  = 20                     // looks until a log that ends before what was told is no longer one that is read yet
	firstPause = time.Second
	mostPause  = 5 * time.Minute
	mostAnswer = 64 << 10 // bytes of an answer that are read, so that the connection can be used again
)

// New returns a sender, or an error where the options or the file of progress can't be used.
func New(o Options) (*Sender, error) {
	if o.Ledger == nil || o.Applied == nil || o.Campaign == nil || len(o.Secret.key) == 0 || o.Progress == "" {
		return nil, errors.New("webhook: no ledger, campaigns, secret or file of progress")
	}
	if err := CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("webhook: the URL %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sender{o: o, client: &http.Client{
		Timeout:   answerTime,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		// What was signed for one address is not for another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var err error
	if s.noted, err = slotfile.Open(o.Progress); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	b, err := s.noted.Content()
	switch {
	case err != nil:
		return nil, fmt.Errorf("webhook: the position: %w; remove the file to begin with what is decided from now on", err)
	case b == nil:
		return s, s.done(o.Applied())
	}
	at, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("webhook: %s holds no position; remove it to begin with what is decided from now on", o.Progress)
	}
	s.position = control.Position(at)
	s.at.Store(at)
	return s, nil
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	for ahead := 0; ; {
		at := s.o.Applied()
		if ahead++; at >= s.position {
			ahead = 0
		}
		if ahead == mostAhead {
			s.failing(fmt.Errorf("up to position %d was told, and the control log ends at %d: it was restored from an earlier time; stop, and remove %s to begin with what is decided from then on",
				s.position, at, s.o.Progress))
		}
		if at > s.position {
			if err := s.pass(ctx); err != nil && ctx.Err() == nil {
				s.failing(err)
			}
		}
		if !wait(ctx, lookAgain) {
			return nil
		}
	}
}

// pass sends all that the ledger has. Several decisions may share a position, so one is done with only when
// another follows, or the end.
func (s *Sender) pass(ctx context.Context) error {
	var last control.Position
	told := map[uint64]int{} // of each person, how often at last
	end, err := s.o.Ledger.Changes(ctx, s.position, func(r consent.Recorded) error {
		if r.Unsubscribed == nil {
			return nil
		}
		if last != 0 && r.Position > last {
			if err := s.done(last); err != nil {
				return err
			}
			clear(told)
		}
		last = r.Position
		told[r.Subject]++
		return s.insist(ctx, &r, told[r.Subject])
	})
	if err != nil || end <= s.position {
		return err
	}
	return s.done(end)
}

// done notes durably that nothing up to a position has to be sent again.
func (s *Sender) done(at control.Position) error {
	if err := s.noted.Write(fmt.Appendf(nil, "%d\n", at)); err != nil {
		return fmt.Errorf("webhook: note the progress: %w", err)
	}
	s.position = at
	s.at.Store(uint64(at))
	return nil
}

// Message is the body.
type Message struct {
	Type    string    `json:"type"`    // "unsubscribed" or "subscribed"
	Subject string    `json:"subject"` // the person's number, 16 hexadecimal digits
	Time    time.Time `json:"time"`    // of the decision, UTC
	Source  string    `json:"source"`  // how it came: "one-click", "preferences", or what an API call said
	// Campaign is the name of the campaign whose message led to it, absent where none did.
	Campaign string `json:"campaign,omitempty"`
}

// insist sends one message, the nth of its person at its position, until it is taken, or ctx ends.
func (s *Sender) insist(ctx context.Context, r *consent.Recorded, nth int) error {
	m := Message{Type: "subscribed", Subject: fmt.Sprintf("%016x", r.Subject), Time: r.Time.UTC(), Source: r.Source}
	if *r.Unsubscribed {
		m.Type = "unsubscribed"
	}
	if r.Campaign != 0 {
		m.Campaign = s.o.Campaign(r.Campaign)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	id := fmt.Sprintf("%d-%s", r.Position, m.Subject)
	if nth > 1 { // an import spoke of the person twice; under one id the receiver would drop the last word
		id += fmt.Sprintf("-%d", nth)
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := s.post(ctx, id, body)
		if err == nil {
			s.sent.Add(1)
			s.recovered()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.failed.Add(1)
		s.failing(err)
		if !wait(ctx, pause) {
			return ctx.Err()
		}
	}
}

// post sends once. The error holds neither the address nor the secret.
func (s *Sender) post(ctx context.Context, id string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the request can't be made")
	}
	now := time.Now().Unix()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "mailbeacon")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now, 10))
	r.Header.Set("Webhook-Signature", s.o.Secret.sign(id, now, body))
	answer, err := s.client.Do(r)
	if err != nil {
		// The URL may hold a key in its query.
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, mostAnswer) // the status says it all
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("the receiver answers %d", answer.StatusCode)
	}
	return nil
}

// failing says once for each cause that messages have to wait.
func (s *Sender) failing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != err.Error() {
		s.fault = err.Error()
		s.o.Logger.Warn("the webhook is not taken; it is tried again", "error", err)
	}
}

func (s *Sender) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != "" {
		s.fault = ""
		s.o.Logger.Info("the webhook is taken again")
	}
}

// Stats are numbers since the start.
type Stats struct {
	Sent     uint64           // messages that were taken
	Failed   uint64           // attempts that were not
	Position control.Position // of the control log, up to which everything is told
	Faulty   bool             // the last attempt was not taken
}

// Stats is a snapshot.
func (s *Sender) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Sent: s.sent.Load(), Failed: s.failed.Load(), Position: control.Position(s.at.Load()), Faulty: s.fault != ""}
}

// wait returns false where ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
