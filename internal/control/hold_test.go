package control_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mailbeacon/internal/control"
)

// told is a folder that writes down when it is told of an entry.
type told struct {
	keys
	order []string
}

func (t *told) Apply(e control.Entry) error {
	t.order = append(t.order, "fold "+e.Key)
	return t.keys.Apply(e)
}

// Whoever asks on both sides of a fold sees each entry on both sides, before the next one, and before the read that brought
// it renews the lease.
func TestBeforeAndAfter(t *testing.T) {
	t.Parallel()
	log, k := control.NewMemory(), &told{keys: keys{name: "k"}}
	put(t, log, 0, 3)
	var f *control.Follower
	tell := func(when string) func(*control.Entry) {
		return func(e *control.Entry) {
			if !f.Stats().LastContact.IsZero() {
				t.Error("the read is taken for folded before its entries are")
			}
			k.order = append(k.order, when+" "+e.Key)
		}
	}
	f = follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}, Before: tell("before"), After: tell("after")})
	must(t, f.CatchUp(t.Context()))
	var want []string
	for _, key := range k.got {
		want = append(want, "before "+key, "fold "+key, "after "+key)
	}
	if len(k.got) != 3 || !slices.Equal(k.order, want) {
		t.Errorf("%q", k.order)
	}
}

// No snapshot holds what came between the question whether one may be written and the moment that it speaks of.
func TestHeldWhileASnapshotBegins(t *testing.T) {
	t.Parallel()
	log, k, path := control.NewMemory(), &keys{name: "k"}, filepath.Join(t.TempDir(), "s")
	put(t, log, 0, 3)
	held := false
	f := follower(t, control.FollowerOptions{
		Log: log, Folders: []control.Folder{k}, Snapshot: path, Hold: func() bool { return held }, After: func(*control.Entry) { held = true },
	})
	must(t, f.CatchUp(t.Context()))
	must(t, f.Save()) // begun by somebody who had asked before
	must(t, f.Close())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || f.Stats().Snapshot != 0 || f.Stats().SnapshotFails != 0 {
		t.Errorf("%v, %+v", err, f.Stats())
	}
	held = false
	must(t, f.Close())
	if _, err := os.Stat(path); err != nil || f.Stats().Snapshot != 3 {
		t.Errorf("%v, %+v", err, f.Stats())
	}
}
