package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
	"mailbeacon/internal/control"
)

func echoTopic(cfg *config.Config) kafka.TopicSpec {
	return kafka.EchoTopic(cfg.Topics+".echo", cfg.Replicas)
}

// echo is a role's part in the echo log: edges and consumers say in it how far they have folded the control log,
// edges and admins read when a change holds everywhere.
type echo struct {
	log    *kafka.ControlLog
	here   *control.Echoer // nil: an admin, which neither ships nor counts
	others *control.Echoes // nil: a consumer, which takes no changes
	logger *slog.Logger
}

// openEcho reaches for nothing yet. What the state's consent writer calls effective holds everywhere from here on.
func openEcho(k *kafka.Client, cfg *config.Config, role config.Role, state *state, logger *slog.Logger) *echo {
	e := &echo{log: kafka.OpenEchoLog(k, echoTopic(cfg).Name, logger), logger: logger}
	if role != config.Admin {
		e.here = control.NewEchoer(e.log, state.follower, string(role), logger)
	}
	if role != config.Consume {
		e.others = control.NewEchoes(e.log, state.follower, logger)
		state.consentWriter = state.consentWriter.Everywhere(e.others.Await)
	}
	return e
}

func (e *echo) close() error { return e.log.Close() }

// start runs it beside a role's other parts.
func (e *echo) start(work *parts) {
	if e.here != nil {
		work.Go("echo", e.here.Run)
	}
	if e.others != nil {
		work.Go("read echoes", e.others.Run)
	}
}

// notReady says why changes take their time to be effective.
func (e *echo) notReady() []string {
	if e.others != nil && e.others.Stats().Failing {
		return []string{fmt.Sprintf("echoes of edges and consumers can't be read: a change is effective only after %s", control.Lease+control.Margin)}
	}
	return nil
}

func (e *echo) measure(reg *prometheus.Registry) {
	if e.here != nil {
		e.measureHere(reg)
	}
	if e.others != nil {
		e.measureOthers(reg)
	}
}

func (e *echo) measureHere(reg *prometheus.Registry) {
	reg.MustRegister(
		gauge("echo_position", "Position of the control log that this process last said it has folded.", nil,
			one(func() uint64 { return uint64(e.here.Stats().Position) })),
		gauge("echo_age_seconds", "Time since the last acknowledged echo began; absent while there is none that counts.", nil,
			func(emit func(float64, ...string)) {
				if s := e.here.Stats(); s.Known {
					emit(s.Age.Seconds())
				}
			}),
		gauge("echo_open", "1 while events may be shipped, or counted, by what is folded here, else 0.", nil, flag(e.here.Open)),
		counter("echo_errors_total", "Echoes that the echo log did not take.", nil,
			one(func() uint64 { return e.here.Stats().Errors })),
	)
}

func (e *echo) measureOthers(reg *prometheus.Registry) {
	reg.MustRegister(
		gauge("echo_roles", "Processes that echoed in the time of a lease and may ship or count.", []string{"role"},
			func(emit func(float64, ...string)) {
				s := e.others.Stats()
				for _, role := range []config.Role{config.Edge, config.Consume} {
					emit(float64(s.Roles[string(role)]), string(role))
				}
			}),
		gauge("echo_slowest_lag_records", "Control records that the slowest of them is behind what is folded here.", nil,
			one(func() uint64 { return uint64(e.others.Stats().Behind) })),
		gauge("echo_failing", "1 while echoes can't be read, else 0.", nil, flag(func() bool { return e.others.Stats().Failing })),
		counter("echo_foreign_total", "Records of the echo log that are no echo.", nil,
			one(func() uint64 { return e.others.Stats().Foreign })),
		counter("effective_waits_total", "Changes that were waited for until they held everywhere, by what showed it: echoes, or that leases had run out.",
			[]string{"by"}, func(emit func(float64, ...string)) {
				s := e.others.Stats()
				emit(float64(s.Settled-s.ByLease), "echo")
				emit(float64(s.ByLease), "lease")
			}),
		counter("effective_wait_seconds_total", "Time that took, from when a change was in the control log.", nil,
			one(func() float64 { return e.others.Stats().Waited.Seconds() })),
	)
}
