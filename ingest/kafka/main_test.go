package kafka

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/internal/engines/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// patience is how long anything may take before a test fails.
const patience = 30 * time.Second

// topicFor is the name of the topic that belongs to a place.
func topicFor(place string) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", place, os.Getpid())
	return fmt.Sprintf("test-%016x", h.Sum64())
}

var topics atomic.Int64

// newTopic is a topic's name that no other test has, nor another run of this one.
func newTopic(tb testing.TB) string {
	return topicFor(fmt.Sprintf("%s %d %d", tb.Name(), topics.Add(1), time.Now().UnixNano()))
}

func client(tb testing.TB, c Config) *Client {
	tb.Helper()
	k, err := NewClient(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { k.Close() })
	return k
}

func sharedClient(tb testing.TB) *Client {
	tb.Helper()
	return client(tb, Config{Brokers: []string{kafkatest.Start(tb)}})
}

func ensure(tb testing.TB, k *Client, s TopicSpec) Topic {
	tb.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		t, err := k.Ensure(tb.Context(), s)
		if err == nil {
			return t
		}
		// On a machine without time for it the one broker is taken for dead by itself, for a moment.
		if !errors.Is(err, kafkago.InvalidReplicationFactor) || time.Now().After(until) {
			tb.Fatal(err)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func testLogger(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{tb}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type testWriter struct{ tb testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.tb.Logf("%s", b[:max(0, len(b)-1)])
	return len(b), nil
}
