package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/decision"
)

// Imported is a line of an import's answer: how far it is, or a row that can't be used.
type Imported struct {
	Line      uint64 `json:"line" doc:"of the file: the row that can't be used, or the last row that was looked at"`
	Error     string `json:"error,omitempty" doc:"why the row can't be used; nothing of the row is repeated"`
	Recorded  uint64 `json:"recorded" doc:"rows that were recorded so far"`
	Stood     uint64 `json:"stood" doc:"rows that changed nothing: recorded by an earlier import of the same file, or taking back a refusal, which no import does"`
	Bad       uint64 `json:"bad" doc:"rows that can't be used so far"`
	Position  uint64 `json:"position" doc:"of the last record in the control log; 0 for none"`
	Done      bool   `json:"done,omitempty" doc:"this is the last line, and sums up"`
	Receipts  uint64 `json:"receipts,omitempty" doc:"on the last line: decisions of this file that have a receipt; POST /v1/consent/lookup with \"receipts\" gives it, and so does mailbeacon consent export ADDRESS"`
	Effective bool   `json:"effective,omitempty" doc:"on the last line: no later event is counted against what was recorded"`
}

// importEvery is how often an import tells how far it is, at least.
const importEvery = 250 * time.Millisecond

func (a *API) routeImport() {
	op := streamOperation("import-consent", http.MethodPost, "/v1/consent/import", "Record the decisions of a file",
		"Decisions of any number of people, one JSON object per line, or CSV whose first line names the columns: subject, and any of "+
			"opens, clicks, format, unsubscribed, tracking, source, text_version. The answer is one line for each row that can't be used, lines that "+
			"say how far it is, and a last one with \"done\". Rows are recorded some thousands at a time. Importing the same file again records nothing twice, and takes back no refusal that came since.")
	a.stream(op, streamDoc{in: new(Decision), out: new(Imported), csv: true}, a.importConsent)
}

// importing is the state of one import.
type importing struct {
	a       *API
	x       *exchange
	by      string
	changes []consent.Change // of the piece at hand
	sum     Imported
	told    time.Time
}

func (a *API) importConsent(ctx context.Context, x *exchange) error {
	form := decision.NDJSON
	if given, _, err := mime.ParseMediaType(x.request.Header.Get("Content-Type")); err == nil && given == csvType {
		form = decision.CSV
	}
	// What an import before this one recorded is to be known.
	if err := a.o.Consent.Settle(ctx); err != nil {
		return err
	}
	im := &importing{a: a, x: x, by: broughtBy(ctx), changes: make([]consent.Change, 0, consent.MaxBulk), told: time.Now()}
	rows := decision.NewReader(x, form)
	for {
		row, err := rows.Next()
		var header *decision.HeaderError
		switch {
		case errors.Is(err, io.EOF):
			return im.finish(ctx)
		case errors.As(err, &header):
			return newProblem(http.StatusUnprocessableEntity, header.Error(), Field{"body", header.Reason})
		case err != nil:
			// The piece at hand is not recorded: a part of it would not be known again as that.
			return errors.Join(err, x.flush())
		}
		// A piece is so many lines of the file, whatever is in them: mending one row leaves the other pieces
		// what they are.
		if im.sum.Line/consent.MaxBulk != row.Line/consent.MaxBulk {
			if err := im.record(ctx); err != nil {
				return err
			}
		}
		im.sum.Line = row.Line
		if err := im.take(&row); err != nil {
			return err
		}
	}
}

// take puts a row into the piece at hand, or says what is wrong with it.
func (im *importing) take(row *decision.Row) error {
	err := row.Err
	if err == nil {
		row.Change.Subject, err = im.a.o.Minter.Subject(string(row.Address))
	}
	if err == nil {
		row.Change.By = im.by
		err = row.Change.Check()
	}
	if err == nil {
		im.changes = append(im.changes, row.Change)
		return nil
	}
	im.sum.Bad++
	return im.tell(Imported{Line: row.Line, Error: inWords(err), Recorded: im.sum.Recorded, Stood: im.sum.Stood, Bad: im.sum.Bad, Position: im.sum.Position})
}

// inWords is what may be told of a row's error.
func inWords(err error) string {
	if p := problemOf(err); p != nil {
		return p.Detail
	}
	return err.Error()
}

func (im *importing) tell(line Imported) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return im.x.line(text)
}

// record records the piece at hand, and tells how far the import is.
func (im *importing) record(ctx context.Context) error {
	if len(im.changes) > 0 {
		pos, stood, err := im.a.o.Consent.Import(ctx, im.changes)
		if err != nil {
			return err
		}
		im.sum.Stood += uint64(stood)
		im.sum.Recorded += uint64(len(im.changes) - stood)
		im.sum.Position = max(im.sum.Position, uint64(pos))
		im.changes = im.changes[:0]
	}
	if time.Since(im.told) < importEvery {
		return nil
	}
	im.told = time.Now()
	if err := im.tell(im.sum); err != nil {
		return err
	}
	return im.x.flush()
}

func (im *importing) finish(ctx context.Context) error {
	if err := im.record(ctx); err != nil {
		return err
	}
	im.sum.Done = true
	im.sum.Receipts = im.sum.Recorded + im.sum.Stood
	im.sum.Effective = im.a.o.Consent.Effective(ctx, control.Position(im.sum.Position))
	return im.tell(im.sum)
}
