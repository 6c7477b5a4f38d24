package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var testSchema = schema{name: "counts", mark: 0x4d424354}

func openTest(t *testing.T, path string) *database {
	t.Helper()
	d, err := open(t.Context(), path, testSchema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestSettingsHoldOnEveryConnection(t *testing.T) {
	t.Parallel()
	// A name with everything in it that a URL would take for syntax.
	d := openTest(t, filepath.Join(t.TempDir(), "a ?b=c&mode=memory#d%41 é.db"))
	for name, db := range map[string]*sql.DB{"writer": d.writer, "reader": d.reader} {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1"} {
			var got string
			if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s = %s, %v, want %s", name, pragma, got, err, want)
			}
		}
	}
	if _, err := d.reader.ExecContext(t.Context(), "DELETE FROM counts"); err == nil {
		t.Error("a reader wrote")
	}
	info, err := os.Stat(d.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: other people may read it", info.Mode(), err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUpdateIsWhollyOrNotAtAll(t *testing.T) {
	t.Parallel()
	d := openTest(t, filepath.Join(t.TempDir(), "x.db"))
	insert := func(tx *tx) error {
		_, err := tx.query("last_active_put").ExecContext(t.Context(), 1, 2)
		return err
	}
	boom := errors.New("boom")
	if err := d.update(t.Context(), func(tx *tx) error { return errors.Join(insert(tx), boom) }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	count := func() (n int) {
		if err := d.reader.QueryRowContext(t.Context(), "SELECT count(*) FROM last_active").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 0 {
		t.Fatalf("%d rows of a refused transaction", n)
	}
	if err := d.update(t.Context(), insert); err != nil || count() != 1 {
		t.Fatal(err, count())
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	exec := func(t *testing.T, path, text string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  error
		word  string
	}{
		"newer":   {func(t *testing.T, p string) { exec(t, p, "PRAGMA user_version=99") }, ErrNewer, "version 99"},
		"foreign": {func(t *testing.T, p string) { exec(t, p, "PRAGMA application_id=7") }, ErrForeign, "0x7"},
		"never":   {func(t *testing.T, p string) { exec(t, p, "PRAGMA user_version=0") }, ErrForeign, "version 0"},
		"empty":   {func(t *testing.T, p string) { must(t, os.Truncate(p, 0)) }, ErrDamaged, "empty"},
		"text": {func(t *testing.T, p string) {
			must(t, os.WriteFile(p, []byte(strings.Repeat("not a database ", 99)), 0o600))
		}, ErrDamaged, "backup"},
		"cut": {func(t *testing.T, p string) { must(t, os.Truncate(p, 4096*3)) }, ErrDamaged, "backup"},
		"overwritten": {func(t *testing.T, p string) {
			b, err := os.ReadFile(p)
			must(t, err)
			copy(b[4096:], bytes.Repeat([]byte{0xa5}, 8192))
			must(t, os.WriteFile(p, b, 0o600))
		}, ErrDamaged, "backup"},
		"read-only": {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o400)) }, ErrReadOnly, "0400"},
		"a folder":  {func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Mkdir(p, 0o700)) }, ErrForeign, "not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "some.db")
			d, err := open(t.Context(), path, testSchema)
			must(t, err)
			must(t, d.Close())
			c.spoil(t, path)
			before, _ := os.ReadFile(path)
			d, err = open(t.Context(), path, testSchema)
			if err == nil {
				d.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.word) {
				t.Fatalf("%v, want %v with the path and %q", err, c.want, c.word)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("a refused file was changed")
			}
		})
	}
}

func TestCreationCutShortIsNoDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	must(t, os.WriteFile(path+".new", []byte("half"), 0o600))
	must(t, os.WriteFile(path+".new-wal", []byte("made"), 0o600))
	openTest(t, path)
	if left, _ := filepath.Glob(path + ".new*"); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestMissingFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nowhere", "x.db")
	if _, err := open(t.Context(), path, testSchema); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", t.Name(), err))
	}
}
