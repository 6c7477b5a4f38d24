package dashboard

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"mailbeacon/internal/report"
)

const (
	formatCSV  = "csv"
	formatJSON = "json"
)

// table is shown on a page and exported as a file: both have the same rows.
type table struct {
	ID, Caption string
	Note        string // how to read it
	Columns     []column
	Rows        []row
	Foot        []row  // sums, which files leave to who reads them
	Empty       string // said where there is no row
	Most        int    // rows that a page shows; 0 is all
	CSV, JSON   string // addresses of the files
}

type column struct {
	Title  string
	Number bool
	Fields []string // what files call it; several where a cell holds several values, none where files leave it out
	Axis   *axis    // of what is drawn in it
}

type row struct {
	Class string
	Cells []cell
}

// cell is one place of a table. Text, Sub and Href may hold what anybody wrote: the template escapes them.
type cell struct {
	Text, Sub string
	Href      string
	Number    bool
	Foreign   bool // Text was written by somebody outside, in whatever script and direction
	Range     *ranged
	Spark     *spark
	Values    []any // one for each of the column's fields
}

// Shown are the rows of the page.
func (t *table) Shown() []row {
	if t.Most > 0 && len(t.Rows) > t.Most {
		return t.Rows[:t.Most]
	}
	return t.Rows
}

// number is a cell of a count.
func number(n uint64) cell { return cell{Text: count(n), Number: true, Values: []any{n}} }

// words is a cell of a text of our own.
func words(s string) cell { return cell{Text: s, Values: []any{s}} }

// people is a cell of how many may have done something: from those who did for certain.
func people(m *report.Measure) cell {
	return cell{Text: between(m.Certain, m.Unique), Number: true, Values: []any{m.Certain, m.Unique}}
}

func peopleFields(prefix string) []string { return []string{prefix + "_certain", prefix + "_people"} }

// rated is a cell of a rate and its interval, drawn on an axis.
func rated(rate, interval *report.Rate, tooFew bool, on *axis) cell {
	c := cell{Number: true, Text: blank, Values: rateValues(rate, interval, tooFew)}
	if rate == nil {
		return c
	}
	if tooFew {
		c.Text = tooFewWords
		return c
	}
	c.Text, c.Sub = span(rate), span(interval)
	if on != nil {
		c.Range = on.ranged(rate, interval)
	}
	return c
}

const tooFewWords = "too few"

func rateValues(rate, interval *report.Rate, tooFew bool) []any {
	if rate == nil {
		return []any{nil, nil, nil, nil, nil}
	}
	return []any{rate.Low, rate.High, interval.Low, interval.High, tooFew}
}

func rateFields(prefix string) []string {
	return []string{prefix + "_rate_low", prefix + "_rate_high", prefix + "_interval_low", prefix + "_interval_high", prefix + "_too_few"}
}

// finish gives a sheet's tables the addresses of their files.
func (k *look) finish(s *sheet) *sheet {
	for _, t := range s.Tables {
		t.CSV, t.JSON = k.with("format", formatCSV, "table", t.ID), k.with("format", formatJSON, "table", t.ID)
	}
	return s
}

// Table is the table of a name; the templates ask for it.
func (s *sheet) Table(id string) (*table, error) {
	for _, t := range s.Tables {
		if t.ID == id {
			return t, nil
		}
	}
	return nil, fmt.Errorf("no table %q", id)
}

// export answers with a sheet's tables as a file.
func (d *Dashboard) export(w http.ResponseWriter, k *look, s *sheet) {
	format, tables := k.query.Get("format"), s.Tables
	if format != formatCSV && format != formatJSON {
		d.fail(w, k, bad("There is no such file", "Tables can be had as CSV and as JSON: format=csv or format=json."))
		return
	}
	if s.Stale != "" {
		d.fail(w, k, &problem{http.StatusServiceUnavailable, "The counts can't be read at the moment", s.Stale})
		return
	}
	id := k.query.Get("table")
	if id != "" {
		t, err := s.Table(id)
		if err != nil {
			d.fail(w, k, &problem{http.StatusNotFound, "There is no such table", "This page has no table of that name."})
			return
		}
		tables = []*table{t}
	}
	var b bytes.Buffer
	var err error
	switch {
	case format == formatJSON:
		err = writeJSON(&b, k, s, tables)
	case id == "" && s.whole != nil:
		err = s.whole(&b)
	default:
		err = writeCSV(&b, tables[0])
	}
	if err != nil {
		d.fail(w, k, err)
		return
	}
	contentType, name := "text/csv; charset=utf-8", "mailbeacon"
	if format == formatJSON {
		contentType = "application/json"
	}
	if c := k.PathValue("name"); c != "" {
		name += "-" + c // a campaign's name, which has nothing in it that a header could mind
	}
	if len(tables) == 1 {
		name += "-" + tables[0].ID
	}
	head(w, contentType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+"."+format+`"`)
	_, _ = w.Write(b.Bytes()) // whoever hung up needs no answer
}

// fields are the columns of a file.
func (t *table) fields() []string {
	var all []string
	for _, c := range t.Columns {
		all = append(all, c.Fields...)
	}
	return all
}

// each calls fn with the values of each row, in the order of the fields.
func (t *table) each(fn func(values []any) error) error {
	want := len(t.fields())
	for _, r := range t.Rows {
		var values []any
		for i := range r.Cells {
			if len(t.Columns[i].Fields) > 0 {
				values = append(values, r.Cells[i].Values...)
			}
		}
		if len(values) != want {
			return fmt.Errorf("table %s: %d values in a row of %d", t.ID, len(values), want)
		}
		if err := fn(values); err != nil {
			return err
		}
	}
	return nil
}

func writeCSV(b *bytes.Buffer, t *table) error {
	out := csv.NewWriter(b)
	if err := out.Write(t.fields()); err != nil {
		return err
	}
	if err := t.each(func(values []any) error {
		line := make([]string, len(values))
		for i, v := range values {
			line[i] = plain(v)
		}
		return out.Write(line)
	}); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// plain is a value in a CSV file, in which no text is a formula.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return report.Cell(v)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', 6, 64)
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return fmt.Sprint(v) // numbers and truth values
}

func writeJSON(b *bytes.Buffer, k *look, s *sheet, tables []*table) error {
	out := struct {
		AsOf   time.Time                   `json:"as_of"`
		Zone   string                      `json:"zone"`
		Next   string                      `json:"next,omitempty"`
		Tables map[string][]map[string]any `json:"tables"`
	}{s.AsOf.UTC(), k.zone.String(), "", map[string][]map[string]any{}}
	if s.next != "" {
		out.Next = s.next + "&format=json"
	}
	for _, t := range tables {
		fields, rows := t.fields(), []map[string]any{}
		if err := t.each(func(values []any) error {
			r := make(map[string]any, len(values))
			for i, v := range values {
				r[fields[i]] = v
			}
			rows = append(rows, r)
			return nil
		}); err != nil {
			return err
		}
		out.Tables[t.ID] = rows
	}
	e := json.NewEncoder(b)
	e.SetIndent("", " ")
	return e.Encode(out)
}
