package decision

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// plainName is a column's name that may be repeated: it can't be an address.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,31}$`)

// header reads the names of the columns.
func (r *Reader) header(text []byte) error {
	if !utf8.Valid(text) {
		return &HeaderError{"is not UTF-8; save the file as CSV in UTF-8"}
	}
	cells, err := r.split(text)
	if err != nil {
		return &HeaderError{err.Error()}
	}
	for i, cell := range cells {
		name := strings.ToLower(strings.TrimSpace(string(cell)))
		c, known := columnOf(name)
		switch {
		case !known && len(cells) == 1 && bytes.ContainsAny(text, ";\t"):
			return &HeaderError{"has no commas between its names; semicolons and tabs are not read"}
		case !known && plainName.MatchString(name):
			return &HeaderError{fmt.Sprintf("has a column %s (number %d), which is not kept: leave out all but subject, opens, clicks, format, unsubscribed, tracking, source, text_version", name, i+1)}
		case !known:
			return &HeaderError{fmt.Sprintf("names column %d as none of subject, opens, clicks, format, unsubscribed, tracking, source, text_version", i+1)}
		case slices.Contains(r.columns, c):
			return &HeaderError{fmt.Sprintf("has the column %s twice", name)}
		}
		r.columns = append(r.columns, c)
	}
	if !slices.Contains(r.columns, subject) {
		return &HeaderError{"has no column subject"}
	}
	return nil
}

func (r *Reader) csv(text []byte, row *Row) error {
	cells, err := r.split(text)
	if err != nil {
		return err
	}
	if len(cells) != len(r.columns) {
		return fmt.Errorf("has %d fields, and the first line names %d columns", len(cells), len(r.columns))
	}
	for i, cell := range cells {
		if err := r.set(row, r.columns[i], bytes.TrimSpace(cell)); err != nil {
			return err
		}
	}
	return nil
}

// split cuts a line at its commas. A row ends with its line: no field of a decision has a line break in it,
// and so a mark that was forgotten costs one row.
func (r *Reader) split(text []byte) ([][]byte, error) {
	r.cells, r.room = r.cells[:0], r.room[:0]
	if bytes.IndexByte(text, '"') < 0 {
		for {
			i := bytes.IndexByte(text, ',')
			if i < 0 {
				r.cells = append(r.cells, text)
				return r.cells, nil
			}
			r.cells = append(r.cells, text[:i])
			text = text[i+1:]
		}
	}
	if cap(r.room) < MaxLine {
		r.room = make([]byte, 0, MaxLine) // so that it never moves under the cells
	}
	for {
		cell, rest, more, err := r.cell(text)
		if err != nil {
			return nil, err
		}
		r.cells = append(r.cells, cell)
		if !more {
			return r.cells, nil
		}
		text = rest
	}
}

// cell takes one field off a line.
func (r *Reader) cell(text []byte) (cell, rest []byte, more bool, err error) {
	if len(text) == 0 || text[0] != '"' {
		cell, rest, more = bytes.Cut(text, []byte(","))
		if bytes.IndexByte(cell, '"') >= 0 {
			return nil, nil, false, errQuote
		}
		return cell, rest, more, nil
	}
	start := len(r.room)
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '"':
			r.room = append(r.room, text[i])
		case i+1 < len(text) && text[i+1] == '"':
			r.room = append(r.room, '"')
			i++
		case i+1 == len(text):
			return r.room[start:], nil, false, nil
		case text[i+1] == ',':
			return r.room[start:], text[i+2:], true, nil
		default:
			return nil, nil, false, errQuote
		}
	}
	return nil, nil, false, errQuote
}
