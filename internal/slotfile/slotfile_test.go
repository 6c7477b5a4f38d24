package slotfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// faulty is a disk in memory with faults.
type faulty struct{ *faultfs.FS }

func (d faulty) ReadFile(path string) ([]byte, error) {
	if b := d.Bytes(path); b != nil {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (d faulty) Create(path string) (file, error)    { return asFile(d.FS.Create(path)) }
func (d faulty) OpenWrite(path string) (file, error) { return asFile(d.FS.OpenWrite(path)) }
func (d faulty) SyncDir(path string) error           { return d.FS.SyncDir(filepath.Dir(path)) }

func asFile(f spool.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

const path = "/data/file"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, d disk) *File {
	t.Helper()
	f, err := open(d, path)
	must(t, err)
	return f
}

// holds checks what a file holds, also for who opens it anew.
func holds(t *testing.T, f *File, want string) {
	t.Helper()
	for _, f := range []*File{f, opened(t, f.fs)} {
		if got, err := f.Content(); err != nil || string(got) != want {
			t.Errorf("it holds %q, %v, want %q", got, err, want)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	where := filepath.Join(t.TempDir(), "file")
	f, err := Open(where)
	must(t, err)
	if b, err := f.Content(); b != nil || err != nil {
		t.Errorf("a file that is not there holds %q, %v", b, err)
	}
	must(t, f.Reserve())
	var before os.FileInfo
	for i, content := range []string{"", "a", "", "bb", string(bytes.Repeat([]byte("x"), MaxContent)), "c"} {
		if i > 0 {
			must(t, f.Write([]byte(content)))
		}
		if i%2 == 0 {
			f, err = Open(where)
			must(t, err)
		}
		if got, err := f.Content(); err != nil || string(got) != content {
			t.Errorf("%d bytes are read, %v, want %d", len(got), err, len(content))
		}
		if f.Generation() != uint64(i+1) {
			t.Errorf("generation %d after %d writes", f.Generation(), i)
		}
		info, err := os.Stat(where)
		must(t, err)
		if before != nil && (info.Size() != before.Size() || !os.SameFile(info, before)) {
			t.Error("it is another file, or has another size")
		}
		before = info
		if info.Mode() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
	if err := f.Write(make([]byte, MaxContent+1)); err == nil {
		t.Error("too much is taken")
	}
}

// TestFullDisk: once it has its size a file asks for no room, and before that it is made when there is some.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	d := faulty{faultfs.New(1)}
	full := func() {
		for _, op := range []faultfs.Op{faultfs.Create, faultfs.Allocate, faultfs.Rename, faultfs.Truncate} {
			d.Inject(faultfs.Fault{Op: op, Times: -1, Err: syscall.ENOSPC})
		}
	}
	f := opened(t, d)
	full()
	for _, err := range []error{f.Reserve(), f.Write([]byte("a"))} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("without a file: %v", err)
		}
	}
	d.Heal()
	must(t, f.Reserve())
	full()
	for _, content := range []string{"b", "c", "d"} {
		must(t, f.Write([]byte(content)))
		holds(t, f, content)
		f = opened(t, d)
	}
	if n := len(d.Bytes(path)); n != 2*slotSize {
		t.Errorf("%d bytes", n)
	}
	// A disk that is full leaves no beginning of a file that takes the rest of it.
	d.Heal()
	d.Delete(path)
	d.Inject(faultfs.Fault{Op: faultfs.WriteAt, Err: syscall.ENOSPC})
	if err := f.Write([]byte("e")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if d.Bytes(path+".tmp") != nil {
		t.Error("what could not be made is still there")
	}
	must(t, f.Write([]byte("f"))) // somebody took it away: it is made again
	holds(t, f, "f")
}

// TestFormerOnAFullDisk: what was written as a whole can be written over where it is, and is a file of slots once there is room.
func TestFormerOnAFullDisk(t *testing.T) {
	t.Parallel()
	d := faulty{faultfs.New(1)}
	d.Put(path, []byte("12"))
	f := opened(t, d)
	d.Inject(faultfs.Fault{Op: faultfs.Create, Times: -1, Err: syscall.ENOSPC})
	if err := f.Reserve(); !errors.Is(err, syscall.ENOSPC) || !f.Former() {
		t.Errorf("%v", err)
	}
	for _, content := range []string{"13", "14"} {
		if err := f.Write([]byte(content)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v", err)
		}
		must(t, f.Overwrite([]byte(content)))
		holds(t, f, content)
		d = faulty{d.Crash()}
		d.Inject(faultfs.Fault{Op: faultfs.Create, Times: -1, Err: syscall.ENOSPC})
		f = opened(t, d)
		holds(t, f, content)
	}
	for _, content := range []string{"", "1", "123"} {
		if err := f.Overwrite([]byte(content)); err == nil {
			t.Errorf("%q is written over", content)
		}
	}
	d.Heal()
	// Where it is not known which of both is there it is none that may be written over.
	d.Inject(faultfs.Fault{Op: faultfs.SyncDir, Err: syscall.EIO})
	if err := f.Write([]byte("15")); !errors.Is(err, syscall.EIO) || f.Former() || f.Overwrite([]byte("15")) == nil {
		t.Errorf("%v", err)
	}
	must(t, f.Write([]byte("16")))
	holds(t, f, "16")
	if n := len(d.Bytes(path)); n != 2*slotSize || f.Former() {
		t.Errorf("%d bytes", n)
	}
}

// TestLossOfPower writes rising numbers through faults of the disk, deaths of the process and losses of power: what is read
// is never older than what was written last without an error, and never damaged.
func TestLossOfPower(t *testing.T) {
	t.Parallel()
	faults := []faultfs.Op{faultfs.WriteAt, faultfs.Datasync, faultfs.Create, faultfs.OpenWrite, faultfs.Rename, faultfs.SyncDir, faultfs.Close}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := faulty{faultfs.New(seed)}
		f := opened(t, d)
		written, tried := 0, 0
		// A folder whose sync failed is in doubt for good: a process that lives makes the file anew, its successor can't know.
		doubt := false
		for range 30 {
			what := r.IntN(8)
			switch {
			case what == 0 && !doubt:
				d = faulty{d.Kill()}
			case what == 1:
				d, doubt = faulty{d.Crash()}, false
			default:
				if r.IntN(3) == 0 {
					op := faults[r.IntN(len(faults))]
					d.Inject(faultfs.Fault{Op: op, Err: syscall.EIO, After: r.IntN(2) == 0, Skip: r.IntN(2)})
					doubt = doubt || op == faultfs.SyncDir
				}
				tried++
				if err := f.Write(fmt.Append(nil, tried)); err == nil {
					written, doubt = tried, false
				}
				d.Heal()
				continue
			}
			f = opened(t, d)
			b, err := f.Content()
			got := 0
			if err == nil && b != nil {
				_, err = fmt.Sscan(string(b), &got)
			}
			if err != nil || got < written || got > tried {
				t.Fatalf("seed %d: %q is read, %v, after %d was written and %d tried", seed, b, err, written, tried)
			}
		}
	}
}

// TestPredecessorInDoubt: who died after a sync that failed, or before the name was on the disk, leaves a file that can be read
// and is not there. What was written before must outlast the next writer's death.
func TestPredecessorInDoubt(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		d := faulty{faultfs.New(seed)}
		f := opened(t, d)
		must(t, f.Write([]byte("1")))
		must(t, f.Write([]byte("2")))
		d.Inject(faultfs.Fault{Op: faultfs.Datasync, Err: syscall.EIO})
		if err := f.Write([]byte("3")); err == nil {
			t.Fatal("the sync fails, and the write does not")
		}
		d = faulty{d.Kill()}
		f = opened(t, d)
		holds(t, f, "3")
		d.Inject(faultfs.Fault{Op: faultfs.Datasync, Skip: 1, Err: syscall.EIO})
		if err := f.Write([]byte("4")); err == nil {
			t.Fatal("the sync fails, and the write does not")
		}
		b, err := opened(t, faulty{d.Crash()}).Content()
		if err != nil || string(b) < "2" {
			t.Errorf("seed %d: %q, %v after 2 was written", seed, b, err)
		}
	}
	for seed := range uint64(40) {
		for _, failing := range []bool{false, true} {
			d := faulty{faultfs.New(seed)}
			d.Inject(faultfs.Fault{Op: faultfs.Rename, After: true, Err: syscall.EIO}) // it dies here
			if err := opened(t, d).Write([]byte("1")); err == nil {
				t.Fatal("the rename fails, and the write does not")
			}
			d = faulty{d.Kill()}
			f := opened(t, d)
			if failing {
				d.Inject(faultfs.Fault{Op: faultfs.SyncDir, Err: syscall.EIO})
				if err := f.Write([]byte("2")); err == nil {
					t.Fatal("the name is in doubt, and the write does not fail")
				}
			}
			must(t, f.Write([]byte("3")))
			before := d.Calls(faultfs.Datasync)
			must(t, f.Write([]byte("4")))
			if n := d.Calls(faultfs.Datasync) - before; n != 1 {
				t.Errorf("%d syncs for a write", n)
			}
			holds(t, opened(t, faulty{d.Crash()}), "4")
		}
	}
}

// noting notes which bytes of a new file are really written.
type noting struct {
	faulty
	written [2 * slotSize]bool
}

func (d *noting) Create(path string) (file, error) {
	f, err := d.faulty.Create(path)
	return &notingFile{f, d}, err
}

type notingFile struct {
	file
	d *noting
}

func (f *notingFile) WriteAt(b []byte, at int64) (int, error) {
	for i := range b {
		f.d.written[at+int64(i)] = true
	}
	return f.file.WriteAt(b, at)
}

// TestTakesItsRoom: a file with holes would have its size, and want room with the first write into one.
func TestTakesItsRoom(t *testing.T) {
	t.Parallel()
	d := &noting{faulty: faulty{faultfs.New(1)}}
	must(t, opened(t, d).Reserve())
	for at, written := range d.written {
		if !written {
			t.Fatalf("byte %d is in a hole", at)
		}
	}
}

// TestDamage: one slot is enough, and without any the file can be written all the same.
func TestDamage(t *testing.T) {
	t.Parallel()
	d := faulty{faultfs.New(1)}
	f := opened(t, d)
	must(t, f.Write([]byte("old")))
	must(t, f.Write([]byte("new")))
	sound := d.Bytes(path)
	older := int(f.generation+1) % 2 * slotSize
	rot := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for at := 0; at < slotSize; at += 97 {
		d.Put(path, rot(sound, older+at))
		holds(t, opened(t, d), "new")
		d.Put(path, rot(sound, slotSize-older+at))
		holds(t, opened(t, d), "old")
	}
	both := rot(rot(sound, 100), slotSize+100)
	d.Put(path, both)
	f = opened(t, d)
	if b, err := f.Content(); !errors.Is(err, ErrDamaged) || b != nil {
		t.Errorf("%q, %v", b, err)
	}
	bad, err := f.SetAside()
	if err != nil || !bytes.Equal(d.Bytes(bad), both) {
		t.Errorf("%s is no copy: %v", bad, err)
	}
	d.Inject(faultfs.Fault{Op: faultfs.Create, Times: -1, Err: syscall.ENOSPC})
	if _, err := f.SetAside(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	must(t, f.Write([]byte("again")))
	holds(t, f, "again")
	d.Heal()
	d.Put(path, sound[:slotSize+1]) // cut short
	f = opened(t, d)
	must(t, f.Write([]byte("whole")))
	holds(t, f, "whole")
}

// TestOtherFiles: what was written before there were slots is read, and kept until it is written anew. A newer
// program's is left alone.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	d := faulty{faultfs.New(1)}
	for _, former := range []string{"7\n", "12", `{"version": 1}`, string(make([]byte, 999)), string(make([]byte, 1000))} {
		d.Put(path, []byte(former))
		f := opened(t, d)
		holds(t, f, former)
		if len(former)%3 == 0 {
			must(t, f.Reserve())
			holds(t, f, former)
			if n := len(d.Bytes(path)); n != 2*slotSize {
				t.Errorf("%d bytes", n)
			}
		}
		must(t, f.Write([]byte("8")))
		holds(t, f, "8")
	}
	d.Put(path, make([]byte, 2*slotSize))
	f := opened(t, d)
	if _, err := f.Content(); !errors.Is(err, ErrDamaged) {
		t.Errorf("zeros of the size of both slots: %v", err)
	}
	must(t, f.Write([]byte("8")))
	holds(t, f, "8")
	newer := d.Bytes(path)
	for _, at := range []int{0, slotSize} {
		b := bytes.Clone(newer)
		copy(b[at:], encodeSlot(9, []byte("x")))
		b[at+4] = 2
		resum(b[at : at+slotSize])
		d.Put(path, b)
		f := opened(t, d)
		if _, err := f.Content(); !errors.Is(err, ErrNewer) {
			t.Errorf("%v", err)
		}
		must(t, f.Reserve())
		if err := f.Write([]byte("9")); !errors.Is(err, ErrNewer) || !bytes.Equal(d.Bytes(path), b) {
			t.Errorf("it is written over, %v", err)
		}
	}
}

func resum(b []byte) {
	binary.LittleEndian.PutUint32(b[slotSize-sumSize:], crc32.Checksum(b[:slotSize-sumSize], castagnoli))
}

func FuzzParseSlot(f *testing.F) {
	f.Add(encodeSlot(3, []byte("abc"))[:100], []byte{})
	f.Add(encodeSlot(1, nil)[:30], []byte{1})
	f.Fuzz(func(t *testing.T, begin, end []byte) {
		b := make([]byte, slotSize)
		copy(b[copy(b, begin):], end)
		resum(b)
		s, err := parseSlot(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Error(err)
			}
			return
		}
		if again := encodeSlot(s.generation, s.content); !bytes.Equal(again, b) {
			t.Error("it is read, and written otherwise")
		}
	})
}
