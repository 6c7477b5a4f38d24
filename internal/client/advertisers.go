package client

import (
	"context"
	"net/url"

	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/api"
)

// AdvertiserReport shows what an advertiser is told.
func (c *Client) AdvertiserReport(ctx context.Context, name string) (*advertiser.Report, error) {
	r, err := get[advertiser.Report](ctx, c, "/v1/advertisers/"+url.PathEscape(name)+"/report")
	return &r, err
}

// Advertisers calls fn for every advertiser, by name.
func (c *Client) Advertisers(ctx context.Context, fn func(advertiser.Listed) error) error {
	for after := ""; ; {
		page, err := get[api.AdvertiserPage](ctx, c, "/v1/advertisers?limit=1000&after="+url.QueryEscape(after))
		if err != nil {
			return err
		}
		for _, one := range page.Advertisers {
			if err := fn(one); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}
