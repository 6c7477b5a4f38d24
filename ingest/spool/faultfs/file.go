package faultfs

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// file is an open file of FS.
type file struct {
	fs   *FS
	path string
	n    *inode
}

func (n *inode) write(off int64, b []byte) {
	if end := off + int64(len(b)); int64(len(n.data)) < end {
		n.data = resize(n.data, end)
	}
	copy(n.data[off:], b)
	n.writes = append(n.writes, write{off: off, data: slices.Clone(b), size: int64(len(n.data))})
}

func (n *inode) truncate(size int64) {
	n.data = resize(slices.Clone(n.data), size)
	n.writes = append(n.writes, write{size: size})
}

func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.fs.do(ReadAt, f.path, func() error {
		if off < int64(len(f.n.data)) {
			n = copy(b, f.n.data[off:])
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	fault, err := f.fs.enter(WriteAt, f.path)
	defer f.fs.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case fault == nil:
		f.n.write(off, b)
		return len(b), nil
	case fault.Short:
		n := (len(b) + 1) / 2
		f.n.write(off, b[:n])
		return n, nil
	}
	n := f.fs.rand.IntN(len(b) + 1)
	if fault.After {
		n = len(b)
	}
	f.n.write(off, b[:n])
	return n, &fs.PathError{Op: string(WriteAt), Path: f.path, Err: fault.Err}
}

func (f *file) Allocate(size int64) error {
	return f.fs.do(Allocate, f.path, func() error {
		if int64(len(f.n.data)) < size {
			f.n.truncate(size)
		}
		return nil
	})
}

// overrule takes out of the limbo what a later write has put on the disk in the same place: it does not come back.
func (n *inode) overrule(w write) {
	end := w.off + int64(len(w.data))
	var left []write
	for _, l := range n.limbo {
		last := l.off + int64(len(l.data))
		if l.data == nil || last <= w.off || l.off >= end {
			left = append(left, l)
			continue
		}
		if l.off < w.off {
			left = append(left, write{off: l.off, data: l.data[:w.off-l.off], size: w.off})
		}
		if last > end {
			left = append(left, write{off: end, data: l.data[end-l.off:], size: l.size})
		}
	}
	n.limbo = left
}

// Datasync that fails before its effect behaves as badly as real ones do: the data can still be read, counts
// as clean, and no later sync writes it.
func (f *file) Datasync() error {
	f.fs.mu.Lock()
	block := f.fs.block
	f.fs.mu.Unlock()
	if block != nil {
		<-block
	}
	fault, err := f.fs.enter(Datasync, f.path)
	defer f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	if fault != nil && !fault.After {
		f.n.limbo = append(f.n.limbo, f.n.writes...)
		f.n.writes = nil
		return &fs.PathError{Op: string(Datasync), Path: f.path, Err: fault.Err}
	}
	for _, w := range f.n.writes {
		if w.data == nil {
			f.n.synced = resize(slices.Clone(f.n.synced), w.size)
			// What was cut off for certain does not come back.
			f.n.limbo = slices.DeleteFunc(f.n.limbo, func(l write) bool { return l.off >= w.size })
			continue
		}
		if end := w.off + int64(len(w.data)); int64(len(f.n.synced)) < end {
			f.n.synced = resize(f.n.synced, end)
		}
		copy(f.n.synced[w.off:], w.data)
		f.n.overrule(w)
	}
	f.n.writes = nil
	if fault != nil {
		return &fs.PathError{Op: string(Datasync), Path: f.path, Err: fault.Err}
	}
	return nil
}

func (f *file) Truncate(size int64) error {
	return f.fs.do(Truncate, f.path, func() error {
		if size < 0 {
			return fmt.Errorf("size %d", size)
		}
		f.n.truncate(size)
		return nil
	})
}

func (f *file) Size() (size int64, err error) {
	err = f.fs.do(Size, f.path, func() error {
		size = int64(len(f.n.data))
		return nil
	})
	return size, err
}

func (f *file) Close() error { return f.fs.do(Close, f.path, func() error { return nil }) }
