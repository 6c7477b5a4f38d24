package clickhouse

import (
	"crypto/rand"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/storetest"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

func TestMain(m *testing.M) {
	// Every step of the suite's model asks a server a dozen questions; the command line may say more.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	os.Exit(clickhousetest.Main(m))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// at are options for a database of a server.
func at(s *engine.Server, database string) Options {
	return Options{Addr: []string{s.Native}, Database: database, User: "default", Password: s.Password}
}

// protocols are the two that a store can speak, by name.
var protocols = map[string]func(*engine.Server, Options) Options{
	"native": func(_ *engine.Server, o Options) Options { return o }, "http": overHTTP,
}

func overHTTP(s *engine.Server, o Options) Options {
	o.HTTP, o.Addr = true, []string{s.HTTP}
	return o
}

// database is a migrated database of the test's own, which is dropped at its end.
func database(t testing.TB, s *engine.Server) Options {
	t.Helper()
	var name [8]byte
	_, _ = rand.Read(name[:]) // never fails
	o := at(s, "test_"+hex.EncodeToString(name[:]))
	_, err := Migrate(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { exec(t, o, "DROP DATABASE `"+o.Database+"` SYNC") })
	return o
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the test may have closed it
	return s
}

func conform(t *testing.T, change func(*engine.Server, Options) Options) {
	s := clickhousetest.Start(t)
	storetest.Run(t, storetest.Backend{Open: func(t *testing.T, place string) aggregate.Store {
		known := filepath.Join(place, "database")
		name, err := os.ReadFile(known)
		if err != nil {
			o := database(t, s)
			must(t, os.WriteFile(known, []byte(o.Database), 0o600))
			name = []byte(o.Database)
		}
		st, err := Open(t.Context(), change(s, at(s, string(name))))
		must(t, err)
		return st
	}})
}

func TestConforms(t *testing.T) {
	t.Parallel()
	conform(t, func(_ *engine.Server, o Options) Options { return o })
}

func TestConformsOverHTTP(t *testing.T) {
	t.Parallel()
	conform(t, overHTTP)
}
