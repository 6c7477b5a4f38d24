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

	"mailbeacon/internal/api"
	"mailbeacon/internal/report"
)

const ndjson = "application/x-ndjson"

func (h *house) recipients(t testing.TB, in io.Reader) *answer {
	t.Helper()
	return h.do(t, http.MethodPost, "/v1/campaigns/spring/recipients", struct{ io.Reader }{in}, "Content-Type", ndjson)
}

func spring(t testing.TB) *house {
	t.Helper()
	h := newHouse(t)
	good(t, h.post(t, "/v1/campaigns", `{"name":"spring"}`), 201, nil)
	good(t, h.post(t, "/v1/campaigns/spring/links", `{"url":"https://example.com/1"}`), 201, nil)
	return h
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	h := spring(t)
	good(t, h.post(t, "/v1/consent", `{"subject":"bob@example.com","opens":"refused","clicks":"refused"}`), 200, nil)
	a := h.recipients(t, strings.NewReader("{\"to\":\"anna@example.com\"}\n{\"to\":\"bob@example.com\"}\n{\"to\":\""+secret+" x\"}\n"))
	if a.status != 200 || a.header.Get("Content-Type") != ndjson {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	var lines [3]api.Minted
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	for i := range lines {
		must(t, d.Decode(&lines[i]))
	}
	if m := lines[0]; m.To != "anna@example.com" || len(m.Subject) != 16 || m.PixelURL == "" || m.Links["1"] == "" || m.Tracking == nil || !m.Tracking.Opens {
		t.Errorf("%+v", m)
	}
	if m := lines[1]; m.Subject != "" || m.PixelURL != "" || len(m.Links) != 0 || m.UnsubscribeURL == "" || m.Tracking.Reason != "opted_out" {
		t.Errorf("%+v", m)
	}
	if m := lines[2]; m.Line != 3 || m.Error == "" || m.To != "" {
		t.Errorf("%+v", m)
	}
	if a.header.Get("Mailbeacon-Lines") != "3" || a.header.Get("Mailbeacon-Minted") != "2" || a.header.Get("Mailbeacon-Bad") != "1" {
		t.Errorf("trailers %v", a.header)
	}
	if bytes.Contains(lines3(a.body), []byte("secret")) || strings.Contains(h.log.String(), "example.com") {
		t.Errorf("an address is repeated:\n%s\n%s", a.body, h.log)
	}
	good(t, h.post(t, "/v1/campaigns/spring/deliveries", `{"id":"b","delivered":2}`), 200, nil)
	var r report.Report
	good(t, h.get(t, "/v1/campaigns/spring/report"), 200, &r)
	if r.Trackable != 1 || r.Untracked["opted_out"] != 1 {
		t.Errorf("%+v", r)
	}
}

// lines3 is the third line.
func lines3(b []byte) []byte { return bytes.Split(b, []byte("\n"))[2] }

func TestRecipientsOfNobodyAndOfNoCampaign(t *testing.T) {
	t.Parallel()
	h := spring(t)
	if a := h.recipients(t, strings.NewReader("")); a.status != 200 || len(a.body) != 0 || a.header.Get("Mailbeacon-Lines") != "0" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	a := h.do(t, http.MethodPost, "/v1/campaigns/autumn/recipients", strings.NewReader("{\"to\":\"anna@example.com\"}\n"), "Content-Type", ndjson)
	if p := a.problem(t); p.Status != 404 {
		t.Errorf("%+v", p)
	}
}

// The answer comes while the request is still being sent, and far more than fits any buffer passes.
func TestRecipientsAreStreamed(t *testing.T) {
	t.Parallel()
	h := spring(t)
	in, feed := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/v1/campaigns/spring/recipients", in)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+h.key)
	req.Header.Set("Content-Type", ndjson)
	sent := make(chan error, 1)
	turn := make(chan struct{})
	const people = 50_000
	go func() {
		_, err := io.WriteString(feed, "{\"to\":\"p0@example.com\"}\n")
		<-turn // the first line was answered
		b := bufio.NewWriter(feed)
		for i := 1; i < people && err == nil; i++ {
			_, err = fmt.Fprintf(b, "{\"to\":\"p%d@example.com\"}\n", i)
		}
		_ = b.Flush()
		feed.Close()
		sent <- err
	}()
	resp, err := h.http.Do(req)
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range people {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), fmt.Sprintf(`{"to":"p%d@example.com"`, i)) {
			t.Fatalf("line %d: %q %v", i, lines.Text(), lines.Err())
		}
		if i == 0 {
			close(turn)
		}
	}
	if lines.Scan() {
		t.Errorf("one line more: %s", lines.Text())
	}
	must(t, <-sent)
}

// A stream that can't go on must not look like one that came to its end.
func TestABrokenStreamIsCutOff(t *testing.T) {
	t.Parallel()
	h := spring(t)
	must(t, h.counts.Close())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/v1/campaigns/spring/recipients", strings.NewReader("{\"to\":\"anna@example.com\"}\n"))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+h.key)
	req.Header.Set("Content-Type", ndjson)
	resp, err := h.http.Do(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil || !strings.Contains(string(b), `"line":1,"error":"nothing was minted`) {
		t.Errorf("%v %s", err, b)
	}
	if !strings.Contains(h.log.String(), "mint-recipients") {
		t.Errorf("the log says nothing:\n%s", h.log)
	}
}

// A client that goes away ends its stream; nothing of it may be left behind (goleak looks).
func TestAClientThatGoesAway(t *testing.T) {
	t.Parallel()
	h := spring(t)
	conn := h.dial(t)
	fmt.Fprintf(conn, "POST /v1/campaigns/spring/recipients HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", h.key, ndjson)
	line := "{\"to\":\"anna@example.com\"}\n"
	fmt.Fprintf(conn, "%x\r\n%s\r\n", len(line), line)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(h.log.String(), "recipients"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the stream goes on:\n%s", h.log)
		}
	}
	if strings.Contains(h.log.String(), "ERROR") || strings.Contains(h.log.String(), "127.0.0.1") {
		t.Errorf("%s", h.log)
	}
}

// BenchmarkRecipientsOverHTTP is the whole way: TCP, HTTP, minting with ten links, SQLite.
func BenchmarkRecipientsOverHTTP(b *testing.B) {
	h := spring(b)
	for i := 2; i <= 10; i++ {
		good(b, h.post(b, "/v1/campaigns/spring/links", fmt.Sprintf(`{"url":"https://example.com/%d"}`, i)), 201, nil)
	}
	var in bytes.Buffer
	for i := range b.N {
		fmt.Fprintf(&in, "{\"to\":\"somebody.%08d@example.com\"}\n", i)
	}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, h.url+"/v1/campaigns/spring/recipients", &in)
	must(b, err)
	req.Header.Set("Authorization", "Bearer "+h.key)
	req.Header.Set("Content-Type", ndjson)
	b.ResetTimer()
	resp, err := h.http.Do(req)
	must(b, err)
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	must(b, err)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "people/s")
	b.ReportMetric(float64(n)/float64(b.N), "B/line")
}

// What is left of a refused stream's body stays unread, so its connection carries nothing more: whoever asks next
// over it would find it reset, or be told that the server stops.
func TestRefusedStreamEndsItsConnection(t *testing.T) {
	t.Parallel()
	h := spring(t)
	for i := range 50 {
		a := h.do(t, http.MethodPost, "/v1/campaigns/autumn/recipients", strings.NewReader("{\"to\":\"anna@example.com\"}\n"), "Content-Type", ndjson)
		if a.status != 404 {
			t.Fatalf("%d: %s", i, a.body)
		}
		good(t, h.post(t, "/v1/consent", `{"subject":"anna@example.com","opens":"refused"}`), 200, nil)
		if a := h.do(t, http.MethodPost, "/v1/consent/import", strings.NewReader(""), "Content-Type", ndjson); a.status != 200 {
			t.Fatalf("%d: %s", i, a.body)
		}
	}
}
