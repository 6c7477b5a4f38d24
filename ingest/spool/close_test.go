package spool_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// A spool that is closed with all events counted leaves no byte of them, and goes on with the next number.
func TestCloseLeavesNoEvents(t *testing.T) {
	t.Parallel()
	const total = 300
	dir := t.TempDir()
	person := []byte("\xEF\xBE\xAD\xDE") // the upper half of each subject
	next := uint64(0)
	for round := range 3 {
		s, rec := open(t, spool.Options{Dir: dir, SegmentBytes: 4 << 10, Known: round > 0})
		if rec.Next != next || rec.NewEpoch != (round == 0) || round > 0 && !rec.Clean() {
			t.Fatalf("%v", &rec)
		}
		for i := range uint64(total) {
			if err := s.Append(numbered(0xdeadbeef<<32 | i)); err != nil {
				t.Fatal(err)
			}
		}
		next += total
		released := next
		if round == 1 {
			released -= 10 // some are not counted yet: they stay, and the next life has them
		}
		if err := errors.Join(s.Trim(released), s.Close()); err != nil {
			t.Fatal(err)
		}
		if left := holding(t, dir, person); (len(left) > 0) != (round == 1) {
			t.Fatalf("round %d: the person's number is in %v", round, left)
		}
		var out bytes.Buffer
		sum, err := spool.Dump(&out, nil, dir, spool.DumpOptions{})
		if err != nil || sum.Damaged != 0 || sum.Segments == 0 || (sum.Events > 0) != (round == 1) {
			t.Fatalf("dump: %+v, %v\n%s", sum, err, &out)
		}
		if err := spool.CheckLost(nil, dir, true); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that fails while a spool is closed does not make an error of it: nothing is lost.
func TestCloseLeavesEventsOnBadDisk(t *testing.T) {
	t.Parallel()
	for _, op := range []faultfs.Op{faultfs.Create, faultfs.WriteAt, faultfs.Datasync, faultfs.Rename, faultfs.SyncDir} {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				disk := faultfs.New(1)
				var log bytes.Buffer
				s := ready(t, disk, spool.Options{SegmentBytes: 4 << 10, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				appendAll(t, s, 0, 10)
				if err := s.Trim(10); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				disk.Inject(faultfs.Fault{Op: op, After: after, Err: syscall.EIO, Times: -1})
				if err := s.Close(); err != nil {
					t.Fatalf("Close = %v", err)
				}
				if !strings.Contains(log.String(), "stay on disk until the next start") {
					t.Fatalf("%s: not told:\n%s", op, &log)
				}
				s, rec := open(t, modelOptions(disk.Crash()))
				if rec.Next != 10 || len(rec.Damage) > 0 {
					t.Fatalf("%s after=%v: %v", op, after, &rec)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
