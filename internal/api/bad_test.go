package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"mailbeacon/internal/api"
)

// secret is what a test puts wherever it fits; it must never come back, nor reach the log.
const secret = "anna.secret@example.com"

// TestBadInput is the list of everything that can be wrong with a request. Each has one clear
// answer, which repeats nothing of what was sent.
func TestBadInput(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	good(t, h.post(t, "/v1/campaigns/spring/links", `{"url":"https://example.com/"}`), 201, nil)
	const (
		campaigns  = "/v1/campaigns"
		links      = "/v1/campaigns/spring/links"
		link       = "/v1/campaigns/spring/links/1"
		messages   = "/v1/campaigns/spring/messages"
		deliveries = "/v1/campaigns/spring/deliveries"
		consent    = "/v1/consent"
	)
	for _, c := range []struct {
		method, path, body string
		status             int
		where, want        string // of the first place that is wrong, and in the detail
	}{
		{"POST", campaigns, ``, 400, "", "body"},
		{"POST", campaigns, `{"name":"` + secret, 400, "", "breaks off at byte"},
		{"POST", campaigns, `{"name":}`, 400, "", "is no JSON at byte 8"},
		{"POST", campaigns, `{'name':'x'}`, 400, "", "is no JSON at byte 1"},
		{"POST", campaigns, `{"name":"x"} {}`, 400, "", "goes on after its end at byte 13"},
		{"POST", campaigns, "{\"name\":\"\xff\"}", 400, "", "is not UTF-8 at byte 9"},
		{"POST", campaigns, `null`, 422, "body", "object"},
		{"POST", campaigns, `["` + secret + `"]`, 422, "body", "object"},
		{"POST", campaigns, `{}`, 422, "body.name", "is missing"},
		{"POST", campaigns, `{"name":"x","nom":"y"}`, 422, "body.nom", "nom is unknown"},
		{"POST", campaigns, `{"name":"x","` + secret + `":"y"}`, 422, "body", "unknown field"},
		{"POST", campaigns, `{"Name":"x"}`, 422, "body.Name", "is unknown"},
		{"POST", campaigns, `{"name":"x","name":"y"}`, 422, "body.name", "given twice"},
		{"POST", campaigns, `{"name":1}`, 422, "body.name", "is not a string"},
		{"POST", campaigns, `{"name":null}`, 422, "body.name", "is null"},
		{"POST", campaigns, `{"name":["` + secret + `"]}`, 422, "body.name", "is a list"},
		{"POST", campaigns, `{"name":{"a":[{}]}}`, 422, "body.name", "is an object"},
		{"POST", campaigns, `{"name":"` + secret + `"}`, 422, "body.name", "name"},
		{"POST", campaigns, `{"name":"x","title":"a\nb"}`, 422, "body.title", "line break"},
		{"POST", campaigns, `{"name":"x","title":"` + strings.Repeat("x", 301) + `"}`, 422, "body.title", "longer"},
		{"POST", campaigns, `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "", "larger"},
		{"POST", links, `{"url":"javascript:alert(1)"}`, 422, "body.url", "http:// or https://"},
		{"POST", links, `{"url":"data:text/html,x"}`, 422, "body.url", "http:// or https://"},
		{"POST", links, `{"url":"//example.com"}`, 422, "body.url", "http:// or https://"},
		{"POST", links, `{"url":"https://"}`, 422, "body.url", "has no host"},
		{"POST", links, `{"url":"https://` + secret + `/"}`, 422, "body.url", "user"},
		{"POST", links, `{"url":"https://example.com/a b"}`, 422, "body.url", "space"},
		{"POST", links, `{"url":"https://example.com/\r\nSet-Cookie: x"}`, 422, "body.url", "space"},
		{"POST", links, `{"url":"https://example.com/{{x}}"}`, 422, "body.url", "placeholder"},
		{"POST", links, `{"url":"https://example.com/` + strings.Repeat("x", 8192) + `"}`, 422, "body.url", "longer"},
		{"POST", links, `{"url":"https://example.com/","hidden":"yes"}`, 422, "body.hidden", "is not true or false"},
		{"POST", "/v1/campaigns/autumn/links", `{"url":"https://example.com/"}`, 404, "", "campaign"},
		{"PUT", link, `{"url":"javascript:alert(1)"}`, 422, "body.url", "http:// or https://"},
		{"PUT", link, `{}`, 422, "body.url", "is missing"},
		{"PUT", "/v1/campaigns/spring/links/x", `{"url":"https://example.com/"}`, 422, "path.link", "link"},
		{"PUT", "/v1/campaigns/spring/links/0", `{"url":"https://example.com/"}`, 422, "path.link", "link"},
		{"PUT", "/v1/campaigns/spring/links/99999", `{"url":"https://example.com/"}`, 422, "path.link", "link"},
		{"PUT", "/v1/campaigns/spring/links/2", `{"url":"https://example.com/"}`, 404, "", "no link"},
		{"POST", messages, `{"html":"<p>x</p>"}`, 422, "body.to", "is missing"},
		{"POST", messages, `{"to":"Anna <` + secret + `>","html":""}`, 422, "body.to", "display name"},
		{"POST", messages, `{"to":"` + secret + `@","html":""}`, 422, "body.to", "@"},
		{"POST", messages, `{"to":"` + secret + `","html":1}`, 422, "body.html", "is not a string"},
		{"POST", messages, `{"to":"` + secret + `","eml":"!"}`, 422, "body.eml", "base64"},
		{"POST", messages, `{"to":"` + secret + `","eml":"eA==","html":"x"}`, 422, "body.eml", "one or the other"},
		{"POST", "/v1/campaigns/autumn/messages", `{"to":"` + secret + `","html":"x"}`, 404, "", "campaign"},
		{"POST", deliveries, `{"id":"b1","delivered":-1}`, 422, "body.delivered", "whole number"},
		{"POST", deliveries, `{"id":"b1","delivered":1.5}`, 422, "body.delivered", "whole number"},
		{"POST", deliveries, `{"id":"b1","delivered":"1"}`, 422, "body.delivered", "whole number"},
		{"POST", deliveries, `{"id":"b1","delivered":1e30}`, 422, "body.delivered", "whole number"},
		{"POST", deliveries, `{"id":"b1"}`, 422, "body.delivered", "is missing"},
		{"POST", deliveries, `{"delivered":1}`, 422, "body.id", "is missing"},
		{"POST", deliveries, `{"id":"` + secret + `","delivered":1}`, 422, "body.id", "address"},
		{"POST", consent, `{"subject":"` + secret + `"}`, 422, "body.change", "changes nothing"},
		{"POST", consent, `{"subject":"` + secret + `","opens":"yes"}`, 422, "body.opens", "granted or refused"},
		{"POST", consent, `{"subject":"` + secret + `","format":"pdf"}`, 422, "body.format", "html or plain"},
		{"POST", consent, `{"subject":"` + secret + `","unsubscribed":1}`, 422, "body.unsubscribed", "true or false"},
		{"POST", consent, `{"subject":"` + secret + `","opens":"refused","source":"` + secret + `"}`, 422, "body.source", "address"},
		{"POST", consent, `{"subject":"anna.secret","opens":"refused"}`, 422, "body.subject", "has no @"},
		{"POST", consent + "/lookup", `{"subject":"` + secret + ` x"}`, 422, "body.subject", "subject"},
		{"GET", campaigns + "?limit=0", "", 422, "query.limit", "limit"},
		{"GET", campaigns + "?limit=1001", "", 422, "query.limit", "limit"},
		{"GET", campaigns + "?limit=" + secret, "", 422, "query.limit", "limit"},
		{"GET", campaigns + "?after=-1", "", 422, "query.after", "after"},
		{"GET", campaigns + "?page=2", "", 422, "query.page", "unknown"},
		{"GET", campaigns + "?" + secret + "=2", "", 422, "", "unknown"},
		{"GET", "/v1/campaigns/" + secret, "", 404, "", "no such campaign"},
		{"GET", "/v1/campaigns/" + secret + "/report", "", 404, "", "no such campaign"},
		{"DELETE", campaigns, "", 405, "", "GET, HEAD, POST"},
		{"PATCH", link, "", 405, "", "PUT"},
		{"POST", "/v1/consent/changes", "{}", 405, "", "GET, HEAD"},
		{"GET", consent, "", 405, "", "POST"},
		{"POST", "/healthz", "", 405, "", "GET, HEAD"},
		{"GET", "/v1/campaigns/", "", 404, "", "nothing at this address"},
		{"GET", "/v1//campaigns", "", 404, "", "nothing at this address"},
		{"GET", "/v1/x/../campaigns", "", 404, "", "nothing at this address"},
		{"GET", "/v2/" + secret, "", 404, "", "nothing at this address"},
		{"GET", "/", "", 404, "", "nothing at this address"},
	} {
		var body io.Reader
		if c.method != http.MethodGet && c.method != http.MethodDelete {
			body = strings.NewReader(c.body)
		}
		a := h.do(t, c.method, c.path, body)
		p := a.problem(t)
		name := fmt.Sprintf("%s %s %.80s", c.method, c.path, c.body)
		if p.Status != c.status || !strings.Contains(p.Detail, c.want) {
			t.Errorf("%s: %d %q; want %d %q", name, p.Status, p.Detail, c.status, c.want)
		}
		if where := ""; c.where != "" {
			if len(p.Errors) > 0 {
				where = p.Errors[0].Location
			}
			if where != c.where {
				t.Errorf("%s: wrong at %q, want %q", name, where, c.where)
			}
		}
		if p.Status == 405 && a.header.Get("Allow") != c.want {
			t.Errorf("%s: Allow %q", name, a.header.Get("Allow"))
		}
		if bytes.Contains(a.body, []byte("anna.secret")) {
			t.Errorf("%s: the answer repeats the address: %s", name, a.body)
		}
	}
	if strings.Contains(h.log.String(), "anna.secret") || strings.Contains(h.log.String(), "127.0.0.1") {
		t.Errorf("the log holds an address:\n%s", h.log)
	}
	if strings.Contains(h.log.String(), "ERROR") {
		t.Errorf("the server blames itself:\n%s", h.log)
	}
}

func TestAllMistakesAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.post(t, "/v1/campaigns", `{"title":1,"x":2,"y":[3]}`).problem(t)
	if len(p.Errors) != 4 || p.Detail != "title is not a string, and 3 more" {
		t.Errorf("%+v", p)
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"x%d":1,`, i)
	}
	if p := h.post(t, "/v1/campaigns", `{`+many.String()+`"name":"x"}`).problem(t); len(p.Errors) > 11 {
		t.Errorf("%d mistakes listed", len(p.Errors))
	}
}

func TestKeysAreNeeded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, value := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + h.key, h.key, "Bearer " + h.key + "x", "Bearer " + h.key[:len(h.key)-1]} {
		for _, path := range []string{"/v1/campaigns", "/v1/nothing", "/v1/campaigns/spring/recipients", "/v1"} {
			a := h.do(t, http.MethodGet, path, nil, "Authorization", value)
			if p := a.problem(t); p.Status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%q %s: %+v", value, path, p)
			}
		}
	}
	if a := h.do(t, http.MethodGet, "/v1/campaigns", nil, "Authorization", "bearer  "+h.key); a.status != 200 {
		t.Errorf("another spelling of the scheme: %d", a.status)
	}
}

func TestBodiesAreOfTheirType(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range []struct {
		path string
		head []string
	}{
		{"/v1/campaigns", []string{"Content-Type", ""}},
		{"/v1/campaigns", []string{"Content-Type", "text/plain"}},
		{"/v1/campaigns", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"/v1/campaigns", []string{"Content-Type", "application/merge-patch+json"}},
		{"/v1/campaigns", []string{"Content-Type", "/;/"}},
		{"/v1/campaigns", []string{"Content-Encoding", "gzip"}},
		{"/v1/campaigns/spring/recipients", nil},
	} {
		if p := h.do(t, http.MethodPost, c.path, strings.NewReader(`{"name":"x"}`), c.head...).problem(t); p.Status != 415 || !strings.Contains(p.Detail, "right would be") {
			t.Errorf("%s %v: %+v", c.path, c.head, p)
		}
	}
	good(t, h.do(t, http.MethodPost, "/v1/campaigns", strings.NewReader(`{"name":"x"}`), "Content-Type", "application/json; charset=utf-8"), 201, nil)
}

// A body of unknown length is cut off where it gets too large; one that says so is not even read.
func TestHugeBodies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	endless := io.LimitReader(&repeat{}, 64<<20)
	if p := h.do(t, http.MethodPost, "/v1/campaigns", struct{ io.Reader }{endless}).problem(t); p.Status != 413 {
		t.Errorf("%+v", p)
	}
	conn := h.dial(t)
	fmt.Fprintf(conn, "POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n", h.key)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("%s", resp.Status)
	}
	name := strings.Repeat("x", 1<<20-len(`{"name":""}`))
	if p := h.post(t, "/v1/campaigns", `{"name":"`+name+`"}`).problem(t); p.Status != 422 {
		t.Errorf("a body of just the limit: %+v", p)
	}
	if a := h.do(t, http.MethodGet, "/healthz", nil, "X-Long", strings.Repeat("x", 64<<10)); a.status != 431 {
		t.Errorf("a long header: %d", a.status)
	}
}

type repeat struct{}

func (repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func (h *house) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestFailuresInsideAreAnswered(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.notReady = nil
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	must(t, h.counts.Close()) // closed again by the house: nothing must depend on it
	p := h.get(t, "/v1/campaigns/spring/report").problem(t)
	if p.Status != 500 || len(p.Errors) != 0 || strings.Contains(p.Detail, "sql") {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(h.log.String(), "show-report") {
		t.Errorf("the log says nothing:\n%s", h.log)
	}
}

// FuzzBody: whatever is sent, the answer is a success or a problem, and blames the client.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{"name":"a"}`, `{"name":"a","title":null}`, `{"name":{"a":[1,{"b":2}]}}`, `{`, `[]`, `{"name":"a"}x`, "\xff", `{"name":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		a := h.do(t, http.MethodPost, "/v1/campaigns", bytes.NewReader(body))
		switch a.status {
		case 201:
			var c api.Campaign
			if err := json.Unmarshal(a.body, &c); err != nil || !json.Valid(body) {
				t.Errorf("%q made %s", body, a.body)
			}
		case 400, 409, 422:
			a.problem(t)
		default:
			t.Errorf("%q: %d %s", body, a.status, a.body)
		}
	})
}
