package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mailbeacon/internal/control/controltest"
)

// TestControlFileIsReplaced puts an older copy in the place of the file while it is open, as a backup that is restored
// under a running server does. Nothing is acknowledged then: it would never be folded, or be gone with the next start.
func TestControlFileIsReplaced(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(old, path string) error{
		"written over": func(old, path string) error {
			b, err := os.ReadFile(old)
			if err != nil {
				return err
			}
			return os.WriteFile(path, b, 0o600)
		},
		"renamed": os.Rename,
		"gone":    func(_, path string) error { return os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, old := filepath.Join(t.TempDir(), "control.db"), filepath.Join(t.TempDir(), "old.db")
			fill := func(n int) {
				l := openControl(t, path)
				for i := range n {
					_, err := l.Append(t.Context(), controltest.Record(i))
					must(t, err)
				}
				must(t, l.Close())
			}
			fill(1)
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(old, b, 0o600))
			fill(2)

			l := openControl(t, path)
			if head, err := l.Head(t.Context()); err != nil || head != 3 {
				t.Fatalf("head %d, %v", head, err)
			}
			must(t, put(old, path))
			if at, err := l.Append(t.Context(), controltest.Record(4)); !errors.Is(err, errReplaced) {
				t.Errorf("appended at %d, %v", at, err)
			}
			// What was read before is remembered, and a file that was written over is the same file.
			if head, err := l.Head(t.Context()); !errors.Is(err, errReplaced) && name != "written over" {
				t.Errorf("head %d, %v", head, err)
			}
			_ = l.Close() // whatever that says
		})
	}
}
