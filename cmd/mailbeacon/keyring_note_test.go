package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/datadir"
	"mailbeacon/internal/token"
)

// TestSameKeyring: another keyring than a folder was begun with, or an older copy of it, is refused; a rotated one is not.
func TestSameKeyring(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	copied := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(path(from))
		must(err)
		must(os.WriteFile(path(to), b, 0o600))
	}
	for _, name := range []string{"mine", "other"} {
		_, err := token.CreateKeyring(path(name))
		must(err)
	}
	copied("mine", "before")
	dir, err := datadir.Open(path("data"))
	must(err)
	defer dir.Close()
	check := func(name, says string) {
		t.Helper()
		ring, err := token.OpenRing(path(name))
		must(err)
		err = sameKeyring(dir, ring, path(name))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
	check("mine", "")
	check("mine", "")
	check("other", "nobody's refusal would be known")
	_, err = token.Rotate(path("mine"), time.Now())
	must(err)
	check("before", "")
	check("mine", "")
	check("before", "from before a rotation")
	b, err := os.ReadFile(dir.Path(keyringNote))
	must(err)
	if st, err := os.Stat(dir.Path(keyringNote)); err != nil || st.Mode().Perm() != 0o600 || len(b) > 32 {
		t.Errorf("noted %q, %v, %v", b, st.Mode(), err)
	}
	must(os.WriteFile(dir.Path(keyringNote), []byte("damaged"), 0o600))
	check("mine", "can't be read")
	must(os.Remove(dir.Path(keyringNote)))
	check("other", "")
}
