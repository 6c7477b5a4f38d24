package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// eventBytes lists the files of a disk that hold a frame.
func eventBytes(disk *faultfs.FS) (names []string) {
	all, err := disk.ReadDir(modelDir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range all {
		if bytes.Contains(disk.Bytes(at(name)), []byte("\xF5MBE")) {
			names = append(names, name)
		}
	}
	return names
}

// appendAll appends the events with the numbers from one up to another.
func appendAll(t *testing.T, s *spool.Spool, from, to uint64) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := s.Append(numbered(i)); err != nil {
			t.Fatalf("Append %d: %v", i, err)
		}
	}
}

// wantEvents reads the events with the numbers from one up to another, which must be all that are left.
func wantEvents(t *testing.T, s *spool.Spool, from, to uint64) {
	t.Helper()
	events, first, skipped := readAll(t, s, from)
	if uint64(len(events)) != to-from || first != from || skipped != 0 || s.Stats().Next != to {
		t.Fatalf("read %d events from %d with %d skipped, want %d to %d", len(events), first, skipped, from, to)
	}
	for i, e := range events {
		if e.Subject != from+uint64(i) {
			t.Fatalf("event %d is %d", from+uint64(i), e.Subject)
		}
	}
}

// ready opens a spool in a bubble of synctest and waits until a segment is prepared.
func ready(t *testing.T, disk *faultfs.FS, o spool.Options) *spool.Spool {
	t.Helper()
	o.Dir, o.FS, o.Linger = modelDir, disk, -1
	s, _ := open(t, o)
	synctest.Wait()
	return s
}

// renewBy is when a segment that is stale after a Renew was looked at for certain.
const renewBy = 5*time.Minute + 31*time.Second

// Events that were counted leave the disk, though nobody fills their segment, and nobody calls Trim again.
func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s := ready(t, disk, spool.Options{SegmentBytes: 64 << 10})
		time.Sleep(time.Minute)
		appendAll(t, s, 0, 10)
		if err := s.Trim(10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if len(eventBytes(disk)) != 1 {
			t.Fatal("renewed before the time")
		}
		time.Sleep(renewBy - 3*time.Minute)
		if left := eventBytes(disk); len(left) > 0 {
			t.Fatalf("counted events are left in %v", left)
		}
		if st := s.Stats(); st.First != 10 || st.Next != 10 || st.Segments != 1 || !st.Oldest.IsZero() || st.FailedRenewals != 0 {
			t.Fatalf("%+v", st)
		}
		synctest.Wait()
		appendAll(t, s, 10, 20)
		wantEvents(t, s, 10, 20)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A segment is renewed when some of it was counted, and goes as soon as all of it is.
func TestRenewWhileMoreComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s := ready(t, disk, spool.Options{SegmentBytes: 64 << 10})
		appendAll(t, s, 0, 10)
		if err := s.Trim(5); err != nil {
			t.Fatal(err)
		}
		time.Sleep(renewBy)
		appendAll(t, s, 10, 12)
		if firsts, _ := segments(t, disk); !slices.Equal(firsts, []uint64{0, 10}) {
			t.Fatalf("segments start at %v", firsts)
		}
		wantEvents(t, s, 0, 12)
		if err := s.Trim(10); err != nil {
			t.Fatal(err)
		}
		if firsts, _ := segments(t, disk); !slices.Equal(firsts, []uint64{10}) {
			t.Fatalf("segments start at %v", firsts)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What nothing of is counted, or holds nothing, is left alone however old it is: nothing is written.
func TestRenewNothing(t *testing.T) {
	t.Parallel()
	for _, events := range []uint64{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			disk := faultfs.New(1)
			s := ready(t, disk, spool.Options{SegmentBytes: 64 << 10})
			appendAll(t, s, 0, events)
			if err := s.Trim(0); err != nil {
				t.Fatal(err)
			}
			before := disk.Calls(faultfs.WriteAt)
			time.Sleep(24 * time.Hour)
			if n := disk.Calls(faultfs.WriteAt) - before; n != 0 {
				t.Fatalf("%d writes in a day without an event", n)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Under load there is always another batch; the renewal comes between two of them.
func TestRenewUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s := ready(t, disk, spool.Options{SegmentBytes: 64 << 10, Stall: time.Hour})
		appendAll(t, s, 0, 10)
		if err := s.Trim(10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		release := disk.Block()
		var wg sync.WaitGroup
		for i := range uint64(2) {
			wg.Go(func() {
				if err := s.Append(numbered(10 + i)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(2 * time.Minute) // the time comes in the middle of a commit
		release()
		wg.Wait()
		if firsts, _ := segments(t, disk); !slices.Equal(firsts, []uint64{0, 11}) {
			t.Fatalf("segments start at %v", firsts)
		}
		wantEvents(t, s, 0, 12)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A disk that hangs in a renewal holds appends up no longer than in a commit.
func TestRenewStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s := ready(t, disk, spool.Options{SegmentBytes: 64 << 10, Stall: 4 * time.Second})
		appendAll(t, s, 0, 10)
		if err := s.Trim(10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Minute - time.Second)
		release := disk.Block()
		time.Sleep(time.Second)
		synctest.Wait() // the renewal hangs
		start := time.Now()
		if err := s.Append(numbered(99)); !errors.Is(err, spool.ErrStalled) || time.Since(start) > 8*time.Second {
			t.Fatalf("Append behind a renewal that hangs: %v after %v", err, time.Since(start))
		}
		release()
		time.Sleep(time.Second)
		appendAll(t, s, 10, 20)
		wantEvents(t, s, 10, 20)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The disk says no at every step of a renewal, before and after the step took effect. No event suffers, the failure is
// counted, and later it works.
func TestRenewFaults(t *testing.T) {
	t.Parallel()
	for _, step := range []faultfs.Fault{
		{Op: faultfs.WriteAt, Name: "next.tmp"},
		{Op: faultfs.WriteAt, Name: "next.tmp", After: true},
		{Op: faultfs.Datasync, Name: "next.tmp"},
		{Op: faultfs.Datasync, Name: "next.tmp", After: true},
		{Op: faultfs.Rename},
		{Op: faultfs.Rename, After: true},
		{Op: faultfs.SyncDir},
		{Op: faultfs.SyncDir, After: true},
		{Op: faultfs.SyncDir, Times: 2}, // it can't be taken back either
		{Op: faultfs.SyncDir, Times: 2, After: true},
	} {
		for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s/after=%v/times=%d/%v", step.Op, step.After, max(step.Times, 1), err), func(t *testing.T) {
				t.Parallel()
				fault := step
				fault.Err = err
				for seed := range uint64(8) {
					renewWithFault(t, seed, fault)
				}
			})
		}
	}
}

func renewWithFault(t *testing.T, seed uint64, fault faultfs.Fault) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(seed)
		var log bytes.Buffer
		o := spool.Options{SegmentBytes: 4 << 10, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		s := ready(t, disk, o)
		appendAll(t, s, 0, 10)
		if err := s.Trim(5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the next segment is prepared
		disk.Inject(fault)
		time.Sleep(5*time.Minute + time.Second)
		if disk.Hits() != max(fault.Times, 1) {
			t.Fatalf("the fault struck %d times", disk.Hits())
		}
		if st := s.Stats(); st.FailedRenewals != 1 || !st.Healthy {
			t.Fatalf("%+v\n%s", st, &log)
		}
		appendAll(t, s, 10, 20)
		wantEvents(t, s, 0, 20)
		// What was acknowledged survives a loss of power that comes now.
		o.Dir, o.FS = modelDir, disk.Clone().Crash()
		later, rec := open(t, o)
		if rec.Next != 20 || len(rec.Damage) > 0 || rec.TornBytes > 0 {
			t.Fatalf("after a crash: %v", &rec)
		}
		wantEvents(t, later, 0, 20)
		if err := later.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Trim(20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(renewBy)
		if left := eventBytes(disk); len(left) > 0 {
			t.Fatalf("counted events are left in %v\n%s", left, &log)
		}
		if n := strings.Count(log.String(), "can't be renewed"); n != 1 || s.Stats().FailedRenewals != 1 {
			t.Fatalf("the failure was told %d times:\n%s", n, &log)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A disk without room for another segment renews nothing, takes the events as before, and says so once.
func TestRenewOnFullDisk(t *testing.T) {
	t.Parallel()
	for _, fault := range []faultfs.Fault{
		{Op: faultfs.Allocate}, // there is no prepared file
		{Op: faultfs.Rename},   // there is one, and no room for its name
	} {
		synctest.Test(t, func(t *testing.T) {
			disk := faultfs.New(1)
			var log bytes.Buffer
			s := ready(t, disk, spool.Options{SegmentBytes: 64 << 10, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			fault.Err, fault.Times = syscall.ENOSPC, -1
			if fault.Op == faultfs.Allocate {
				disk.Inject(fault)
			}
			appendAll(t, s, 0, 10) // takes the prepared file
			synctest.Wait()        // and another one is made, or not
			if fault.Op != faultfs.Allocate {
				disk.Inject(fault)
			}
			for range 3 {
				if err := s.Trim(s.Stats().Next); err != nil {
					t.Fatal(err)
				}
				time.Sleep(renewBy)
				next := s.Stats().Next
				appendAll(t, s, next, next+10)
			}
			wantEvents(t, s, 0, 40)
			if n := strings.Count(log.String(), "can't be renewed"); n > 1 || strings.Contains(log.String(), "level=ERROR") {
				t.Fatalf("told %d times:\n%s", n, &log)
			}
			disk.Heal()
			if err := s.Trim(40); err != nil {
				t.Fatal(err)
			}
			time.Sleep(renewBy)
			if left := eventBytes(disk); len(left) > 0 {
				t.Fatalf("counted events are left in %v\n%s", left, &log)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A Trim ahead of all events, as after a jump, releases none of those that come later.
func TestTrimAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s := ready(t, disk, spool.Options{SegmentBytes: 4 << 10})
		if err := s.Trim(100); err != nil {
			t.Fatal(err)
		}
		appendAll(t, s, 0, perSegment+1)
		time.Sleep(renewBy)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, _ = open(t, modelOptions(disk))
		wantEvents(t, s, 0, perSegment+1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What can't be deleted at first is deleted later, though nobody calls Trim again.
func TestTrimIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s := ready(t, disk, spool.Options{SegmentBytes: 4 << 10})
		appendAll(t, s, 0, perSegment+1)
		disk.Inject(faultfs.Fault{Op: faultfs.Remove, Err: syscall.EIO, Times: 1})
		if err := s.Trim(perSegment); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Trim = %v", err)
		}
		time.Sleep(time.Minute)
		if firsts, _ := segments(t, disk); !slices.Equal(firsts, []uint64{perSegment}) {
			t.Fatalf("segments start at %v", firsts)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The process dies, or the power fails, at every call of a renewal and of a Close with everything released.
func TestKilledWhileRenewing(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*faultfs.FS) *faultfs.FS{"kill": (*faultfs.FS).Kill, "crash": (*faultfs.FS).Crash}
	acts := map[string]func(*spool.Spool){
		"renew": func(*spool.Spool) { time.Sleep(renewBy) },
		"close": func(s *spool.Spool) { _ = s.Close() },
	}
	for name, end := range ends {
		for act, do := range acts {
			t.Run(name+"/"+act, func(t *testing.T) {
				t.Parallel()
				last := 0
				for n := 1; last < 3; n++ {
					for seed := range uint64(4) {
						if survived := killedWhile(t, seed, n, do, end); survived {
							last++
						}
					}
				}
			})
		}
	}
}

// killedWhile renews a spool whose process dies at the n-th call of it. It reports whether there were fewer calls.
func killedWhile(t *testing.T, seed uint64, n int, act func(*spool.Spool), end func(*faultfs.FS) *faultfs.FS) (survived bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(seed)
		s := ready(t, disk, spool.Options{SegmentBytes: 4 << 10})
		appendAll(t, s, 0, 10)
		synctest.Wait()
		if err := s.Trim(10); err != nil {
			t.Fatal(err)
		}
		disk.KillAt(n)
		act(s)
		next := uint64(10)
		if s.Append(numbered(next)) == nil {
			next++
		}
		survived = !disk.Dead()
		after := end(disk)
		_ = s.Close() // its disk is dead
		o := modelOptions(after)
		o.Known = true
		s, rec := open(t, o)
		if len(rec.Damage) > 0 || rec.NewEpoch || rec.Next < next || rec.Next > 11 || rec.First > 10 {
			t.Fatalf("killed at call %d: %v", n, &rec)
		}
		wantEvents(t, s, rec.First, rec.Next)
		appendAll(t, s, rec.Next, rec.Next+5)
		if err := errors.Join(s.Trim(rec.Next+5), s.Close()); err != nil {
			t.Fatal(err)
		}
		if left := eventBytes(after); len(left) > 0 {
			t.Fatalf("killed at call %d: counted events are left in %v", n, left)
		}
	})
	return survived
}
