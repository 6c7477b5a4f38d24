// Package faultfs is a file system in memory for tests of what must survive: it injects errors at any
// call, before or after the call took effect, and it can lose power. What was not synced may then be
// there, be gone, or be there in part; a name that was not synced may be gone.
package faultfs

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"mailbeacon/ingest/spool"
)

// Op is a file-system call at which an error can be injected.
type Op string

// The calls of spool.FS and spool.File.
const (
	MkdirAll  Op = "mkdir"
	ReadDir   Op = "readdir"
	Create    Op = "create"
	Open      Op = "open"
	OpenWrite Op = "openwrite"
	Rename    Op = "rename"
	Link      Op = "link"
	Remove    Op = "remove"
	SyncDir   Op = "syncdir"
	ReadAt    Op = "pread"
	WriteAt   Op = "pwrite"
	Allocate  Op = "fallocate"
	Datasync  Op = "fdatasync"
	Truncate  Op = "truncate"
	Size      Op = "fstat"
	Close     Op = "close"
)

// Ops are all calls.
var Ops = []Op{MkdirAll, ReadDir, Create, Open, OpenWrite, Rename, Link, Remove, SyncDir, ReadAt, WriteAt, Allocate, Datasync, Truncate, Size, Close}

// Fault is an error to come.
type Fault struct {
	Op   Op
	Name string // a pattern of path/filepath.Match for the file's last name; empty means any
	Skip int    // so many matching calls still work
	// Times is how many calls fail; 0 means one, negative all from then on.
	Times int
	Err   error
	// After: the call takes effect and fails all the same. A write without it takes effect in part.
	After bool
	// Short: a write without Err writes only half, and says so without an error.
	Short bool
}

// sector is what a disk writes in one piece.
const sector = 512

// FS is a disk in memory. All methods may be called concurrently.
type FS struct {
	mu     sync.Mutex
	rand   *rand.Rand
	names  map[string]*inode // as programs see them
	synced map[string]*inode // as they are on the disk
	ops    []change          // since the last SyncDir
	faults []*Fault
	dead   bool
	fuse   int // the process dies at the call that brings it to 0
	calls  map[Op]int
	block  chan struct{} // Datasync waits for it to close, if it is not nil
	hits   int
}

// change is a change of names that is not on the disk yet: new names, and names that are gone.
type change struct {
	set map[string]*inode
	del []string
}

// inode is a file's content.
type inode struct {
	data   []byte // as programs see it
	synced []byte // as it is on the disk
	writes []write
	limbo  []write // writes that a failed sync gave up: never on the disk for certain
}

// write is a piece that is not on the disk yet; size is the file's length after it.
type write struct {
	off  int64
	data []byte
	size int64
}

var _ spool.FS = (*FS)(nil)

// New returns an empty disk. What a loss of power spares is drawn from the seed.
func New(seed uint64) *FS {
	return &FS{rand: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, synced: map[string]*inode{}, calls: map[Op]int{}}
}

// Inject adds a fault.
func (f *FS) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault.Times == 0 {
		fault.Times = 1
	}
	f.faults = append(f.faults, &fault)
}

// Heal takes all faults back.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Calls returns how often a call was made.
func (f *FS) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Dead reports whether the process that uses f has died.
func (f *FS) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Hits returns how often a fault struck.
func (f *FS) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// Block makes every Datasync wait until release is called.
func (f *FS) Block() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.block = make(chan struct{})
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		close(f.block)
		f.block = nil
	})
}

// Kill ends the process that uses f: every later call of it fails without effect. It returns the disk as the
// next process finds it: nothing is lost, but nothing more is on the disk either.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	f.dead = true
	f.mu.Unlock()
	return f.Clone()
}

// KillAt makes the process die at the n-th call from now, which is the first one without effect.
func (f *FS) KillAt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fuse = n
}

// Clone copies a disk, without its faults.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := New(f.rand.Uint64())
	copies := map[*inode]*inode{}
	next.names, next.synced = cloneNames(f.names, copies), cloneNames(f.synced, copies)
	for _, c := range f.ops {
		next.ops = append(next.ops, change{set: cloneNames(c.set, copies), del: slices.Clone(c.del)})
	}
	return next
}

// Crash is Kill with a loss of power.
func (f *FS) Crash() *FS {
	next := f.Kill()
	next.mu.Lock()
	defer next.mu.Unlock()
	names := next.synced
	for _, c := range next.ops {
		if next.rand.IntN(2) == 0 {
			apply(names, c)
		}
	}
	done := map[*inode]bool{}
	for _, n := range names {
		if !done[n] {
			n.losePower(next.rand)
			done[n] = true
		}
	}
	next.names, next.synced, next.ops = names, cloneMap(names), nil
	return next
}

// losePower keeps any part of what was not synced.
func (n *inode) losePower(r *rand.Rand) {
	data := slices.Clone(n.synced)
	style := r.IntN(4) // none of it, all of it, any of the writes, any of the sectors
	for _, w := range append(slices.Clone(n.limbo), n.writes...) {
		if style == 0 || style == 2 && r.IntN(2) == 0 {
			continue
		}
		if style == 3 && r.IntN(2) == 0 {
			// The length is metadata of its own and comes or does not.
		} else if w.data == nil {
			data = resize(data, w.size)
		}
		for at := 0; at < len(w.data); {
			// Sectors of the disk, not of the write.
			end := min(len(w.data), at+sector-int(w.off+int64(at))%sector)
			if style != 3 || r.IntN(2) == 0 {
				if need := w.off + int64(end); int64(len(data)) < need {
					data = resize(data, need)
				}
				copy(data[w.off+int64(at):], w.data[at:end])
			}
			at = end
		}
	}
	n.data, n.synced, n.writes, n.limbo = data, slices.Clone(data), nil, nil
}

func resize(b []byte, size int64) []byte {
	if int64(len(b)) >= size {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func cloneMap(m map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// cloneNames copies names and files; copies keeps links links.
func cloneNames(m map[string]*inode, copies map[*inode]*inode) map[string]*inode {
	c := make(map[string]*inode, len(m))
	for name, n := range m {
		if copies[n] == nil {
			copies[n] = &inode{
				data: slices.Clone(n.data), synced: slices.Clone(n.synced),
				writes: slices.Clone(n.writes), limbo: slices.Clone(n.limbo),
			}
		}
		c[name] = copies[n]
	}
	return c
}

func apply(names map[string]*inode, c change) {
	for _, name := range c.del {
		delete(names, name)
	}
	for name, n := range c.set {
		names[name] = n
	}
}

// enter counts a call and returns the fault that strikes it, or nil. It returns with the lock held.
func (f *FS) enter(op Op, path string) (*Fault, error) {
	f.mu.Lock()
	f.calls[op]++
	if f.fuse > 0 {
		f.fuse--
		f.dead = f.dead || f.fuse == 0
	}
	if f.dead {
		return nil, fmt.Errorf("%s %s: the process is dead", op, filepath.Base(path))
	}
	for i, fault := range f.faults {
		if fault.Op != op {
			continue
		}
		if fault.Name != "" {
			if ok, _ := filepath.Match(fault.Name, filepath.Base(path)); !ok {
				continue
			}
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		if fault.Times > 0 {
			fault.Times--
			if fault.Times == 0 {
				f.faults = slices.Delete(slices.Clone(f.faults), i, i+1)
			}
		}
		f.hits++
		return fault, nil
	}
	return nil, nil
}

// do runs a call that has no results but its error.
func (f *FS) do(op Op, path string, effect func() error) error {
	fault, err := f.enter(op, path)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	if fault != nil && !fault.After {
		return &fs.PathError{Op: string(op), Path: path, Err: fault.Err}
	}
	if err := effect(); err != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	if fault != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: fault.Err}
	}
	return nil
}

func (f *FS) change(c change) error {
	apply(f.names, c)
	f.ops = append(f.ops, c)
	return nil
}

// MkdirAll implements spool.FS: there is one folder, and it is there.
func (f *FS) MkdirAll(dir string) error { return f.do(MkdirAll, dir, func() error { return nil }) }

// ReadDir implements spool.FS.
func (f *FS) ReadDir(dir string) (names []string, err error) {
	err = f.do(ReadDir, dir, func() error {
		for name := range f.names {
			names = append(names, filepath.Base(name))
		}
		slices.Sort(names)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Create implements spool.FS.
func (f *FS) Create(path string) (spool.File, error) {
	return f.file(Create, path, func() error {
		if n := f.names[path]; n != nil {
			n.truncate(0)
			return nil
		}
		return f.change(change{set: map[string]*inode{path: {}}})
	})
}

// Open implements spool.FS.
func (f *FS) Open(path string) (spool.File, error) {
	return f.file(Open, path, func() error { return f.exists(path) })
}

// OpenWrite implements spool.FS.
func (f *FS) OpenWrite(path string) (spool.File, error) {
	return f.file(OpenWrite, path, func() error { return f.exists(path) })
}

func (f *FS) exists(path string) error {
	if f.names[path] == nil {
		return syscall.ENOENT
	}
	return nil
}

func (f *FS) file(op Op, path string, effect func() error) (spool.File, error) {
	var n *inode
	err := f.do(op, path, func() error {
		err := effect()
		n = f.names[path]
		return err
	})
	if err != nil {
		return nil, err
	}
	return &file{fs: f, path: path, n: n}, nil
}

// Rename implements spool.FS.
func (f *FS) Rename(from, to string) error {
	return f.do(Rename, from, func() error {
		n := f.names[from]
		if n == nil {
			return syscall.ENOENT
		}
		return f.change(change{set: map[string]*inode{to: n}, del: []string{from}})
	})
}

// Link implements spool.FS.
func (f *FS) Link(path, second string) error {
	return f.do(Link, path, func() error {
		n := f.names[path]
		if n == nil {
			return syscall.ENOENT
		}
		if f.names[second] != nil {
			return syscall.EEXIST
		}
		return f.change(change{set: map[string]*inode{second: n}})
	})
}

// Remove implements spool.FS.
func (f *FS) Remove(path string) error {
	return f.do(Remove, path, func() error {
		if f.names[path] == nil {
			return syscall.ENOENT
		}
		return f.change(change{del: []string{path}})
	})
}

// SyncDir implements spool.FS. One that fails leaves the names in doubt for good: a later one that works says
// nothing of them.
func (f *FS) SyncDir(dir string) error {
	fault, err := f.enter(SyncDir, dir)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	for _, c := range f.ops {
		if fault == nil || fault.After || f.rand.IntN(2) == 0 {
			apply(f.synced, c)
		}
	}
	f.ops = nil
	if fault != nil {
		return &fs.PathError{Op: string(SyncDir), Path: dir, Err: fault.Err}
	}
	return nil
}

// Bytes returns a copy of a file's content as programs see it, nil if there is none.
func (f *FS) Bytes(path string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[path]; n != nil {
		return slices.Clone(n.data)
	}
	return nil
}

// Put replaces a file's content, on the disk too: what rot or a stranger did.
func (f *FS) Put(path string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[path]
	if n == nil {
		n = &inode{}
		f.names[path], f.synced[path] = n, n
	}
	n.data, n.synced, n.writes, n.limbo = slices.Clone(data), slices.Clone(data), nil, nil
}

// Delete takes a file away, on the disk too.
func (f *FS) Delete(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.names, path)
	delete(f.synced, path)
}
