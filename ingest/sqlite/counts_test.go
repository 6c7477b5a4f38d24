package sqlite

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
)

func openCounts(t *testing.T, path string) *Counts {
	t.Helper()
	s, err := OpenCounts(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCountsConform(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T, place string) aggregate.Store {
			return openCounts(t, filepath.Join(place, "counts.db"))
		},
	})
}

func commitOne(t *testing.T, s *Counts, before uint64) error {
	t.Helper()
	return s.Commit(t.Context(), &aggregate.Commit{
		Before: before, After: aggregate.Progress{Offset: before + 1},
		Counts:     []aggregate.Count{{Cell: aggregate.Cell{Campaign: 1, Kind: event.Open}, N: 1}},
		Uniques:    []aggregate.Uniques{{UniqueKey: aggregate.UniqueKey{Campaign: 1, Kind: event.Open}, Hashes: []uint64{(before + 1) << 40}}},
		LastActive: []aggregate.LastActive{{Subject: 7, Day: uint32(100 - before)}},
	})
}

// state is everything that commitOne changes.
func state(t *testing.T, s *Counts) (offset, counted, people uint64) {
	t.Helper()
	p, err := s.Progress(t.Context(), 0)
	must(t, err)
	counts, err := s.Counts(t.Context(), 1)
	must(t, err)
	for _, c := range counts {
		counted += c.N
	}
	u, err := s.UniqueCounts(t.Context(), 1)
	must(t, err)
	for _, u := range u {
		people = max(people, u.People)
	}
	return p.Offset, counted, people
}

func expect(t *testing.T, s *Counts, n uint64) {
	t.Helper()
	if offset, counted, people := state(t, s); offset != n || counted != n || people != n {
		t.Fatalf("offset %d, %d counted, %d people, want %d of each", offset, counted, people, n)
	}
}

func TestLastActiveKeepsTheLatestDay(t *testing.T) {
	t.Parallel()
	s := openCounts(t, filepath.Join(t.TempDir(), "counts.db"))
	defer s.Close()
	for i := range uint64(5) { // days 100, 99, 98 ...
		must(t, commitOne(t, s, i))
	}
	var rows, day int
	must(t, s.d.reader.QueryRowContext(t.Context(), "SELECT count(*), max(day) FROM last_active WHERE subject = 7").Scan(&rows, &day))
	if rows != 1 || day != 100 {
		t.Errorf("%d rows, day %d, want one of day 100", rows, day)
	}
}

// A commit that fails after its first statement leaves nothing, and the store goes on.
func TestFailedCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "counts.db")
	s := openCounts(t, path)
	defer s.Close()
	must(t, commitOne(t, s, 0))

	must(t, s.d.update(t.Context(), func(t *tx) error {
		_, err := t.Exec("UPDATE sketches SET sketch = CAST(x'ff' || sketch AS BLOB)")
		return err
	}))
	err := commitOne(t, s, 1)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Fatalf("commit over a damaged sketch: %v", err)
	}
	must(t, s.d.update(t.Context(), func(t *tx) error {
		_, err := t.Exec("UPDATE sketches SET sketch = CAST(substr(sketch, 2) AS BLOB)")
		return err
	}))
	expect(t, s, 1)

	// A disk that fills up while the commit is written.
	if _, err := s.d.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	large := &aggregate.Commit{Before: 1, After: aggregate.Progress{Offset: 2}}
	for i := range uint32(5000) {
		large.Counts = append(large.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: 1, Hour: i, Kind: event.Open}, N: 1})
	}
	if err := s.Commit(t.Context(), large); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), path) {
		t.Fatalf("commit on a full disk: %v", err)
	}
	expect(t, s, 1)
	if _, err := s.d.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	must(t, commitOne(t, s, 1))
	expect(t, s, 2)
	must(t, s.Check(t.Context()))
}

// The outcome of a commit does not hang on how long its caller waits.
func TestCommitWaitsForTheWriterAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	s := openCounts(t, filepath.Join(t.TempDir(), "counts.db"))
	defer s.Close()
	holding, release := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		done <- s.d.update(t.Context(), func(*tx) error { close(holding); <-release; return nil })
	}()
	<-holding
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer stop()
	if err := s.Commit(ctx, &aggregate.Commit{After: aggregate.Progress{Offset: 1}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit behind a busy writer: %v", err)
	}
	// Reading does not wait for the writer.
	if _, err := s.Progress(t.Context(), 0); err != nil {
		t.Error(err)
	}
	close(release)
	must(t, <-done)
	must(t, commitOne(t, s, 0))
	expect(t, s, 1)
}

// A process that dies without closing leaves its log behind; the next one finds everything in it.
func TestUnclosedStoreIsComplete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "counts.db")
	s := openCounts(t, path)
	defer s.Close()
	for i := range uint64(20) {
		must(t, commitOne(t, s, i))
	}
	copied := filepath.Join(t.TempDir(), "counts.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		must(t, err)
		must(t, os.WriteFile(copied+suffix, b, 0o600))
	}
	after := openCounts(t, copied)
	defer after.Close()
	expect(t, after, 20)
	must(t, commitOne(t, after, 20))
}

func TestSmallSketchesAreExactAndCanonical(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	var all []uint64
	s, wrong := newSketch(), 0
	for n := uint64(1); n <= 5000; n++ {
		h := rnd.Uint64()
		all = append(all, h)
		s.add([]uint64{h, all[rnd.IntN(len(all))]})
		if s.count() != n {
			wrong++
		}
		if n%500 == 0 { // through the file and back
			b, err := s.append(nil)
			must(t, err)
			s, err = parseSketch(b)
			must(t, err)
		}
		if n == 100 && wrong > 0 {
			t.Fatal("not exact up to a hundred")
		}
	}
	if d := int(s.count()) - 5000; d < -3 || d > 3 {
		t.Errorf("%d of 5000", s.count())
	}
	o := newSketch()
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	o.add(all)
	a, err := s.append(nil)
	must(t, err)
	b, err := o.append(nil)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Errorf("the same people in another order are %d and %d other bytes", len(a), len(b))
	}
}

func FuzzParseSketch(f *testing.F) {
	small, large := newSketch(), newSketch()
	for i := range uint64(50_000) {
		large.add([]uint64{i * 0x9e3779b97f4a7c15})
		if i < 20 {
			small.add([]uint64{i * 0x9e3779b97f4a7c15})
		}
	}
	for _, s := range []sketch{newSketch(), small, large} {
		b, err := s.append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSketch(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v does not say that it is damage", err)
			}
			return
		}
		n := s.count()
		again, err := s.append(nil)
		must(t, err)
		o, err := parseSketch(again)
		must(t, err)
		if o.count() != n {
			t.Errorf("%d people became %d", n, o.count())
		}
	})
}

// BenchmarkCommit is a busy quarter of a second: 10,000 distinct cells, 2,000 sketches with five new
// people each, 5,000 people's days.
func BenchmarkCommit(b *testing.B) {
	s, err := OpenCounts(b.Context(), filepath.Join(b.TempDir(), "counts.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := uint64(0); b.Loop(); n++ {
		c := &aggregate.Commit{Before: n, After: aggregate.Progress{Offset: n + 1}}
		for i := range uint32(10_000) {
			c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{
				Campaign: 1 + i%500, Hour: 500_000 + uint32(n/100), Link: uint16(i / 500 % 20), Kind: event.Click, Client: event.Client(i / 10_000)}, N: 3})
		}
		for i := range uint32(2000) {
			u := aggregate.Uniques{UniqueKey: aggregate.UniqueKey{Campaign: 1 + i%500, Link: uint16(i / 500), Kind: event.Click, Class: 1}}
			for range 5 {
				u.Hashes = append(u.Hashes, rnd.Uint64())
			}
			c.Uniques = append(c.Uniques, u)
		}
		for range 5000 {
			c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: rnd.Uint64(), Day: 20_000})
		}
		if err := s.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
