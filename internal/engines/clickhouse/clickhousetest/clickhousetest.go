// Package clickhousetest gives tests a real ClickHouse: one that all tests of a binary share, or one
// of their own to kill.
package clickhousetest

import (
	"context"
	"os"
	"sync"
	"testing"

	"mailbeacon/internal/engines/clickhouse"
)

var shared struct {
	sync.Mutex
	server *clickhouse.Server
	dir    string
	err    error
}

// Start returns the server that the tests of this binary share: the one that the environment names,
// or one that is started now. Each test should use a database of its own. Main ends it.
func Start(tb testing.TB) *clickhouse.Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		if shared.server = clickhouse.Named(); shared.server == nil {
			shared.err = startShared()
		}
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

func startShared() (err error) {
	if shared.dir, err = os.MkdirTemp("", "mailbeacon-clickhouse-*"); err != nil {
		return err
	}
	// A test's context would end before the server.
	shared.server, err = clickhouse.Start(context.Background(), clickhouse.Options{Dir: shared.dir})
	return err
}

// Own starts a server for one test, which may do with it what it likes.
func Own(tb testing.TB, o clickhouse.Options) *clickhouse.Server {
	tb.Helper()
	o.Dir = tb.TempDir()
	s, err := clickhouse.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Main runs the tests of a binary and ends the server that they shared. A TestMain calls it.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.dir != "" {
		if shared.server != nil {
			shared.server.Kill()
		}
		_ = os.RemoveAll(shared.dir) // it is in the temporary folder
	}
	return code
}
