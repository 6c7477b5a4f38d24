package spool_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// A first start that dies at any call leaves a folder that opens, and one that is known only once it was whole.
func TestFirstStartCutShort(t *testing.T) {
	t.Parallel()
	for _, op := range faultfs.Ops {
		for _, after := range []bool{false, true} {
			for skip := range 8 {
				for _, power := range []bool{false, true} {
					disk := faultfs.New(uint64(skip))
					disk.Inject(faultfs.Fault{Op: op, After: after, Err: syscall.EIO, Skip: skip, Times: -1})
					s, _, err := spool.Open(modelOptions(disk))
					next := disk.Kill()
					if power {
						next = disk.Crash()
					}
					if err == nil {
						_ = s.Close() // its disk is dead
					}
					o := modelOptions(next)
					o.Known = err == nil // the consumer notes it only then
					s, rec, err := spool.Open(o)
					if err != nil || len(rec.Damage) > 0 || rec.Next != 0 {
						t.Fatalf("%s after=%v skip=%d power=%v: Open = %v, %v", op, after, skip, power, err, &rec)
					}
					if err := s.Append(numbered(0)); err != nil {
						t.Fatal(err)
					}
					wantOnly(t, s, 1, 0, 0)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// A spool whose segments were all trimmed has one left, after any end.
func TestTrimmedIsNotLost(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*faultfs.FS) *faultfs.FS{"kill": (*faultfs.FS).Kill, "crash": (*faultfs.FS).Crash}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := filled(t, 3*perSegment)
			for range 3 {
				o := modelOptions(disk)
				o.Known = true
				s, rec := open(t, o)
				if rec.Next != 3*perSegment || rec.NewEpoch {
					t.Fatalf("%+v", rec)
				}
				if err := s.Trim(rec.Next); err != nil {
					t.Fatal(err)
				}
				next := end(disk)
				_ = s.Close() // its disk is dead
				disk = next
			}
		})
	}
}

// A folder that is refused is not even made.
func TestLostFolderIsNotMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	if _, _, err := spool.Open(spool.Options{Dir: dir, Known: true}); !errors.Is(err, spool.ErrLost) {
		t.Fatalf("Open = %v", err)
	}
	if err := spool.CheckLost(nil, dir, true); !errors.Is(err, spool.ErrLost) {
		t.Fatalf("CheckLost = %v", err)
	}
	if err := spool.CheckLost(nil, dir, false); err != nil {
		t.Fatalf("CheckLost of what never was = %v", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Lstat = %v", err)
	}
}
