// Package decision reads files of consent decisions, CSV or one JSON object per line, in a form that
// millions of rows can be read in within seconds. A row that can't be used costs that row alone. No error
// holds anything of a row: that may be somebody's address.
package decision

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"mailbeacon/internal/consent"
)

// MaxLine bounds a row, in bytes without its end.
const MaxLine = 4 << 10

// Form is how a file is written.
type Form int

const (
	// NDJSON is one JSON object per line.
	NDJSON Form = iota
	// CSV has the columns' names in its first line, and commas between (RFC 4180).
	CSV
)

// Row is one row of a file.
type Row struct {
	Line    uint64 // in the file, from 1
	Address []byte // the person's, as it came; good until the next call
	Change  consent.Change
	Err     error // why the row can't be used; the rest is meaningless then
}

// HeaderError says why a file can't be read at all: its first line does not name the columns.
type HeaderError struct{ Reason string }

func (e *HeaderError) Error() string { return "the file's first line " + e.Reason }

// What can be wrong with a row.
var (
	errLong      = fmt.Errorf("is longer than %d bytes", MaxLine)
	errNotUTF8   = errors.New("is not UTF-8")
	errNotObject = errors.New("is not an object with the fields of POST /v1/consent")
	errTwice     = errors.New("has a field twice")
	errUnknown   = errors.New("has a field other than subject, opens, clicks, format, unsubscribed, tracking, source, text_version")
	errQuote     = errors.New("has a quotation mark in the wrong place; a field that holds one is put between two, and the mark doubled")
	errNoSubject = errors.New("has no subject")
	errNotBool   = errors.New("unsubscribed is not true or false")
	errNotText   = errors.New("has a value of the wrong type")
	errNothing   = errors.New("says nothing: give opens, clicks, format, unsubscribed or tracking")
)

// Reader reads a file row by row. It is for one goroutine.
type Reader struct {
	in      *bufio.Reader
	form    Form
	line    uint64
	columns []column // of a CSV file
	cells   [][]byte
	room    []byte // of cells that had quotation marks
	words   words
	begun   bool
}

// NewReader returns a reader of a file. A byte order mark at its start is passed over.
func NewReader(in io.Reader, form Form) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 64<<10), form: form}
}

// Next reads a row; empty lines are passed over. The error is io.EOF at the end, a *HeaderError where the
// columns are not named right, or what in says.
func (r *Reader) Next() (Row, error) {
	if !r.begun {
		if err := r.begin(); err != nil {
			return Row{}, err
		}
		r.begun = true
	}
	for {
		text, long, err := r.take()
		if err != nil {
			return Row{}, err
		}
		row := Row{Line: r.line}
		switch {
		case long:
			row.Err = errLong
		case len(bytes.TrimSpace(text)) == 0:
			continue
		case !utf8.Valid(text):
			row.Err = errNotUTF8
		case r.form == CSV:
			row.Err = r.csv(text, &row)
		default:
			row.Err = r.json(text, &row)
		}
		if row.Err == nil {
			row.Err = check(&row)
		}
		return row, nil
	}
}

var byteOrderMark = []byte("\ufeff")

func (r *Reader) begin() error {
	if mark, err := r.in.Peek(len(byteOrderMark)); err == nil && bytes.Equal(mark, byteOrderMark) {
		_, _ = r.in.Discard(len(byteOrderMark)) // it was peeked at
	}
	if r.form != CSV {
		return nil
	}
	for {
		text, long, err := r.take()
		switch {
		case errors.Is(err, io.EOF):
			return &HeaderError{"is missing; it names the columns: subject,opens,clicks"}
		case err != nil:
			return err
		case long:
			return &HeaderError{errLong.Error()}
		case len(bytes.TrimSpace(text)) == 0:
			continue
		}
		return r.header(text)
	}
}

// take reads a line without its end. Of one that is too long it says so, and passes over it.
func (r *Reader) take() (text []byte, long bool, err error) {
	text, err = r.in.ReadSlice('\n')
	r.line++
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = r.in.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if err != nil && len(text) == 0 && !long {
		return nil, false, io.EOF
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	return text, long || len(text) > MaxLine, nil
}

// check looks at what either form has to have.
func check(row *Row) error {
	c := &row.Change
	switch {
	case len(row.Address) == 0:
		return errNoSubject
	case c.Opens == consent.Unset && c.Clicks == consent.Unset && c.Format == consent.FormatUnset && c.Unsubscribed == nil && c.Tracking == consent.TrackingUnset:
		return errNothing
	}
	return nil
}

// words keeps the few texts that all rows repeat, so that each is made once.
type words struct{ known map[string]string }

const mostWords = 1024

func (w *words) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := w.known[string(b)]; ok {
		return s
	}
	if w.known == nil || len(w.known) >= mostWords {
		w.known = map[string]string{}
	}
	s := string(b)
	w.known[s] = s
	return s
}

// column is one thing that a row may say.
type column int

const (
	subject column = iota
	opens
	clicks
	format
	unsubscribed
	tracking
	source
	textVersion
)

func columnOf(name string) (column, bool) {
	switch name {
	case "subject":
		return subject, true
	case "opens":
		return opens, true
	case "clicks":
		return clicks, true
	case "format":
		return format, true
	case "unsubscribed":
		return unsubscribed, true
	case "tracking":
		return tracking, true
	case "source":
		return source, true
	case "text_version":
		return textVersion, true
	}
	return 0, false
}

var (
	isTrue  = new(true) // what rows point to; nobody changes it
	isFalse = new(false)
)

// set puts a column's text into a row.
func (r *Reader) set(row *Row, c column, v []byte) (err error) {
	switch c {
	case subject:
		row.Address = v
	case opens:
		if row.Change.Opens, err = consent.ParseState(r.words.of(v)); err != nil {
			return fmt.Errorf("opens %w", err)
		}
	case clicks:
		if row.Change.Clicks, err = consent.ParseState(r.words.of(v)); err != nil {
			return fmt.Errorf("clicks %w", err)
		}
	case format:
		if row.Change.Format, err = consent.ParseFormat(r.words.of(v)); err != nil {
			return fmt.Errorf("format %w", err)
		}
	case unsubscribed:
		switch string(v) {
		case "":
		case "true":
			row.Change.Unsubscribed = isTrue
		case "false":
			row.Change.Unsubscribed = isFalse
		default:
			return errNotBool
		}
	case tracking:
		if row.Change.Tracking, err = consent.ParseTracking(r.words.of(v)); err != nil {
			return fmt.Errorf("tracking %w", err)
		}
	case source:
		row.Change.Source = r.words.of(v)
	case textVersion:
		row.Change.TextVersion = r.words.of(v)
	}
	return nil
}
