package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/control"
)

// measureLease is for the roles of a cluster: serve reads its own log and needs no heartbeat.
func measureLease(reg *prometheus.Registry, f *control.Follower) {
	reg.MustRegister(
		gauge("control_heartbeat_age_seconds", "For how long the control log may have gone on without what is folded here; absent until a heartbeat proved it.", nil,
			func(emit func(float64, ...string)) {
				if age, known := f.HeartbeatAge(); known {
					emit(age.Seconds())
				}
			}),
		gauge("control_lease_held", "1 while heartbeats prove that the control log is known up to now, else 0.", nil, flag(f.Fresh)),
	)
}

func measureShipping(reg *prometheus.Registry, s *shipping) {
	reg.MustRegister(
		gauge("ship_next", "Number of the first event that is not known to be in Kafka.", nil, one(func() uint64 { return s.stats().Next })),
		gauge("ship_waiting_events", "Events in the spool that are not known to be in Kafka.", nil, one(s.left)),
		gauge("ship_oldest_event_age_seconds", "Age of the oldest event that is not known to be in Kafka; 0 where there is none.", nil,
			one(func() float64 { return s.oldestAge().Seconds() })),
		counter("ship_events_total", "Events that Kafka acknowledged.", nil, one(func() uint64 { return s.stats().Shipped })),
		counter("ship_retries_total", "Tries to ship that failed.", nil, one(func() uint64 { return s.stats().Retries })),
		counter("ship_held_total", "Times that shipping waited for fresh knowledge of consent.", nil, one(func() uint64 { return s.stats().Held })),
		counter("ship_lost_total", "Events of the spool that could not be read any more.", nil, one(func() uint64 { return s.stats().Lost })),
		counter("ship_cursors_lost_total", "Times that shipping began without its cursor, where there was one.", nil, one(func() uint64 { return s.stats().CursorsLost })),
		gauge("ship_faulty", "1 while something keeps events from being shipped, else 0.", nil, flag(func() bool { return s.stats().Err != nil })),
	)
}

func measureCounting(reg *prometheus.Registry, c *counting) {
	partition := []string{"partition"}
	each := func(read func(aggregate.Stats, *ownership) float64) func(emit func(float64, ...string)) {
		return func(emit func(float64, ...string)) {
			c.each(func(p int, o *ownership) { emit(read(o.runner.Stats(), o), strconv.Itoa(p)) })
		}
	}
	reg.MustRegister(
		gauge("fold_lag_records", "Records between what was read last and the partition's end, once that is known.", partition,
			func(emit func(float64, ...string)) {
				c.each(func(p int, o *ownership) {
					if lag, known := o.source.Lag(); known {
						emit(float64(lag), strconv.Itoa(p))
					}
				})
			}),
		gauge("fold_offset", "Position of the first event that is not counted yet.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Offset) })),
		gauge("fold_held_events", "Events in memory, waiting for the classification window to pass.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Held) })),
		counter("fold_events_total", "Events that were counted or stand under a reason, since the partition is owned.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Events) })),
		counter("fold_commits_total", "Commits of counts.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Commits) })),
		counter("fold_retries_total", "Commits that had to be tried again.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Retries) })),
		counter("fold_restarts_total", "Times that folding began anew from the stored progress.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Restarts) })),
		suppressed(partition, func(emit func(reasons []uint64, labels ...string)) {
			c.each(func(p int, o *ownership) { emit(o.runner.Stats().Reasons, strconv.Itoa(p)) })
		}),
		counter("fold_lost_total", "Events of the topic that could not be read any more.", partition,
			each(func(s aggregate.Stats, _ *ownership) float64 { return float64(s.Lost) })),
		gauge("fold_faulty", "1 while something keeps events of the partition from being counted, else 0.", partition,
			each(func(_ aggregate.Stats, o *ownership) float64 {
				if _, err := o.runner.Fault(); err != nil {
					return 1
				}
				return 0
			})),
		gauge("fold_alarms", "Partitions that are owned and stopped until a person decides.", nil,
			one(func() int { return len(c.members.Stats().Alarms) })),
		gauge("group_generation", "The last division of the partitions that this consumer knows.", nil,
			one(func() int64 { return int64(c.members.Stats().Generation) })),
		gauge("group_faulty", "1 while the group can't be joined, else 0.", nil, flag(func() bool { return c.members.Stats().Err != nil })),
		counter("quarantined_records_total", "Records of the topic that are foreign or damaged, and kept in the quarantine file.", nil,
			one(c.quarantine.Count)),
	)
}
