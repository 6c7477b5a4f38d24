package advertiser

import (
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/privacy"
)

func TestMain(m *testing.M) {
	if os.Getenv(closerFolder) != "" {
		os.Exit(closeUntilKilled())
	}
	// A person in two cells takes a certain course of events: the command line may say more.
	if err := flag.Set("rapid.checks", "5000"); err != nil {
		panic(err)
	}
	os.Exit(clickhousetest.Main(m))
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	if start.Weekday() != time.Monday {
		t.Fatal("the tests begin on a " + start.Weekday().String())
	}
	for _, c := range []struct {
		now    time.Time
		length time.Duration
		end    time.Time // of what is due
		year   int
	}{
		{start, Week, start.AddDate(0, 0, -7), 2026},
		{start.Add(time.Hour - 1), Week, start.AddDate(0, 0, -7), 2026},
		{start.Add(time.Hour), Week, start, 2026},
		{start.AddDate(0, 0, 6), Week, start, 2026},
		{start.AddDate(0, 0, 7).Add(time.Hour), Week, start.AddDate(0, 0, 7), 2026},
		{start.Add(time.Hour).In(time.FixedZone("east", 12*3600)), Week, start, 2026},
		{time.Date(2027, 1, 4, 1, 0, 0, 0, time.UTC), Week, time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC), 2027},
		{time.Date(2027, 1, 3, 1, 0, 0, 0, time.UTC), 24 * time.Hour, time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), 2027},
		{time.Date(2027, 1, 1, 1, 0, 0, 0, time.UTC), 24 * time.Hour, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), 2026}, // its last moment
		{time.Date(1969, 12, 31, 12, 0, 0, 0, time.UTC), Week, time.Date(1969, 12, 29, 0, 0, 0, 0, time.UTC), 1969},
		{start.Add(11 * time.Second), 10 * time.Second, start.Add(10 * time.Second), 2026},
	} {
		e := dueAt(c.now, c.length)
		if !e.End.Equal(c.end) || e.End.Sub(e.Start) != c.length || e.year() != c.year {
			t.Errorf("%v by %v: %v, of %d", c.now, c.length, e, e.year())
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for noised, want := range map[int64]int{-1 << 63: -1, -3: -1, 0: -1, 19: -1, 20: 20, 22: 20, 23: 25, 25: 25, 27: 25, 28: 30, 1<<63 - 1: -1 << 63} {
		got := shown(noised)
		if noised == 1<<63-1 {
			if got == nil || *got%5 != 0 {
				t.Errorf("the greatest is shown as %v", got)
			}
			continue
		}
		if (got == nil) != (want < 0) || got != nil && int(*got) != want {
			t.Errorf("%d is shown as %v, want %d", noised, got, want)
		}
	}
}

// TestReleasedOnce: a number is drawn when its epoch closes, with the noise that was drawn then, and asking for it, closing again
// and starting anew, with other random bits, never changes a byte. Late clicks are of the next epoch; nobody is in two.
func TestReleasedOnce(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	c := g.books.add(1000, "ACME", "ACME", "Bolt")
	g.click(t, c, 1, 0, 100)
	g.click(t, c, 2, 50, 130)
	g.click(t, c, 3, 0, 3)
	g.clock.week(0)
	g.close(t)
	want := []int64{130 + noise(t, 1, 1)[0]}
	if got := g.released(t, "ACME", c); !slices.Equal(got, want) {
		t.Fatalf("released %v, want %v", got, want)
	}
	first := asJSON(t, g.report(t, "ACME"))
	g.click(t, c, 1, 120, 200) // 70 more, after the closing
	for again := range 300 {
		if again%50 == 0 {
			g.renew(t, byte(100+again/50)) // a restart, and other bits
		}
		must(t, g.Close(t.Context()))
		if now := asJSON(t, g.report(t, "ACME")); now != first {
			t.Fatalf("asked again: %s, was %s", now, first)
		}
	}
	g.renew(t, 2)
	g.clock.week(1)
	g.close(t)
	want = append(want, 70+noise(t, 2, 1)[0])
	if got := g.released(t, "ACME", c); !slices.Equal(got, want) {
		t.Errorf("released %v, want %v", got, want)
	}
	r := g.report(t, "ACME").of(t, "ca")
	if len(r.Cells) != 2 || r.People != *shown(want[0])+*shown(want[1]) || !r.Cells[1].To.Equal(start.AddDate(0, 0, 7)) || !r.Cells[1].From.Equal(start) {
		t.Errorf("%+v", r)
	}
	if b := g.report(t, "Bolt").of(t, "ca"); b.People != 0 || b.Withheld != 2 || b.Cells[0].People != nil {
		t.Errorf("3 people of another advertiser: %+v", b)
	}
	// And it ends.
	for week := 2; week < 8; week++ {
		g.clock.week(week)
		g.close(t)
	}
	if r := g.report(t, "ACME").of(t, "ca"); len(r.Cells) != MostCells || r.State != Ended {
		t.Errorf("%+v", r)
	}
}

// TestTooFewDelivered: with 499 nothing is drawn, not even noise; with 500, the people of before are in the next epoch.
func TestTooFewDelivered(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1, func(o *Options) { o.random = iotest.ErrReader(errors.New("somebody drew")) })
	c := g.books.add(499, "ACME")
	g.click(t, c, 1, 0, 60)
	g.clock.week(1)
	g.close(t)
	if r := g.report(t, "ACME"); len(r.of(t, "ca").Cells) != 0 || r.Campaigns[0].State != FewDelivered || len(r.Ledger) != 0 {
		t.Errorf("of 499: %+v", r)
	}
	g.books.deliver(c, 500)
	g.close(t) // that epoch is closed: nothing is drawn for it any more, also after a restart
	g.renew(t, 1, func(o *Options) { o.random = iotest.ErrReader(errors.New("somebody drew")) })
	g.close(t)
	g.clock.week(2)
	if err := g.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody drew") {
		t.Errorf("of 500: %v", err)
	}
	if r := g.report(t, "ACME"); len(r.of(t, "ca").Cells) != 0 {
		t.Errorf("a number without noise: %+v", r)
	}
	g.renew(t, 3)
	g.close(t)
	if got, want := g.released(t, "ACME", c), 60+noise(t, 3, 1)[0]; !slices.Equal(got, []int64{want}) {
		t.Errorf("of 500: released %v, want %d", got, want)
	}
}

// TestClockGoesBack: over the end of an epoch, and of many, nothing is opened again.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	c := g.books.add(1000, "ACME")
	g.click(t, c, 1, 0, 100)
	g.clock.week(3)
	g.close(t)
	want := g.released(t, "ACME", c)
	g.click(t, c, 1, 100, 200)
	for i, back := range []time.Duration{2 * time.Hour, 24 * time.Hour, 8 * 24 * time.Hour, 400 * 24 * time.Hour} {
		g.renew(t, byte(10+i))
		g.clock.week(3)
		g.clock.at = g.clock.at.Add(-back)
		if err := g.Close(t.Context()); (err != nil) != (i == 3) || err != nil && !strings.Contains(err.Error(), "clock is wrong") {
			t.Errorf("%v back: %v", back, err)
		}
		g.clock.week(3) // and on again, over the same end
		g.close(t)
	}
	if got := g.released(t, "ACME", c); !slices.Equal(got, want) {
		t.Errorf("released %v, was %v", got, want)
	}
	g.clock.week(4)
	g.close(t)
	if got := g.released(t, "ACME", c); len(got) != 2 || got[1] < 60 || got[1] > 140 {
		t.Errorf("the next epoch: %v", got)
	}
}

// TestMissedEpochs: what nobody closed in time falls into the next one, as one number.
func TestMissedEpochs(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	c := g.books.add(1000, "ACME")
	g.click(t, c, 1, 0, 40)
	g.clock.week(1)
	g.click(t, c, 1, 40, 90)
	g.clock.week(5)
	g.close(t)
	if got, want := g.released(t, "ACME", c), 90+noise(t, 1, 1)[0]; !slices.Equal(got, []int64{want}) {
		t.Errorf("released %v, want %d", got, want)
	}
	if cell := g.report(t, "ACME").of(t, "ca").Cells[0]; !cell.From.Equal(start.AddDate(0, 0, -1)) || !cell.To.Equal(start.AddDate(0, 0, 35)) {
		t.Errorf("the number is of %v to %v, which is not since the campaign began", cell.From, cell.To)
	}
}

// TestBudget: the year's releases stop at the budget, in the order of campaigns, whoever clicked; the report says so, and the
// people wait for the next year.
func TestBudget(t *testing.T) {
	t.Parallel()
	half := privacy.Epsilon{Num: 1, Den: 2}
	limit := func(o *Options) { o.Epsilon, o.Budget = half, 2 }
	g := newRig(t, storetest.NewMemory(), 1, limit)
	a, b, c := g.books.add(1000, "ACME"), g.books.add(1000, "ACME"), g.books.add(1000, "ACME", "Bolt")
	for _, n := range []uint32{a, b, c} {
		g.click(t, n, 1, 0, 80)
	}
	g.clock.week(1)
	g.close(t) // 3 × 1/2
	g.click(t, a, 1, 80, 160)
	g.click(t, c, 1, 80, 160)
	g.clock.week(2)
	g.close(t) // room for one
	g.clock.week(3)
	g.close(t)
	r := g.report(t, "ACME")
	if len(r.Ledger) != 1 || r.Ledger[0] != (Year{2026, 4, "2", 2}) {
		t.Errorf("ledger %+v", r.Ledger)
	}
	for name, want := range map[string]int{"ca": 2, "cb": 1, "cc": 1} {
		if one := r.of(t, name); len(one.Cells) != want || one.State != BudgetSpent {
			t.Errorf("%s: %+v", name, one)
		}
	}
	if bolt := g.report(t, "Bolt"); bolt.of(t, "cc").State != Counting || bolt.Ledger[0].Spent != "3/2" {
		t.Errorf("another advertiser's budget: %+v", bolt)
	}
	g.clock.week(6) // an epoch that ends on 2027-01-04
	g.close(t)
	r = g.report(t, "ACME")
	if len(r.Ledger) != 2 || r.Ledger[1] != (Year{2027, 3, "3/2", 2}) || r.of(t, "cc").State != Counting {
		t.Errorf("the next year: %+v", r)
	}
	if got := g.released(t, "ACME", c); len(got) != 2 || got[1] < 40 {
		t.Errorf("who waited for it: %v", got)
	}
}

// TestLinksChange: a link that goes to somebody else would take its people out of the sum and bring them back: nothing more is
// released until it is back. One that comes makes the sum greater, and nobody counts twice.
func TestLinksChange(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	c := g.books.add(1000, "ACME", "ACME", "Bolt")
	g.click(t, c, 1, 0, 50)
	g.click(t, c, 2, 0, 100)
	g.click(t, c, 3, 80, 180)
	g.clock.week(1)
	g.close(t)
	was := asJSON(t, g.report(t, "ACME").of(t, "ca").Cells)
	g.books.give(c, 2, "Bolt")
	g.clock.week(2)
	g.close(t)
	r := g.report(t, "ACME").of(t, "ca")
	if r.State != LinksChanged || asJSON(t, r.Cells) != was {
		t.Errorf("%+v", r)
	}
	g.books.give(c, 1, "Bolt")
	if r := g.report(t, "ACME").of(t, "ca"); r.State != Gone || asJSON(t, r.Cells) != was {
		t.Errorf("without any link: %+v", r)
	}
	g.books.give(c, 1, "ACME")
	g.books.give(c, 2, "ACME")
	g.books.give(c, 3, "ACME")
	g.renew(t, 5)
	g.clock.week(3)
	g.close(t)
	// Bolt, which lost both, comes after ACME in the round and releases nothing.
	if got, want := g.released(t, "ACME", c), 80+noise(t, 5, 1)[0]; len(got) != 2 || got[1] != want {
		t.Errorf("with all three: %v, want %d new", got, want)
	}
}

func TestUnknownAndEmpty(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	if _, err := g.Report(t.Context(), "ACME"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	g.close(t)
	c := g.books.add(1000, "ACME")
	g.books.all[c-1].DateOnly = true
	g.clock.week(1)
	g.close(t)
	if r := g.report(t, "ACME"); r.of(t, "ca").State != DateOnly || len(r.Ledger) != 0 {
		t.Errorf("%+v", r)
	}
	if l := g.List("", 10); len(l) != 1 || l[0].Name != "ACME" || len(g.List("ACME", 10)) != 0 {
		t.Errorf("%+v", l)
	}
	for name, o := range map[string]Options{
		"nothing": {}, "half a second": {Store: g.store, Campaigns: g.books, Epoch: time.Second / 2}, "epsilon": {Store: g.store, Campaigns: g.books, Epsilon: privacy.Epsilon{Num: 1}},
		"budget": {Store: g.store, Campaigns: g.books, Budget: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestNothingTrueIsTold: what the exact numbers are stands in no report, no table and no log line.
func TestNothingTrueIsTold(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory(), 1)
	c := g.books.add(100_000, "ACME")
	const people = 71_237
	g.click(t, c, 1, 0, people)
	g.clock.week(1)
	g.close(t)
	r := g.report(t, "ACME")
	noised := g.released(t, "ACME", c)[0]
	var csv, table strings.Builder
	must(t, CSV(&csv, r))
	must(t, Table(&table, r))
	all := asJSON(t, r) + csv.String() + table.String() + g.log.String()
	for _, secret := range []string{"71237", "71,237"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is told:\n%s", secret, all)
		}
	}
	if noised%5 != 0 && strings.Contains(all, asJSON(t, noised)) {
		t.Errorf("the noised number is told before it is rounded:\n%s", all)
	}
	if !strings.Contains(csv.String(), "released") || !strings.Contains(table.String(), "cost 1 of 208") {
		t.Errorf("%s\n%s", &csv, &table)
	}
}

// TestRender: names that a spreadsheet would run, or a terminal obey.
func TestRender(t *testing.T) {
	t.Parallel()
	n := uint64(1250)
	r := &Report{Advertiser: "=HYPERLINK(\"http://evil\")", People: n, Withheld: 2, Campaigns: []CampaignReport{
		{Campaign: "spring", Title: "@SUM(1+1)", State: Counting, People: n, Withheld: 1, Cells: []Cell{{From: start, To: start.AddDate(0, 0, 7), People: &n}, {From: start.AddDate(0, 0, 7), To: start.AddDate(0, 0, 14), Withheld: true}}},
		{Campaign: "x\x1b[31m", Title: "+1", State: FewDelivered},
	}}
	var csv, table strings.Builder
	must(t, CSV(&csv, r))
	want := `advertiser,campaign,title,from,to,people,state
"'=HYPERLINK(""http://evil"")",spring,'@SUM(1+1),2026-11-23T00:00:00Z,2026-11-30T00:00:00Z,1250,released
"'=HYPERLINK(""http://evil"")",spring,'@SUM(1+1),2026-11-30T00:00:00Z,2026-12-07T00:00:00Z,,withheld
"'=HYPERLINK(""http://evil"")",` + "x\x1b[31m" + `,'+1,,,,few_delivered
`
	if csv.String() != want {
		t.Errorf("%s\nwant\n%s", &csv, want)
	}
	must(t, Table(&table, r))
	if strings.Contains(table.String(), "\x1b") || !strings.Contains(table.String(), "1,250") || !strings.Contains(table.String(), "2 numbers were too small") {
		t.Errorf("%s", &table)
	}
}
