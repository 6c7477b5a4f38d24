// Package export writes reports into a folder, now and then, for whoever reads files: each campaign's as JSON and CSV, and a
// table of all of them. What a file says is what the API would have said at its as_of. Files are replaced whole, and only where
// their numbers changed.
package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/report"
)

// Campaigns are what is registered. They may be asked concurrently.
type Campaigns interface {
	List(after uint32, limit int) []campaign.Campaign
	Links(number uint32) []campaign.Link
}

// Options are what an Exporter is made of. Folder, Every, Campaigns and Counts are needed.
type Options struct {
	// Folder is where the files go; it has to be there. Of it, campaigns.csv, campaigns.json and the folder campaigns are the exporter's.
	Folder string
	// Every is the time from one export to the next. They begin at multiples of it since midnight, UTC.
	Every     time.Duration
	Campaigns Campaigns
	Counts    aggregate.Reader
	Logger    *slog.Logger // nil: silent

	now func() time.Time // of tests
}

// Exporter writes reports. Run and Export are for one goroutine; Stats may be called concurrently.
type Exporter struct {
	o Options

	mu    sync.Mutex
	stats Stats
}

// Stats is what an Exporter can tell.
type Stats struct {
	Last    time.Time // when the last export that succeeded began; zero for none in this life
	Written uint64    // files
	Failed  uint64    // exports
	Faulty  bool      // the last one failed
}

const (
	folderMode = 0o750
	fileMode   = 0o640
	// retryAfter is the least time after which an export that failed is tried again.
	retryAfter = time.Minute
	page       = 200 // campaigns that are listed at a time
)

// New returns an exporter, or an error where the options can't be used.
func New(o Options) (*Exporter, error) {
	if o.Folder == "" || o.Every <= 0 || o.Campaigns == nil || o.Counts == nil {
		return nil, errors.New("export: no folder, time, campaigns or counts")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	if err := os.MkdirAll(filepath.Join(o.Folder, "campaigns"), folderMode); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return &Exporter{o: o}, nil
}

// Run exports at once, and then in time, until ctx ends; then it returns nil. What fails is said once and tried again.
func (e *Exporter) Run(ctx context.Context) error {
	for {
		wait := e.turn(ctx)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// turn exports, and returns when to do it again.
func (e *Exporter) turn(ctx context.Context) time.Duration {
	began := e.o.now()
	written, err := e.Export(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Written += uint64(written)
	was := e.stats.Faulty
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		e.stats.Failed++
		if e.stats.Faulty = true; !was {
			e.o.Logger.Error("reports can't be exported; trying again", "error", err)
		}
		return min(retryAfter, e.o.Every)
	}
	if e.stats.Faulty, e.stats.Last = false, began; was {
		e.o.Logger.Info("reports are exported again")
	}
	now := e.o.now()
	return now.Truncate(e.o.Every).Add(e.o.Every).Sub(now)
}

// Stats tells how exporting is doing.
func (e *Exporter) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Export writes what changed and returns how many files those are. After an error some may have been written.
func (e *Exporter) Export(ctx context.Context) (written int, err error) {
	lines := []report.Line{}
	for after := uint32(0); ; {
		some := e.o.Campaigns.List(after, page)
		if len(some) == 0 {
			break
		}
		for _, c := range some {
			after = c.Number
			s := report.SubjectOf(c, e.o.Campaigns.Links(c.Number))
			l, n, err := e.campaign(ctx, &s)
			written += n
			if err != nil {
				return written, err
			}
			lines = append(lines, l)
		}
	}
	n, err := e.table(lines)
	return written + n, err
}

// campaign writes one campaign's report, and returns its line in the table.
func (e *Exporter) campaign(ctx context.Context, s *report.Subject) (l report.Line, files int, err error) {
	r, err := report.Query(ctx, e.o.Counts, *s, e.o.now())
	if err != nil {
		return l, 0, err
	}
	l = report.LineOf(s, r)
	l.Series = []report.HourCount{} // which the campaign's own file has: thousands of them would be too much for one
	path := filepath.Join(e.o.Folder, "campaigns", s.Name)
	var was report.Report
	if known, err := os.ReadFile(path + jsonExt); err == nil && json.Unmarshal(known, &was) == nil {
		// As long as nothing was counted since, an earlier moment is as true, and the file stays.
		as := *r
		as.AsOf = was.AsOf
		if same, err := holds(path, known, &as); err != nil || same {
			return l, 0, err
		}
	}
	files, err = put(path, r, func(w io.Writer) error { return report.CSV(w, r) })
	return l, files, err
}

// table writes the table of all campaigns.
func (e *Exporter) table(lines []report.Line) (int, error) {
	path := filepath.Join(e.o.Folder, "campaigns")
	if known, err := os.ReadFile(path + jsonExt); err == nil {
		if same, err := holds(path, known, lines); err != nil || same {
			return 0, err
		}
	}
	return put(path, lines, func(w io.Writer) error { return report.LinesCSV(w, lines) })
}

const (
	csvExt  = ".csv"
	jsonExt = ".json"
)

// holds says whether a value's two files are there, and known, the JSON, is its.
func holds(path string, known []byte, value any) (bool, error) {
	text, err := encode(value)
	if err != nil || !bytes.Equal(known, text) {
		return false, err
	}
	_, missing := os.Stat(path + csvExt)
	return missing == nil, nil
}

// put writes a value's two files. The JSON comes last: it says that both are there.
func put(path string, value any, csv func(io.Writer) error) (files int, err error) {
	var table bytes.Buffer
	if err := csv(&table); err != nil {
		return 0, fmt.Errorf("export: %w", err)
	}
	text, err := encode(value)
	if err != nil {
		return 0, err
	}
	if err := datadir.WriteFile(path+csvExt, table.Bytes(), fileMode); err != nil {
		return 0, err
	}
	if err := datadir.WriteFile(path+jsonExt, text, fileMode); err != nil {
		return 1, err
	}
	return 2, nil
}

func encode(value any) ([]byte, error) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return append(text, '\n'), nil
}
