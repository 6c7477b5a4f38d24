// Package client speaks to a mailbeacon server's private side, for the commands and for programs
// in Go.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/report"
)

// Client speaks to one server. All methods may be called concurrently.
type Client struct {
	base string
	key  string
	http *http.Client
}

// Error is an error that the server answered with.
type Error struct{ api.Problem }

// Error is title, detail and the places that are wrong, each on a line of its own where the detail does not say it already.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", strings.ToLower(e.Title), e.Detail)
	for _, f := range e.Errors {
		if strings.HasSuffix(e.Detail, f.Message) {
			continue
		}
		fmt.Fprintf(&b, "\n  %s %s", f.Location, f.Message)
	}
	return b.String()
}

// New returns a client of a server (as http://127.0.0.1:8081) and a key.
func New(server, key string) (*Client, error) {
	u, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	return &Client{
		base: strings.TrimSuffix(u.String(), "/"), key: key,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
				TLSHandshakeTimeout:   10 * time.Second,
				ExpectContinueTimeout: time.Second,
				IdleConnTimeout:       30 * time.Second,
				MaxIdleConnsPerHost:   16,
				DisableCompression:    true,
			},
			// A key goes to the server that was named, and to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// parseServer reads a server's URL; host and port alone will do.
func parseServer(server string) (*url.URL, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the server's URL does not fit; right would be one as http://127.0.0.1:8081")
	}
	return u, nil
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Campaign shows a campaign.
func (c *Client) Campaign(ctx context.Context, name string) (api.Campaign, error) {
	return get[api.Campaign](ctx, c, campaignPath(name, ""))
}

// Campaigns calls fn for every campaign, by number.
func (c *Client) Campaigns(ctx context.Context, fn func(api.Campaign) error) error {
	for after := uint32(0); ; {
		page, err := get[api.CampaignPage](ctx, c, fmt.Sprintf("/v1/campaigns?after=%d&limit=1000", after))
		if err != nil {
			return err
		}
		for _, one := range page.Campaigns {
			if err := fn(one); err != nil {
				return err
			}
		}
		if after = page.Next; after == 0 {
			return nil
		}
	}
}

// CreateCampaign makes a campaign.
func (c *Client) CreateCampaign(ctx context.Context, n api.NewCampaign) (api.Campaign, error) {
	return send[api.Campaign](ctx, c, http.MethodPost, "/v1/campaigns", n)
}

// AddLink registers a link.
func (c *Client) AddLink(ctx context.Context, campaign string, l api.NewLink) (api.Link, error) {
	return send[api.Link](ctx, c, http.MethodPost, campaignPath(campaign, "/links"), l)
}

// Links calls fn for every link of a campaign, by number.
func (c *Client) Links(ctx context.Context, campaign string, fn func(api.Link) error) error {
	for after := uint32(0); ; {
		page, err := get[api.LinkPage](ctx, c, campaignPath(campaign, fmt.Sprintf("/links?after=%d&limit=1000", after)))
		if err != nil {
			return err
		}
		for _, one := range page.Links {
			if err := fn(one); err != nil {
				return err
			}
		}
		if after = page.Next; after == 0 {
			return nil
		}
	}
}

// MendLink changes where a link leads.
func (c *Client) MendLink(ctx context.Context, campaign string, number uint16, l api.MendedLink) (api.Link, error) {
	return send[api.Link](ctx, c, http.MethodPut, campaignPath(campaign, "/links/"+strconv.Itoa(int(number))), l)
}

// KeepMail keeps a campaign's mail as it was designed.
func (c *Client) KeepMail(ctx context.Context, campaign, html string) (api.KeptMail, error) {
	return send[api.KeptMail](ctx, c, http.MethodPut, campaignPath(campaign, "/mail"), api.DesignedMail{HTML: html})
}

// Mail shows a campaign's mail as it was designed.
func (c *Client) Mail(ctx context.Context, campaign string) (api.DesignedMail, error) {
	return get[api.DesignedMail](ctx, c, campaignPath(campaign, "/mail"))
}

// Overview compares the latest campaigns, up to so many.
func (c *Client) Overview(ctx context.Context, campaigns int, zone string) (api.Overview, error) {
	return get[api.Overview](ctx, c, fmt.Sprintf("/v1/overview?limit=%d&zone=%s", campaigns, url.QueryEscape(zone)))
}

// Render makes one person's mail.
func (c *Client) Render(ctx context.Context, campaign string, m api.MailRequest) (api.Mail, error) {
	return send[api.Mail](ctx, c, http.MethodPost, campaignPath(campaign, "/messages"), m)
}

// Deliver tells of a batch of deliveries.
func (c *Client) Deliver(ctx context.Context, campaign string, d api.Delivery) (api.Delivery, error) {
	return send[api.Delivery](ctx, c, http.MethodPost, campaignPath(campaign, "/deliveries"), d)
}

// SignInLink is a link to the dashboard.
type SignInLink struct {
	URL     string
	Expires time.Time
}

// SignInLink makes a link that signs in to the dashboard, once, as the holder of this client's key.
func (c *Client) SignInLink(ctx context.Context) (SignInLink, error) {
	l, err := exchange[api.SignInLink](ctx, c, http.MethodPost, "/v1/sign-in-links", nil)
	return SignInLink{c.base + l.Path, l.Expires}, err
}

// SetConsent records a decision.
func (c *Client) SetConsent(ctx context.Context, d api.Decision) (api.Effect, error) {
	return send[api.Effect](ctx, c, http.MethodPost, "/v1/consent", d)
}

// Consent shows what holds for the person with an address.
func (c *Client) Consent(ctx context.Context, address string) (api.Choices, error) {
	return send[api.Choices](ctx, c, http.MethodPost, "/v1/consent/lookup", api.Who{Subject: address})
}

// ConsentReceipts is Consent with the receipt of every decision.
func (c *Client) ConsentReceipts(ctx context.Context, address string) (api.Choices, error) {
	return send[api.Choices](ctx, c, http.MethodPost, "/v1/consent/lookup", api.Who{Subject: address, Receipts: true})
}

// ImportConsent sends a file of decisions, CSV or one JSON object per line, and calls fn for each line of the
// answer as it comes. It returns the last, which sums up. An answer that was cut short is an error.
func (c *Client) ImportConsent(ctx context.Context, in io.Reader, csv bool, fn func(api.Imported)) (api.Imported, error) {
	mediaType := "application/x-ndjson"
	if csv {
		mediaType = "text/csv"
	}
	resp, err := c.upload(ctx, "/v1/consent/import", mediaType, in)
	if err != nil {
		return api.Imported{}, err
	}
	defer resp.Body.Close()
	var last api.Imported
	for d := json.NewDecoder(resp.Body); !last.Done; {
		last = api.Imported{}
		if err := d.Decode(&last); err != nil {
			return api.Imported{}, fmt.Errorf("the import was cut short; what was recorded stays, and importing the file again goes on from there: %w", err)
		}
		fn(last)
	}
	return last, nil
}

// Report shows what is known of a campaign.
func (c *Client) Report(ctx context.Context, campaign string) (*report.Report, error) {
	r, err := get[report.Report](ctx, c, campaignPath(campaign, "/report"))
	return &r, err
}

// Summary sums a stream of recipients up.
type Summary struct{ Lines, Minted, Bad uint64 }

// Recipients sends lines of recipients and writes what comes back to out, as it comes. A stream that
// was cut short is an error, and out holds what came until then.
func (c *Client) Recipients(ctx context.Context, campaign string, in io.Reader, out io.Writer) (Summary, error) {
	resp, err := c.upload(ctx, campaignPath(campaign, "/recipients"), "application/x-ndjson", in)
	if err != nil {
		return Summary{}, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return Summary{}, fmt.Errorf("the stream was cut short; what came so far is whole lines, and sending the same people again is safe: %w", err)
	}
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(resp.Trailer.Get(name), 10, 64) // 0 where a proxy dropped it
		return n
	}
	return Summary{number("Mailbeacon-Lines"), number("Mailbeacon-Minted"), number("Mailbeacon-Bad")}, nil
}

func campaignPath(name, rest string) string { return "/v1/campaigns/" + url.PathEscape(name) + rest }

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return exchange[T](ctx, c, http.MethodGet, path, nil)
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	b, err := json.Marshal(body)
	if err != nil {
		var none T
		return none, fmt.Errorf("encode the request: %w", err)
	}
	return exchange[T](ctx, c, method, path, bytes.NewReader(b))
}

func exchange[T any](ctx context.Context, c *Client, method, path string, body io.Reader) (T, error) {
	var answer T
	resp, err := c.do(ctx, method, path, "application/json", body)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return answer, nil
}

// upload sends what may be a file or a pipe, and stays the caller's to close: net/http would close it.
func (c *Client) upload(ctx context.Context, path, mediaType string, in io.Reader) (*http.Response, error) {
	return c.do(ctx, http.MethodPost, path, mediaType, struct{ io.Reader }{in})
}

// do sends a request; an answer that is no success comes back as an error.
func (c *Client) do(ctx context.Context, method, path, mediaType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.noAnswer(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemOf(resp)
}

// problemOf reads an error's answer, which may be that of some proxy.
func problemOf(resp *http.Response) error {
	e := &Error{}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || mediaType != "application/problem+json" || json.Unmarshal(body, &e.Problem) != nil || e.Detail == "" {
		e.Problem = api.Problem{Title: resp.Status, Status: resp.StatusCode, Detail: "this is not mailbeacon's private side that answers"}
	}
	return e
}

// Ready asks whether the server is fit for traffic, and why not. It needs no key.
func (c *Client) Ready(ctx context.Context) (api.Ready, error) {
	var ready api.Ready
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/readyz", nil)
	if err != nil {
		return ready, fmt.Errorf("ask %s: %w", c.base, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return ready, c.noAnswer(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return ready, problemOf(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&ready); err != nil {
		return ready, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return ready, nil
}

// noAnswer says that the server could not be reached; url.Error would repeat method and URL.
func (c *Client) noAnswer(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("no answer from %s (is `mailbeacon serve` running there?): %w", c.base, err)
}
