package proctest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// filled is a data folder with a lane's events in it, all counted, and the lane.
func filled(t *testing.T) (string, *lane) {
	t.Helper()
	ctx, data := t.Context(), filepath.Join(t.TempDir(), "data")
	s := start(t, data, quick...)
	l := newLanes(ctx, t, s.client(), "spring", 1)[0]
	ask(t, s, l, 30)
	s.drain()
	s.stop()
	return data, l
}

// TestBadFolder starts with folders that are not right. Each is refused with its cause, is not
// changed by that, and is as good as before once it is mended.
func TestBadFolder(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, data string)
		says  []string
	}{
		{"of a newer version", overwrite("VERSION", "999\n"), []string{"written by a newer mailbeacon", "version 999"}},
		{"without a version", remove("VERSION"), []string{"not a mailbeacon data folder", "VERSION"}},
		{"with a version that is none", overwrite("VERSION", "one"), []string{"no version number"}},
		{"without the keyring", remove("keyring.json"), []string{"keyring.json is missing", "backup"}},
		{"with a broken keyring", overwrite("keyring.json", "{"), []string{"keyring.json"}},
		{"with a keyring that others can read", mode("keyring.json", 0o644), []string{"keyring.json", "others can read it"}},
		{"with a session key that others can read", mode("session.key", 0o644), []string{"session.key", "by others"}},
		{"with damaged ended sessions", overwrite("sessions.ended", "["), []string{"sessions.ended is damaged"}},
		{"with an admin key that others can read", mode("admin.key", 0o644), []string{"admin.key", "by others"}},
		{"with an empty control log", overwrite("control.db", ""), []string{"control.db", "damaged", "empty"}},
		{"with a control log that is none", overwrite("control.db", strings.Repeat("nonsense ", 1000)), []string{"control.db", "damaged"}},
		{"with damaged counts", scribble("counts.db"), []string{"counts.db", "damaged"}},
		{"without the control log", remove("control.db"), []string{"control.db is missing", "backup"}},
		{"without the counts", remove("counts.db"), []string{"counts.db is missing", "backup"}},
		{"without the spool", removeSpool, []string{"spool", "missing", "spool accept-loss --data"}},
		{"without the spool's segments", removeSegments, []string{"spool", "no segment", "spool accept-loss --data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data, l := filled(t)
			whole := copyFolder(t, data)
			c.spoil(t, data)
			before := listing(t, data)
			s := launch(t, binary(t), data, quick...)
			if code := s.wait(); code != 1 {
				t.Errorf("exit code %d, want 1; it said:\n%s", code, &s.out)
			}
			for _, want := range c.says {
				if !strings.Contains(s.out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &s.out)
				}
			}
			if after := listing(t, data); after != before {
				t.Errorf("the refused folder was changed:\n%s\nit was:\n%s", after, before)
			}
			mend(t, whole, data)
			s = start(t, data, quick...)
			l.check(t.Context(), t, s.client())
			s.stop()
		})
	}
}

// TestLostSpool takes the spool away with events that were answered and not counted yet. The start is
// refused and the doctor says why, until somebody accepts the loss.
func TestLostSpool(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){"folder": removeSpool, "segments": removeSegments} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, data := t.Context(), filepath.Join(t.TempDir(), "data")
			s := start(t, data, "--classify-window=60s")
			l := newLanes(ctx, t, s.client(), "spring", 1)[0]
			ask(t, s, l, 3)
			if _, stderr, code := mailbeacon(ctx, t, "", "spool", "accept-loss", "--data", data); code != 1 || !strings.Contains(stderr, "in use") {
				t.Errorf("beside a server: exit code %d: %s", code, stderr)
			}
			s.kill()
			if _, stderr, code := mailbeacon(ctx, t, "", "spool", "accept-loss", "--data", data); code != 1 || !strings.Contains(stderr, "nothing is lost") {
				t.Errorf("with nothing lost: exit code %d: %s", code, stderr)
			}
			spoil(t, data)
			s = launch(t, binary(t), data, quick...)
			if code := s.wait(); code != 1 || !strings.Contains(s.out.String(), "spool accept-loss --data") {
				t.Errorf("exit code %d:\n%s", code, &s.out)
			}
			if out, _, code := mailbeacon(ctx, t, "", "doctor", "--data", data); code != 1 || !strings.Contains(out, "WRONG  spool") {
				t.Errorf("the doctor's exit code is %d:\n%s", code, out)
			}
			if out, stderr, code := mailbeacon(ctx, t, "", "spool", "accept-loss", "--data", data); code != 0 || !strings.Contains(out, "given up") {
				t.Errorf("exit code %d: %s%s", code, out, stderr)
			}
			if out, _, code := mailbeacon(ctx, t, "", "doctor", "--data", data); code != 0 {
				t.Errorf("the doctor's exit code is %d:\n%s", code, out)
			}
			s = start(t, data, quick...)
			l.answered = [kinds]uint64{}
			ask(t, s, l, 6)
			s.drain()
			l.check(ctx, t, s.client())
			s.stop()
		})
	}
}

// ask asks for what is in a lane's mail, in turns.
func ask(t *testing.T, s *server, l *lane, n int) {
	t.Helper()
	c, err := dial(s.public)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for i := range n {
		if _, err := c.get(l.path[i%kinds]); err != nil {
			t.Fatal(err)
		}
		l.answered[i%kinds]++
	}
}

func removeSpool(t *testing.T, data string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(data, "spool")); err != nil {
		t.Fatal(err)
	}
}

func removeSegments(t *testing.T, data string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "spool", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments %v, %v", names, err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDoctorChangesNothing looks at what a kill left, where the databases' logs are not folded in yet.
func TestDoctorChangesNothing(t *testing.T) {
	ctx, data := t.Context(), filepath.Join(t.TempDir(), "data")
	s := start(t, data, quick...)
	l := newLanes(ctx, t, s.client(), "spring", 1)[0]
	ask(t, s, l, 30)
	s.drain()
	s.kill()
	before := listing(t, data)
	if !strings.Contains(before, "counts.db-wal") {
		t.Fatalf("the kill left no log:\n%s", before)
	}
	if out, stderr, code := mailbeacon(ctx, t, "", "doctor", "--data", data); code != 0 {
		t.Errorf("exit code %d:\n%s%s", code, out, stderr)
	}
	if after := listing(t, data); after != before {
		t.Errorf("the doctor changed the folder from\n%s to\n%s", before, after)
	}
	s = start(t, data, quick...)
	l.check(ctx, t, s.client())
	s.stop()
}

// TestFolderInUse starts a second server in a folder: it names the first one's process.
func TestFolderInUse(t *testing.T) {
	data := t.TempDir()
	first := start(t, data, quick...)
	second := newServer(t, binary(t), data)
	second.run()
	if code := second.wait(); code != 1 || !strings.Contains(second.out.String(), "in use by another process") {
		t.Errorf("exit code %d: %s", code, &second.out)
	}
	if status, err := fetch(first.public, "/robots.txt"); err != nil || status != 200 {
		t.Errorf("the first server: status %d, %v", status, err)
	}
	first.stop()
}

// TestFolderReadOnly starts as somebody who may not write.
func TestFolderReadOnly(t *testing.T) {
	data, l := filled(t)
	s := newServer(t, binary(t), data, quick...)
	if os.Geteuid() == 0 { // root may write everywhere
		open755(t, data)
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(data, 0o500); err != nil { //nolint:gosec // narrower than it was
		t.Fatal(err)
	}
	s.run()
	if code := s.wait(); code != 1 || !strings.Contains(s.out.String(), data) || !strings.Contains(s.out.String(), "permission denied") {
		t.Errorf("exit code %d: %s", code, &s.out)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s = start(t, data, quick...)
	l.check(t.Context(), t, s.client())
	s.stop()
}

// open755 lets others pass through a temporary folder's parents.
func open755(t *testing.T, path string) {
	t.Helper()
	for dir := path; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // a test's folder
			t.Fatal(err)
		}
	}
}

func overwrite(name, content string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		if err := os.Remove(filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func mode(name string, m fs.FileMode) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(data, name), m); err != nil {
			t.Fatal(err)
		}
	}
}

// scribble writes over the second half of a file.
func scribble(name string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		path := filepath.Join(data, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(b) / 2; i < len(b); i++ {
			b[i] ^= 0x5a
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// copyFolder keeps a folder as it is.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "whole")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// mend puts every file back as it was.
func mend(t *testing.T, whole, data string) {
	t.Helper()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"keyring.json", "admin.key", "session.key"} {
		mode(name, 0o600)(t, data)
	}
}

// listing is every file's name and content, but for the lock and what only a run leaves.
func listing(t *testing.T, data string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		switch d.Name() {
		case "lock", "edge.addr", "admin.addr":
			return nil
		}
		content, err := os.ReadFile(path)
		b.WriteString(path + "\t" + fmt.Sprintf("%x", sha256.Sum256(content)) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
