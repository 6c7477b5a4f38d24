package proctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOlderControlLog puts an older copy of the control log beside newer counts, once with the
// snapshot that would tell and once without: the start is refused, and nothing is lost once the
// newer one is back.
func TestOlderControlLog(t *testing.T) {
	for name, lost := range map[string][]string{
		"with the snapshot": {"control.db"}, "without": {"control.db", "control.snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, l := filled(t)
			backup := copyFolder(t, data)
			s := start(t, data, quick...)
			newLanes(t.Context(), t, s.client(), "after-the-backup", 1)
			s.stop()
			newer := copyFolder(t, data)
			for _, file := range lost {
				remove(file)(t, data)
			}
			content, err := os.ReadFile(filepath.Join(backup, "control.db"))
			if err != nil {
				t.Fatal(err)
			}
			overwrite("control.db", string(content))(t, data)

			s = launch(t, binary(t), data, quick...)
			if code := s.wait(); code != 1 || !strings.Contains(s.out.String(), "Put the newer one back") {
				t.Errorf("exit code %d: %s", code, &s.out)
			}
			mend(t, newer, data)
			s = start(t, data, quick...)
			l.check(t.Context(), t, s.client())
			s.stop()
		})
	}
}
