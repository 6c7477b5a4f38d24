package sqlite

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbeacon/ingest/aggregate"
)

// left is a store's files as a kill leaves them, with or without the index of the log, or as a stop
// leaves them.
func left(t *testing.T, names ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "counts.db")
	c, err := OpenCounts(t.Context(), path)
	must(t, err)
	must(t, c.Commit(t.Context(), &aggregate.Commit{After: aggregate.Progress{Offset: 7, Context: 5}}))
	dir := t.TempDir()
	keep := func() {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
	if len(names) > 1 {
		keep()
	}
	must(t, c.Close())
	if len(names) == 1 {
		keep()
	}
	return dir
}

// sums are the names and contents of a folder.
func sums(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var b strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		fmt.Fprintf(&b, "%s %x\n", e.Name(), sha256.Sum256(content))
	}
	return b.String()
}

func TestExamineChangesNothing(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]string{
		"after a stop":           {"counts.db"},
		"after a kill":           {"counts.db", "counts.db-shm", "counts.db-wal"},
		"after a kill, no index": {"counts.db", "counts.db-wal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := left(t, files...)
			before := sums(t, dir)
			p, err := ExamineCounts(t.Context(), filepath.Join(dir, "counts.db"))
			if err != nil || p.Offset != 7 || p.Context != 5 {
				t.Errorf("%+v, %v", p, err)
			}
			if err := ExamineControl(t.Context(), filepath.Join(dir, "counts.db")); !errors.Is(err, ErrForeign) {
				t.Errorf("taken for a control log: %v", err)
			}
			if after := sums(t, dir); after != before {
				t.Errorf("changed from\n%s to\n%s", before, after)
			}
		})
	}
}

func TestExamineFindsDamage(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"empty": "", "nonsense": strings.Repeat("nonsense ", 1000)} {
		path := filepath.Join(t.TempDir(), "counts.db")
		must(t, os.WriteFile(path, []byte(content), 0o600))
		if _, err := ExamineCounts(t.Context(), path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(left(t, "counts.db"), "counts.db")
	b, err := os.ReadFile(path)
	must(t, err)
	for i := len(b) / 2; i < len(b); i++ {
		b[i] ^= 0x5a
	}
	must(t, os.WriteFile(path, b, 0o600))
	if _, err := ExamineCounts(t.Context(), path); !errors.Is(err, ErrDamaged) {
		t.Errorf("half of it scribbled over: %v", err)
	}
	if _, err := ExamineCounts(t.Context(), path+".nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nowhere: %v", err)
	}
}
