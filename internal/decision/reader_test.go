package decision

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/internal/consent"
)

// told is what a file says, in a form that can be compared.
func told(t testing.TB, form Form, file string) (all []string) {
	t.Helper()
	r := NewReader(strings.NewReader(file), form)
	for {
		row, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			return append(all, "error: "+err.Error())
		case row.Err != nil:
			all = append(all, fmt.Sprintf("%d: %v", row.Line, row.Err))
		default:
			c := row.Change
			mail := "-"
			if c.Unsubscribed != nil {
				mail = fmt.Sprint(*c.Unsubscribed)
			}
			line := fmt.Sprintf("%d: %s %v %v %v %s %q %q", row.Line, row.Address, c.Opens, c.Clicks, c.Format, mail, c.Source, c.TextVersion)
			if c.Tracking != consent.TrackingUnset {
				line += " " + c.Tracking.String()
			}
			all = append(all, line)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name string
		form Form
		file string
		want []string
	}{
		{"csv", CSV, "subject,opens\na@b.example,refused\nc@b.example,granted\n", []string{"2: a@b.example refused unset unset - \"\" \"\"", "3: c@b.example granted unset unset - \"\" \"\""}},
		{"tracking", CSV, "subject,tracking\na@b,date-only\nc@d,full\ne@f,\ng@h,some\n", []string{`2: a@b unset unset unset - "" "" date-only`, `3: c@d unset unset unset - "" "" full`, "4: says nothing: give opens, clicks, format, unsubscribed or tracking", "5: tracking is not full or date-only"}},
		{"tracking in json", NDJSON, `{"subject":"a@b","tracking":"date-only"}` + "\n" + `{"subject":"a@b","tracking":true}` + "\n", []string{`1: a@b unset unset unset - "" "" date-only`, "2: has a value of the wrong type"}},
		{"all columns", CSV, "text_version,source,unsubscribed,format,clicks,opens,subject\n1,x,true,plain,refused,granted,a@b\n", []string{`2: a@b granted refused plain true "x" "1"`}},
		{"mark, line ends, capitals, blanks", CSV, "\ufeff Subject , OPENS \r\n a@b , refused \r\n\r\n", []string{`2: a@b refused unset unset - "" ""`}},
		{"no end of line", CSV, "subject,opens\na@b,refused", []string{`2: a@b refused unset unset - "" ""`}},
		{"quoted", CSV, "\"subject\",\"opens\",source\n\"a@b\",\"refused\",\"a, \"\"b\"\"\"\n", []string{`2: a@b refused unset unset - "a, \"b\"" ""`}},
		{"empty cells", CSV, "subject,opens,clicks\na@b,,refused\n", []string{`2: a@b unset refused unset - "" ""`}},
		{"bad quotes cost one row", CSV, "subject,opens\n\"a@b,refused\nc@d\"x\",refused\n\"e\"f,refused\ng@h,refused\n", []string{"2: " + errQuote.Error(), "3: " + errQuote.Error(), "4: " + errQuote.Error(), `5: g@h refused unset unset - "" ""`}},
		{"fields", CSV, "subject,opens\na@b\na@b,refused,x\n", []string{"2: has 1 fields, and the first line names 2 columns", "3: has 3 fields, and the first line names 2 columns"}},
		{"values", CSV, "subject,opens,clicks,format,unsubscribed\na@b,yes,,,\na@b,,no,,\na@b,,,pdf,\na@b,,,,1\n,refused,,,\na@b,,,,\n",
			[]string{"2: opens is not granted or refused", "3: clicks is not granted or refused", "4: format is not html or plain", "5: unsubscribed is not true or false", "6: has no subject", "7: says nothing: give opens, clicks, format, unsubscribed or tracking"}},
		{"long rows", CSV, "subject,opens\n" + long + "\na@b,refused\n" + strings.Repeat("y", MaxLine+1) + "\n", []string{"2: " + errLong.Error(), `3: a@b refused unset unset - "" ""`, "4: " + errLong.Error()}},
		{"not UTF-8", CSV, "subject,opens\n\xff@b,refused\n", []string{"2: is not UTF-8"}},
		{"nothing", CSV, "", []string{"error: the file's first line is missing; it names the columns: subject,opens,clicks"}},
		{"no subject", CSV, "opens\nrefused\n", []string{"error: the file's first line has no column subject"}},
		{"twice", CSV, "subject,opens,opens\n", []string{"error: the file's first line has the column opens twice"}},
		{"more than is needed", CSV, "subject,opens,phone\n", []string{"error: the file's first line has a column phone (number 3), which is not kept: leave out all but subject, opens, clicks, format, unsubscribed, tracking, source, text_version"}},
		{"no header", CSV, "anna@secret.example,refused\n", []string{"error: the file's first line names column 1 as none of subject, opens, clicks, format, unsubscribed, tracking, source, text_version"}},
		{"semicolons", CSV, "subject;opens\n", []string{"error: the file's first line has no commas between its names; semicolons and tabs are not read"}},
		{"another encoding", CSV, "\xff\xfes\x00u\x00", []string{"error: the file's first line is not UTF-8; save the file as CSV in UTF-8"}},

		{"json", NDJSON, "{\"subject\":\"a@b\",\"opens\":\"refused\"}\n\n { \"unsubscribed\" : true , \"subject\" : \"c@d\" } \r\n", []string{`1: a@b refused unset unset - "" ""`, `3: c@d unset unset unset true "" ""`}},
		{"escapes and null", NDJSON, `{"subject":"a\u0040b","opens":"refused","clicks":null,"source":"\"x\""}`, []string{`1: a@b refused unset unset - "\"x\"" ""`}},
		{"a mark", NDJSON, "\ufeff{\"subject\":\"a@b\",\"format\":\"plain\"}", []string{`1: a@b unset unset plain - "" ""`}},
		{"no object", NDJSON, "[]\nnull\n{\"subject\":\n{}x\n\"anna@secret\"\n{\"subject\":\"a@b\",\"opens\":\"refused\"}{}\n", []string{"1: " + errNotObject.Error(), "2: " + errNotObject.Error(), "3: " + errNotObject.Error(), "4: " + errNotObject.Error(), "5: " + errNotObject.Error(), "6: " + errNotObject.Error()}},
		{"fields of json", NDJSON, `{"subject":"a@b","opens":"refused","age":7}` + "\n" + `{"subject":"a@b","subject":"c@d","opens":"refused"}` + "\n" + `{"subject":7,"opens":"refused"}` + "\n" + `{"subject":"a@b","unsubscribed":"yes"}` + "\n" + `{"subject":"a@b","opens":true}` + "\n{}\n",
			[]string{"1: " + errUnknown.Error(), "2: " + errTwice.Error(), "3: " + errNotText.Error(), "4: " + errNotBool.Error(), "5: " + errNotText.Error(), "6: " + errNoSubject.Error()}},
		{"nothing of json", NDJSON, "", nil},
	} {
		if got := told(t, tt.form, tt.file); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n%q\nwant\n%q", tt.name, got, tt.want)
		}
	}
}

// TestBothWays: what the short way reads of JSON is what the long way reads.
func TestBothWays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bothWays(t, []byte(rapid.StringMatching(`\{("(subject|opens|clicks|unsubscribed|source)": ?("[a-z@é]{0,8}"|true|false|null|7),? ?){0,4}\}?`).Draw(t, "line")))
	})
}

func bothWays(t interface{ Fatalf(string, ...any) }, text []byte) {
	var short, long Row
	r := &Reader{}
	if !r.plain(text, &short) {
		return
	}
	if err := r.any(text, &long); err != nil {
		t.Fatalf("%s: the long way says %v", text, err)
	}
	if string(short.Address) != string(long.Address) || !reflect.DeepEqual(short.Change, long.Change) {
		t.Fatalf("%s: %+v, and the long way %+v", text, short, long)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(true, []byte("subject,opens\n\"a@b\",refused\n"))
	f.Add(false, []byte(`{"subject":"a@b","unsubscribed":true,"opens":""}`))
	f.Fuzz(func(t *testing.T, csv bool, file []byte) {
		form := NDJSON
		if csv {
			form = CSV
		}
		lines := uint64(strings.Count(string(file), "\n") + 1)
		r := NewReader(strings.NewReader(string(file)), form)
		for last := uint64(0); ; {
			row, err := r.Next()
			if err != nil {
				break
			}
			if row.Line <= last || row.Line > lines {
				t.Fatalf("row %d after %d of %d", row.Line, last, lines)
			}
			last = row.Line
			if row.Err != nil && strings.Contains(row.Err.Error(), "@") {
				t.Fatalf("%v", row.Err)
			}
			if row.Err == nil && (len(row.Address) == 0 || row.Change.Opens > consent.Refused) {
				t.Fatalf("%+v", row)
			}
		}
		if !csv && utf8Line(file) {
			bothWays(t, file)
		}
	})
}

func utf8Line(b []byte) bool { return strings.ToValidUTF8(string(b), "") == string(b) }

func BenchmarkReader(b *testing.B) {
	for form, line := range map[Form]string{CSV: "firstname.lastname@mail.example.com,refused,refused,newsletter,2026-11\n", NDJSON: `{"subject":"firstname.lastname@mail.example.com","opens":"refused","clicks":"refused","source":"newsletter","text_version":"2026-11"}` + "\n"} {
		name := [...]string{NDJSON: "ndjson", CSV: "csv"}[form]
		b.Run(name, func(b *testing.B) {
			head := ""
			if form == CSV {
				head = "subject,opens,clicks,source,text_version\n"
			}
			r := NewReader(io.MultiReader(strings.NewReader(head), &again{line: line}), form)
			b.ReportAllocs()
			for b.Loop() {
				if row, err := r.Next(); err != nil || row.Err != nil {
					b.Fatal(err, row.Err)
				}
			}
		})
	}
}

// again is one line, for ever.
type again struct{ line, rest string }

func (a *again) Read(p []byte) (int, error) {
	if a.rest == "" {
		a.rest = strings.Repeat(a.line, 100)
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}
