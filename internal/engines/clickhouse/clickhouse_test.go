package clickhouse

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func ask(t *testing.T, s *Server, statement string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.HTTP+"/", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("default", s.Options.Password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestSharedIsOne(t *testing.T) {
	t.Parallel()
	a, b := Shared(t), Shared(t)
	if a != b || ask(t, a, "SELECT 1+1") != "2" {
		t.Error("no server, or two")
	}
}

// What was acknowledged is there after kill -9, at the same addresses.
func TestKilledServerComesBack(t *testing.T) {
	t.Parallel()
	s := Own(t, Options{Password: "it's"})
	for _, statement := range []string{
		"CREATE DATABASE a ENGINE = Atomic", "CREATE TABLE a.t (n UInt64) ENGINE = MergeTree ORDER BY n", "INSERT INTO a.t VALUES (7)",
		"DROP DATABASE IF EXISTS other SYNC",
	} {
		if out := ask(t, s, statement); out != "" {
			t.Fatal(statement, out)
		}
	}
	before := *s
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Native != before.Native || s.HTTP != before.HTTP || s.PID() == before.PID() {
		t.Errorf("%+v came back as %+v", before, *s)
	}
	if got := ask(t, s, "SELECT n FROM a.t"); got != "7" {
		t.Errorf("stored 7, got %q", got)
	}
	s.Options.Password = "wrong"
	if got := ask(t, s, "SELECT 1"); !strings.Contains(got, "Code: 516.") {
		t.Errorf("a wrong password: %q", got)
	}
}

func TestDetachedServerIsStoppedByItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Start(t.Context(), Options{Dir: dir, Detached: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := StopDetached(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		t.Error("it runs")
	}
	if err := StopDetached(dir); err != nil {
		t.Errorf("stopped again: %v", err)
	}
	// A number that is another process's by now is left alone.
	if err := os.WriteFile(pidFile(dir), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := StopDetached(dir); err != nil {
		t.Error(err)
	}
}

func TestLockIsForOneProcessAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			unlock, err := lock(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two are inside")
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
			unlock()
		})
	}
	wg.Wait()
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if _, err := lock(ctx, path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("taken twice: %v", err)
	}
}
