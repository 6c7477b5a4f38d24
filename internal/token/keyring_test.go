package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var day = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

func newPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "keyring.json")
}

func created(t testing.TB) (string, *Keyring) {
	t.Helper()
	path := newPath(t)
	k, err := CreateKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, k
}

func loaded(t testing.TB, path string) *Keyring {
	t.Helper()
	k, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func states(k *Keyring) string {
	var s []string
	for _, info := range k.Keys() {
		s = append(s, fmt.Sprintf("%d %s", info.ID, info.State))
	}
	return strings.Join(s, ", ")
}

func TestCreateAndLoad(t *testing.T) {
	t.Parallel()
	path, k := created(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	if got := states(k); got != "1 active" {
		t.Errorf("keys are %q", got)
	}
	again := loaded(t, path)
	text := k.Append(nil, Click, sample)
	if got, err := again.Open(Click, text); err != nil || got != sample {
		t.Errorf("after loading: %+v, %v", got, err)
	}
	who := []byte("somebody@example.com")
	if k.Subject(who) != again.Subject(who) {
		t.Error("a person's number changed by loading")
	}
	before, _ := os.ReadFile(path)
	if _, err := CreateKeyring(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating it again: %v, want fs.ErrExist", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("creating it again changed the file")
	}
	_, other := created(t)
	if other.Subject(who) == k.Subject(who) {
		t.Error("two keyrings give a person the same number")
	}
	if _, err := other.Open(Click, text); !errors.Is(err, ErrForged) {
		t.Errorf("another keyring opens the token: %v", err)
	}
}

func TestRotateAndRetire(t *testing.T) {
	t.Parallel()
	path, first := created(t)
	text := first.Append(nil, Open, sample)

	id, err := Rotate(path, day)
	if err != nil || id != 2 {
		t.Fatalf("rotated to %d, %v; want 2", id, err)
	}
	second := loaded(t, path)
	if got := states(second); got != "1 live, 2 active" {
		t.Errorf("keys are %q", got)
	}
	if got := second.Keys()[1].Created; !got.Equal(day) {
		t.Errorf("created %v, want %v", got, day)
	}
	if got, err := second.Open(Open, text); err != nil || got != sample {
		t.Errorf("the former key's token: %+v, %v", got, err)
	}
	minted := second.Append(nil, Open, sample)
	if bytes.Equal(minted, text) {
		t.Error("the new key mints what the former did")
	}
	if _, err := first.Open(Open, minted); !errors.Is(err, ErrForged) {
		t.Errorf("a keyring without the new key opens its token: %v", err)
	}

	if err := Retire(path, 2); err == nil || !strings.Contains(err.Error(), "rotate first") {
		t.Errorf("retiring the active key: %v", err)
	}
	if err := Retire(path, 9); err == nil || !strings.Contains(err.Error(), "no key 9") {
		t.Errorf("retiring no key: %v", err)
	}
	for range 2 { // the second time changes nothing
		if err := Retire(path, 1); err != nil {
			t.Fatal(err)
		}
	}
	third := loaded(t, path)
	if got := states(third); got != "1 retired, 2 active" {
		t.Errorf("keys are %q", got)
	}
	if _, err := third.Open(Open, text); !errors.Is(err, ErrForged) {
		t.Errorf("the retired key's token: %v, want ErrForged", err)
	}
	if _, err := third.Open(Open, minted); err != nil {
		t.Errorf("the active key's token: %v", err)
	}
	content, _ := os.ReadFile(path)
	if n := strings.Count(string(content), `"secret"`); n != 1 {
		t.Errorf("%d secrets are left, want 1", n)
	}
	who := []byte("somebody@example.com")
	if third.Subject(who) != first.Subject(who) {
		t.Error("a person's number changed by rotating")
	}
}

func TestIDsRunOut(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	f, _, err := readFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// 255 was given away, 2 never was.
	for id := 3; id <= maxID; id++ {
		k := newFileKey(uint8(id), day)
		k.State = Live
		f.keys = append(f.keys, k)
	}
	if err := f.write(path); err != nil {
		t.Fatal(err)
	}
	if id, err := Rotate(path, day); err != nil || id != 2 {
		t.Fatalf("rotated to %d, %v; want the last free id 2", id, err)
	}
	before, _ := os.ReadFile(path)
	if _, err := Rotate(path, day); !errors.Is(err, ErrExhausted) {
		t.Errorf("rotated with all ids used: %v, want ErrExhausted", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a failed rotation changed the file")
	}
	if info, _ := os.Stat(path); info.Size() > maxFile {
		t.Errorf("a full keyring has %d bytes, more than is read", info.Size())
	}
}

func TestRotationsAtTheSameTime(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	const n = 20
	var ids [n]uint8
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if ids[i], err = Rotate(path, day); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(ids[:])
	for i, id := range ids {
		if int(id) != i+2 {
			t.Fatalf("ids are %v", ids)
		}
	}
	if got := len(loaded(t, path).Keys()); got != n+1 {
		t.Errorf("%d keys, want %d", got, n+1)
	}
}

// A rotation waits for whoever holds the folder's lock.
func TestRotationWaitsForTheLock(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	unlock, err := lockFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Fatal("the lock was taken twice")
	}
	unlock()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
}

// A rotation that was cut short leaves a file aside; whatever its mode, the next one is not
// readable by others.
func TestLeftoverOfACutRotation(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	if err := os.WriteFile(path+".tmp", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(path, day); err != nil {
		t.Fatal(err)
	}
	loaded(t, path)
	if _, err := os.Stat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file aside is still there: %v", err)
	}
}

var (
	secretA    = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xa1}, SecretSize))
	secretB    = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xb2}, SecretSize))
	subjectKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xc3}, 32))
)

// content is a good file with the given replacements, old and new in turn.
func content(replace ...string) string {
	good := `{"version":1,"subject_key":"` + subjectKey + `","keys":[
{"id":2,"state":"active","created":"2026-11-24T03:00:00+01:00","secret":"` + secretB + `"},
{"id":1,"state":"live","created":"2026-01-31T12:00:00Z","secret":"` + secretA + `"}]}`
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(good, replace[i]) {
			panic("nothing to replace: " + replace[i])
		}
		good = strings.Replace(good, replace[i], replace[i+1], 1)
	}
	return good
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, content, want string
	}{
		{"empty", "", "not JSON"},
		{"not JSON", secretA, "not JSON"},
		{"cut off", content()[:200], "not JSON"},
		{"more behind it", content() + "{}", "not JSON"},
		{"another type", `["` + secretA + `"]`, "not a JSON object"},
		{"null", `null`, "no version"},
		{"no version", `{}`, "no version"},
		{"negative version", content(`"version":1`, `"version":-1`), "no version"},
		{"version of a wrong type", content(`"version":1`, `"version":"`+secretA+`"`), "field version has the wrong type"},
		{"newer version", `{"version":3,"something":"new"}`, "newer mailbeacon (version 3, this one knows 2)"},
		{"unknown field", content(`"version":1`, `"version":1,"colour":"red"`), `field "colour"`},
		{"unknown field of a key", content(`"id":2`, `"id":2,"colour":"red"`), `field "colour"`},
		{"secret as a field", content(`"id":2`, `"id":2,"`+secretA+`":1`), "a field that this build does not know"},
		{"no subject key", content(`"`+subjectKey+`"`, `""`), "subject_key is missing"},
		{"short subject key", content(subjectKey, subjectKey[:8]), "subject_key has 6 bytes, not 32"},
		{"long subject key", content(subjectKey, secretA), "subject_key has 64 bytes, not 32"},
		{"subject key not base64", content(subjectKey, "?"+subjectKey[1:]), "subject_key is not base64"},
		{"short secret", content(secretA, secretA[:4]), "(id 1): its secret has 3 bytes, not 64"},
		{"no secret", content(`"`+secretA+`"`, `""`), "(id 1): its secret is missing"},
		{"secret of a wrong type", content(`"`+secretA+`"`, `17`), "field keys.secret has the wrong type"},
		{"secret not base64", content(secretA, secretA[:80]+"*"), "(id 1): its secret is not base64"},
		{"id 0", content(`"id":1`, `"id":0`), "id is from 1 to 255"},
		{"id 256", content(`"id":1`, `"id":256`), "id is from 1 to 255"},
		{"id twice", content(`"id":1`, `"id":2`), "two of its keys have the id 2"},
		{"no keys", `{"version":1,"subject_key":"` + subjectKey + `"}`, "0 of its keys are active"},
		{"no active key", content(`"active"`, `"live"`), "0 of its keys are active"},
		{"two active keys", content(`"live"`, `"active"`), "2 of its keys are active"},
		{"unknown state", content(`"live"`, `"`+secretA+`"`), "state is none of active, live, retired"},
		{"no time", content(`2026-01-31T12:00:00Z`, secretA), "created is no RFC 3339 time"},
		{"a year beyond", content(`2026-01-31T12:00:00Z`, `9999-12-31T23:30:00-01:00`), "created is no RFC 3339 time"},
		{"too large", content() + strings.Repeat(" ", maxFile), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKeyring(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v, want the path and %q", err, tt.want)
			}
			for _, secret := range []string{secretA, secretB, subjectKey} {
				if strings.Contains(err.Error(), secret[:8]) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
			if strings.Contains(tt.name, "newer") != errors.Is(err, ErrNewerFile) {
				t.Errorf("errors.Is(%v, ErrNewerFile) is wrong", err)
			}
			if _, err := Rotate(path, day); err == nil {
				t.Error("rotated a file that can't be read")
			}
			if after, _ := os.ReadFile(path); string(after) != tt.content {
				t.Error("the refused file was changed")
			}
		})
	}
}

func TestGoodFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	// A retired key may keep its secret, or not.
	for _, state := range []string{`"live"`, `"retired"`} {
		if err := os.WriteFile(path, []byte(content(`"live"`, state)), 0o400); err != nil {
			t.Fatal(err)
		}
		k := loaded(t, path)
		if want := "1 " + strings.Trim(state, `"`) + ", 2 active"; states(k) != want {
			t.Errorf("keys are %q, want %q", states(k), want)
		}
		if got := k.Keys()[1].Created; got != day {
			t.Errorf("created %v, want %v", got, day)
		}
		if (k.opens[1] != nil) != (state == `"live"`) {
			t.Errorf("a %s key opens: %v", state, k.opens[1] != nil)
		}
		os.Remove(path)
	}
}

func TestFilesThatOthersMayRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601, 0o644, 0o666} {
		path, _ := created(t)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeyring(path)
		if !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), fmt.Sprintf("%04o", mode)) {
			t.Errorf("mode %04o: %v, want ErrExposed", mode, err)
		}
	}
}

func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if _, err := LoadKeyring(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v, want fs.ErrNotExist", err)
	}
	if _, err := Rotate(path, day); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rotating a missing one: %v, want fs.ErrNotExist", err)
	}
	if _, err := CreateKeyring(filepath.Join(path, "deep")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("creating in no folder: %v, want fs.ErrNotExist", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeyring(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// Whatever a file holds, reading it does not panic, and what is accepted can be written and read
// again as the same.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(content()))
	f.Add([]byte(content(`"live"`, `"retired"`)))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"keys":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFile(b)
		if err != nil {
			return
		}
		if _, err := newKeyring(got); err != nil {
			t.Fatalf("accepted, and then: %v", err)
		}
		written, err := got.format()
		if err != nil {
			t.Fatalf("can't be written: %v", err)
		}
		again, err := parseFile(written)
		if err != nil {
			t.Fatalf("written, and then: %v", err)
		}
		if fmt.Sprint(*got) != fmt.Sprint(*again) {
			t.Fatal("read again it is another")
		}
	})
}
