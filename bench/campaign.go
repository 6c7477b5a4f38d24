package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// api is the admin side of the server under load.
type api struct{ url, key string }

// newAPI takes an address and a key, or looks for either in a data folder.
func newAPI(address, key, data string) (*api, error) {
	read := func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			return "", fmt.Errorf("no -server or -key given, and none in the data folder: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	var err error
	if address == "" {
		if address, err = read("admin.addr"); err != nil {
			return nil, err
		}
	}
	if key == "" {
		if key, err = read("admin.key"); err != nil {
			return nil, err
		}
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return &api{strings.TrimSuffix(address, "/"), key}, nil
}

func (a *api) call(ctx context.Context, method, path, kind string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))
	}
	return resp.Body, nil
}

func (a *api) post(ctx context.Context, path string, in any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	body, err := a.call(ctx, http.MethodPost, path, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	return body.Close()
}

// mailing is one campaign with the requests that its readers will make.
type mailing struct {
	name          string
	opens, clicks []*request
	open, click   tally
}

// mailings are all campaigns of a load.
type mailings struct {
	all    []*mailing
	clicks float64
	host   string
}

// prepare makes campaigns and links and mints for people, through the admin API.
func prepare(ctx context.Context, a *api, o *options) (*mailings, error) {
	m := &mailings{clicks: o.clicks}
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	for i := range o.campaigns {
		c := &mailing{name: fmt.Sprintf("bench-%s-%d", run, i+1)}
		if err := a.post(ctx, "/v1/campaigns", map[string]string{"name": c.name, "title": "Benchmark"}); err != nil {
			return nil, fmt.Errorf("make a campaign: %w", err)
		}
		for l := range o.links {
			link := map[string]string{"url": fmt.Sprintf("https://shop.example/offer/%d?from=mail", l+1), "label": fmt.Sprintf("Offer %d", l+1)}
			if err := a.post(ctx, "/v1/campaigns/"+c.name+"/links", link); err != nil {
				return nil, fmt.Errorf("add a link: %w", err)
			}
		}
		if err := m.mint(ctx, a, c, o.people/o.campaigns, run); err != nil {
			return nil, fmt.Errorf("mint: %w", err)
		}
		m.all = append(m.all, c)
	}
	return m, nil
}

func (m *mailings) mint(ctx context.Context, a *api, c *mailing, people int, run string) error {
	var in bytes.Buffer
	for i := range people {
		fmt.Fprintf(&in, "{\"to\":\"reader-%s-%d@%s.example\"}\n", run, i, c.name)
	}
	body, err := a.call(ctx, http.MethodPost, "/v1/campaigns/"+c.name+"/recipients", "application/x-ndjson", &in)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var one struct {
			Pixel string            `json:"pixel_url"`
			Links map[string]string `json:"links"`
			Error string            `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return err
		}
		if one.Error != "" || one.Pixel == "" {
			return fmt.Errorf("a recipient was not minted for: %s", lines.Text())
		}
		if err := m.add(&c.opens, one.Pixel, http.StatusOK, &c.open); err != nil {
			return err
		}
		for _, link := range one.Links {
			if err := m.add(&c.clicks, link, http.StatusFound, &c.click); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(c.opens) != people {
		return fmt.Errorf("%d people were minted for, want %d", len(c.opens), people)
	}
	return nil
}

func (m *mailings) add(to *[]*request, raw string, status int, t *tally) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	m.host = u.Host
	body := -1
	if status == http.StatusOK {
		body = gifBytes
	}
	*to = append(*to, &request{raw: get(u.Host, u.RequestURI()), status: status, body: body, tally: t})
	return nil
}

// target is the address to connect to: the one given, or the one in the minted URLs.
func (m *mailings) target(given string) string {
	if given != "" {
		return given
	}
	if strings.Contains(m.host, ":") {
		return m.host
	}
	return m.host + ":80"
}

func (m *mailings) pick(rng *rand.Rand) *request {
	c := m.all[rng.IntN(len(m.all))]
	if rng.Float64() < m.clicks {
		return c.clicks[rng.IntN(len(c.clicks))]
	}
	return c.opens[rng.IntN(len(c.opens))]
}

// foldPatience is how long the report may take to hold all that was acknowledged, beyond the
// server's classification window, which is not known here.
const foldPatience = 90 * time.Second

var errTotals = errors.New("the report does not equal what was acknowledged")

// verify waits until the reports hold everything that was acknowledged, and not more than was sent.
func (m *mailings) verify(ctx context.Context, a *api) (string, error) {
	deadline := time.Now().Add(foldPatience)
	var answered, sent int64
	for _, c := range m.all {
		for {
			opens, clicks, err := a.totals(ctx, c.name)
			if err != nil {
				return "", err
			}
			if over(opens, &c.open) || over(clicks, &c.click) {
				return "", fmt.Errorf("%w: campaign %s reports %d opens and %d clicks; sent were %d and %d", errTotals,
					c.name, opens, clicks, c.open.sent.Load(), c.click.sent.Load())
			}
			if opens >= c.open.answered.Load() && clicks >= c.click.answered.Load() {
				break
			}
			if time.Now().After(deadline) {
				return "", fmt.Errorf("%w: campaign %s reports %d opens and %d clicks; answered were %d and %d", errTotals,
					c.name, opens, clicks, c.open.answered.Load(), c.click.answered.Load())
			}
			time.Sleep(100 * time.Millisecond)
		}
		answered += c.open.answered.Load() + c.click.answered.Load()
		sent += c.open.sent.Load() + c.click.sent.Load()
	}
	return fmt.Sprintf("totals: %d answered, all in the reports of %d campaigns (%d unanswered)", answered, len(m.all), sent-answered), nil
}

// over: more was counted than was sent.
func over(total int64, t *tally) bool { return total > t.sent.Load() }

func (a *api) totals(ctx context.Context, name string) (opens, clicks int64, err error) {
	body, err := a.call(ctx, http.MethodGet, "/v1/campaigns/"+name+"/report", "", nil)
	if err != nil {
		return 0, 0, err
	}
	defer body.Close()
	var r struct {
		Opens, Clicks struct {
			Total int64 `json:"total"`
		}
	}
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		return 0, 0, err
	}
	return r.Opens.Total, r.Clicks.Total, nil
}
