package main

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/sqlite"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/demo"
	"mailbeacon/internal/report"
)

// demoConfig is the configuration of a demo in a folder.
func demoConfig(t *testing.T, data string) *config.Config {
	t.Helper()
	cmd := newDemoCommand(&cli{stdout: io.Discard, stderr: io.Discard})
	if err := cmd.Flags().Set("data", data); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(cmd.Flags(), nil, config.Serve)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestDemoAddsUp has a small season happen and compares what is reported of each mailing with what was done to it.
func TestDemoAddsUp(t *testing.T) {
	t.Parallel()
	season := demo.New(demo.Options{Seed: demo.DefaultSeed, Until: time.Date(2026, 11, 20, 17, 23, 0, 0, time.UTC), Scale: 0.12})
	data := filepath.Join(t.TempDir(), "demo")
	cfg := demoConfig(t, data)
	var said strings.Builder
	c := &cli{stdout: &said, stderr: &said}
	if err := fillDemo(t.Context(), c, cfg, season); err != nil {
		t.Fatalf("%v; it said: %s", err, said.String())
	}
	if !strings.Contains(said.String(), "21 campaigns") {
		t.Errorf("it said %q", said.String())
	}
	reports := demoReports(t, cfg, season)
	seen := map[event.Reason]uint64{}
	for i := range season.Mailings {
		m, want, got := &season.Mailings[i], season.Tally(i), reports[i]
		if got.Delivered != want.Delivered || got.Bounced != want.Bounced {
			t.Errorf("%s: delivered %d and bounced %d, want %d and %d", m.Name, got.Delivered, got.Bounced, want.Delivered, want.Bounced)
		}
		sameSum(t, m.Name+", opens", &got.Opens, &want.Opens)
		sameSum(t, m.Name+", clicks", &got.Clicks, &want.Clicks)
		if len(got.Links) != len(want.Links) {
			t.Fatalf("%s: %d links, want %d", m.Name, len(got.Links), len(want.Links))
		}
		for l, n := range want.Links {
			if got.Links[l].Total != n || got.Links[l].Advertiser != m.Links[l].Advertiser {
				t.Errorf("%s, link %d: %d clicks for %q, want %d for %q", m.Name, l+1, got.Links[l].Total, got.Links[l].Advertiser, n, m.Links[l].Advertiser)
			}
		}
		for reason, n := range want.Opens.Suppressed {
			seen[reason] += n
		}
		for reason, n := range want.Clicks.Suppressed {
			seen[reason] += n
		}
		for _, h := range got.Series {
			if h.Hour.Before(m.Sent.Add(-time.Hour)) || h.Hour.After(time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC)) {
				t.Errorf("%s, sent %v, has something at %v", m.Name, m.Sent, h.Hour)
			}
		}
	}
	for _, reason := range []event.Reason{event.OptedOut, event.PlainText, event.GPC, event.DateOnly} {
		if seen[reason] == 0 {
			t.Errorf("nothing is %v", reason)
		}
	}
}

func sameSum(t *testing.T, what string, got *report.Measure, want *demo.Sum) {
	t.Helper()
	by := map[classify.Class]uint64{}
	for class, n := range map[classify.Class]uint64{classify.Human: got.ByClass.Human, classify.Proxied: got.ByClass.Proxied, classify.Machine: got.ByClass.Machine, classify.Unknown: got.ByClass.Unknown} {
		if n > 0 {
			by[class] = n
		}
	}
	if !maps.Equal(by, want.ByClass) {
		t.Errorf("%s by class: %v, want %v", what, by, want.ByClass)
	}
	suppressed := map[string]uint64{}
	for reason, n := range want.Suppressed {
		suppressed[reason.String()] = n
	}
	if !maps.Equal(got.Suppressed, suppressed) {
		t.Errorf("%s suppressed: %v, want %v", what, got.Suppressed, suppressed)
	}
	// People are estimated, and so few nearly exactly.
	for name, n := range map[string][2]uint64{"people": {got.Unique, want.People}, "certain": {got.Certain, want.Certain}} {
		if math.Abs(float64(n[0])-float64(n[1])) > 2+0.02*float64(n[1]) {
			t.Errorf("%s: %d %s, want %d", what, n[0], name, n[1])
		}
	}
}

// demoReports opens a folder that nobody serves, and makes the report of each mailing.
func demoReports(t *testing.T, cfg *config.Config, season *demo.Season) []*report.Report {
	t.Helper()
	ctx, logger := t.Context(), slog.New(slog.DiscardHandler)
	dir, err := datadir.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	state, err := openState(ctx, dir, cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer state.close()
	counts, err := sqlite.OpenCounts(ctx, dir.Path(countsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer counts.Close()
	all := make([]*report.Report, len(season.Mailings))
	for i := range season.Mailings {
		m := &season.Mailings[i]
		known, ok := state.campaigns.ByName(m.Name)
		if !ok {
			t.Fatalf("there is no campaign %s", m.Name)
		}
		if at := known.Created; !at.Before(m.Sent) || m.Sent.Sub(at) > 24*time.Hour {
			t.Errorf("%s was made at %v and sent at %v", m.Name, at, m.Sent)
		}
		s := report.Subject{Name: m.Name, Number: known.Number, Delivered: known.Delivered, Bounced: known.Bounced}
		for _, l := range state.campaigns.Links(known.Number) {
			s.Links = append(s.Links, report.Link{Number: l.Number, URL: l.URL, Label: l.Label, Advertiser: l.Advertiser})
		}
		if all[i], err = report.Query(ctx, counts, s, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestDemoWantsAnEmptyFolder: what is there already stays as it is.
func TestDemoWantsAnEmptyFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := emptyFolder(filepath.Join(data, "new")); err != nil {
		t.Errorf("a folder that does not exist is refused: %v", err)
	}
	if err := emptyFolder(data); err != nil {
		t.Errorf("an empty folder is refused: %v", err)
	}
	if err := os.WriteFile(filepath.Join(data, "VERSION"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c := &cli{stdout: &said, stderr: &said, env: func(string) string { return "" }}
	if code := c.execute(t.Context(), newRootCommand(c), []string{"demo", "--data", data}); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for _, want := range []string{"is not empty", "--data", "serve --data " + data} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q: %s", want, said.String())
		}
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 1 {
		t.Errorf("the refused folder holds %v, %v", left, err)
	}
}

// TestDemoStopped ends a demo while it is filled.
func TestDemoStopped(t *testing.T) {
	t.Parallel()
	season := demo.New(demo.Options{Until: time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC)})
	data := filepath.Join(t.TempDir(), "demo")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(150*time.Millisecond, cancel)
	err := fillDemo(ctx, &cli{stdout: io.Discard, stderr: io.Discard}, demoConfig(t, data), season)
	if err == nil {
		t.Fatal("the season was over before it was stopped")
	}
	if said := abandoned(ctx, data, err).Error(); !strings.Contains(said, "stopped before") || !strings.Contains(said, "rm -r "+data) {
		t.Errorf("it says %q", said)
	}
	if err := os.RemoveAll(data); err != nil {
		t.Errorf("the folder can't be removed: %v", err)
	}
}

// TestDemoSettings: what is set for a real server does not hold in a demo, but for what the demo has flags for.
func TestDemoSettings(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	flags := newDemoCommand(&cli{}).Flags()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(flags.Set("data", "elsewhere"))
	cfg, err := demoSettings(flags, []string{
		"MAILBEACON_EXPORT_FOLDER=" + folder, "MAILBEACON_DASHBOARD_URL=https://beacon.example", "MAILBEACON_PUBLIC_URL=https://t.example", "MAILBEACON_BASIS=none",
		"MAILBEACON_WEBHOOK=https://mailer.example/hook", "MAILBEACON_ADMIN=127.0.0.1:7", "MAILBEACON_STOP_TIMEOUT=3s",
	})
	must(err)
	if cfg.Data != "elsewhere" || cfg.Admin != "127.0.0.1:7" || cfg.StopTimeout != 3*time.Second {
		t.Errorf("what it has flags for: %+v", cfg)
	}
	if cfg.ExportFolder != "" || cfg.DashboardURL != "" || cfg.PublicURL != "" || cfg.Webhook != "" || cfg.Basis.String() != "subject" {
		t.Errorf("a real server's: %+v", cfg)
	}
}
