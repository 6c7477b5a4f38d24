package sqlite

import (
	"path/filepath"
	"testing"

	"mailbeacon/internal/control"
)

func TestControlMark(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "counts.db")
	s, err := OpenCounts(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ mark, want control.Position }{{0, 0}, {7, 7}, {3, 7}, {9, 9}} {
		if step.mark > 0 {
			if err := s.MarkControl(t.Context(), step.mark); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.ControlMark(t.Context()); err != nil || got != step.want {
			t.Errorf("after %d: %d, %v, want %d", step.mark, got, err, step.want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenCounts(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.ControlMark(t.Context()); err != nil || got != 9 {
		t.Errorf("opened again: %d, %v", got, err)
	}
}
