package kafka

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
)

// damageNewest damages the slot of a cursor's file that was written last.
func damageNewest(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	half := len(b) / 2
	at := 0
	if binary.LittleEndian.Uint64(b[half+8:]) > binary.LittleEndian.Uint64(b[8:]) {
		at = half
	}
	b[at+100] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

// TestNewestSlotIsLost: the cursor that was there before may lie before what the spool has since. It is of no use then, and shipping goes on as without
// one: nothing is lost, and nothing counts twice.
func TestNewestSlotIsLost(t *testing.T) {
	t.Parallel()
	for name, restarted := range map[string]bool{"the spool is opened anew": true, "the spool stays open": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newestSlotIsLost(t, restarted)
		})
	}
}

func newestSlotIsLost(t *testing.T, restarted bool) {
	r := newRig(t, shared(t), 2)
	r.append(3 * BlockEvents)
	r.fold()
	r.fail = func(step string) error {
		if step == "after trim" {
			return &crashError{step}
		}
		return nil
	}
	var crash *crashError
	if err := r.newShipper(r.client()).Run(t.Context()); !errors.As(err, &crash) {
		t.Fatal(err)
	}
	r.fail = nil
	damageNewest(t, r.cursor())
	if restarted {
		must(t, r.spool.Close())
		r.openSpool()
	}
	if older, err := loadCursor(r.cursor()); err != nil || older.next >= r.spool.Stats().First {
		t.Fatalf("the slot before is at %d, %v, and the spool begins at %d: this tests nothing", older.next, err, r.spool.Stats().First)
	}
	s, stop := r.ship()
	r.append(20_000)
	r.awaitShipped(s)
	must(t, stop())
	if st := s.Stats(); st.CursorsLost != 1 || st.Lost != 0 {
		t.Errorf("%d cursors and %d events were lost", st.CursorsLost, st.Lost)
	}
	r.awaitFolded()
	r.check()
	s, stop = r.ship()
	if n := s.Stats().CursorsLost; n != 0 {
		t.Errorf("%d cursors were lost the next time", n)
	}
	must(t, stop())
}
