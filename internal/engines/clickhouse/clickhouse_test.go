package clickhouse

import (
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"mailbeacon/internal/engines"
)

func ask(t *testing.T, s *Server, password, statement string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.HTTP+"/", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("default", password)
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

// What was acknowledged is there after kill -9, at the same addresses.
func TestKilledServerComesBack(t *testing.T) {
	t.Parallel()
	const password = "it's"
	s, err := Start(t.Context(), Options{Dir: t.TempDir(), Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	for _, statement := range []string{
		"CREATE DATABASE a ENGINE = Atomic", "CREATE TABLE a.t (n UInt64) ENGINE = MergeTree ORDER BY n", "INSERT INTO a.t VALUES (7)",
		"DROP DATABASE IF EXISTS other SYNC",
	} {
		if out := ask(t, s, password, statement); out != "" {
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
	if got := ask(t, s, password, "SELECT n FROM a.t"); got != "7" {
		t.Errorf("stored 7, got %q", got)
	}
	if got := ask(t, s, "wrong", "SELECT 1"); !strings.Contains(got, "Code: 516.") {
		t.Errorf("a wrong password: %q", got)
	}
}

// The server of make engines outlives who started it, is found again, and ends with make engines-stop.
func TestUpAndDown(t *testing.T) {
	lib, err := provision(t.Context()) // into the cache that all tests use
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(AddressVariable, "")
	t.Setenv(engines.CacheVariable, t.TempDir())
	mine, err := engines.Cache()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mine+"/clickhouse-"+engineVersion, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(lib, mine+"/clickhouse-"+engineVersion+"/libchdb.so"); err != nil {
		t.Fatal(err)
	}
	addr, err := Up(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Down("") }) // it ended below, or the test failed
	if again, err := Up(t.Context(), ""); err != nil || again != addr {
		t.Errorf("up again: %s, %v, was %s", again, err, addr)
	}
	s, err := running("")
	if err != nil || s == nil || ask(t, s, "", "SELECT 1+1") != "2" {
		t.Fatalf("%+v, %v", s, err)
	}
	if lines := Settings(addr, ""); !slices.Contains(lines, AddressVariable+"="+addr) || !slices.Contains(lines, HTTPVariable+"="+s.HTTP) {
		t.Errorf("settings %q", lines)
	}
	if err := Down(""); err != nil {
		t.Fatal(err)
	}
	if s, err := running(""); s != nil || err != nil {
		t.Errorf("it runs: %+v, %v", s, err)
	}
	if err := Down(""); err != nil {
		t.Errorf("down again: %v", err)
	}
}
