package control_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// keys is a folder that remembers the keys it was given, in order.
type keys struct {
	name string
	mu   sync.Mutex
	got  []string
	fail error // of Snapshot
}

func (k *keys) Name() string { return k.name }

func (k *keys) Apply(e control.Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.Kind == "bad" {
		return errors.New("can't be read")
	}
	k.got = append(k.got, e.Key)
	return nil
}

func (k *keys) Snapshot() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return []byte(strings.Join(k.got, "\n")), k.fail
}

func (k *keys) Restore(b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if string(b) == "poison" {
		k.got = []string{"half", "restored"}
		return errors.New("not a state of mine")
	}
	k.got = nil
	if len(b) > 0 {
		k.got = strings.Split(string(b), "\n")
	}
	return nil
}

func (k *keys) expect(t *testing.T, from, to int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.got) != to-from {
		t.Fatalf("folder %s has %d keys, want %d: %v", k.name, len(k.got), to-from, k.got)
	}
	for i, key := range k.got {
		if want := controltest.Record(from + i).Key; key != want {
			t.Fatalf("folder %s: key %d is %s, want %s", k.name, i, key, want)
		}
	}
}

func put(t *testing.T, log control.Log, from, to int) control.Position {
	t.Helper()
	var pos control.Position
	for n := from; n < to; n++ {
		var err error
		if pos, err = log.Append(t.Context(), controltest.Record(n)); err != nil {
			t.Fatal(err)
		}
	}
	return pos
}

func follower(t *testing.T, o control.FollowerOptions) *control.Follower {
	t.Helper()
	f, err := control.OpenFollower(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFollowerFoldsInOrderOnce(t *testing.T) {
	t.Parallel()
	log, a, b := control.NewMemory(), &keys{name: "a"}, &keys{name: "b"}
	put(t, log, 0, 7)
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{a, b}, Batch: 3})
	must(t, f.CatchUp(t.Context()))
	must(t, f.CatchUp(t.Context()))
	a.expect(t, 0, 7)
	b.expect(t, 0, 7)
	if f.Applied() != 7 || f.Stats().LastContact.IsZero() {
		t.Errorf("applied %d, %+v", f.Applied(), f.Stats())
	}
}

func TestFollowerRunAndWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, k := control.NewMemory(), &keys{name: "k"}
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		waited := make(chan error)
		go func() { waited <- f.WaitApplied(ctx, 5) }()
		put(t, log, 0, 4)
		synctest.Wait()
		k.expect(t, 0, 4)
		select {
		case err := <-waited:
			t.Fatalf("waited for entry 5 of 4: %v", err)
		default:
		}
		put(t, log, 4, 5)
		must(t, <-waited)

		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := f.WaitApplied(short, 6); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited for what does not come: %v", err)
		}
		stop()
		must(t, <-ended)
	})
}

func TestFollowerPassesOverWhatFoldersCannotRead(t *testing.T) {
	t.Parallel()
	log, k := control.NewMemory(), &keys{name: "k"}
	put(t, log, 0, 1)
	r := controltest.Record(99)
	r.Kind, r.Body = "bad", []byte("somebody@example.com")
	_, err := log.Append(t.Context(), r)
	must(t, err)
	put(t, log, 1, 3)
	var out bytes.Buffer
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	must(t, f.CatchUp(t.Context()))
	k.expect(t, 0, 3)
	if n := f.Stats().ApplyErrors; n != 1 || f.Applied() != 4 {
		t.Errorf("%d errors, applied %d", n, f.Applied())
	}
	if !strings.Contains(out.String(), "position=2") || strings.Contains(out.String(), "@") {
		t.Errorf("logged: %s", out.String())
	}
}

// shaky is a log that fails while it is told to.
type shaky struct {
	control.Log
	mu  sync.Mutex
	err error
}

func (s *shaky) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shaky) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.Log.Read(ctx, after, limit)
}

func TestFollowerOutlivesAFailingLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, k := &shaky{Log: control.NewMemory()}, &keys{name: "k"}
		var out bytes.Buffer
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		log.set(errors.New("disk on fire"))
		put(t, log, 0, 2)
		if err := f.CatchUp(t.Context()); err == nil {
			t.Error("caught up with a failing log")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		s := f.Stats()
		if !s.LogFailing || s.LogErrors < 10 || s.LogErrors > 120 {
			t.Errorf("after a minute of failures: %+v", s)
		}
		log.set(nil)
		must(t, f.WaitApplied(ctx, 2))
		k.expect(t, 0, 2)
		put(t, log, 2, 5)
		must(t, f.WaitApplied(ctx, 5))
		synctest.Wait()
		if f.Stats().LogFailing {
			t.Error("still failing")
		}
		stop()
		must(t, <-ended)
		if strings.Count(out.String(), "disk on fire") != 1 || strings.Count(out.String(), "answers again") != 1 {
			t.Errorf("said: %s", out.String())
		}
	})
}

// unruly answers entries that were there already.
type unruly struct{ control.Log }

func (u unruly) Read(ctx context.Context, _ control.Position, limit int) ([]control.Entry, error) {
	return u.Log.Read(ctx, 0, limit)
}

func TestFollowerRefusesDisorder(t *testing.T) {
	t.Parallel()
	log, k := unruly{control.NewMemory()}, &keys{name: "k"}
	put(t, log, 0, 2)
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}})
	must(t, f.CatchUp(t.Context()))
	put(t, log, 2, 3)
	if err := f.CatchUp(t.Context()); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("entries twice: %v", err)
	}
	k.expect(t, 0, 2)
}

func TestFollowerEndsWithAClosedLog(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}})
	must(t, log.Close())
	if err := f.Run(t.Context()); !errors.Is(err, control.ErrClosed) {
		t.Errorf("run: %v", err)
	}
}

func TestFollowerOptions(t *testing.T) {
	t.Parallel()
	k := &keys{name: "k"}
	for name, o := range map[string]control.FollowerOptions{
		"no log":     {Folders: []control.Folder{k}},
		"no folders": {Log: control.NewMemory()},
		"twice":      {Log: control.NewMemory(), Folders: []control.Folder{k, k}},
		"no name":    {Log: control.NewMemory(), Folders: []control.Folder{&keys{}}},
	} {
		if _, err := control.OpenFollower(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSnapshotStartsWithoutTheLog(t *testing.T) {
	t.Parallel()
	log, path := control.NewMemory(), filepath.Join(t.TempDir(), "control.snapshot")
	put(t, log, 0, 5)
	a, b := &keys{name: "a"}, &keys{name: "b"}
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{a, b}, Snapshot: path})
	must(t, f.CatchUp(t.Context()))
	must(t, f.Close())

	down := &shaky{Log: log}
	down.set(errors.New("down"))
	a, b = &keys{name: "a"}, &keys{name: "b"}
	f = follower(t, control.FollowerOptions{Log: down, Folders: []control.Folder{b, a}, Snapshot: path})
	a.expect(t, 0, 5)
	b.expect(t, 0, 5)
	if f.Applied() != 5 || f.Stats().Snapshot != 5 {
		t.Errorf("%+v", f.Stats())
	}
	down.set(nil)
	put(t, log, 5, 8)
	must(t, f.CatchUp(t.Context()))
	a.expect(t, 0, 8)

	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("snapshot: %v, %v", info, err)
	}
}

func TestSnapshotDamaged(t *testing.T) {
	t.Parallel()
	log, dir := control.NewMemory(), t.TempDir()
	put(t, log, 0, 5)
	good := filepath.Join(dir, "good")
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}, &keys{name: "l"}}, Snapshot: good})
	must(t, f.CatchUp(t.Context()))
	must(t, f.Save())
	content, err := os.ReadFile(good)
	must(t, err)

	cases := map[string][]byte{
		"empty": {}, "text": []byte("hello"),
		"newer":    append(binary.BigEndian.AppendUint32([]byte("MBCTLSNP"), 2), content[12:]...),
		"trailing": append(bytes.Clone(content), 0),
	}
	for at := range content { // every single byte counts
		b := bytes.Clone(content)
		b[at] ^= 0x40
		cases["flipped"+string(rune('0'+at))] = b
		cases["cut"+string(rune('0'+at))] = content[:at]
	}
	for name, b := range cases {
		path := filepath.Join(t.TempDir(), "control.snapshot")
		must(t, os.WriteFile(path, b, 0o600))
		k, l := &keys{name: "k"}, &keys{name: "l"}
		var out bytes.Buffer
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k, l}, Snapshot: path, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		if f.Applied() != 0 {
			t.Fatalf("%q was used", name)
		}
		must(t, f.CatchUp(t.Context()))
		k.expect(t, 0, 5)
		aside, err := os.ReadFile(path + ".bad")
		if err != nil || !bytes.Equal(aside, b) {
			t.Errorf("%q was not put aside as it was: %v", name, err)
		}
		if name == "newer" && !strings.Contains(out.String(), "newer") || !strings.Contains(out.String(), ".bad") {
			t.Errorf("%q: said %s", name, out.String())
		}
	}
}

func TestSnapshotAsideNamesAreNotReused(t *testing.T) {
	t.Parallel()
	log, path := control.NewMemory(), filepath.Join(t.TempDir(), "s")
	for _, name := range []string{"s.bad", "s.1.bad", "s.2.bad"} {
		must(t, os.WriteFile(path, []byte(name), 0o600))
		follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}, Snapshot: path})
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if err != nil || string(b) != name {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}

// poisoned is a folder whose snapshots can't be restored.
type poisoned struct{ keys }

func (p *poisoned) Snapshot() ([]byte, error) { return []byte("poison"), nil }

func TestSnapshotThatAFolderRefuses(t *testing.T) {
	t.Parallel()
	log, path := control.NewMemory(), filepath.Join(t.TempDir(), "s")
	put(t, log, 0, 3)
	fs := func() (*keys, *poisoned) { return &keys{name: "k"}, &poisoned{keys{name: "p"}} }
	k, p := fs()
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k, p}, Snapshot: path})
	must(t, f.CatchUp(t.Context()))
	must(t, f.Save())
	k, p = fs()
	f = follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k, p}, Snapshot: path})
	must(t, f.CatchUp(t.Context()))
	k.expect(t, 0, 3) // and not twice
	p.expect(t, 0, 3)
	if _, err := os.Stat(path + ".bad"); err != nil {
		t.Error(err)
	}
}

func TestSnapshotOfOtherFolders(t *testing.T) {
	t.Parallel()
	log, path := control.NewMemory(), filepath.Join(t.TempDir(), "s")
	put(t, log, 0, 3)
	open := func(names ...string) (*control.Follower, []*keys) {
		var folders []control.Folder
		var all []*keys
		for _, n := range names {
			k := &keys{name: n}
			all, folders = append(all, k), append(folders, k)
		}
		return follower(t, control.FollowerOptions{Log: log, Folders: folders, Snapshot: path}), all
	}
	f, _ := open("a")
	must(t, f.CatchUp(t.Context()))
	must(t, f.Close())
	f, all := open("a", "new")
	if f.Applied() != 0 {
		t.Fatal("a new folder was left out of what the others had")
	}
	must(t, f.CatchUp(t.Context()))
	all[0].expect(t, 0, 3)
	all[1].expect(t, 0, 3)
	must(t, f.Close())
	f, all = open("new")
	all[0].expect(t, 0, 3)
	if f.Applied() != 3 {
		t.Error("a folder that is gone made the snapshot useless")
	}
}

func TestSnapshotOfAnotherLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	log := control.NewMemory()
	put(t, log, 0, 5)
	f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{&keys{name: "k"}}, Snapshot: path})
	must(t, f.CatchUp(t.Context()))
	must(t, f.Close())
	for name, c := range map[string]struct {
		from, to int
		want     error
	}{
		"empty": {0, 0, control.ErrAhead}, "older": {0, 4, control.ErrAhead},
		"other": {10, 15, control.ErrDiverged}, "other, longer": {10, 20, control.ErrDiverged},
		"same": {0, 5, nil}, "same, longer": {0, 9, nil},
	} {
		log := control.NewMemory()
		put(t, log, c.from, c.to)
		k := &keys{name: "k"}
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}, Snapshot: path})
		err := f.CatchUp(t.Context())
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want == nil {
			k.expect(t, 0, c.to)
			continue
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error names no file: %v", name, err)
		}
		if err := f.Run(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: run: %v, want %v", name, err, c.want)
		}
		k.expect(t, 0, 5) // and nothing folded on top
	}
}

func TestSnapshotsAreWrittenWhenDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, k, path := control.NewMemory(), &keys{name: "k"}, filepath.Join(t.TempDir(), "s")
		f := follower(t, control.FollowerOptions{Log: log, Folders: []control.Folder{k}, Snapshot: path, SnapshotEntries: 10, SnapshotInterval: time.Hour})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		at := func(want control.Position) {
			t.Helper()
			synctest.Wait()
			if got := f.Stats().Snapshot; got != want {
				t.Errorf("snapshot at %d, want %d", got, want)
			}
		}
		time.Sleep(2 * time.Hour)
		at(0)
		put(t, log, 0, 9) // too few
		time.Sleep(time.Minute)
		at(0)
		put(t, log, 9, 12) // enough
		at(12)
		put(t, log, 12, 30) // enough, and too soon
		at(12)
		time.Sleep(2 * time.Second)
		at(30)
		put(t, log, 30, 31) // too few, and then long enough
		time.Sleep(59 * time.Minute)
		at(30)
		time.Sleep(2 * time.Minute)
		at(31)

		k.mu.Lock()
		k.fail = errors.New("no")
		k.mu.Unlock()
		put(t, log, 31, 50)
		time.Sleep(10 * time.Second)
		if s := f.Stats(); s.Snapshot != 31 || s.SnapshotFails == 0 || s.Applied != 50 {
			t.Errorf("a failing snapshot: %+v", s)
		}
		k.mu.Lock()
		k.fail = nil
		k.mu.Unlock()
		time.Sleep(10 * time.Second)
		at(50)
		stop()
		must(t, <-ended)
	})
}
