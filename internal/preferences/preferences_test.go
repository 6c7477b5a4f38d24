package preferences

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/token"
)

// tokens opens "person" for subject 9, "nobody" for subject 0, and nothing else.
type tokens struct{}

func (tokens) Open(kind token.Kind, text []byte) (token.Claims, error) {
	if kind == token.Preferences {
		switch string(text) {
		case "person":
			return token.Claims{Campaign: 7, Subject: 9}, nil
		case "nobody":
			return token.Claims{Campaign: 7}, nil
		}
	}
	return token.Claims{}, token.ErrForged
}

// english are the words that most tests look for.
var english = func() texts {
	t, err := textsOf("en")
	if err != nil {
		panic(err)
	}
	return t
}()

// site is a handler over a real ledger.
type site struct {
	*Handler
	log      *control.Memory
	table    *consent.Table
	language string // Accept-Language of what is asked
}

func newSite(t testing.TB, basis consent.Basis) *site {
	t.Helper()
	log, table := control.NewMemory(), consent.NewTable(basis)
	follower, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{table}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = follower.Run(ctx) }()
	h, err := New(Options{Tokens: tokens{}, Choices: table, Writer: consent.NewWriter(log, follower, table), Receipts: receipts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-ended; _ = follower.Close(); _ = log.Close() })
	return &site{h, log, table, ""}
}

func (s *site) entries(t testing.TB) int {
	t.Helper()
	n, err := s.log.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

const urlencoded = "application/x-www-form-urlencoded"

func ask(h *Handler, method, text, contentType, body string, headers ...string) (*fasthttp.RequestCtx, bool) {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	ctx.Request.Header.SetMethod(method)
	if contentType != "" {
		ctx.Request.Header.SetContentType(contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		ctx.Request.Header.Set(headers[i], headers[i+1])
	}
	ctx.Request.SetBodyString(body)
	return ctx, h.Serve(ctx, []byte(text))
}

func (s *site) post(t testing.TB, contentType, body string) *fasthttp.RequestCtx {
	t.Helper()
	ctx, found := ask(s.Handler, "POST", "person", contentType, body, "Accept-Language", s.language)
	if !found {
		t.Fatal("not found")
	}
	return ctx
}

func (s *site) get(t testing.TB, headers ...string) *fasthttp.RequestCtx {
	t.Helper()
	ctx, found := ask(s.Handler, "GET", "person", "", "", append(headers, "Accept-Language", s.language)...)
	if !found {
		t.Fatal("not found")
	}
	return ctx
}

// checked are the names and values of the radio buttons that are set, in the page's order.
func checked(t testing.TB, page []byte) string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var set []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" {
			continue
		}
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		if _, ok := attr["checked"]; ok {
			set = append(set, attr["name"]+"="+attr["value"])
		}
	}
	return strings.Join(set, "&")
}

func TestForgedIsNotFoundAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	for _, method := range []string{"GET", "HEAD", "POST"} {
		ctx, found := ask(s.Handler, method, "forged", urlencoded, "mail=unsubscribed")
		if found || len(ctx.Response.Body()) > 0 || ctx.Response.StatusCode() != 200 {
			t.Errorf("%s: found %v, wrote %d %q", method, found, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	if n := s.entries(t); n != 0 {
		t.Errorf("%d entries were written", n)
	}
}

func TestLookingChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	for _, method := range []string{"GET", "HEAD"} {
		ctx, found := ask(s.Handler, method, "person", urlencoded, "mail=unsubscribed")
		if !found || ctx.Response.StatusCode() != 200 {
			t.Errorf("%s: found %v, %d", method, found, ctx.Response.StatusCode())
		}
	}
	if n := s.entries(t); n != 0 {
		t.Errorf("%d entries were written", n)
	}
}

func TestChoicesAreSavedAndShown(t *testing.T) {
	t.Parallel()
	yes := true
	for _, tc := range []struct {
		body   string
		want   consent.Choice
		shown  string
		reload string // what the page must say
	}{
		{"opens=refused", consent.Choice{Opens: consent.Refused}, "opens=refused", english.NotCounted},
		{"opens=granted&clicks=refused", consent.Choice{Opens: consent.Granted, Clicks: consent.Refused}, "opens=granted&clicks=refused", english.Counted},
		{"format=plain", consent.Choice{Format: consent.Plain}, "format=plain", english.NotCounted},
		{"opens=granted&clicks=granted&format=html", consent.Choice{Opens: consent.Granted, Clicks: consent.Granted, Format: consent.HTML},
			"opens=granted&clicks=granted&format=html", english.Counted},
		{"mail=unsubscribed", consent.Choice{Unsubscribed: yes}, "", english.Subscribe},
		{"mail=subscribed", consent.Choice{}, "", english.Unsubscribe},
		{"opens=refused&clicks=&format=&mail=", consent.Choice{Opens: consent.Refused}, "opens=refused", english.NotCounted},
		{"&opens=%72efused&", consent.Choice{Opens: consent.Refused}, "opens=refused", english.NotCounted},
	} {
		t.Run(tc.body, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, consent.BasisSubject)
			saved := s.post(t, urlencoded, tc.body)
			if saved.Response.StatusCode() != 200 || !bytes.Contains(saved.Response.Body(), []byte(english.Notices[Saved])) {
				t.Fatalf("answered %d: %s", saved.Response.StatusCode(), saved.Response.Body())
			}
			if got := s.table.Look(9); got != tc.want {
				t.Errorf("recorded %+v, want %+v", got, tc.want)
			}
			again, _ := ask(s.Handler, "GET", "person", "", "")
			for name, page := range map[string][]byte{"answer": saved.Response.Body(), "reload": again.Response.Body()} {
				if got := checked(t, page); got != tc.shown {
					t.Errorf("%s shows %q, want %q", name, got, tc.shown)
				}
				if !bytes.Contains(page, []byte(tc.reload)) {
					t.Errorf("%s does not say %q", name, tc.reload)
				}
			}
			if bytes.Contains(again.Response.Body(), []byte(english.Notices[Saved])) {
				t.Error("a look at the page says that something was saved")
			}
		})
	}
}

func TestBasisShows(t *testing.T) {
	t.Parallel()
	for basis, want := range map[consent.Basis]string{consent.BasisSubject: english.Counted, consent.BasisNone: english.NotCounted} {
		ctx, _ := ask(newSite(t, basis).Handler, "GET", "person", "", "")
		if n := bytes.Count(ctx.Response.Body(), []byte(want+" "+english.NotChosen)); n != 2 {
			t.Errorf("basis %v: the page says %q %d times, want twice", basis, want, n)
		}
	}
}

func multipartBody(t testing.TB, pairs ...string) (contentType, body string) {
	t.Helper()
	var b strings.Builder
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.WriteField(pairs[i], pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

func TestOneClick(t *testing.T) {
	t.Parallel()
	formType, formBody := multipartBody(t, "List-Unsubscribe", "One-Click")
	for name, form := range map[string][2]string{
		"urlencoded":      {urlencoded, "List-Unsubscribe=One-Click"},
		"with charset":    {urlencoded + "; charset=UTF-8", "List-Unsubscribe=One-Click"},
		"with a line end": {urlencoded, "List-Unsubscribe=One-Click\r\n"},
		"escaped":         {urlencoded, "List%2DUnsubscribe=One%2DClick"},
		"multipart":       {formType, formBody},
		"without a type":  {"", "List-Unsubscribe=One-Click"},
		"as text":         {"text/plain", "List-Unsubscribe=One-Click"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, consent.BasisSubject)
			for range 3 {
				ctx := s.post(t, form[0], form[1])
				header := &ctx.Response.Header
				if ctx.Response.StatusCode() != 200 || len(header.Peek("Location")) > 0 || len(header.Peek("Set-Cookie")) > 0 {
					t.Fatalf("answered %s", header)
				}
				if !s.table.Look(9).Unsubscribed {
					t.Fatal("not unsubscribed")
				}
			}
			if n := s.entries(t); n != 1 {
				t.Errorf("three times one click left %d entries in the ledger, want 1", n)
			}
			es, err := s.log.Read(context.Background(), 0, 10)
			if err != nil || !bytes.Contains(es[0].Body, []byte("one-click")) || !bytes.Contains(es[0].Body, []byte(`"campaign":7`)) {
				t.Errorf("the ledger does not say how, or by which campaign's message: %s, %v", es[0].Body, err)
			}
		})
	}
}

// TestPageLeftOpen: a form comes with the marks of when it was read. What it only repeats of them undoes no refusal
// that came meanwhile; what was marked on it, and a refusal, holds.
func TestPageLeftOpen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		form       string
		want       consent.Choice
		notRefused bool // nothing came meanwhile
	}{
		"another choice":     {form: "shown=granted+granted+html&opens=granted&clicks=granted&format=plain", want: consent.Choice{Opens: consent.Refused, Clicks: consent.Refused, Format: consent.Plain}},
		"nothing":            {form: "shown=granted+granted+html&opens=granted&clicks=granted&format=html", want: consent.Choice{Opens: consent.Refused, Clicks: consent.Refused, Format: consent.Plain}},
		"a grant was marked": {form: "shown=unset+refused+plain&opens=granted&clicks=granted&format=html", want: consent.Choice{Opens: consent.Granted, Clicks: consent.Granted, Format: consent.HTML}},
		"a page of its own":  {form: "opens=granted", want: consent.Choice{Opens: consent.Granted, Clicks: consent.Refused, Format: consent.Plain}},
		"a refusal":          {form: "shown=refused+refused+html&opens=refused&clicks=refused&format=html", want: consent.Choice{Opens: consent.Refused, Clicks: consent.Refused, Format: consent.HTML}, notRefused: true},
		"as it is":           {form: "shown=granted+granted+html&opens=granted&clicks=granted&format=html", want: consent.Choice{Opens: consent.Granted, Clicks: consent.Granted, Format: consent.HTML}, notRefused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, consent.BasisSubject)
			s.post(t, urlencoded, "opens=granted&clicks=granted&format=html")
			if body := s.get(t).Response.Body(); !bytes.Contains(body, []byte(`name="shown" value="granted granted html"`)) {
				t.Fatalf("the page does not say what it shows:\n%s", body)
			}
			if !tc.notRefused {
				s.post(t, urlencoded, "opens=refused&clicks=refused&format=plain")
			}
			if ctx := s.post(t, urlencoded, tc.form); ctx.Response.StatusCode() != 200 {
				t.Errorf("answered %d", ctx.Response.StatusCode())
			}
			if got := s.table.Look(9); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestNothingChosen(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	for _, body := range []string{"", "opens=&clicks=", "&&"} {
		ctx := s.post(t, urlencoded, body)
		if ctx.Response.StatusCode() != 200 || !bytes.Contains(ctx.Response.Body(), []byte(english.Notices[Unchanged])) {
			t.Errorf("%q answered %d", body, ctx.Response.StatusCode())
		}
	}
	if n := s.entries(t); n != 0 {
		t.Errorf("%d entries were written", n)
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisAggregate)
	for _, tc := range []struct {
		method, body string
		status       int
	}{{"GET", "", 200}, {"POST", "opens=refused", 409}, {"POST", "List-Unsubscribe=One-Click", 409}} {
		ctx, found := ask(s.Handler, tc.method, "nobody", urlencoded, tc.body)
		if !found || ctx.Response.StatusCode() != tc.status || bytes.Contains(ctx.Response.Body(), []byte("<form")) {
			t.Errorf("%s %s: found %v, %d, %.100s", tc.method, tc.body, found, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	if n := s.entries(t); n != 0 {
		t.Errorf("%d entries were written", n)
	}
}

// stuck is a writer that fails, or is told how to behave.
type stuck func(ctx context.Context) (bool, error)

func (s stuck) Record(ctx context.Context, c consent.Change) (consent.Recorded, bool, error) {
	effective, err := s(ctx)
	return consent.Recorded{Position: 1, Change: c}, effective, err
}

// signer is the key of the tests' receipts.
var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func receipts() (uint8, func([]byte) []byte) {
	return 3, func(text []byte) []byte { return ed25519.Sign(signer, text) }
}

func TestFailingLogSaysSoInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Options{Tokens: tokens{}, Choices: consent.NewTable(consent.BasisSubject), Receipts: receipts, Writer: stuck(func(ctx context.Context) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"opens=refused", "List-Unsubscribe=One-Click"} {
			begin := time.Now()
			ctx, _ := ask(h, "POST", "person", urlencoded, body)
			if took := time.Since(begin); took != saveTime {
				t.Errorf("%s took %v, want %v", body, took, saveTime)
			}
			if ctx.Response.StatusCode() != 503 || !bytes.Contains(ctx.Response.Body(), []byte("nothing was changed")) ||
				len(ctx.Response.Header.Peek("Retry-After")) == 0 {
				t.Errorf("%s answered %s%s", body, &ctx.Response.Header, ctx.Response.Body())
			}
			if got := checked(t, ctx.Response.Body()); got != "" {
				t.Errorf("%s: the page shows %q, which was not saved", body, got)
			}
		}
	})
}

func TestRecordedButNotEffective(t *testing.T) {
	t.Parallel()
	h, err := New(Options{Tokens: tokens{}, Choices: consent.NewTable(consent.BasisSubject), Receipts: receipts,
		Writer: stuck(func(context.Context) (bool, error) { return false, nil })})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		"opens=refused&clicks=granted": "opens=refused&clicks=granted", "format=plain": "format=plain", "mail=unsubscribed": "",
	} {
		ctx, _ := ask(h, "POST", "person", urlencoded, body)
		if ctx.Response.StatusCode() != 200 || !bytes.Contains(ctx.Response.Body(), []byte(english.Notices[Soon])) {
			t.Errorf("%s answered %d", body, ctx.Response.StatusCode())
		}
		if got := checked(t, ctx.Response.Body()); got != want {
			t.Errorf("%s: the page shows %q", body, got)
		}
		if body == "mail=unsubscribed" && !bytes.Contains(ctx.Response.Body(), []byte(english.Unsubscribed)) {
			t.Error("the page does not say that the person is unsubscribed")
		}
	}
	if ctx, _ := ask(h, "POST", "person", urlencoded, "List-Unsubscribe=One-Click"); ctx.Response.StatusCode() != 200 {
		t.Errorf("one click answered %d", ctx.Response.StatusCode())
	}
}

func TestTooManyChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		h, err := New(Options{Tokens: tokens{}, Choices: consent.NewTable(consent.BasisSubject), Receipts: receipts,
			Writer: stuck(func(context.Context) (bool, error) { changes++; return true, nil })})
		if err != nil {
			t.Fatal(err)
		}
		post := func() int {
			ctx, _ := ask(h, "POST", "person", urlencoded, "opens=refused")
			return ctx.Response.StatusCode()
		}
		for i := range 30 {
			if got, want := post(), map[bool]int{true: 200, false: 429}[i < burst]; got != want {
				t.Errorf("change %d got %d, want %d", i+1, got, want)
			}
		}
		if changes != burst {
			t.Errorf("%d changes were recorded, want %d", changes, burst)
		}
		time.Sleep(refill)
		if got := []int{post(), post()}; got[0] != 200 || got[1] != 429 {
			t.Errorf("after %v: got %v, want one more", refill, got)
		}
		time.Sleep(time.Hour)
		for i := range burst {
			if got := post(); got != 200 {
				t.Errorf("after an hour: change %d got %d", i+1, got)
			}
		}
		if ctx, _ := ask(h, "GET", "person", "", ""); ctx.Response.StatusCode() != 200 {
			t.Error("looking is limited too")
		}
	})
}

func TestRatesAreEachPersonsOwn(t *testing.T) {
	t.Parallel()
	r := newRates()
	refused := 0
	for subject := uint64(1); subject <= 1000; subject++ {
		for range burst {
			if !r.allow(subject, time.Now()) {
				refused++
			}
		}
	}
	if refused > 0 {
		t.Errorf("%d changes were refused that were within the limit", refused)
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	ask(s.Handler, "GET", "person", "", "")
	ask(s.Handler, "GET", "forged", "", "")
	s.post(t, urlencoded, "opens=refused")
	s.post(t, urlencoded, "List-Unsubscribe=One-Click")
	got := map[string]uint64{}
	s.Each(func(o Outcome, n uint64) {
		if n > 0 {
			got[o.String()] = n
		}
	})
	if want := map[string]uint64{"shown": 1, "not_found": 1, "saved": 1, "one_click": 1}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	whole := Options{Tokens: tokens{}, Choices: consent.NewTable(consent.BasisSubject), Receipts: receipts, Writer: stuck(nil)}
	for _, cut := range []func(*Options){
		func(o *Options) { o.Tokens = nil }, func(o *Options) { o.Choices = nil }, func(o *Options) { o.Writer = nil },
		func(o *Options) { o.Receipts = nil },
	} {
		o := whole
		cut(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
