package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
)

// lines counts what is written to it.
type lines int

func (n *lines) Write(p []byte) (int, error) {
	*n += lines(bytes.Count(p, []byte("\n")))
	return len(p), nil
}

// BenchmarkReconfirm lists who is inactive among MAILBEACON_PEOPLE people (100,000 unless set), of whom half are: the
// command and the server that it asks, in one process, whose peak memory is told.
func BenchmarkReconfirm(b *testing.B) {
	people, err := strconv.Atoi(os.Getenv("MAILBEACON_PEOPLE"))
	if err != nil {
		people = 100_000
	}
	s := &shell{b, filepath.Join(b.TempDir(), "data")}
	s.boot()()
	s.crowd(people)
	defer s.boot()()
	resetPeak(b)
	for b.Loop() {
		var listed lines
		c := &cli{stdout: &listed, stderr: os.Stderr, stdin: strings.NewReader(""), env: func(name string) string {
			if name == "MAILBEACON_DATA" {
				return s.data
			}
			return ""
		}}
		if code := c.execute(b.Context(), newRootCommand(c), []string{"reconfirm", "--inactive", "180d"}); code != exitOK {
			b.Fatalf("code %d", code)
		}
		if int(listed) < people/2 {
			b.Fatalf("%d lines for %d people", listed, people/2)
		}
	}
	b.ReportMetric(float64(people)*float64(b.N)/b.Elapsed().Seconds(), "people/s")
	b.ReportMetric(peak(b), "MB-peak")
}

// crowd notes dates of so many people in a stopped server's folder, half of them of long ago.
func (b *shell) crowd(people int) {
	b.t.Helper()
	_, store, closed := b.stopped()
	defer closed()
	random := rand.New(rand.NewPCG(1, 2))
	today := uint32(time.Now().Unix() / 86400)
	for at := uint64(0); people > 0; at++ {
		c := &aggregate.Commit{Partition: 9, Before: at, After: aggregate.Progress{Offset: at + 1}}
		for range min(people, 200_000) {
			c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: random.Uint64() | 1, Day: today - uint32(people%2*300)})
			people--
		}
		if err := store.Commit(context.Background(), c); err != nil {
			b.t.Fatal(err)
		}
	}
}

// resetPeak has the kernel forget the most memory that this process had.
func resetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skip(err)
	}
}

// peak is the most memory that this process had, in MB.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
