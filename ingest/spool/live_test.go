package spool_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

func TestAppendDoesNotAllocate(t *testing.T) {
	s, _ := open(t, spool.Options{Dir: t.TempDir()})
	ev := numbered(1)
	for range 100 {
		if err := s.Append(ev); err != nil {
			t.Fatal(err)
		}
	}
	// The background preparation of a segment may allocate a little; an Append may not.
	if allocs := testing.AllocsPerRun(2000, func() {
		if err := s.Append(ev); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Fatalf("%v allocations per Append", allocs)
	}
	bad := &event.Event{Kind: 9}
	if allocs := testing.AllocsPerRun(100, func() {
		if err := s.Append(bad); !errors.Is(err, event.ErrKind) {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Fatalf("%v allocations per refused Append", allocs)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Writers, readers and trims at once: each reader sees all events once and in order.
func TestLive(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 1500
	s, _ := open(t, spool.Options{Dir: t.TempDir(), SegmentBytes: 16 << 10, Linger: time.Millisecond})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Append(numbered(uint64(w*each + i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var mu sync.Mutex
	positions := map[int]uint64{0: 0, 1: 0, 2: 0}
	for reader := range len(positions) {
		wg.Go(func() {
			r, err := s.Reader(0)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = r.Close() }()
			seen := map[uint64]bool{}
			last := map[uint64]uint64{}
			buf := make([]event.Event, 64)
			for pos := uint64(0); pos < writers*each; {
				first, n, skipped, err := r.Next(t.Context(), buf)
				if err != nil || first != pos || skipped != 0 {
					t.Errorf("Next at %d = %d, %d, %d, %v", pos, first, n, skipped, err)
					return
				}
				for _, e := range buf[:n] {
					w := e.Subject / each
					if seen[e.Subject] || last[w] > e.Subject {
						t.Errorf("event %d twice or out of order", e.Subject)
						return
					}
					seen[e.Subject], last[w] = true, e.Subject
				}
				pos += uint64(n)
				mu.Lock()
				positions[reader] = pos
				before := min(positions[0], positions[1], positions[2])
				mu.Unlock()
				if err := s.Trim(before); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.First == 0 || st.Events != writers*each || st.Next != writers*each {
		t.Fatalf("%+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReaderErrors(t *testing.T) {
	t.Parallel()
	disk := filled(t, 3*perSegment)
	s, _ := open(t, modelOptions(disk))
	if _, err := s.Reader(3*perSegment + 1); !errors.As(err, new(*spool.AheadError)) {
		t.Fatalf("Reader ahead: %v", err)
	}
	r, err := s.Reader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	buf := make([]event.Event, 1)
	if first, n, _, err := r.Next(t.Context(), buf); first != 1 || n != 1 || err != nil || buf[0].Subject != 1 {
		t.Fatal(first, n, err, buf[0])
	}
	if _, _, _, err := r.Next(t.Context(), nil); err == nil {
		t.Fatal("Next without room worked")
	}
	if err := s.Trim(3 * perSegment); err != nil {
		t.Fatal(err)
	}
	var trimmed *spool.TrimmedError
	if _, _, _, err := r.Next(t.Context(), buf); !errors.As(err, &trimmed) || trimmed.Want != 2 || trimmed.First != s.Stats().First {
		t.Fatalf("Next on a trimmed segment: %v", err)
	}
	if _, err := s.Reader(1); !errors.As(err, &trimmed) {
		t.Fatalf("Reader on a trimmed segment: %v", err)
	}
	r2, err := s.Reader(3 * perSegment)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r2.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := r2.Next(ctx, buf); !errors.Is(err, context.Canceled) {
		t.Fatalf("Next with a context that ended: %v", err)
	}
	done := make(chan error)
	go func() { _, _, _, err := r2.Next(t.Context(), buf); done <- err }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, spool.ErrClosed) {
		t.Fatalf("Next while the spool is closed: %v", err)
	}
	if err := s.Close(); !errors.Is(err, spool.ErrClosed) {
		t.Fatalf("second Close: %v", err)
	}
	if !errors.Is(s.Healthy(), spool.ErrClosed) {
		t.Fatal("healthy after Close")
	}
}

// A reader that caught up runs once in a while, not once for every commit.
func TestReaderLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, spool.Options{Dir: modelDir, FS: faultfs.New(1), Linger: time.Second})
		r, err := s.Reader(0)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := range 50 {
				if err := s.Append(numbered(uint64(i))); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		start := time.Now()
		_, n, _, err := r.Next(t.Context(), make([]event.Event, 100))
		if n != 50 || err != nil || time.Since(start) != time.Second {
			t.Fatalf("%d events after %v, %v", n, time.Since(start), err)
		}
		if err := errors.Join(r.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

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

func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hooked int
		s, _ := open(t, spool.Options{
			Dir: modelDir, FS: faultfs.New(1), SegmentBytes: 4 << 10,
			OnCommit: func(events int, d time.Duration) { hooked += events },
		})
		synctest.Wait() // the first segment is prepared
		if st := s.Stats(); !st.Healthy || st.Next != 0 || !st.Oldest.IsZero() || st.Age != 0 || st.Segments != 1 {
			t.Fatalf("fresh: %+v", st)
		}
		start := time.Now()
		for i := range 100 {
			ev := numbered(uint64(i))
			ev.Time = time.Now().UnixMilli()
			if err := s.Append(ev); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		st := s.Stats()
		if st.Next != 100 || st.Events != 100 || st.Commits != 100 || hooked != 100 || st.Segments != 2 || st.Bytes != 3*(4<<10) {
			t.Fatalf("%+v, hooked %d", st, hooked)
		}
		if !st.Oldest.Equal(start.Truncate(time.Millisecond)) || st.Age < 100*time.Second {
			t.Fatalf("oldest %v, age %v", st.Oldest, st.Age)
		}
		var n uint64
		for _, b := range st.Latency {
			n += b
		}
		if n != 100 {
			t.Fatalf("latency counts %d commits", n)
		}
		if err := s.Trim(100); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Segments != 1 || st.Age > 50*time.Second || st.First == 0 {
			t.Fatalf("trimmed: %+v", st)
		}
		if err := s.Append(&event.Event{}); !errors.Is(err, event.ErrKind) || s.Stats().RefusedAppends != 1 {
			t.Fatalf("Append of nothing: %v, %+v", err, s.Stats())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]spool.Options{
		"no folder":      {},
		"small segments": {Dir: "x", SegmentBytes: 4095},
		"large segments": {Dir: "x", SegmentBytes: 1<<30 + 1},
		"absurd next":    {Dir: "x", Next: 1 << 63},
	} {
		if _, _, err := spool.Open(o); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := spool.Open(spool.Options{Dir: file}); err == nil {
		t.Error("opened a file as a folder")
	}
}

// A million events that wait do not hold up the start.
func TestOpenIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a million events")
	}
	dir := t.TempDir()
	s, _ := open(t, spool.Options{Dir: dir})
	fillSpool(t, s, 1<<20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, rec := open(t, spool.Options{Dir: dir})
	t.Logf("opened %d events in %d segments in %v", rec.Next, rec.Segments, rec.Took)
	if rec.Next != 1<<20 || rec.Took > 500*time.Millisecond {
		t.Fatalf("%+v", rec)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
