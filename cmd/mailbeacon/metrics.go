package main

import (
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/edge"
	"mailbeacon/internal/intake"
	"mailbeacon/internal/preferences"
)

// Every number is kept by the part that it tells of and read when a scrape comes, so measuring
// costs the hot path nothing more than it already counts.

// newMetrics makes a registry that holds the process's own numbers.
func newMetrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mailbeacon_build_info", Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version(), "go": runtime.Version()},
	})
	info.Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return reg
}

// measured is a family of numbers that are read together.
type measured struct {
	desc *prometheus.Desc
	sort prometheus.ValueType
	read func(emit func(value float64, labels ...string))
}

func (m measured) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

func (m measured) Collect(ch chan<- prometheus.Metric) {
	m.read(func(value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.sort, value, labels...)
	})
}

func counter(name, help string, labels []string, read func(emit func(float64, ...string))) measured {
	return measured{prometheus.NewDesc("mailbeacon_"+name, help, labels, nil), prometheus.CounterValue, read}
}

func gauge(name, help string, labels []string, read func(emit func(float64, ...string))) measured {
	return measured{prometheus.NewDesc("mailbeacon_"+name, help, labels, nil), prometheus.GaugeValue, read}
}

// one is the reader of a family without labels.
func one[T int | int64 | uint64 | float64](read func() T) func(emit func(float64, ...string)) {
	return func(emit func(float64, ...string)) { emit(float64(read())) }
}

// flag is the reader of a family without labels that is 1 or 0.
func flag(read func() bool) func(emit func(float64, ...string)) {
	return one(func() int {
		if read() {
			return 1
		}
		return 0
	})
}

func measureIntake(reg *prometheus.Registry, in *intake.Intake) {
	reg.MustRegister(counter("requests_total",
		"Requests for beacons and links, by what they were and why they do not count (counted: they do).",
		[]string{"kind", "reason"}, func(emit func(float64, ...string)) {
			counters := in.Counters()
			counters.Each(func(kind event.Kind, reason event.Reason, n uint64) {
				emit(float64(n), kind.String(), reason.String())
			})
		}))
}

func measurePreferences(reg *prometheus.Registry, h *preferences.Handler) {
	reg.MustRegister(counter("preferences_requests_total", "Requests for the preference page, by how they ended.",
		[]string{"outcome"}, func(emit func(float64, ...string)) {
			h.Each(func(o preferences.Outcome, n uint64) { emit(float64(n), o.String()) })
		}))
}

func measureEdge(reg *prometheus.Registry, s *edge.Server) {
	reg.MustRegister(
		gauge("edge_connections", "Open connections on the public side.", nil,
			one(func() int { return s.Stats().Open })),
		counter("edge_connections_total", "Connections that were let in.", nil,
			one(func() uint64 { return s.Stats().Accepted })),
		counter("edge_refused_total", "Connections and requests that no handler answered, by cause.", []string{"cause"},
			func(emit func(float64, ...string)) {
				st := s.Stats()
				emit(float64(st.RefusedOverload), "overload")
				emit(float64(st.RefusedAddress), "connections_of_one_address")
				emit(float64(st.AcceptErrors), "accept_failed")
				emit(float64(st.Malformed), "malformed_request")
				emit(float64(st.Oversized), "oversized_request")
				emit(float64(st.Timeouts), "timeout")
				emit(float64(st.Aborted), "aborted")
				emit(float64(st.Panics), "panic")
			}),
	)
}

func measureSpool(reg *prometheus.Registry, s *spool.Spool) {
	reg.MustRegister(
		gauge("spool_healthy", "1 while the disk takes events, else 0.", nil, one(func() int {
			if s.Healthy() != nil {
				return 0
			}
			return 1
		})),
		gauge("spool_bytes", "Bytes of the spool on disk.", nil, one(func() int64 { return s.Stats().Bytes })),
		gauge("spool_segments", "Segment files of the spool.", nil, one(func() int { return s.Stats().Segments })),
		gauge("spool_oldest_event_age_seconds", "Age of the oldest event that is still in the spool.", nil,
			one(func() float64 { return s.Stats().Age.Seconds() })),
		gauge("spool_next", "Number of the next event.", nil, one(func() uint64 { return s.Stats().Next })),
		counter("spool_commits_total", "Group commits (one write, one fdatasync).", nil,
			one(func() uint64 { return s.Stats().Commits })),
		counter("spool_events_total", "Events that were made durable.", nil,
			one(func() uint64 { return s.Stats().Events })),
		counter("spool_commit_seconds_total", "Time that group commits took.", nil,
			one(func() float64 { return s.Stats().CommitTime.Seconds() })),
		counter("spool_failed_appends_total", "Events that the disk did not take: lost.", nil,
			one(func() uint64 { return s.Stats().FailedAppends })),
		counter("spool_failed_renewals_total", "Segments that could not be renewed in time: counted events stay on disk for longer.", nil,
			one(func() uint64 { return s.Stats().FailedRenewals })),
		counter("spool_damaged_total", "Damaged places found; their bytes are kept as .bad files.", nil,
			one(func() uint64 { return s.Stats().Damaged })),
		counter("spool_skipped_total", "Events that could not be read back because of damage.", nil,
			one(func() uint64 { return s.Stats().Skipped })),
	)
}

func measureControl(reg *prometheus.Registry, f *control.Follower) {
	reg.MustRegister(
		gauge("control_applied", "Position of the last control record that is in force here.", nil,
			one(func() uint64 { return uint64(f.Stats().Applied) })),
		counter("control_apply_errors_total", "Control records that could not be used.", nil,
			one(func() uint64 { return f.Stats().ApplyErrors })),
		counter("control_log_errors_total", "Failed reads of the control log.", nil,
			one(func() uint64 { return f.Stats().LogErrors })),
		counter("control_snapshot_fails_total", "Control snapshots that could not be written.", nil,
			one(func() uint64 { return f.Stats().SnapshotFails })),
	)
}

func measureLedger(reg *prometheus.Registry, c *consent.Copier) {
	reg.MustRegister(
		gauge("ledger_copied", "Position of the last control record up to which consent changes stand in the ledger.", nil,
			one(func() uint64 { return uint64(c.Stats().Copied) })),
		gauge("ledger_failing", "1 while consent changes can't be copied into the ledger.", nil,
			flag(func() bool { return c.Stats().Failing })),
	)
}

func measureFold(reg *prometheus.Registry, r *aggregate.Runner) {
	reg.MustRegister(
		gauge("fold_offset", "Number of the first event that is not counted yet.", nil,
			one(func() uint64 { return r.Stats().Offset })),
		gauge("fold_held_events", "Events in memory, waiting for the classification window to pass.", nil,
			one(func() int { return r.Stats().Held })),
		counter("fold_events_total", "Events that were counted or stand under a reason.", nil,
			one(func() uint64 { return r.Stats().Events })),
		counter("fold_commits_total", "Commits of counts.", nil, one(func() uint64 { return r.Stats().Commits })),
		counter("fold_retries_total", "Commits that had to be tried again.", nil, one(func() uint64 { return r.Stats().Retries })),
		counter("fold_restarts_total", "Times that folding began anew from the stored progress.", nil,
			one(func() uint64 { return r.Stats().Restarts })),
		suppressed(nil, func(emit func(reasons []uint64, labels ...string)) { emit(r.Stats().Reasons) }),
		counter("fold_lost_total", "Events that could not be read from the spool any more.", nil,
			one(func() uint64 { return r.Stats().Lost })),
		gauge("fold_faulty", "1 while something keeps events from being counted, else 0.", nil, flag(func() bool {
			_, err := r.Fault()
			return err != nil
		})),
	)
}

// suppressed is the family of events that stand under a reason, of folds that may have labels.
func suppressed(labels []string, each func(emit func(reasons []uint64, labels ...string))) measured {
	return counter("fold_suppressed_total", "Events that stand under a reason instead of being counted, by it.", append(slices.Clone(labels), "reason"),
		func(emit func(float64, ...string)) {
			each(func(reasons []uint64, labels ...string) {
				for r, n := range reasons {
					if reason := event.Reason(r); n > 0 || slices.Contains(suppressing, reason) {
						if reason != event.Counted {
							emit(float64(n), append(slices.Clone(labels), reason.String())...)
						}
					}
				}
			})
		})
}

// suppressing are the reasons that our own edges and folds give; they are there from the beginning.
var suppressing = []event.Reason{event.OptedOut, event.PlainText, event.GPC, event.NoBasis, event.UnknownCampaign}
