package kafka_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

func probe(t *testing.T, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return kafka.Probe(ctx, addr)
}

func TestShared(t *testing.T) {
	t.Parallel()
	a, b := kafkatest.Start(t), kafkatest.Start(t)
	if a != b {
		t.Errorf("two shared brokers: %s and %s", a, b)
	}
	if err := probe(t, a); err != nil {
		t.Error(err)
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	began := time.Now()
	b := kafkatest.Own(t, kafka.Options{Secure: true})
	t.Logf("started in %v", time.Since(began).Round(time.Millisecond))
	b.Pause()
	if err := probe(t, b.Addr()); err == nil {
		t.Error("a paused broker answers")
	}
	b.Resume()
	if err := probe(t, b.Addr()); err != nil {
		t.Errorf("resumed: %v", err)
	}
	b.Kill()
	if err := probe(t, b.Addr()); err == nil {
		t.Error("a killed broker answers")
	}
	began = time.Now()
	if err := b.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %v", time.Since(began).Round(time.Millisecond))
	if err := probe(t, b.Addr()); err != nil {
		t.Errorf("restarted: %v", err)
	}
}

// TestFindAtTheSameTime: whoever comes second waits for the first one's download.
func TestFindAtTheSameTime(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := kafka.Find(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
