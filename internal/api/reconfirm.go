package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/reconfirm"
	"mailbeacon/internal/subject"
)

// Inactive is a line of the list of people to ask.
type Inactive struct {
	Subject    string `json:"subject" doc:"the person's number, 16 hex digits"`
	LastActive string `json:"last_active" doc:"the date of the last open or click, UTC" example:"2026-01-31"`
}

// Numbered is a person by number.
type Numbered struct {
	Subject string `json:"subject" doc:"the person's number, 16 hex digits" example:"00c0ffee00c0ffee"`
}

// Stands is what is said of a person who was asked about.
type Stands struct {
	Subject    string `json:"subject" doc:"as it was given"`
	Standing   string `json:"standing" enum:"kept,inactive,never" doc:"inactive: the last activity is older; never: would be seen, and never was; kept: neither, or silence says nothing"`
	LastActive string `json:"last_active,omitempty" doc:"of the inactive: the date of the last open or click, UTC"`
}

// KeyringCheck is the header whose value is the number of KeyringAddress: whoever works out numbers of their own
// compares.
const KeyringCheck = "Mailbeacon-Keyring"

// KeyringAddress is nobody's.
const KeyringAddress = "keyring@mailbeacon.invalid"

var inactiveQuery = huma.Param{
	Name: "inactive", In: "query", Required: true, Description: "how long ago the last activity must be, in days", Example: "180d",
	Schema: &huma.Schema{Type: huma.TypeString, Pattern: `^[1-9][0-9]{0,4}d$`},
}

var subjectQuery = huma.Param{
	Name: "after", In: "query", Description: "begin after this number: the last line of a list that was cut off",
	Schema: &huma.Schema{Type: huma.TypeString, Pattern: `^[0-9a-fA-F]{16}$`},
}

func (a *API) routeReconfirm() {
	const who = "Nobody is on it who refuses opens or clicks, reads plain text, left, is not measured by name, or decided anything since. "
	op := streamOperation("list-inactive", http.MethodGet, "/v1/reconfirm", "List the people to ask whether they wish to go on",
		"Everybody whose last open or click is older, ascending by number, one JSON object per line. "+who+
			"Who never was active is not on it: the server does not know who was sent anything.")
	a.stream(op, streamDoc{out: new(Inactive), query: []*huma.Param{&inactiveQuery, &subjectQuery}}, a.inTurn(a.listInactive))
	op = streamOperation("judge-inactive", http.MethodPost, "/v1/reconfirm", "Tell which people of a list are to be asked",
		"One JSON object per line in, one per line out, in order, for any number of people. "+who+
			"People come by number, so that no address leaves whoever has the keyring; the header "+KeyringCheck+
			" is the number of "+KeyringAddress+" by the server's. Read while you write: what is sent back waits for you.")
	a.stream(op, streamDoc{in: new(Numbered), out: new(Stands), query: []*huma.Param{&inactiveQuery}}, a.inTurn(a.judgeInactive))
}

// beginList reads the query and makes the list.
func (a *API) beginList(ctx context.Context, x *exchange, known ...string) (list *reconfirm.List, after uint64, err error) {
	inactive := time.Duration(0)
	for name, values := range x.request.URL.Query() {
		switch {
		case len(values) == 1 && name == "inactive":
			inactive, err = parseDays(values[0])
		case len(values) == 1 && name == "after" && len(known) > 0:
			var n subject.Number
			n, err = subject.ParseNumber(values[0])
			after = uint64(n)
		default:
			err = errors.New("is unknown here, or given twice")
		}
		if err != nil {
			field := "query"
			if name == "inactive" || name == "after" {
				field += "." + name
			}
			return nil, 0, newProblem(http.StatusUnprocessableEntity, "the query does not fit", Field{field, err.Error()})
		}
	}
	if inactive == 0 {
		return nil, 0, newProblem(http.StatusUnprocessableEntity, "inactive is missing", Field{"query.inactive", "is missing; right would be one as 180d"})
	}
	if err := a.o.Consent.Settle(ctx); err != nil {
		return nil, 0, err
	}
	check, err := a.o.Minter.Subject(KeyringAddress)
	if err != nil {
		return nil, 0, err
	}
	x.w.Header().Set(KeyringCheck, subject.Number(check).String())
	list, err = a.o.Inactive.Begin(ctx, time.Now(), inactive)
	return list, after, err
}

// listPatience is how long a list waits for its turn: one that was broken off may not have been noticed yet.
const listPatience = 3 * time.Second

// inTurn has one list be made at a time: each holds some bytes for everybody who decided lately.
func (a *API) inTurn(serve func(context.Context, *exchange) error) func(context.Context, *exchange) error {
	return func(ctx context.Context, x *exchange) error {
		waiting, stop := context.WithTimeout(ctx, listPatience)
		defer stop()
		select {
		case a.listing <- struct{}{}:
			defer func() { <-a.listing }()
			return serve(ctx, x)
		case <-waiting.Done():
			return newProblem(http.StatusServiceUnavailable, "another such list is being made; try again when it is done")
		}
	}
}

// parseDays reads a number of days as 180d.
func parseDays(s string) (time.Duration, error) {
	digits, ok := strings.CutSuffix(s, "d")
	n, err := strconv.ParseUint(digits, 10, 16)
	days := time.Duration(n) * 24 * time.Hour
	if !ok || err != nil || days < reconfirm.Least || days > reconfirm.Most {
		return 0, errors.New("is no number of days; right would be one as 180d, at most 36500d")
	}
	return days, nil
}

// date writes a day, in days since the Unix epoch.
func date(day uint32) string {
	return time.Unix(0, 0).UTC().AddDate(0, 0, int(day)).Format(time.DateOnly)
}

func (a *API) listInactive(ctx context.Context, x *exchange) error {
	list, after, err := a.beginList(ctx, x, "after")
	if err != nil {
		return err
	}
	return list.Inactive(ctx, after, func(one aggregate.LastActive) error {
		line, err := json.Marshal(Inactive{subject.Number(one.Subject).String(), date(one.Day)})
		if err != nil {
			return err
		}
		return x.line(line)
	})
}

// maxNumbered bounds a line of numbers.
const maxNumbered = 256

func (a *API) judgeInactive(ctx context.Context, x *exchange) error {
	list, _, err := a.beginList(ctx, x)
	if err != nil {
		return err
	}
	x.start() // whoever compares keyrings does so before more is sent
	if err := x.flush(); err != nil {
		return err
	}
	in := bufio.NewReaderSize(x, 32<<10)
	page := make([]uint64, 0, reconfirm.Page)
	for line := uint64(1); ; line++ {
		text, err := in.ReadSlice('\n')
		end := errors.Is(err, io.EOF)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || len(text) > maxNumbered:
			return errors.Join(fmt.Errorf("line %d of the numbers is too long", line), x.flush())
		case err != nil && !end:
			return errors.Join(err, x.flush())
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			n, err := parseNumbered(text)
			if err != nil {
				return errors.Join(fmt.Errorf("line %d of the numbers does not fit", line), x.flush())
			}
			page = append(page, n)
		}
		if len(page) == cap(page) || end && len(page) > 0 {
			if err := answerPage(ctx, x, list, page); err != nil {
				return err
			}
			page = page[:0]
		}
		if end {
			return nil
		}
	}
}

func parseNumbered(text []byte) (uint64, error) {
	var b Numbered
	if err := decode(text, &b); err != nil {
		return 0, err
	}
	n, err := subject.ParseNumber(b.Subject)
	return uint64(n), err
}

func answerPage(ctx context.Context, x *exchange, list *reconfirm.List, page []uint64) error {
	answers, err := list.Judge(ctx, page)
	if err != nil {
		return err
	}
	for i, one := range answers {
		s := Stands{Subject: subject.Number(page[i]).String(), Standing: string(one.Standing)}
		if one.Standing == reconfirm.Inactive {
			s.LastActive = date(one.Day)
		}
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := x.line(line); err != nil {
			return err
		}
	}
	return x.flush()
}

// InactiveQuery is the query that asks for people of a number of days, which is written as 180d. The error says what
// is wrong with it.
func InactiveQuery(days string) (string, error) {
	if _, err := parseDays(days); err != nil {
		return "", err
	}
	return url.Values{"inactive": {days}}.Encode(), nil
}
