package spool_test

import (
	"testing"

	"mailbeacon/ingest/spool/faultfs"
)

// TestIdentityIsDurable: once a spool is open its identity outlasts a loss of power by itself. It could be had from a segment again, but a
// folder that lost those, and never knew that it had any, would begin anew as if nothing was lost.
func TestIdentityIsDurable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		disk := faultfs.New(seed)
		for _, lose := range []bool{false, true} {
			if lose { // it is restored from a segment
				disk.Delete(at("identity"))
			}
			o := modelOptions(disk)
			s, _ := open(t, o)
			edge, epoch := s.Identity()
			if seed%2 == 0 {
				appendAll(t, s, 0, 1)
			}
			disk = disk.Crash()
			_ = s.Close() // of a process that is dead
			o.FS = disk
			again, rec := open(t, o)
			for _, note := range rec.Notes {
				t.Fatalf("seed %d: %s", seed, note)
			}
			if e, p := again.Identity(); e != edge || p != epoch {
				t.Fatalf("seed %d: edge %x, epoch %d, were %x, %d", seed, e, p, edge, epoch)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
