package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
	"mailbeacon/internal/rewrite"
	"mailbeacon/internal/subject"
)

// Problem is every error's answer (RFC 9457). It holds nothing of what was sent, but for the name
// of a field that is too plain to be an address.
type Problem struct {
	Type   string  `json:"type" example:"about:blank" doc:"about:blank: the status says what kind of problem it is"`
	Title  string  `json:"title" example:"Unprocessable Entity" doc:"the status in words"`
	Status int     `json:"status" example:"422" doc:"the HTTP status"`
	Detail string  `json:"detail" example:"url does not begin with http:// or https://" doc:"what is wrong, in a sentence"`
	Errors []Field `json:"errors,omitempty" doc:"the places that are wrong, where there are such"`
}

// Field is one place that is wrong.
type Field struct {
	Location string `json:"location" example:"body.url" doc:"where: body.url, query.limit, path.link"`
	Message  string `json:"message" example:"does not begin with http:// or https://" doc:"what, to be read after the place's name"`
}

const problemType = "application/problem+json"

func newProblem(status int, detail string, fields ...Field) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
}

// wrongField is the problem of one field of the body.
func wrongField(name, reason string) *Problem {
	return newProblem(http.StatusUnprocessableEntity, name+" "+reason, Field{"body." + name, reason})
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// write sends the problem as the whole answer.
func (p *Problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always have a form
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // whoever hung up needs no answer
}

// problemOf says an error of the domain in HTTP; nil where it is nothing that a client did.
func problemOf(err error) *Problem {
	var ready *Problem
	var invalid *control.InvalidError
	var address *subject.InvalidError
	var to *mint.BadAddressError
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &invalid):
		return wrongField(invalid.Field, invalid.Reason)
	case errors.As(err, &to) && errors.As(err, &address):
		return wrongField("to", address.Reason)
	case errors.As(err, &address):
		return wrongField("subject", address.Reason)
	case errors.Is(err, campaign.ErrNotFound):
		return newProblem(http.StatusNotFound, "there is no such campaign")
	case errors.Is(err, advertiser.ErrUnknown):
		return newProblem(http.StatusNotFound, advertiser.ErrUnknown.Error())
	case errors.Is(err, campaign.ErrExists):
		return newProblem(http.StatusConflict, "a campaign of this name exists already")
	case errors.Is(err, campaign.ErrFull):
		return newProblem(http.StatusConflict, "no number is left: a campaign has at most 65534 links; are addresses in the mail different for each person?")
	}
	return problemOfMail(err)
}

func problemOfMail(err error) *Problem {
	switch {
	case errors.Is(err, rewrite.ErrTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "the mail is larger than 32 MiB")
	case errors.Is(err, rewrite.ErrTooDeep):
		return wrongField("eml", "nests its parts too deeply")
	case errors.Is(err, rewrite.ErrTooManyParts):
		return wrongField("eml", "has too many parts")
	case errors.Is(err, rewrite.ErrHeader):
		return wrongField("eml", "has a header that no field can be added to")
	case errors.Is(err, control.ErrClosed), errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable, "the server is stopping; try again")
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "the change was not taken in within its time; it may have been made: trying again is safe")
	}
	return nil
}

var internalProblem = newProblem(http.StatusInternalServerError, "the server failed at this; its log says why")

// plainName is a name that may be repeated to whoever sent it: it can't be an address.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,31}$`)

// fromHuma says in our form what huma found wrong with path or query, without the values, which
// huma repeats. Bodies are none of huma's business here (see decode).
func fromHuma(e *huma.ErrorModel) *Problem {
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		return newProblem(e.Status, "the body is larger than this address takes")
	case http.StatusRequestTimeout:
		return newProblem(e.Status, "the body came too slowly")
	case http.StatusBadRequest:
		return newProblem(e.Status, "the body is missing")
	case http.StatusUnprocessableEntity:
	case http.StatusInternalServerError:
		if strings.HasPrefix(e.Detail, "cannot read request body") {
			return newProblem(http.StatusBadRequest, "the body broke off")
		}
		return internalProblem
	default:
		return newProblem(e.Status, strings.ToLower(http.StatusText(e.Status)))
	}
	p := newProblem(e.Status, "the request does not fit")
	for _, d := range e.Errors {
		place, name, _ := strings.Cut(d.Location, ".")
		if !plainName.MatchString(name) {
			name = "(a name that is not repeated here)"
		}
		p.Errors = append(p.Errors, Field{place + "." + name, d.Message})
		p.Detail = name + ": " + d.Message
	}
	return p
}

// toProblem is the transformer that every answer of huma goes through.
func toProblem(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		return fromHuma(e), nil
	}
	return v, nil
}
