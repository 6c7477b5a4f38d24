// Package layout holds the shape of the code: who may import whom, and what no file may be.
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// rules say of an import, by its beginning, which folders alone may have it. The linter holds the
// same for those who run it.
var rules = []struct {
	imports string
	only    []string // folders, from the root
}{
	{"modernc.org/sqlite", []string{"ingest/sqlite"}},
	{"github.com/segmentio/kafka-go", []string{"ingest/kafka"}},
	{"github.com/ClickHouse/clickhouse-go", []string{"ingest/clickhouse"}},
	{"github.com/ClickHouse/ch-go", []string{"internal/engines/clickhouse/front"}},
	{"github.com/ebitengine/purego", []string{"internal/engines/clickhouse/front"}},
	{"github.com/spf13/cobra", []string{"cmd/mailbeacon"}},
	{"github.com/danielgtaylor/huma", []string{"internal/api"}},
	{"github.com/valyala/fasthttp", []string{"pixel", "redirect", "internal/edge", "internal/intake", "internal/preferences", "bench"}},
	{"github.com/prometheus/client_golang", []string{"cmd/mailbeacon"}},
	{"mailbeacon/cmd", nil},
	{"mailbeacon/ingest/sqlite", []string{"cmd/mailbeacon"}},
	{"mailbeacon/ingest/kafka", []string{"cmd/mailbeacon"}},
	{"mailbeacon/ingest/clickhouse", []string{"cmd/mailbeacon"}},
	{"mailbeacon/internal/engines", []string{
		"cmd/engines", "internal/engines/kafka", "internal/engines/kafka/kafkatest", "internal/engines/clickhouse", "internal/engines/clickhouse/clickhousetest",
		"internal/oidc/oidctest", "internal/engines/browsertest",
	}},
	{"mailbeacon/internal/api", []string{"cmd/mailbeacon", "internal/client", "internal/web"}},
	{"mailbeacon/internal/web", []string{"cmd/mailbeacon"}},
	{"mailbeacon/internal/oidc/oidctest", nil},
	{"mailbeacon/internal/oidc", []string{"cmd/mailbeacon", "internal/web"}},
	{"mailbeacon/internal/dashboard", []string{"cmd/mailbeacon"}},
	{"github.com/coreos/go-oidc", []string{"internal/oidc"}},
	{"golang.org/x/oauth2", []string{"internal/oidc"}},
}

// source is one Go file that is not a test.
type source struct {
	path    string // from the root
	imports []string
	lines   int
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		s := source{path: filepath.ToSlash(rel), lines: strings.Count(string(text), "\n")}
		for _, i := range f.Imports {
			name, uerr := strconv.Unquote(i.Path.Value)
			if uerr != nil {
				return uerr
			}
			s.imports = append(s.imports, name)
		}
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d files found", len(all))
	}
	return all
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		folder := filepath.ToSlash(filepath.Dir(s.path))
		for _, name := range s.imports {
			for _, r := range rules {
				if name != r.imports && !strings.HasPrefix(name, r.imports+"/") || slices.Contains(r.only, folder) {
					continue
				}
				t.Errorf("%s imports %s; only %v may", s.path, name, r.only)
			}
			if strings.HasPrefix(folder, "bench") && strings.HasPrefix(name, "mailbeacon/") {
				t.Errorf("%s imports %s; the load generator knows the public interface only", s.path, name)
			}
			if folder == "ingest/event" && strings.HasPrefix(name, "mailbeacon/") {
				t.Errorf("%s imports %s; the event knows nothing of ours", s.path, name)
			}
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > 520 {
			t.Errorf("%s has %d lines", s.path, s.lines)
		}
		for part := range strings.SplitSeq(strings.TrimSuffix(s.path, ".go"), "/") {
			if slices.Contains([]string{"util", "utils", "common", "manager", "helper", "helpers", "misc"}, part) {
				t.Errorf("%s: %s says nothing of what is in it", s.path, part)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	may := []string{"cmd", "pixel", "redirect", "ingest", "bench", "deploy", "internal", "go.mod", "go.sum", "README.md", "Makefile", "bin"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever tries things out leaves mails and data here.
	tried := []string{".html", ".eml", ".ndjson", ".csv", ".json", "-data", "-demo"}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") && !slices.Contains(may, name) &&
			!slices.ContainsFunc(tried, func(end string) bool { return strings.HasSuffix(name, end) }) {
			t.Errorf("%s is no part of the top level", name)
		}
	}
}
