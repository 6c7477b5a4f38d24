package spool_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
)

// benchDir is a folder on a real disk: MAILBEACON_BENCH_DIR, else the test's.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("MAILBEACON_BENCH_DIR"); dir != "" {
		dir, err := os.MkdirTemp(dir, "spool")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return b.TempDir()
}

// BenchmarkAppend measures durable appends by a number of goroutines, each waiting for its own.
func BenchmarkAppend(b *testing.B) {
	for _, goroutines := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			s, _ := open(b, spool.Options{Dir: benchDir(b)})
			time.Sleep(50 * time.Millisecond) // the first segment is being prepared
			latencies := make([][]time.Duration, goroutines)
			for g := range latencies {
				latencies[g] = make([]time.Duration, 0, b.N/goroutines+1)
			}
			before := s.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range goroutines {
				n := b.N / goroutines
				if g < b.N%goroutines {
					n++
				}
				wg.Go(func() {
					ev := numbered(1)
					for range n {
						start := time.Now()
						if err := s.Append(ev); err != nil {
							b.Error(err)
							return
						}
						latencies[g] = append(latencies[g], time.Since(start))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			after := s.Stats()
			all := slices.Concat(latencies...)
			slices.Sort(all)
			b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(after.Events-before.Events)/float64(after.Commits-before.Commits), "events/commit")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// fillSpool appends n events and leaves the spool open.
func fillSpool(b testing.TB, s *spool.Spool, n int) {
	b.Helper()
	const goroutines = 1024
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			ev := numbered(1)
			for range n / goroutines {
				if err := s.Append(ev); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkReader measures how fast durable events come back, from files in the page cache.
func BenchmarkReader(b *testing.B) {
	s, _ := open(b, spool.Options{Dir: benchDir(b)})
	fillSpool(b, s, 1<<20)
	total := s.Stats().Next
	buf := make([]event.Event, 4096)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		r, err := s.Reader(0)
		if err != nil {
			b.Fatal(err)
		}
		for pos := uint64(0); pos < total; {
			first, n, _, err := r.Next(context.Background(), buf)
			if err != nil {
				b.Fatal(err)
			}
			pos = first + uint64(n)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(total)/b.Elapsed().Seconds()/1e6, "Mevents/s")
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDatasync compares one write and sync of a frame in blocks that were written before, and in a file that grows.
func BenchmarkDatasync(b *testing.B) {
	for _, written := range []bool{true, false} {
		b.Run(fmt.Sprintf("written=%v", written), func(b *testing.B) {
			f := writtenFile(b)
			if !written {
				if err := f.Truncate(0); err != nil {
					b.Fatal(err)
				}
			}
			frame := make([]byte, event.FrameHeaderSize+event.Size)
			b.ResetTimer()
			for off := int64(0); b.Loop(); off = (off + int64(len(frame))) % (wakeFile - int64(len(frame))) {
				if _, err := f.WriteAt(frame, off); err != nil {
					b.Fatal(err)
				}
				if err := f.Datasync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRenew is how long a commit waits behind a renewal.
func BenchmarkRenew(b *testing.B) {
	s, _ := open(b, spool.Options{Dir: benchDir(b)})
	ev := numbered(1)
	for range b.N {
		b.StopTimer()
		for more := true; more; more = s.Stats().Bytes < 2*spool.DefaultSegmentBytes { // until the next segment is prepared
			if err := s.Append(ev); err != nil {
				b.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if err := s.Trim(s.Stats().Next); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		s.RenewNow()
	}
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
