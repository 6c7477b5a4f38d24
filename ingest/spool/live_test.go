package spool_test

import (
	"context"
	"errors"
	"os"
	"sync"
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
