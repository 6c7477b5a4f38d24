package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/config"
	"mailbeacon/internal/report"
)

// alone has each event judged by itself, so that no pause between an open and a click means anything.
var alone = []string{"--classify-window", "0s"}

func TestNoWindowJudgesEachEventAlone(t *testing.T) {
	t.Parallel()
	o := foldOptions(&config.Config{ClassifyWindow: 0}, &state{}, nil)
	burst := []classify.Sighting{{Kind: event.Click, Link: 1}, {Kind: event.Click, Link: 2}, {Kind: event.Click, Link: 3}}
	if o.Judge(1, burst, 3) != classify.Human || o.JudgeDate(1, burst, 3) != classify.Human {
		t.Error("a burst is seen")
	}
}

// must runs a command that has to succeed.
func (b *shell) must(stdin, args string) string {
	b.t.Helper()
	out, errs, code := b.run(stdin, strings.Fields(args)...)
	if code != exitOK {
		b.t.Fatalf("%s: code %d: %s", args, code, errs)
	}
	return out
}

// mail is what a recipient's mail carries.
type mail struct {
	Subject  string            `json:"subject"`
	PixelURL string            `json:"pixel_url"`
	Links    map[string]string `json:"links"`
}

// mail makes a campaign with one link, mail for somebody, and tells that all of it arrived.
func (b *shell) mail(campaign, flags string, people ...string) (mails []mail) {
	b.t.Helper()
	b.must("", "campaign add "+campaign+" "+flags)
	b.must("", "link add "+campaign+" https://example.com/")
	var to strings.Builder
	for _, p := range people {
		to.WriteString(`{"to":"` + p + `@example.com"}` + "\n")
	}
	for line := range strings.Lines(b.must(to.String(), "message recipients "+campaign)) {
		var m mail
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			b.t.Fatalf("%s: %v", line, err)
		}
		mails = append(mails, m)
	}
	b.must("", "delivery add "+campaign+" --id 1 --delivered "+string(rune('0'+len(people))))
	return mails
}

// read opens a mail and follows its link, as far as it carries what tells of that, and returns how many requests that
// were.
func (b *shell) read(mails ...mail) (opens, clicks uint64) {
	b.t.Helper()
	addr, err := os.ReadFile(filepath.Join(b.data, edgeAddrFile))
	if err != nil {
		b.t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(address string) uint64 {
		u, err := url.Parse(address)
		if err != nil || u.Path == "" || strings.HasPrefix(address, "https://example.com") {
			return 0 // nothing that tells
		}
		r, err := http.NewRequestWithContext(b.t.Context(), "GET", "http://"+strings.TrimSpace(string(addr))+u.Path, http.NoBody)
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
		answer, err := client.Do(r)
		if err != nil {
			b.t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode >= 400 {
			b.t.Fatalf("%s answered %d", u.Path, answer.StatusCode)
		}
		return 1
	}
	for _, m := range mails {
		opens += get(m.PixelURL)
		clicks += get(m.Links["1"])
	}
	return opens, clicks
}

// report waits until a campaign has received so much, and returns its report.
func (b *shell) report(campaign string, opens, clicks uint64) (r report.Report) {
	b.t.Helper()
	all := false
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if err := json.Unmarshal([]byte(b.must("", "report "+campaign+" --json")), &r); err != nil {
			b.t.Fatal(err)
		}
		if all {
			return r
		}
		// Counts and people are asked for side by side: what was stored between the two, the next report has whole.
		all = r.Opens.Received >= opens && r.Clicks.Received >= clicks
		if time.Now().After(deadline) {
			b.t.Fatalf("%s received %d opens and %d clicks of %d and %d", campaign, r.Opens.Received, r.Clicks.Received, opens, clicks)
		}
	}
}

// days are whose date of activity a stopped server keeps.
func (b *shell) days(people ...string) map[string]bool {
	b.t.Helper()
	ring, store, closed := b.stopped()
	defer closed()
	kept := map[string]bool{}
	for _, p := range people {
		all, err := store.LastDays(context.Background(), []uint64{ring.Subject([]byte(p + "@example.com"))})
		if err != nil {
			b.t.Fatal(err)
		}
		if len(all) > 0 {
			kept[p] = true
		}
	}
	return kept
}

// TestBasis has mail made on each basis, and read while each holds. Of the three people one granted all, one refused
// opens, and one never said anything.
func TestBasis(t *testing.T) {
	bases := []string{"subject", "aggregate", "none"}
	type counts map[string]uint64
	// On the basis when mail is made: what of it measures, and of whom.
	made := map[string]struct {
		opens, clicks, named uint64 // mails with a pixel, with a counted link, with a person's number
		trackable            uint64
		untracked            counts
	}{
		"subject":   {2, 3, 3, 3, counts{}},
		"aggregate": {2, 3, 1, 1, counts{"opted_out": 1, "aggregate_only": 1}},
		"none":      {1, 1, 1, 1, counts{"opted_out": 1, "no_basis": 1}},
	}
	// On both: how many opens and clicks count, of how many people, and how many have no basis any more.
	type result struct{ opens, openers, clicks, clickers, noBasis uint64 }
	read := map[string]result{
		"subject subject":     {2, 2, 3, 3, 0},
		"subject aggregate":   {2, 1, 3, 1, 0},
		"subject none":        {1, 1, 1, 1, 3},
		"aggregate subject":   {2, 1, 3, 1, 0}, // it names nobody, and nothing makes it
		"aggregate aggregate": {2, 1, 3, 1, 0},
		"aggregate none":      {1, 1, 1, 1, 3},
		"none subject":        {1, 1, 1, 1, 0}, // it measures nothing, and nothing makes it
		"none aggregate":      {1, 1, 1, 1, 0},
		"none none":           {1, 1, 1, 1, 0},
	}
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	sent := map[string][]mail{}
	for i, basis := range bases {
		stop := b.boot(append(alone, "--basis", basis)...)
		if i == 0 {
			b.must("", "consent set granted@example.com --opens granted --clicks granted")
			b.must("", "consent set refused@example.com --opens refused")
		}
		for _, later := range bases {
			mails := b.mail(basis+"-"+later, "", "granted", "refused", "unsaid")
			sent[basis+" "+later] = mails
			want := made[basis]
			got := want
			got.opens, got.clicks, got.named = 0, 0, 0
			for _, m := range mails {
				for count, there := range map[*uint64]bool{
					&got.opens: m.PixelURL != "", &got.named: m.Subject != "", &got.clicks: strings.Contains(m.Links["1"], "/c/"),
				} {
					if there {
						*count++
					}
				}
			}
			if got.opens != want.opens || got.clicks != want.clicks || got.named != want.named {
				t.Errorf("made on basis %s: %+v, want %+v; %+v", basis, got, want, mails)
			}
		}
		stop()
	}
	for _, later := range []string{"none", "aggregate", "subject"} {
		stop := b.boot(append(alone, "--basis", later)...)
		for _, basis := range bases {
			opens, clicks := b.read(sent[basis+" "+later]...)
			r := b.report(basis+"-"+later, opens, clicks)
			got := result{r.Opens.Total, r.Opens.Unique, r.Clicks.Total, r.Clicks.Unique, r.Suppressed["no_basis"]}
			if want := read[basis+" "+later]; got != want || opens+clicks != want.opens+want.clicks+want.noBasis || len(r.Suppressed) != min(1, int(want.noBasis)) {
				t.Errorf("made on basis %s, read on %s: %+v, want %+v; suppressed %v of %d", basis, later, got, want, r.Suppressed, opens+clicks)
			}
			if want := made[basis]; r.Trackable != want.trackable || !maps.Equal(r.Untracked, want.untracked) {
				t.Errorf("made on basis %s: trackable %d, %v; want %d, %v", basis, r.Trackable, r.Untracked, want.trackable, want.untracked)
			}
		}
		stop()
		want := map[string]bool{"granted": true}
		if later == "subject" {
			want = map[string]bool{"granted": true, "refused": true, "unsaid": true}
		}
		if got := b.days("granted", "refused", "unsaid"); !maps.Equal(got, want) {
			t.Errorf("read on basis %s: dates of %v, want %v", later, got, want)
		}
	}
}

// TestDateOnlyFromMailToReport: what somebody with dates alone did, and what anybody did in a campaign of dates, stands
// in the report under that reason, and each one's date is kept.
func TestDateOnlyFromMailToReport(t *testing.T) {
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	stop := b.boot(alone...)
	b.must("", "consent set refused@example.com --opens refused")
	b.must("subject,tracking,clicks\ndates@example.com,date-only,\nboth@example.com,date-only,refused\n", "consent import -")
	mails := map[string][]mail{
		"news":  b.mail("news", "", "dates", "both", "full"),
		"dates": b.mail("dates", "--date-only", "unsaid", "refused"),
	}
	// Who chooses after the mail was made is heard as well.
	mails["news"] = append(mails["news"], b.mail("late", "", "late")...)
	b.must("", "consent set late@example.com --tracking date-only")
	for campaign, c := range map[string]struct {
		mails     []mail
		total     uint64 // both kinds
		dates     uint64
		trackable uint64
		untracked map[string]uint64
	}{
		"news":  {mails["news"][:3], 2, 3, 1, map[string]uint64{"date_only": 1, "opted_out": 1}},
		"late":  {mails["news"][3:], 0, 2, 1, map[string]uint64{}},
		"dates": {mails["dates"], 0, 3, 0, map[string]uint64{"date_only": 1, "opted_out": 1}},
	} {
		opens, clicks := b.read(c.mails...)
		r := b.report(campaign, opens, clicks)
		if r.Opens.Total+r.Clicks.Total != c.total || r.Opens.Unique+r.Clicks.Unique != c.total || !maps.Equal(r.Suppressed, map[string]uint64{"date_only": c.dates}) ||
			r.Trackable != c.trackable || !maps.Equal(r.Untracked, c.untracked) {
			t.Errorf("%s: %+v", campaign, r)
		}
	}
	stop()
	people := []string{"dates", "both", "full", "unsaid", "refused", "late"}
	if got := b.days(people...); len(got) != len(people) {
		t.Errorf("dates of %v alone", got)
	}
}
