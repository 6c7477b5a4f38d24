package token

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
)

func openRing(t testing.TB, path string) *Ring {
	t.Helper()
	r, err := OpenRing(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func refresh(t testing.TB, r *Ring, want bool) {
	t.Helper()
	if got, err := r.Refresh(); err != nil || got != want {
		t.Fatalf("Refresh is %v, %v; want %v", got, err, want)
	}
}

func TestRingTakesUpARotation(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	r := openRing(t, path)
	refresh(t, r, false)
	old := r.Append(nil, Click, sample)
	if _, err := Rotate(path, day); err != nil {
		t.Fatal(err)
	}
	minted := loaded(t, path).Append(nil, Click, sample)
	if _, err := r.Open(Click, minted); !errors.Is(err, ErrForged) {
		t.Fatalf("before the refresh: %v, want ErrForged", err)
	}
	refresh(t, r, true)
	refresh(t, r, false)
	for _, text := range [][]byte{old, minted} {
		if got, err := r.Open(Click, text); err != nil || got != sample {
			t.Errorf("%s opens to %+v, %v", text, got, err)
		}
	}
	if got := string(r.Append(nil, Click, sample)); got != string(minted) {
		t.Error("the ring does not mint with the new key")
	}
}

func TestRingReload(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	r := openRing(t, path)
	before := r.Keyring()
	if err := r.Reload(); err != nil || r.Keyring() == before {
		t.Errorf("Reload: %v, new keyring %v", err, r.Keyring() != before)
	}
}

func TestRingKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	r := openRing(t, path)
	good, _ := os.ReadFile(path)
	kept, text := r.Keyring(), r.Append(nil, Open, sample)

	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Refresh(); changed || err == nil || !strings.Contains(err.Error(), "no version") {
		t.Errorf("a bad file: %v, %v", changed, err)
	}
	refresh(t, r, false) // reported once
	if err := r.Reload(); err == nil {
		t.Error("Reload of a bad file gives no error")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 { // reported as long as it lasts
		if _, err := r.Refresh(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no file: %v, want fs.ErrNotExist", err)
		}
	}
	if _, err := CreateKeyring(path); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Refresh(); !errors.Is(err, ErrOtherSubjects) {
		t.Errorf("another subject key: %v, want ErrOtherSubjects", err)
	}
	if r.Keyring() != kept {
		t.Error("the keyring changed")
	}
	if _, err := r.Open(Open, text); err != nil {
		t.Errorf("a token of before: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	refresh(t, r, true)
}

func TestRingOfNoFile(t *testing.T) {
	t.Parallel()
	if _, err := OpenRing(newPath(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
}

func TestRingIsConcurrent(t *testing.T) {
	t.Parallel()
	path, _ := created(t)
	r := openRing(t, path)
	text := r.Append(nil, Click, sample)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				if got, err := r.Open(Click, text); err != nil || got != sample {
					t.Errorf("opens to %+v, %v", got, err)
					return
				}
				r.Append(nil, Open, sample)
			}
		})
	}
	for range 5 {
		if _, err := Rotate(path, day); err != nil {
			t.Fatal(err)
		}
		refresh(t, r, true)
	}
	wg.Wait()
}

func TestRingDoesNotAllocate(t *testing.T) {
	path, _ := created(t)
	r := openRing(t, path)
	text := r.Append(nil, Click, sample)
	dst := make([]byte, 0, TextLen)
	if n := testing.AllocsPerRun(1000, func() {
		r.Append(dst, Click, sample)
		r.Open(Click, text)
	}); n != 0 {
		t.Errorf("allocates %v times", n)
	}
}
