// Package kafkatest gives tests a real broker: one that all tests of a binary share, or one of their own
// to kill.
package kafkatest

import (
	"context"
	"os"
	"sync"
	"testing"

	"mailbeacon/internal/engines/kafka"
)

var shared struct {
	sync.Mutex
	addr   string
	broker *kafka.Broker
	dir    string
	err    error
}

// Start returns the address of the broker that the tests of this binary share: the one that the
// environment names, or one that is started now. Topics must have names of their own. Main ends it.
func Start(tb testing.TB) string {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.addr == "" && shared.err == nil {
		if shared.addr = os.Getenv(kafka.AddressVariable); shared.addr == "" {
			shared.err = startShared()
		}
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.addr
}

func startShared() (err error) {
	if shared.dir, err = os.MkdirTemp("", "mailbeacon-kafka-*"); err != nil {
		return err
	}
	if shared.broker, err = kafka.Start(context.Background(), kafka.Options{Dir: shared.dir}); err != nil {
		return err
	}
	shared.addr = shared.broker.Addr()
	return nil
}

// Own starts a broker for one test, which may do with it what it likes.
func Own(tb testing.TB, o kafka.Options) *kafka.Broker {
	tb.Helper()
	o.Dir = tb.TempDir()
	b, err := kafka.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Kill)
	return b
}

// Main runs a binary's tests and ends the shared broker after them; TestMain exits with what it
// returns.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.broker != nil {
		shared.broker.Kill()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir) // what is left costs room only
	}
	return code
}
