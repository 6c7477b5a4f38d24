package spool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// holding lists the files below a folder that hold some bytes.
func holding(t *testing.T, dir string, what []byte) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, what) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Everything the spool makes is its owner's alone, whatever the process would allow.
func TestModes(t *testing.T) { // alone: the mask is the whole process's
	defer syscall.Umask(syscall.Umask(0))
	above := filepath.Join(t.TempDir(), "a")
	dir := filepath.Join(above, "b", "spool")
	o := spool.Options{Dir: dir, SegmentBytes: 4 << 10}
	seen := map[string]bool{}
	s, _ := open(t, o)
	appendAll(t, s, 0, 3*perSegment)
	awaitFile(t, filepath.Join(dir, "next.tmp"))
	checkModes(t, above, seen)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Files that keep damage, and one of another spool.
	spoil(t, filepath.Join(dir, spool.IdentityName), 9)
	s, _ = open(t, o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, filepath.Join(dir, spool.SegmentName(0)), spool.HeaderSize+60)
	foreign := filepath.Join(dir, spool.SegmentName(1<<20))
	if err := os.WriteFile(foreign, spool.SegmentHeader(99, 99, 1<<20, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, o)
	if _, _, skipped := readAll(t, s, 0); skipped != 1 {
		t.Fatalf("%d events are damaged, want 1", skipped)
	}
	if err := s.Trim(3 * perSegment); err != nil {
		t.Fatal(err)
	}
	checkModes(t, above, seen)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkModes(t, above, seen)
	for _, kind := range []string{"identity", ".seg", ".tmp", ".seg.bad", "identity.bad", ".foreign.bad", "spool", "b"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(name string) bool { return strings.HasSuffix(name, kind) }) {
			t.Errorf("no %s was looked at, only %v", kind, seen)
		}
	}
}

// checkModes looks at all files and folders from one on, and notes their names.
func checkModes(t *testing.T, root string, seen map[string]bool) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // renamed meanwhile
		}
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if err == nil && info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		seen[d.Name()] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not appear", path)
		}
	}
}

// spoil changes a byte of a file.
func spoil(t *testing.T, path string, off int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[off] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A torn end is cut off for good: a loss of power right after Open does not bring it back, where it would count as damage of
// a segment that is not the last any more. What is before it stays, byte for byte.
func TestTornEndIsCutDurably(t *testing.T) {
	t.Parallel()
	const events = 7
	for name, tail := range map[string]func(frame []byte) []byte{
		"half a frame":           func(f []byte) []byte { return f[:len(f)/2] },
		"a frame with a hole":    func(f []byte) []byte { clear(f[50:60]); return f },
		"half a frame and zeros": func(f []byte) []byte { return append(f[:len(f)/2:len(f)/2], make([]byte, 600)...) },
		"zeros":                  func([]byte) []byte { return make([]byte, 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(32) {
				disk, last, intact := torn(t, seed, events, tail)
				s, rec := open(t, modelOptions(disk))
				if rec.Next != events || len(rec.Damage) > 0 || (rec.TornBytes > 0) != (name != "zeros") {
					t.Fatalf("%v", &rec)
				}
				after := disk.Crash()
				_ = s.Close() // its disk is dead
				if got := after.Bytes(at(last)); !bytes.Equal(got, intact) {
					t.Fatalf("seed %d: after the loss of power the segment has %d bytes, %d are intact", seed, len(got), len(intact))
				}
				s, rec = open(t, modelOptions(after))
				if rec.Next != events || len(rec.Damage) > 0 {
					t.Fatalf("seed %d: after the loss of power: %v", seed, &rec)
				}
				wantEvents(t, s, 0, events)
				if s.Stats().Damaged != 0 {
					t.Fatalf("seed %d: the end that was cut off is read as damage", seed)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// torn is the disk of a killed spool whose last segment ends in an unfinished commit.
func torn(t *testing.T, seed uint64, events uint64, tail func(frame []byte) []byte) (disk *faultfs.FS, last string, intact []byte) {
	t.Helper()
	before := faultfs.New(seed)
	s, _ := open(t, modelOptions(before))
	appendAll(t, s, 0, events)
	disk = before.Kill()
	_ = s.Close() // its disk is dead
	_, names := segments(t, disk)
	last = names[len(names)-1]
	b := disk.Bytes(at(last))
	first, end := readFirst(b), spool.HeaderSize
	for ; bytes.HasPrefix(b[end:], []byte("\xF5MBE")); end += perFrame {
		first++
	}
	if first != events {
		t.Fatalf("the last segment ends before event %d, want %d", first, events)
	}
	intact = bytes.Clone(b[:end])
	disk.Put(at(last), append(bytes.Clone(intact), tail(bytes.Clone(b[end-perFrame:end]))...))
	return disk, last, intact
}

func readFirst(header []byte) uint64 { return binary.LittleEndian.Uint64(header[24:]) }
