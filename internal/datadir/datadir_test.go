package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOpenMakesAPrivateFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !d.Fresh() {
		t.Error("a new folder is not fresh")
	}
	for file, want := range map[string]os.FileMode{".": 0o700, lockFile: 0o600, versionFile: 0o600} {
		st, err := os.Stat(d.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", file, st.Mode().Perm(), want)
		}
	}
}

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "process") {
		t.Errorf("second Open of a locked folder: %v, want ErrInUse with the process", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = Open(path)
	if err != nil {
		t.Fatal("after Close:", err)
	}
	defer d.Close()
	if d.Fresh() {
		t.Error("an old folder is fresh")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, content string
		want                error
	}{
		{"a newer version", versionFile, "2\n", ErrNewer},
		{"a version that is no number", versionFile, "one\n", ErrForeign},
		{"an empty version", versionFile, "", ErrForeign},
		{"a folder of something else", "index.html", "hello", ErrForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			if err := os.WriteFile(filepath.Join(path, tt.file), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v naming the folder", err, tt.want)
			}
			if b, err := os.ReadFile(filepath.Join(path, tt.file)); err != nil || string(b) != tt.content {
				t.Errorf("the refused folder was changed: %q %v", b, err)
			}
		})
	}
}

// Who looks keeps a server out, does not keep out others who look, and changes nothing.
func TestInspect(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	if _, err := Inspect(path); !errors.Is(err, ErrForeign) {
		t.Fatalf("of nothing: %v", err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	look, err := Inspect(path)
	if err != nil || !look.InUse {
		t.Fatalf("beside a server: %+v, %v", look, err)
	}
	look.Close()
	d.Close()
	first, err := Inspect(path)
	if err != nil || first.InUse {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := Inspect(path)
	if err != nil || second.InUse {
		t.Fatalf("beside another look: %+v, %v", second, err)
	}
	if _, err := Open(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "doctor") {
		t.Fatalf("Open meanwhile: %v", err)
	}
	first.Close()
	second.Close()
	if d, err = Open(path); err != nil {
		t.Fatal(err)
	}
	d.Close()
}

func TestOpenAfterACutShortFirstStart(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, lockFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !d.Fresh() {
		t.Error("a folder with only a lock is not fresh")
	}
}

func TestOpenWhereAFileIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error naming the path", err)
	}
}

func TestWriteFileReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"long first content", "short"} {
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("got %q, want %q", b, content)
		}
	}
	if err := WriteFile(filepath.Join(path, "x"), nil, 0o600); err == nil {
		t.Error("writing below a file succeeded")
	}
}

// TestHint: a disk that is full leaves no hint, and no former one either, but one that is right already.
func TestHint(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hint")
	full := func() {
		if err := os.Symlink("/dev/full", path+".tmp"); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		full    bool
		content string
		left    bool
		holds   string
	}{
		{true, "a", false, ""}, {false, "a", true, "a"}, {true, "a", true, "a"}, {false, "b", true, "b"}, {true, "c", false, ""}, {false, "c", true, "c"},
	} {
		_ = os.Remove(path + ".tmp")
		if step.full {
			full()
		}
		left, err := Hint(path, []byte(step.content), 0o600)
		b, _ := os.ReadFile(path)
		if err != nil || left != step.left || string(b) != step.holds {
			t.Errorf("step %d: left %v, %v, it holds %q, want %v and %q", i, left, err, b, step.left, step.holds)
		}
	}
	if _, err := Hint(filepath.Join(path, "no folder"), nil, 0o600); err == nil {
		t.Error("a folder that is a file: no error")
	}
}

// TestWriteFileLeavesNothing: what could not be written takes no room.
func TestWriteFileLeavesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.Symlink("/dev/full", path+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("a"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestReadPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	if _, err := ReadPrivate(path, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(path, []byte("0123456789abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadPrivate(path, 10); err != nil || string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var exposed *ExposedError
		if b, err := ReadPrivate(path, 10); !errors.As(err, &exposed) || exposed.Mode != mode || b != nil {
			t.Errorf("%o: %q, %v", mode, b, err)
		}
	}
}
