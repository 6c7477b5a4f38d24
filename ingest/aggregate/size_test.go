package aggregate

import (
	"testing"
	"time"
)

// TestSizeOfAStoreThatTakesLong: a store that takes a while for any commit is not given small ones for good, because one was late
// for another reason.
func TestSizeOfAStoreThatTakesLong(t *testing.T) {
	t.Parallel()
	const window = 1900 * time.Millisecond
	for _, took := range []time.Duration{50 * time.Millisecond, 800 * time.Millisecond, 1400 * time.Millisecond} {
		s := size{usual: 100_000}
		if s.late(3); s.most != 1 {
			t.Fatalf("%d", s.most)
		}
		commits := 0
		for ; s.most > 0 && commits < 200; commits++ {
			s.stored(s.most, took, window-took)
		}
		if s.most > 0 {
			t.Errorf("%v a commit: %d events after %d of them", took, s.most, commits)
		}
	}
	s := size{usual: 100_000}
	s.late(3)
	for range 100 {
		s.stored(s.most, 1700*time.Millisecond, window-1700*time.Millisecond) // hardly in time: no more than that
	}
	if s.most != 1 {
		t.Errorf("%d events, though one took all there was", s.most)
	}
}
