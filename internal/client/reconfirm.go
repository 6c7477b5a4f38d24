package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"mailbeacon/internal/api"
)

// Inactive calls fn for everybody whose last activity is so many days ago (as 180d), by number. A list that was cut
// short is an error.
func (c *Client) Inactive(ctx context.Context, days string, fn func(api.Inactive) error) error {
	query, err := api.InactiveQuery(days)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/reconfirm?"+query, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return eachLine(resp.Body, fn)
}

// ErrKeyring says that the server numbers people by another keyring than the caller.
var ErrKeyring = errors.New("the server has another keyring, by which people have other numbers")

// Standings asks about the people whose lines in gives (as api.Numbered), and calls fn with each answer, in their order.
// check is the caller's number of api.KeyringAddress. At most some 8192 people are under way between in and fn.
func (c *Client) Standings(ctx context.Context, days, check string, in io.Reader, fn func(api.Stands) error) error {
	query, err := api.InactiveQuery(days)
	if err != nil {
		return err
	}
	resp, err := c.upload(ctx, "/v1/reconfirm?"+query, "application/x-ndjson", in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Header.Get(api.KeyringCheck) != check {
		return ErrKeyring
	}
	return eachLine(resp.Body, fn)
}

// eachLine calls fn with each line of a list.
func eachLine[T any](list io.Reader, fn func(T) error) error {
	for d := json.NewDecoder(list); ; {
		var one T
		switch err := d.Decode(&one); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("the list was cut short: %w", err)
		}
		if err := fn(one); err != nil {
			return err
		}
	}
}
