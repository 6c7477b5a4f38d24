package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSpoolFill: what was filled counts as the spool of the folder that it belongs to, and a folder that nobody made is refused.
func TestSpoolFill(t *testing.T) {
	t.Parallel()
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	spool := filepath.Join(b.data, spoolFolder)
	fill := []string{"spool", "fill", spool, "--events", "1000", "--campaign", "5"}
	if _, said, code := b.run("", fill...); code != exitFailure || !strings.Contains(said, "start what the spool is to belong to once") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if _, err := os.Stat(b.data); err == nil {
		t.Fatal("it made the folder, and nothing can be started there")
	}
	b.boot()()
	if out, said, code := b.run("", fill...); code != exitOK || !strings.Contains(out, "1000 events") {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	defer b.boot()() // it takes the folder
}
