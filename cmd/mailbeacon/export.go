package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/config"
	"mailbeacon/internal/export"
)

// newExport is nil where no folder is set.
func newExport(cfg *config.Config, state *state, counts aggregate.Reader, logger *slog.Logger) (*export.Exporter, error) {
	if cfg.ExportFolder == "" {
		return nil, nil
	}
	e, err := export.New(export.Options{
		Folder: cfg.ExportFolder, Every: cfg.ExportEvery, Campaigns: state.campaigns, Counts: counts, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("setting export-folder: %w", err)
	}
	return e, nil
}

// startExport runs the exporter and measures it, where there is one.
func startExport(work *parts, reg *prometheus.Registry, e *export.Exporter) {
	if e == nil {
		return
	}
	reg.MustRegister(
		counter("export_files_total", "Files that were written.", nil, one(func() uint64 { return e.Stats().Written })),
		counter("export_failures_total", "Exports that failed; each is tried again.", nil, one(func() uint64 { return e.Stats().Failed })),
		gauge("export_last_seconds", "When the last export that succeeded began, in seconds since the Unix epoch; 0 for none in this life.", nil, one(func() int64 {
			if last := e.Stats().Last; !last.IsZero() {
				return last.Truncate(time.Second).Unix()
			}
			return 0
		})),
		gauge("export_faulty", "1 while the last export failed, else 0.", nil, flag(func() bool { return e.Stats().Faulty })),
	)
	work.Go("export reports", e.Run)
}
