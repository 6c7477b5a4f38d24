package clickhouse

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the one server of a test binary.
var shared struct {
	sync.Mutex
	server *Server
	dir    string
}

// Main runs the tests of a binary and stops the server that they shared:
//
//	func TestMain(m *testing.M) { os.Exit(clickhouse.Main(m)) }
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.server == nil {
			return
		}
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		if shared.dir != "" {
			_ = os.RemoveAll(shared.dir) // it is in the temporary folder
		}
	}()
	return m.Run()
}

// Shared is the server that the tests of a binary share: the one that the environment names, or one
// that is started at the first call. Each test should use a database of its own. The binary's
// TestMain must call Main.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		return shared.server
	}
	if s := Running(); s != nil {
		shared.server = s
		return s
	}
	dir, err := os.MkdirTemp("", "mailbeacon-clickhouse-")
	if err != nil {
		t.Fatal(err)
	}
	shared.dir = dir
	// The test's context would end before the server.
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	shared.server = s
	return s
}

// Own is a server that a test may kill; it is stopped when the test ends.
func Own(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Restart kills a server of one's own and starts it again on the same folder and addresses.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Kill(); err != nil {
		return err
	}
	next, err := Start(ctx, s.Options) // its addresses are in there
	if err != nil {
		return err
	}
	*s = *next
	return nil
}
