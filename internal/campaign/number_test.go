package campaign

import (
	"testing"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

func TestNextNumber(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		highest uint32
		minutes time.Duration
		want    uint32
	}{
		{0, 0, 1}, {0, -5, 1}, {0, 1, 1}, {0, 7, 7}, {6, 7, 7}, {7, 7, 8}, {100, 7, 101},
		{0, MaxNumber, MaxNumber / 2}, {MaxNumber - 1, 7, MaxNumber}, {MaxNumber, 7, MaxNumber + 1},
	} {
		if got := nextNumber(tc.highest, numbersBegin.Add(tc.minutes*time.Minute)); got != tc.want {
			t.Errorf("after %d, in minute %d: %d, want %d", tc.highest, tc.minutes, got, tc.want)
		}
	}
}

// A campaign that a restored log has forgotten gives its number to no other.
func TestNumbersOutliveARestoredLog(t *testing.T) {
	t.Parallel()
	now := numbersBegin.Add(1000 * time.Minute)
	create := func(log control.Log, name string) uint32 {
		r := NewRegistry()
		w := NewWriter(log, controltest.Follow(t, log, r), r).At(func() time.Time { return now })
		c, err := w.Create(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		if !c.Created.Equal(now) {
			t.Errorf("created %v, want %v", c.Created, now)
		}
		return c.Number
	}
	lost, restored := control.NewMemory(), control.NewMemory()
	for _, log := range []control.Log{lost, restored} {
		create(log, "backed-up")
	}
	now = now.Add(time.Hour)
	gone := create(lost, "gone")
	now = now.Add(time.Minute)
	if n := create(restored, "new"); n == gone {
		t.Errorf("number %d was given out again", n)
	}
}
