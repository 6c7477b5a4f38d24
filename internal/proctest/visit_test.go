package proctest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
)

// somebody's address has one word of theirs in it, twice.
func somebody(word string) string { return word + ".Quux+tag@" + word + "-mail.example" }

// Words that stand in nothing but what people and operators send here. Each names what it is part of.
const (
	agentWord    = "Zyzzyvaquokka/7.3"
	apiAgentWord = "Quokkazyzzyva/3.7"
	refererWord  = "wibblefrotz"
	cookieWord   = "snarklebyte"
	languageWord = "plonkwump"
	valueWord    = "wolpertinger"
	pathWord     = "Grimblefitz"
)

// Everybody who has to do with it, by what becomes of them.
var everybody = struct{ reads, leaves, writes, imported, refused, wrong, unknown, lost string }{
	reads: somebody("Zaphodbrox"), leaves: somebody("Trilliamarv"), writes: somebody("Slartibarto"), imported: somebody("Wowbaggerin"),
	refused: somebody("Krikkitwar"), wrong: somebody("Magrathealy"), unknown: somebody("Agrajagmulti"), lost: somebody("Vogonpoetry"),
}

func everyAddress() []string {
	e := &everybody
	return []string{e.reads, e.leaves, e.writes, e.imported, e.refused, e.wrong, e.unknown, e.lost}
}

// hosts are where requests come from: each comes once from every one of them.
func hosts() []netip.Addr {
	return append(slices.Clone(fourOf), netip.MustParseAddr("2001:db8:5a5a:c3c3:1:2:3:4"), netip.MustParseAddr("2001:db8:a5a5:3c3c:f00f:ba11:dead:d00d"))
}

// peoplesHunt looks for all that visits send.
func peoplesHunt() *hunt {
	n := needles{hosts: hosts(), hashed: everyAddress(), words: []string{agentWord, apiAgentWord, refererWord, cookieWord, languageWord, valueWord, pathWord}}
	for _, a := range everyAddress() {
		word, _, _ := strings.Cut(a, ".")
		n.words = append(n.words, word)
	}
	return newHunt(n)
}

// visitor sends requests to a public side as a mail reader's machine does, from each of the hosts.
type visitor struct {
	t      *testing.T
	public string
}

// headers are what a request carries that is nobody's business, in every header that a proxy may put an address in.
func headers(from netip.Addr, who string) string {
	quoted := "[" + from.String() + "]"
	if from.Is4() {
		quoted = from.String()
	}
	lines := []string{
		"Host: t.example", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) " + agentWord, "Accept: image/avif,*/*;q=0.8", "Accept-Language: en, x-" + languageWord + ";q=0.2",
		"Referer: https://webmail.example/" + refererWord + "?who=" + url.QueryEscape(who), "Cookie: session=" + cookieWord + "; who=" + url.QueryEscape(who),
		"From: " + who, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(who+":"+cookieWord)),
		"X-Forwarded-For: " + from.String(), "X-Real-IP: " + from.String(), `Forwarded: for="` + quoted + `";proto=https`, "X-Client-IP: " + from.String(),
		"True-Client-IP: " + from.String(), "CF-Connecting-IP: " + from.String(), "X-Forwarded-Host: " + from.String(), "Via: 1.1 " + quoted, "X-Original-URL: /" + pathWord,
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// send sends a request, or what is none, from each host, and wants each to be answered with a status; 0 for any answer, or none.
func (v *visitor) send(status int, first, who, contentType, body string) {
	v.t.Helper()
	for _, from := range hosts() {
		head := first + "\r\n" + headers(from, who)
		if body != "" {
			head += fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", contentType, len(body))
		}
		answer := v.raw(head + "Connection: close\r\n\r\n" + body)
		if status != 0 && !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			v.t.Errorf("%q is answered %.40q, want %d", first, answer, status)
		}
	}
}

// raw writes bytes on a connection of their own, and returns what comes back.
func (v *visitor) raw(text string) string {
	v.t.Helper()
	c, err := net.DialTimeout("tcp", v.public, 5*time.Second)
	must(v.t, err)
	defer c.Close()
	must(v.t, c.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(c, text) // the server may have had enough before the end
	answer, _ := io.ReadAll(c)     // as above
	return string(answer)
}

// reads lets one mail's reader do all that a reader can, and more.
func (v *visitor) reads(m *api.Minted, who string) {
	v.t.Helper()
	pixel, link, page := pathOf(v.t, m.PixelURL), pathOf(v.t, m.Links["1"]), pathOf(v.t, m.UnsubscribeURL)
	v.send(200, "GET "+pixel+" HTTP/1.1", who, "", "")
	v.send(200, "GET "+pixel+"?to="+url.QueryEscape(who)+" HTTP/1.1", who, "", "")
	v.send(200, "HEAD "+pixel+" HTTP/1.1", who, "", "")
	v.send(200, "GET "+pixel+" HTTP/1.1\r\nSec-GPC: 1", who, "", "")
	v.send(302, "GET "+link+"?to="+url.QueryEscape(who)+"#"+pathWord+" HTTP/1.1", who, "", "")
	v.send(302, "GET "+link+" HTTP/1.1\r\nSec-GPC: 1", who, "", "")
	v.send(200, "GET "+page+"?to="+url.QueryEscape(who)+" HTTP/1.1", who, "", "")
	v.send(400, "POST "+page+" HTTP/1.1", who, urlencoded, "opens="+valueWord+"&who="+url.QueryEscape(who))
	v.send(400, "POST "+page+" HTTP/1.1", who, "application/json", fmt.Sprintf(`{"opens":%q}`, who))
}

// decides changes one reader's mind by the page, and another's by one click.
func (v *visitor) decides(reader, leaver *api.Minted) {
	v.t.Helper()
	page, gone := "http://"+v.public+pathOf(v.t, reader.UnsubscribeURL), "http://"+v.public+pathOf(v.t, leaver.UnsubscribeURL)
	multi := "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n"
	for i, from := range hosts() {
		for j, p := range []struct{ u, who, contentType, body string }{
			{page, everybody.reads, urlencoded, "opens=refused"}, {gone, everybody.leaves, urlencoded, "List-Unsubscribe=One-Click"},
			{gone, everybody.leaves, "multipart/form-data; boundary=b", multi},
		} {
			status := v.posts(p.u, p.contentType, p.body, headers(from, p.who))
			if i == 0 && status == http.StatusServiceUnavailable { // the control log takes its time: a reader tries again
				await(v.t, fmt.Sprintf("choice %d is taken", j), func() bool {
					status = v.posts(p.u, p.contentType, p.body, headers(from, p.who))
					return status != http.StatusServiceUnavailable
				})
			}
			if i == 0 && status != http.StatusOK { // later ones may be too many of one person
				v.t.Errorf("%s is answered %d", p.body, status)
			}
		}
	}
}

func (v *visitor) posts(u, contentType, body, headers string) (status int) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, u, strings.NewReader(body))
	must(v.t, err)
	for line := range strings.SplitSeq(strings.TrimSpace(headers), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(r)
	must(v.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

const urlencoded = "application/x-www-form-urlencoded"

// errs sends what leads nowhere, or is no request.
func (v *visitor) errs() {
	v.t.Helper()
	who := everybody.lost
	large := strings.Repeat(who+"&", 4000)
	for _, path := range []string{"/" + pathWord, "/c/" + url.PathEscape(who), "/u/forged-" + pathWord, "/?to=" + url.QueryEscape(who), "/u/" + who + "/../" + pathWord} {
		v.send(404, "GET "+path+" HTTP/1.1", who, "", "")
		v.send(404, "HEAD "+path+" HTTP/1.1", who, "", "")
	}
	v.send(200, "GET /o/forged-"+url.PathEscape(who)+".gif HTTP/1.1", who, "", "")
	v.send(405, "DELETE /u/"+pathWord+" HTTP/1.1", who, "", "")
	v.send(404, "POST /u/"+pathWord+" HTTP/1.1", who, urlencoded, "List-Unsubscribe=One-Click&who="+url.QueryEscape(who))
	v.send(0, "POST /u/"+pathWord+" HTTP/1.1", who, urlencoded, large)
	v.send(0, "GET /"+large+" HTTP/1.1", who, "", "")
	v.send(0, "GET "+who+" HTTP/9.9", who, "", "")
	v.send(0, who, who, "", "")
	v.send(0, "GET /o/x HTTP/1.1\r\n"+pathWord+" "+who+" : x", who, "", "")
	for _, from := range hosts() {
		v.raw(fmt.Sprintf("PROXY TCP4 %s 10.0.0.1 1234 80\r\nGET /o/x HTTP/1.1\r\nHost: t.example\r\n\r\n", from))
		two := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
		v.raw(string(append(append(two, from.AsSlice()...), 10, 0, 0, 1, 4, 210, 0, 80)) + "GET /o/x HTTP/1.1\r\n\r\n")
		v.raw(from.String() + " " + agentWord + "\r\n\r\n")
	}
}

// operator is whoever runs the private side, with everybody's addresses.
type operator struct {
	t      *testing.T
	s      *server
	client *client.Client
	said   strings.Builder // by the commands
}

// prepares makes a campaign and the mail of somebody who reads and somebody who leaves.
func (o *operator) prepares(ctx context.Context, campaign, title string) (reader, leaver api.Minted) {
	o.t.Helper()
	_, err := o.client.CreateCampaign(ctx, api.NewCampaign{Name: campaign, Title: title})
	must(o.t, err)
	_, err = o.client.AddLink(ctx, campaign, api.NewLink{URL: "https://example.com/" + campaign, Label: "offer"})
	must(o.t, err)
	reader, leaver = mint(ctx, o.t, o.client, campaign, everybody.reads), mint(ctx, o.t, o.client, campaign, everybody.leaves)
	if !reader.Tracking.Opens || !reader.Tracking.Clicks {
		o.t.Fatalf("nothing is measured: %+v", reader.Tracking)
	}
	return reader, leaver
}

// personal is a mail whose links name its reader, as mailers make them.
func personal(who string) string {
	lower := strings.ToLower(who)
	sum := sha256.Sum256([]byte(lower))
	var b strings.Builder
	for i, value := range []string{
		who, lower, url.QueryEscape(who), url.QueryEscape(url.QueryEscape(lower)), base64.StdEncoding.EncodeToString([]byte(who)), base64.URLEncoding.EncodeToString([]byte(lower)),
		base64.StdEncoding.EncodeToString([]byte(`{"email":"` + lower + `"}`)), url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("to=" + who))), hex.EncodeToString([]byte(lower)), hex.EncodeToString(sum[:]),
	} {
		fmt.Fprintf(&b, `<p><a href="https://example.com/%d?u=%s">for %s</a></p>`, i, value, who)
	}
	return b.String()
}

// works does everything that takes an address: by the API, and by the commands.
func (o *operator) works(ctx context.Context, campaign, textVersion string) {
	o.t.Helper()
	_, err := o.client.Render(ctx, campaign, api.MailRequest{To: everybody.reads, HTML: personal(everybody.reads), Text: "Dear " + everybody.reads})
	must(o.t, err)
	eml := "From: us@example.com\r\nTo: " + everybody.reads + "\r\nSubject: " + valueWord + "\r\nContent-Type: text/html\r\n\r\n" + personal(everybody.reads)
	_, err = o.client.Render(ctx, campaign, api.MailRequest{To: everybody.reads, EML: []byte(eml)})
	must(o.t, err)
	_, err = o.client.SetConsent(ctx, api.Decision{Subject: everybody.writes, Clicks: "refused", Source: "letter", TextVersion: textVersion})
	must(o.t, err)
	for _, who := range []string{everybody.writes, everybody.unknown, everybody.reads} {
		_, err = o.client.ConsentReceipts(ctx, who)
		must(o.t, err)
	}
	sum, err := o.client.Recipients(ctx, campaign, strings.NewReader(fmt.Sprintf("{\"to\":%q}\n{\"to\":%q}\n{%q\n", everybody.unknown, "<"+everybody.wrong+">", everybody.wrong)), io.Discard)
	if err != nil || sum.Bad != 2 {
		o.t.Errorf("two of three recipients can't be read: %+v, %v", sum, err)
	}
	_, err = o.client.Deliver(ctx, campaign, api.Delivery{ID: "all", Delivered: 10})
	must(o.t, err)

	dir := o.t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(o.t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	rows := "subject,opens,source\n" + everybody.imported + ",refused,list\n" + everybody.refused + "," + valueWord + ",list\n" + everybody.wrong + " and more,refused,list\n" +
		"\"" + everybody.wrong + ",refused,list\n" + everybody.imported + ",refused," + everybody.refused + "\n"
	lines := fmt.Sprintf("{\"subject\":%q,\"clicks\":\"refused\"}\n{\"subject\":%q,\"phone\":%q}\n{%q:\n", everybody.imported, everybody.refused, valueWord, everybody.wrong)
	o.command(ctx, 1, "consent", "import", file("rows.csv", rows))
	o.command(ctx, 1, "consent", "import", file("rows.ndjson", lines))
	o.command(ctx, 2, "consent", "import", file("headless.csv", everybody.wrong+",x\n"+everybody.refused+",y\n"))
	o.command(ctx, 1, "reconfirm", "--inactive", "1d", "--never", "--keyring", o.keyring(), "--addresses", file("members.csv", "name,address\nx,"+everybody.refused+"\ny,"+everybody.wrong+"@@\n"))
	o.command(ctx, 0, "report", campaign)
	o.command(ctx, 2, "consent", "set", everybody.wrong+"@@", "--opens", "refused")
	o.errs()
}

// keyring is where the keys are: in the folder, or where the cluster's settings say.
func (o *operator) keyring() string {
	for _, path := range []string{filepath.Join(o.s.data, "keyring.json"), filepath.Join(filepath.Dir(o.s.data), "keyring.json")} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	o.t.Fatal("there is no keyring")
	return ""
}

// command runs a command whose output is part of what is searched; what reconfirm prints is the operator's own file.
func (o *operator) command(ctx context.Context, want int, args ...string) {
	o.t.Helper()
	stdout, stderr, code := mailbeacon(ctx, o.t, "", append(args, "--data", o.s.data)...)
	if code != want {
		o.t.Errorf("%v: exit code %d, want %d: %s%s", args[:2], code, want, stdout, stderr)
	}
	if args[0] != "reconfirm" {
		o.said.WriteString(stdout)
	}
	o.said.WriteString(stderr)
}

// errs sends addresses where they do not belong.
func (o *operator) errs() {
	o.t.Helper()
	who := everybody.wrong
	quoted, err := json.Marshal(who)
	must(o.t, err)
	address := func(path string) string { return path + url.PathEscape(who) + "?q=" + url.QueryEscape(who) }
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/v1/consent", `{"subject":` + string(quoted)}, {"POST", "/v1/consent", `{` + string(quoted) + `:1}`},
		{"POST", "/v1/consent", `{"subject":` + string(quoted) + `,"opens":` + string(quoted) + `}`}, {"POST", "/v1/consent", `{"subject":` + string(quoted) + `,"source":` + string(quoted) + `}`},
		{"POST", "/v1/consent", strings.Repeat(who, 40_000)}, {"POST", "/v1/consent/lookup", `{"subject":"<` + who + `>"}`}, {"POST", "/v1/consent/lookup", `[` + string(quoted)},
		{"GET", address("/v1/"), ""}, {"GET", address("/v1/campaigns/"), ""}, {"POST", address("/v1/campaigns/"), string(quoted)}, {"POST", address("/v1/campaigns/") + "/messages", "{}"},
		{"GET", "/v1/consent/changes?after=" + url.QueryEscape(who), ""}, {"PUT", "/" + pathWord, who}, {"POST", "/v1/campaigns", `{"name":` + string(quoted) + `}`},
	} {
		for _, from := range hosts() {
			for _, key := range []string{o.key(), who} {
				o.asks(r.method, r.path, key, r.body, from)
			}
		}
	}
}

func (o *operator) key() string {
	b, err := os.ReadFile(filepath.Join(o.s.data, "admin.key"))
	must(o.t, err)
	return strings.TrimSpace(string(b))
}

// asks sends a request that is refused, and keeps what it is told.
func (o *operator) asks(method, path, key, body string, from netip.Addr) {
	o.t.Helper()
	addr, err := os.ReadFile(filepath.Join(o.s.data, client.AddrFile))
	must(o.t, err)
	r, err := http.NewRequestWithContext(o.t.Context(), method, strings.TrimSpace(string(addr))+path, bytes.NewReader([]byte(body)))
	must(o.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("User-Agent", apiAgentWord)
	r.Header.Set("X-Forwarded-For", from.String())
	r.Header.Set("Forwarded", "for="+from.String())
	r.Header.Set("Referer", "https://crm.example/"+refererWord)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return // it hung up before all of a large body was sent
	}
	defer resp.Body.Close()
	told, _ := io.ReadAll(resp.Body) // as above
	if resp.StatusCode < 400 {
		o.t.Errorf("%s %s: status %d", method, path, resp.StatusCode)
	}
	o.said.Write(told)
}
