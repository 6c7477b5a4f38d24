package main

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/kafka"
	"mailbeacon/ingest/spool"
)

// gathered are the values of a family by what its labels say.
func gathered(t *testing.T, c prometheus.Collector, name string) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range all {
		if f.GetName() != name {
			t.Errorf("a family is named %s", f.GetName())
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetName() + "=" + l.GetValue() + " "
			}
			values[key] = m.GetCounter().GetValue()
		}
	}
	return values
}

// TestSuppressedMetric: the family has one name in serve and in a consumer, every reason that is usual from the beginning, and none that
// counts.
func TestSuppressedMetric(t *testing.T) {
	t.Parallel()
	reasons := make([]uint64, len(event.Reasons()))
	reasons[event.Counted], reasons[event.OptedOut], reasons[event.Quarantined] = 7, 3, 1
	serve := gathered(t, suppressed(nil, func(emit func([]uint64, ...string)) { emit(reasons) }), "mailbeacon_fold_suppressed_total")
	if len(serve) != len(suppressing)+1 || serve["reason=opted_out "] != 3 || serve["reason=quarantined "] != 1 {
		t.Errorf("serve: %v", serve)
	}
	if _, there := serve["reason=gpc "]; !there {
		t.Errorf("a reason is not there before its first event: %v", serve)
	}
	consume := gathered(t, suppressed([]string{"partition"}, func(emit func([]uint64, ...string)) {
		emit(reasons, "0")
		emit(reasons, "1")
	}), "mailbeacon_fold_suppressed_total")
	if len(consume) != 2*len(serve) || consume["partition=1 reason=opted_out "] != 3 {
		t.Errorf("consume: %v", consume)
	}
}

// TestOldestAgeWithoutKafka: an edge that never reached Kafka knows how old its oldest event is.
func TestOldestAgeWithoutKafka(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	events, _, err := spool.Open(spool.Options{Dir: filepath.Join(data, spoolFolder), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	dir, err := openFolder(filepath.Join(data, "edge"), "edge")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	s := &shipping{dir: dir, spool: events}
	if age := s.oldestAge(); age != 0 {
		t.Errorf("%v with an empty spool", age)
	}
	for _, ago := range []time.Duration{time.Hour, time.Minute} {
		ev := event.Event{Time: time.Now().Add(-ago).UnixMilli(), Subject: 1, Campaign: 1, Kind: event.Open}
		if err := events.Append(&ev); err != nil {
			t.Fatal(err)
		}
		if age := s.oldestAge(); age < time.Hour || age > 2*time.Hour {
			t.Errorf("%v, and the oldest event is an hour old", age)
		}
	}
	if at := kafka.OldestAt(t.Context(), kafka.OfSpool(events), 99); !at.IsZero() {
		t.Errorf("an event that is not there came at %v", at)
	}
}
