package main

import (
	"strings"
	"testing"

	"mailbeacon/internal/api"
	"mailbeacon/internal/report"
)

func TestCompareCommand(t *testing.T) {
	t.Parallel()
	b := serving(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"compare"}, exitOK, ""},
		{[]string{"compare", "--by", "looks"}, exitUsage, "--by looks"},
		{[]string{"compare", "--latest", "0"}, exitUsage, "limit"},
		{[]string{"compare", "--zone", "Mars/Olympus"}, exitUsage, "time zone"},
		{[]string{"campaign", "add", "spring"}, exitOK, "spring"},
		{[]string{"compare"}, exitOK, "1 of 1 campaigns have no place"},
		{[]string{"compare", "--json", "--zone", "Europe/Berlin"}, exitOK, `"by_opens": []`},
	} {
		out, errs, code := b.run("", c.args...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%v: exit code %d, %q, %q", c.args, code, out, errs)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := &cli{stdout: &out}
	err := c.printPlaces([]api.Place{
		{Campaign: "spring", Best: 1, Worst: 1, Rate: report.Rate{Low: 0.5, High: 0.6}, Interval: report.Rate{Low: 0.45, High: 0.65}},
		{Campaign: "summer", Best: 2, Worst: 3, Tied: true, Rate: report.Rate{Low: 0.2, High: 0.2}, Interval: report.Rate{Low: 0.15, High: 0.25}},
	}, 3)
	const want = `PLACE     CAMPAIGN  RATE           95 % INTERVAL
1         spring    50.0 - 60.0 %  45.0 - 65.0 %
2-3 tied  summer    20.0 %         15.0 - 25.0 %
1 of 3 campaigns have no place: too few mails that measure it
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestCampaignMailCommand(t *testing.T) {
	t.Parallel()
	b := serving(t)
	const mail = `<p><a href="https://example.com/a">One</a></p>`
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		says  string
	}{
		{"", []string{"campaign", "add", "spring"}, exitOK, "spring"},
		{"", []string{"campaign", "mail", "spring"}, exitFailure, "no mail is kept"},
		{mail, []string{"campaign", "mail", "spring", "--html", "-"}, exitOK, "46 bytes, 1 counted links"},
		{"", []string{"campaign", "mail", "spring"}, exitOK, mail},
		{"", []string{"campaign", "mail", "spring", "--json"}, exitOK, `"html"`},
		{"", []string{"campaign", "mail", "spring", "--html", "-"}, exitUsage, "--remove"},
		{"", []string{"campaign", "mail", "spring", "--html", "-", "--remove"}, exitUsage, "exclude"},
		{"", []string{"campaign", "mail", "spring", "--html", "/no/such/file"}, exitUsage, "no such file"},
		{"", []string{"campaign", "mail", "autumn", "--remove"}, exitFailure, "no such campaign"},
		{"", []string{"campaign", "mail", "spring", "--remove"}, exitOK, "any more"},
	} {
		out, errs, code := b.run(c.stdin, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%v: exit code %d, %q, %q", c.args, code, out, errs)
		}
	}
}
