package export

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// list is a registry that never changes but by the test.
type list []campaign.Campaign

func (l *list) List(after uint32, limit int) (some []campaign.Campaign) {
	for _, c := range *l {
		if c.Number > after && len(some) < limit {
			some = append(some, c)
		}
	}
	return some
}

func (l *list) Links(uint32) []campaign.Link {
	return []campaign.Link{{Number: 1, URL: "https://example.com/a", Label: "=1+1"}}
}

type office struct {
	*Exporter
	list   list
	store  *storetest.Memory
	offset uint64
	now    time.Time
}

func newOffice(t testing.TB, campaigns int) *office {
	t.Helper()
	o := &office{store: storetest.NewMemory(), now: time.Date(2026, 5, 4, 12, 30, 0, 0, time.UTC)}
	for n := range campaigns {
		o.list = append(o.list, campaign.Campaign{Number: uint32(n + 1), Name: "c" + string(rune('a'+n%26)) + strings.Repeat("x", n/26), Title: "=cmd"})
	}
	var err error
	o.Exporter, err = New(Options{Folder: t.TempDir(), Every: time.Hour, Campaigns: &o.list, Counts: o.store, Logger: slog.New(slog.DiscardHandler), now: func() time.Time { return o.now }})
	must(t, err)
	return o
}

// open has a campaign be opened.
func (o *office) open(t testing.TB, number uint32) {
	t.Helper()
	must(t, o.store.Commit(t.Context(), &aggregate.Commit{Before: o.offset, After: aggregate.Progress{Offset: o.offset + 1}, Counts: []aggregate.Count{
		{Cell: aggregate.Cell{Campaign: number, Hour: 493_000, Kind: event.Open, Class: classify.Human}, N: 1},
	}}))
	o.offset++
}

func (o *office) files(t testing.TB) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(o.o.Folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, strings.TrimPrefix(path, o.o.Folder+"/"))
		}
		return err
	}))
	return all
}

func (o *office) report(t testing.TB, name string) (r report.Report) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(o.o.Folder, "campaigns", name+".json"))
	must(t, err)
	must(t, json.Unmarshal(b, &r))
	return r
}

func TestExport(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	export := func(want int) {
		t.Helper()
		if n, err := o.Export(t.Context()); err != nil || n != want {
			t.Errorf("%d files, %v; want %d", n, err, want)
		}
	}
	export(6)
	if got, want := o.files(t), []string{"campaigns/ca.csv", "campaigns/ca.json", "campaigns/cb.csv", "campaigns/cb.json", "campaigns.csv", "campaigns.json"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	first := o.now
	o.now = o.now.Add(time.Hour)
	export(0) // nothing was counted since
	if r := o.report(t, "ca"); !r.AsOf.Equal(first) {
		t.Errorf("as of %v", r.AsOf)
	}
	o.open(t, 2)
	export(4)
	if a, b := o.report(t, "ca"), o.report(t, "cb"); !a.AsOf.Equal(first) || !b.AsOf.Equal(o.now) || b.Opens.Total != 1 {
		t.Errorf("as of %v and %v, %d opens", a.AsOf, b.AsOf, b.Opens.Total)
	}
	must(t, os.Remove(filepath.Join(o.o.Folder, "campaigns", "cb.csv")))
	export(2)
	must(t, os.WriteFile(filepath.Join(o.o.Folder, "campaigns", "ca.json"), []byte("damaged"), 0o600))
	export(2)
	for _, name := range []string{"campaigns.csv", "campaigns/ca.csv"} {
		b, err := os.ReadFile(filepath.Join(o.o.Folder, name))
		must(t, err)
		if strings.Contains(string(b), ",=") || !strings.Contains(string(b), "'=") {
			t.Errorf("%s has a formula:\n%s", name, b)
		}
	}
}

func TestManyCampaigns(t *testing.T) {
	t.Parallel()
	const campaigns = page + 7
	o := newOffice(t, campaigns)
	if n, err := o.Export(t.Context()); err != nil || n != 2*campaigns+2 {
		t.Errorf("%d files, %v", n, err)
	}
	var lines []report.Line
	b, err := os.ReadFile(filepath.Join(o.o.Folder, "campaigns.json"))
	must(t, err)
	must(t, json.Unmarshal(b, &lines))
	if len(lines) != campaigns {
		t.Errorf("%d lines", len(lines))
	}
}

// TestRun: exports begin at multiples of the time between two, and one that fails is tried again after a minute.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, 1)
		o.o.now = time.Now
		time.Sleep(20 * time.Minute) // the bubble's clock begins at midnight
		done := make(chan struct{})
		go func() { defer close(done); _ = o.Run(t.Context()) }()
		last := func() time.Time { return o.Stats().Last }
		time.Sleep(time.Second)
		if got := last().Minute(); got != 20 {
			t.Errorf("first at minute %d", got)
		}
		time.Sleep(40 * time.Minute)
		if got := last().Minute(); got != 0 {
			t.Errorf("then at minute %d", got)
		}
		folder := filepath.Join(o.o.Folder, "campaigns")
		must(t, os.Rename(folder, folder+".away"))
		time.Sleep(time.Hour + 3*time.Minute)
		if s := o.Stats(); !s.Faulty || s.Failed != 4 {
			t.Errorf("without its folder: %+v", s)
		}
		must(t, os.Rename(folder+".away", folder))
		time.Sleep(time.Minute)
		if s := o.Stats(); s.Faulty || s.Last.Minute() != 4 || s.Written != 4 {
			t.Errorf("with it: %+v", s)
		}
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("made of nothing")
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := New(Options{Folder: file, Every: time.Hour, Campaigns: &list{}, Counts: storetest.NewMemory()}); err == nil {
		t.Error("a file was taken for a folder")
	}
}
