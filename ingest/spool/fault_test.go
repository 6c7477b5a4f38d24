package spool_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// A disk that fails is told, fails appends fast, and heals by itself; nothing that failed is read.
func TestFailAndHeal(t *testing.T) {
	t.Parallel()
	for _, op := range []faultfs.Op{faultfs.WriteAt, faultfs.Datasync} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			disk := faultfs.New(1)
			o := spool.Options{Dir: modelDir, FS: disk, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			s, _ := open(t, o)
			synctest.Wait()
			if err := s.Append(numbered(0)); err != nil {
				t.Fatal(err)
			}
			disk.Inject(faultfs.Fault{Op: op, Err: syscall.ENOSPC, Times: -1, After: true})
			var down *spool.UnavailableError
			if err := s.Append(numbered(1)); !errors.As(err, &down) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Append on a full disk: %v", err)
			}
			if err := s.Healthy(); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Healthy on a full disk: %v", err)
			}
			time.Sleep(10 * time.Second)
			start, before := time.Now(), disk.Calls(faultfs.Create)
			for range 1000 {
				if err := s.Append(numbered(1)); !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
			}
			if time.Since(start) != 0 {
				t.Fatalf("failing took %v", time.Since(start))
			}
			time.Sleep(10 * time.Second)
			if tries := disk.Calls(faultfs.Create) - before; tries < 5 || tries > 15 {
				t.Fatalf("%d tries to heal in 10 s", tries)
			}
			disk.Heal()
			time.Sleep(2 * time.Second)
			if err := s.Healthy(); err != nil {
				t.Fatalf("not healed: %v", err)
			}
			if err := s.Append(numbered(2)); err != nil {
				t.Fatal(err)
			}
			events, _, skipped := readAll(t, s, 0)
			if len(events) != 2 || skipped != 0 || events[0].Subject != 0 || events[1].Subject != 2 {
				t.Fatalf("read %v, %d skipped", events, skipped)
			}
			if st := s.Stats(); st.FailedAppends != 1001 || !st.Healthy {
				t.Fatalf("%+v", st)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "takes events again") {
				t.Fatalf("logged %d errors:\n%s", n, log.String())
			}
		})
	}
}

// A spool opens on a full disk: the server must come up, and serve.
func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := filled(t, 100)
	disk.Inject(faultfs.Fault{Op: faultfs.WriteAt, Err: syscall.ENOSPC, Times: -1})
	disk.Inject(faultfs.Fault{Op: faultfs.Allocate, Err: syscall.ENOSPC, Times: -1})
	s, _ := open(t, modelOptions(disk))
	if !errors.Is(s.Healthy(), syscall.ENOSPC) || !errors.Is(s.Append(numbered(100)), syscall.ENOSPC) {
		t.Fatalf("Healthy = %v", s.Healthy())
	}
	wantOnly(t, s, 100, 0, 0)
	disk.Heal()
	waitHealthy(t, s)
	if err := s.Append(numbered(100)); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, s, 101, 0, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A disk that hangs holds nobody up for long. What it says later does not count.
func TestStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s, _ := open(t, spool.Options{Dir: modelDir, FS: disk, Stall: 4 * time.Second})
		synctest.Wait()
		release := disk.Block()
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 10 { // one is in the commit that hangs, or all, or some wait behind it
			wg.Go(func() {
				if err := s.Append(numbered(uint64(i))); !errors.Is(err, spool.ErrStalled) {
					t.Errorf("Append on a disk that hangs: %v", err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		wg.Wait()
		if took := time.Since(start); took > 8*time.Second {
			t.Fatalf("held up for %v", took)
		}
		if err := s.Append(numbered(50)); !errors.Is(err, spool.ErrStalled) {
			t.Fatalf("Append meanwhile: %v", err)
		}
		release()
		time.Sleep(time.Second)
		if err := s.Append(numbered(99)); err != nil {
			t.Fatalf("Append afterwards: %v", err)
		}
		events, first, skipped := readAll(t, s, 0)
		if len(events) != 1 || first != 0 || skipped != 0 || events[0].Subject != 99 {
			t.Fatalf("read %v", events)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseOnDiskThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s, _ := open(t, spool.Options{Dir: modelDir, FS: disk, Stall: time.Second})
		synctest.Wait()
		release := disk.Block()
		appended := make(chan error, 1)
		go func() { appended <- s.Append(numbered(1)) }()
		synctest.Wait()
		if err := s.Close(); !errors.Is(err, spool.ErrStalled) {
			t.Fatalf("Close = %v", err)
		}
		if err := <-appended; !errors.Is(err, spool.ErrStalled) {
			t.Fatalf("Append = %v", err)
		}
		release()
		synctest.Wait()
	})
}

// Close commits what was appended before it.
func TestCloseCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		s, _ := open(t, spool.Options{Dir: modelDir, FS: disk})
		synctest.Wait()
		release := disk.Block()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if err := s.Append(numbered(uint64(i))); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		release()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		s, rec := open(t, spool.Options{Dir: modelDir, FS: disk.Crash()})
		if rec.Next != 5 {
			t.Fatalf("%+v", rec)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What a killed process wrote and did not sync can be read by the next one, so it must be on disk before
// anybody reads it.
func TestRecoverySyncsWhatItShows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		disk := faultfs.New(seed)
		s, _ := open(t, modelOptions(disk))
		if err := s.Append(numbered(0)); err != nil {
			t.Fatal(err)
		}
		release := disk.Block()
		written := disk.Calls(faultfs.WriteAt)
		appended := make(chan error, 1)
		go func() { appended <- s.Append(numbered(1)) }()
		for disk.Calls(faultfs.WriteAt) == written {
			time.Sleep(10 * time.Microsecond)
		}
		next := disk.Kill()
		release()
		if err := <-appended; err == nil {
			t.Fatal("acknowledged by a dead process")
		}
		_ = s.Close()
		s, rec := open(t, modelOptions(next))
		shown := rec.Next
		next2 := next.Crash()
		_ = s.Close()
		s, rec = open(t, modelOptions(next2))
		if rec.Next != shown {
			t.Fatalf("event %d was shown and is gone", rec.Next)
		}
		if _, _, skipped := readAll(t, s, 0); skipped != 0 {
			t.Fatalf("%d events were shown and are gone", skipped)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
