package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// drawn is the table. Behind each line it has a space, which is left out.
func drawn(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	must(t, Table(&b, r))
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func TestTable(t *testing.T) {
	t.Parallel()
	const want = `spring, as of 2026-05-04 10:30:00 UTC

10 delivered, 8 trackable, 2 opted out

         total  human  proxied  machine  unknown  people  certain     rate  95 % interval
──────────────────────────────────────────────────────────────────────────────────────────
 opens      18      3        4        5        6       5        2  too few        too few
 clicks      4      3        0        1        0       3        2  too few        too few

 link  clicks  people  label  advertiser  leads to
────────────────────────────────────────────────────────────────
    1       1       1  one                https://example.com/1
    2       2       3  two    Acme        https://example.com/2
    9       1       0

 not counted  opens  clicks
────────────────────────────
 gpc              1       0
 opted out        7       8
`
	if got := drawn(t, whole(t)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTableOfNothing(t *testing.T) {
	t.Parallel()
	const want = `spring, as of 2026-05-04 10:30:00 UTC

No deliveries reported yet, so there are no rates: ` + "`mailbeacon delivery add`" + ` reports them.

         total  human  proxied  machine  unknown  people  certain  rate  95 % interval
───────────────────────────────────────────────────────────────────────────────────────
 opens       0      0        0        0        0       0        0     -              -
 clicks      0      0        0        0        0       0        0     -              -
`
	if got := drawn(t, &Report{Campaign: "spring", AsOf: now.UTC()}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What a campaign's owner wrote can be long, or mean something to a terminal.
func TestTableHoldsItsForm(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("wide 漢字 ", 40)
	r := &Report{Campaign: "spring\x1b[2J", AsOf: now.UTC(), Delivered: 1_234_567, Trackable: 1_000, Untracked: map[string]uint64{"plain_text": 1_233_567},
		Links: []LinkCount{
			{Link: 65_534, Label: long, Advertiser: long, URL: "https://example.com/" + long, Total: 9_999_999, Unique: 999_999},
			{Link: 1, Label: "\x1b]0;title\a", Advertiser: "\u202eevil", URL: "https://example.com/\n\r\u009b31m"},
		}}
	got := drawn(t, r)
	for line := range strings.SplitSeq(got, "\n") {
		if n := utf8.RuneCountInString(line); n > 110 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.ContainsAny(got, "\x1b\a\r\u202e\u009b") || strings.Count(got, "\n") != 13 {
		t.Errorf("%q", got)
	}
	for _, want := range []string{"1,234,567 delivered, 1,000 trackable, 1,233,567 plain text", "9,999,999", "…", "65534"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// tired is a writer that gives up.
type tired struct{}

var errTired = errors.New("no more")

func (tired) Write([]byte) (int, error) { return 0, errTired }

func TestWritersErrorsComeBack(t *testing.T) {
	t.Parallel()
	if err := Table(tired{}, whole(t)); !errors.Is(err, errTired) {
		t.Errorf("table: %v", err)
	}
	if err := CSV(tired{}, whole(t)); !errors.Is(err, errTired) {
		t.Errorf("CSV: %v", err)
	}
}

func records(t *testing.T, r *Report) [][]string {
	t.Helper()
	var b bytes.Buffer
	must(t, CSV(&b, r))
	all, err := csv.NewReader(&b).ReadAll()
	must(t, err)
	return all
}

func TestCSV(t *testing.T) {
	t.Parallel()
	var want [][]string
	for line := range strings.FieldsSeq(`section,name,measure,value
		campaign,spring,as_of,2026-05-04T10:30:00Z campaign,spring,delivered,10 campaign,spring,bounced,2 campaign,spring,trackable,8
		untracked,opted_out,people,2
		kind,opens,received,26 kind,opens,total,18 kind,opens,human,3 kind,opens,proxied,4 kind,opens,machine,5 kind,opens,unknown,6
		kind,opens,unique,5 kind,opens,certain,2 kind,opens,trackable,8 kind,opens,rate_low,0.250000 kind,opens,rate_high,0.625000
		kind,opens,interval_low,0.071479 kind,opens,interval_high,0.863156 kind,opens,too_few,true
		suppressed,opens,gpc,1 suppressed,opens,opted_out,7
		kind,clicks,received,12 kind,clicks,total,4 kind,clicks,human,3 kind,clicks,proxied,0 kind,clicks,machine,1 kind,clicks,unknown,0
		kind,clicks,unique,3 kind,clicks,certain,2 kind,clicks,trackable,8 kind,clicks,rate_low,0.250000 kind,clicks,rate_high,0.375000
		kind,clicks,interval_low,0.071479 kind,clicks,interval_high,0.694258 kind,clicks,too_few,true
		suppressed,clicks,opted_out,8
		kind,click_to_open,rate_low,0.400000 kind,click_to_open,rate_high,1.000000
		kind,click_to_open,interval_low,0.117621 kind,click_to_open,interval_high,1.000000 kind,click_to_open,too_few,true
		link,1,position,1 link,1,label,one link,1,advertiser, link,1,url,https://example.com/1 link,1,total,1 link,1,unique,1 link,1,certain,1
		link,2,position,2 link,2,label,two link,2,advertiser,Acme link,2,url,https://example.com/2 link,2,total,2 link,2,unique,3 link,2,certain,2
		link,9,position,0 link,9,label, link,9,advertiser, link,9,url, link,9,total,1 link,9,unique,0 link,9,certain,0
		client,other,opens,14 client,other,clicks,3 client,gmail,opens,4 client,gmail,clicks,1
		hour,2026-03-29T15:00:00Z,opens,0 hour,2026-03-29T15:00:00Z,clicks,2 hour,2026-03-29T16:00:00Z,opens,14 hour,2026-03-29T16:00:00Z,clicks,0
		hour,2026-03-29T17:00:00Z,opens,4 hour,2026-03-29T17:00:00Z,clicks,2`) {
		want = append(want, strings.Split(line, ","))
	}
	got := records(t, whole(t))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A spreadsheet runs what begins like a formula: a label is text, whoever wrote it.
func TestCSVHoldsNoFormula(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"=HYPERLINK(\"https://evil.example\",\"x\")", "'=HYPERLINK(\"https://evil.example\",\"x\")"},
		{"+1", "'+1"}, {"-1", "'-1"}, {"@SUM(A1)", "'@SUM(A1)"}, {"\t=1", "'\t=1"}, {"\r=1", "'\r=1"}, {"\n=1", "'\n=1"},
		{"", ""}, {"one", "one"}, {"a=1", "a=1"}, {"'quoted", "'quoted"}, {"a,b \"c\"", "a,b \"c\""},
	} {
		r := &Report{Campaign: "spring", Links: []LinkCount{{Link: 1, Label: c.text, Advertiser: c.text, URL: c.text}}}
		found := map[string]string{}
		for _, row := range records(t, r) {
			if row[0] == "link" {
				found[row[2]] = row[3]
			}
		}
		for _, measure := range []string{"label", "advertiser", "url"} {
			if found[measure] != c.want {
				t.Errorf("%s %q: %q, want %q", measure, c.text, found[measure], c.want)
			}
		}
	}
}

// The JSON is the API's: its names are promised, its lists are never null, and it reads back.
func TestJSON(t *testing.T) {
	t.Parallel()
	r := whole(t)
	b, err := json.Marshal(r)
	must(t, err)
	var back Report
	must(t, json.Unmarshal(b, &back))
	if !reflect.DeepEqual(&back, r) {
		t.Errorf("read back %+v\nwant %+v", &back, r)
	}
	for _, c := range []struct {
		of   any
		want string
	}{
		{Rate{Low: 0.25, High: 0.5}, `{"low":0.25,"high":0.5}`},
		{ByClass{1, 2, 3, 4}, `{"human":1,"proxied":2,"machine":3,"unknown":4}`},
		{LinkCount{1, 2, "l", "u", "a", 3, 4, 5}, `{"link":1,"position":2,"label":"l","url":"u","advertiser":"a","total":3,"unique":4,"certain":5}`},
		{ClientCount{"c", 1, 2}, `{"client":"c","opens":1,"clicks":2}`},
		{HourCount{time.Unix(0, 0).UTC(), 1, 2}, `{"hour":"1970-01-01T00:00:00Z","opens":1,"clicks":2}`},
		{Measure{Received: 1, Total: 2, Unique: 3, Certain: 4, Trackable: 5, Suppressed: map[string]uint64{}},
			`{"received":1,"total":2,"by_class":{"human":0,"proxied":0,"machine":0,"unknown":0},"unique":3,"certain":4,"trackable":5,"rate":null,"interval":null,"too_few":false,"suppressed":{}}`},
	} {
		if b, err := json.Marshal(c.of); err != nil || string(b) != c.want {
			t.Errorf("%s, %v\nwant %s", b, err, c.want)
		}
	}
	var names map[string]json.RawMessage
	must(t, json.Unmarshal(b, &names))
	for _, name := range []string{"campaign", "as_of", "delivered", "bounced", "trackable", "untracked", "opens", "clicks", "click_to_open", "links", "series",
		"clients", "suppressed"} {
		if _, ok := names[name]; !ok {
			t.Errorf("no %s in %s", name, b)
		}
		delete(names, name)
	}
	if len(names) > 0 {
		t.Errorf("not promised: %s", names)
	}
}

func TestRateInWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    *Rate
		want string
	}{
		{nil, "-"}, {&Rate{0, 0}, "0.0 %"}, {&Rate{0.25, 0.25}, "25.0 %"}, {&Rate{0.2501, 0.2502}, "25.0 %"}, {&Rate{0.1, 1}, "10.0 - 100.0 %"},
	} {
		if got := c.r.String(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.r, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1,000", 999_999: "999,999", 1_000_000: "1,000,000", 1<<64 - 1: "18,446,744,073,709,551,615",
	} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s     string
		width int
		want  string
	}{
		{"", 5, ""}, {"12345", 5, "12345"}, {"123456", 5, "1234…"}, {"a\x00b", 5, "a?b"}, {"漢字漢字", 8, "漢字漢字"}, {"漢字漢字", 5, "漢字…"},
	} {
		if got := short(c.s, c.width); got != c.want {
			t.Errorf("%q to %d: %q, want %q", c.s, c.width, got, c.want)
		}
	}
}
