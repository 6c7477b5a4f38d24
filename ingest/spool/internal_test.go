package spool

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resum makes the sum in the last four bytes right again.
func resum(b []byte) []byte {
	at := len(b) - 4
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[:at], castagnoli))
	return b
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, n := range []uint64{0, 1, 255, maxNumber - 1} {
		name := segmentName(n)
		if got, ok := parseSegmentName(name); !ok || got != n {
			t.Errorf("parseSegmentName(%q) = %d, %v", name, got, ok)
		}
		for i := range 12 {
			bad := badName(name, i)
			if got, ok := parseBadName(bad); !ok || got != n {
				t.Errorf("parseBadName(%q) = %d, %v", bad, got, ok)
			}
		}
	}
	for _, name := range []string{"", ".seg", "1.seg", "000000000000000g.seg", "00000000000000AB.seg", "0000000000000000.seg.bad",
		"4000000000000000.seg", "ffffffffffffffff.seg", "+000000000000000.seg", "0000000000000000.foreign.bad"} {
		if _, ok := parseSegmentName(name); ok {
			t.Errorf("%q passes for a segment", name)
		}
	}
	for _, name := range []string{"0000000000000000.foreign.bad", "identity.bad", "0000000000000000.seg", ".bad"} {
		if _, ok := parseBadName(name); ok {
			t.Errorf("%q passes for a segment that was set aside", name)
		}
	}
}

func TestLatencyBuckets(t *testing.T) {
	t.Parallel()
	for i, d := range map[int]time.Duration{0: 15 * time.Microsecond, 1: 16 * time.Microsecond, 2: 32 * time.Microsecond, LatencyBuckets - 1: time.Hour} {
		if got := latencyBucket(d); got != i {
			t.Errorf("%v is in bucket %d, want %d", d, got, i)
		}
	}
}
