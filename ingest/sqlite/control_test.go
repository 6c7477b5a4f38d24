package sqlite

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

func openControl(tb testing.TB, path string) *ControlLog {
	tb.Helper()
	l, err := OpenControl(tb.Context(), path)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestControlConforms(t *testing.T) {
	t.Parallel()
	controltest.Run(t, controltest.Backend{
		Open: func(t *testing.T, place string) control.Log {
			return openControl(t, filepath.Join(place, "control.db"))
		},
	})
}

// TestControlSaysWhatIsWrong: the general cases are open's; these are what can happen to this file.
func TestControlSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	exec := func(t *testing.T, path, text string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		must(t, err)
		defer db.Close()
		_, err = db.ExecContext(t.Context(), text)
		must(t, err)
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  error
	}{
		"newer":     {func(t *testing.T, p string) { exec(t, p, "PRAGMA user_version=99") }, ErrNewer},
		"counts":    {func(t *testing.T, p string) { must(t, os.Remove(p)); counts(t, p) }, ErrForeign},
		"damaged":   {func(t *testing.T, p string) { must(t, os.Truncate(p, 4096)) }, ErrDamaged},
		"read-only": {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o400)) }, ErrReadOnly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "control.db")
			l := openControl(t, path)
			_, err := l.Append(t.Context(), controltest.Record(1))
			must(t, err)
			must(t, l.Close())
			c.spoil(t, path)
			l, err = OpenControl(t.Context(), path)
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %v and the path", err, c.want)
			}
		})
	}
}

func counts(t *testing.T, path string) {
	d, err := open(t.Context(), path, testSchema)
	must(t, err)
	must(t, d.Close())
}

// TestControlUnreadableLater: a page that is damaged while the file is in use is an error of the
// call that meets it, and says what to do.
func TestControlUnreadableLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	l := openControl(t, path)
	for n := range 50 {
		r := controltest.Record(n)
		r.Body = []byte(strings.Repeat("x", 8000))
		_, err := l.Append(t.Context(), r)
		must(t, err)
	}
	must(t, l.Close())
	l = openControl(t, path)
	defer l.Close()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 100*4096), 5*4096)
	must(t, err)
	must(t, f.Close())
	if _, err := l.Read(t.Context(), 0, 100); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("read: %v, want ErrDamaged and the path", err)
	}
	if err := l.Check(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("check: %v, want ErrDamaged", err)
	}
}

func TestControlCloseTwice(t *testing.T) {
	t.Parallel()
	l := openControl(t, filepath.Join(t.TempDir(), "control.db"))
	must(t, l.Close())
	must(t, l.Close())
}

func BenchmarkControlAppend(b *testing.B) {
	l := openControl(b, filepath.Join(b.TempDir(), "control.db"))
	defer l.Close()
	for i := 0; b.Loop(); i++ {
		if _, err := l.Append(b.Context(), controltest.Record(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkControlRead(b *testing.B) {
	l := openControl(b, filepath.Join(b.TempDir(), "control.db"))
	defer l.Close()
	var rs []control.Record
	for n := range 10_000 {
		rs = append(rs, controltest.Record(n))
	}
	if _, err := l.Append(b.Context(), rs...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for after := control.Position(0); ; {
			es, err := l.Read(b.Context(), after, control.DefaultBatch)
			if err != nil {
				b.Fatal(err)
			}
			if len(es) == 0 {
				break
			}
			after = es[len(es)-1].Position
		}
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "entries/s")
}
