package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read is what the log says, entry by entry.
func read(t *testing.T, dir string) (what []string, damaged int) {
	t.Helper()
	damaged, err := Read(dir, func(e Entry) error {
		if e.Time.IsZero() {
			t.Errorf("%+v has no time", e)
		}
		what = append(what, e.What)
		return nil
	})
	must(t, err)
	return what, damaged
}

func TestNoteAndRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if what, damaged := read(t, dir); len(what) != 0 || damaged != 0 {
		t.Errorf("of nothing: %v %d", what, damaged)
	}
	for _, what := range []string{"a", "b\n{\"event\":\"sign-in\"}"} {
		l, err := Open(dir)
		must(t, err)
		must(t, l.Note(Entry{Event: Export, What: what}))
		must(t, l.Close())
	}
	if what, damaged := read(t, dir); strings.Join(what, "|") != "a|b\n{\"event\":\"sign-in\"}" || damaged != 0 {
		t.Errorf("%q %d", what, damaged)
	}
	st, err := os.Stat(filepath.Join(dir, File))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if _, err := Read(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a folder that is none was read")
	}
}

// A line that a crash cut short costs itself alone.
func TestTornLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, File), []byte(`{"time":"2026-11-25T00:00:00Z","event":"export","what":"a"}`+"\n"+`{"time":"2026-1`), 0o600))
	l, err := Open(dir)
	must(t, err)
	must(t, l.Note(Entry{Event: Export, What: "c"}))
	must(t, l.Close())
	if what, damaged := read(t, dir); strings.Join(what, "") != "ac" || damaged != 1 {
		t.Errorf("%q %d", what, damaged)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := Open(dir)
	must(t, err)
	defer l.Close()
	l.full = 200
	var noting sync.WaitGroup
	for i := range 4 {
		noting.Go(func() {
			for range 40 {
				if err := l.Note(Entry{Event: Export, What: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	noting.Wait()
	what, damaged := read(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	// Of files of some three lines each, 32 are left.
	if damaged != 0 || len(files) != mostFiles || len(what) < 2*mostFiles {
		t.Errorf("%d entries, %d damaged, in %d files", len(what), damaged, len(files))
	}
	must(t, l.Note(Entry{Event: Export, What: "last"}))
	if what, _ := read(t, dir); what[len(what)-1] != "last" {
		t.Errorf("the order is lost: %q", what)
	}
	must(t, Examine(dir))
	must(t, os.Chmod(filepath.Join(dir, "audit.3.jsonl"), 0o640))
	if err := Examine(dir); err == nil || !strings.Contains(err.Error(), "audit.3.jsonl") {
		t.Errorf("%v", err)
	}
}

// A full disk is told, and the log goes on once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := Open(dir)
	must(t, err)
	must(t, l.Note(Entry{Event: Export, What: "a"}))
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	must(t, err)
	l.file.Close()
	l.file = full
	if err := l.Note(Entry{Event: Export, What: "b"}); err == nil {
		t.Error("noted on a full disk")
	}
	must(t, l.Note(Entry{Event: Export, What: "c"}))
	must(t, l.Close())
	if what, damaged := read(t, dir); strings.Join(what, "") != "ac" || damaged != 0 {
		t.Errorf("%q %d", what, damaged)
	}
}

// A log that was copied, as from a backup, is for its owner only again.
func TestOthersMayNotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, File), nil, 0o600))
	must(t, os.Chmod(filepath.Join(dir, File), 0o644))
	if err := Examine(dir); err == nil {
		t.Error("nobody says that others can read it")
	}
	l, err := Open(dir)
	must(t, err)
	must(t, l.Close())
	must(t, Examine(dir))
}
