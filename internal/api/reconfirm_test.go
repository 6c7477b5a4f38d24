package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/api"
	"mailbeacon/internal/subject"
)

// number is the number of an address by the house's keyring.
func (h *house) number(address string) string { return subject.Number(h.subject(address)).String() }

func (h *house) subject(address string) uint64 { return h.ring.Subject([]byte(address)) }

// silent notes when people were active last, in days before today.
func (h *house) silent(t testing.TB, days map[string]int) {
	t.Helper()
	p, err := h.counts.Progress(t.Context(), 0)
	must(t, err)
	c := &aggregate.Commit{Before: p.Offset, After: aggregate.Progress{Offset: p.Offset + 1}}
	for address, ago := range days {
		c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: h.subject(address), Day: uint32(time.Now().Unix()/86400) - uint32(ago)})
	}
	must(t, h.counts.Commit(t.Context(), c))
}

func lines[T any](t testing.TB, body []byte) (all []T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	for d.More() {
		var one T
		must(t, d.Decode(&one))
		all = append(all, one)
	}
	return all
}

func TestReconfirm(t *testing.T) {
	t.Parallel()
	h := spring(t)
	h.silent(t, map[string]int{"old@example.com": 400, "edge@example.com": 181, "new@example.com": 180, "no@example.com": 400, "plain@example.com": 400, "left@example.com": 400})
	for who, said := range map[string]string{"no": `"clicks":"refused"`, "plain": `"format":"plain"`, "left": `"unsubscribed":true`, "spoke": `"opens":"granted"`} {
		good(t, h.post(t, "/v1/consent", `{"subject":"`+who+`@example.com",`+said+`}`), 200, nil)
	}
	a := h.get(t, "/v1/reconfirm?inactive=180d")
	got := map[string]string{}
	for _, one := range lines[api.Inactive](t, a.body) {
		got[one.Subject] = one.LastActive
	}
	date := func(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) }
	if len(got) != 2 || got[h.number("old@example.com")] != date(400) || got[h.number("edge@example.com")] != date(181) {
		t.Errorf("%d %s", a.status, a.body)
	}
	first, second := h.number("old@example.com"), h.number("edge@example.com")
	if first > second {
		first, second = second, first
	}
	if rest := lines[api.Inactive](t, h.get(t, "/v1/reconfirm?inactive=180d&after="+first).body); len(rest) != 1 || rest[0].Subject != second {
		t.Errorf("after the first: %v", rest)
	}
	var ask strings.Builder
	people := []string{"new", "old", "nobody", "no", "spoke", "edge", "left", "old"}
	for _, who := range people {
		fmt.Fprintf(&ask, "{\"subject\":%q}\n", h.number(who+"@example.com"))
	}
	a = h.do(t, http.MethodPost, "/v1/reconfirm?inactive=180d", strings.NewReader(strings.TrimSpace(ask.String())), "Content-Type", ndjson)
	if a.header.Get(api.KeyringCheck) != h.number(api.KeyringAddress) {
		t.Errorf("the keyring is %q", a.header.Get(api.KeyringCheck))
	}
	answers := lines[api.Stands](t, a.body)
	want := []string{"kept", "inactive", "never", "kept", "kept", "inactive", "kept", "inactive"}
	for i, who := range people {
		if len(answers) != len(want) || answers[i].Standing != want[i] || answers[i].Subject != h.number(who+"@example.com") ||
			(answers[i].LastActive != "") != (want[i] == "inactive") {
			t.Fatalf("%s: %s", who, a.body)
		}
	}
}

func TestReconfirmRefuses(t *testing.T) {
	t.Parallel()
	h := spring(t)
	for _, query := range []string{"", "?inactive=", "?inactive=180", "?inactive=0d", "?inactive=-1d", "?inactive=36501d", "?inactive=99999999999d", "?inactive=180d&inactive=9d",
		"?inactive=180d&after=" + secret, "?inactive=180d&" + secret + "=1", "?inactive=" + secret} {
		a := h.get(t, "/v1/reconfirm"+query)
		if p := a.problem(t); p.Status != 422 || strings.Contains(string(a.body), "secret") {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	if a := h.do(t, http.MethodPost, "/v1/reconfirm?inactive=180d&after=0000000000000001", strings.NewReader(""), "Content-Type", ndjson); a.problem(t).Status != 422 {
		t.Errorf("%s", a.body)
	}
	if a := h.do(t, http.MethodGet, "/v1/reconfirm?inactive=180d", nil, "Authorization", "Bearer x"); a.problem(t).Status != 401 {
		t.Errorf("%s", a.body)
	}
	// A line that is no number cuts the answer off: an address there is neither answered nor logged.
	for _, line := range []string{`{"subject":"` + secret + `"}`, secret, `{}`, `{"subject":"` + strings.Repeat("0", 300) + `"}`} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/v1/reconfirm?inactive=180d", strings.NewReader(line+"\n"))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+h.key)
		req.Header.Set("Content-Type", ndjson)
		resp, err := h.http.Do(req)
		must(t, err)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || len(b) > 0 || strings.Contains(h.log.String(), "secret") {
			t.Errorf("%v %s\n%s", err, b, h.log)
		}
	}
}

// Two lists at once would hold twice as much: the second is told to wait, and goes when the first is done.
func TestOneListAtATime(t *testing.T) {
	t.Parallel()
	h := spring(t)
	in, feed := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/v1/reconfirm?inactive=180d", in)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+h.key)
	req.Header.Set("Content-Type", ndjson)
	resp, err := h.http.Do(req) // its header comes before its body has ended
	must(t, err)
	defer resp.Body.Close()
	if a := h.get(t, "/v1/reconfirm?inactive=180d"); a.problem(t).Status != 503 {
		t.Errorf("%s", a.body)
	}
	next := make(chan *answer, 1)
	go func() { next <- h.get(t, "/v1/reconfirm?inactive=180d") }()
	_, err = io.WriteString(feed, `{"subject":"00000000000000aa"}`)
	must(t, err)
	feed.Close()
	out := bufio.NewScanner(resp.Body)
	if !out.Scan() || out.Text() != `{"subject":"00000000000000aa","standing":"never"}` || out.Scan() || out.Err() != nil {
		t.Errorf("%q %v", out.Text(), out.Err())
	}
	if a := <-next; a.status != 200 {
		t.Errorf("%s: one that waits for its turn is not served when the turn comes", a.body)
	}
}
