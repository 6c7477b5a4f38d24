package proctest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSoak loads the server for MAILBEACON_SOAK (10 s unless told) and holds its memory flat: what it
// takes in the last third is what it took in the second, give or take the collector's mood.
func TestSoak(t *testing.T) {
	length := 10 * time.Second
	if v := os.Getenv("MAILBEACON_SOAK"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatalf("MAILBEACON_SOAK is %q, no duration", v)
		}
	}
	ctx := t.Context()
	s := launch(t, built(t, plainBinary), t.TempDir())
	s.ready()
	lanes := newLanes(ctx, t, s.client(), "soak", 32)
	var sizes []float64
	load(t, s, lanes, func() {
		const samples = 60
		for range samples {
			time.Sleep(length / samples)
			sizes = append(sizes, float64(s.resident())/(1<<20))
		}
	})
	third := len(sizes) / 3
	second, last := mean(sizes[third:2*third]), mean(sizes[2*third:])
	s.drain()
	c := s.client()
	answered := uint64(0)
	for _, l := range lanes {
		l.check(ctx, t, c)
		for kind := range kinds {
			answered += l.answered[kind]
		}
	}
	t.Logf("%v: %d answers (%.0f/s), each counted once; resident memory %.0f MiB in the second third, %.0f MiB in the last, %.0f MiB at most; %v spool segments left",
		length, answered, float64(answered)/length.Seconds(), second, last, most(sizes), s.metric("mailbeacon_spool_segments"))
	if last > second*1.1+16 {
		t.Errorf("memory grows: %.0f MiB, then %.0f MiB", second, last)
	}
	s.stop()
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func most(v []float64) float64 {
	m := 0.0
	for _, x := range v {
		m = max(m, x)
	}
	return m
}

// resident is the process's memory in bytes.
func (s *server) resident() int {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		s.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
