package spool

import (
	"io"
	"os"
	"path/filepath"
)

// FS is the part of a file system that the spool needs; tests put faults behind it. Paths are those of
// the operating system. All methods may be called concurrently. Errors should be those of package os,
// so that errors.Is finds fs.ErrNotExist, syscall.ENOSPC and the like in them.
type FS interface {
	// MkdirAll creates a folder and its parents where they are missing, for the owner alone. The
	// new names are durable when it returns.
	MkdirAll(dir string) error
	// ReadDir returns the names of the regular files in a folder, sorted.
	ReadDir(dir string) ([]string, error)
	// Create opens a file for reading and writing, for the owner alone, empty: what was there is cut off.
	Create(path string) (File, error)
	// Open opens a file that exists, for reading alone.
	Open(path string) (File, error)
	// OpenWrite opens a file that exists, for reading and writing.
	OpenWrite(path string) (File, error)
	// Rename gives a file another name in the same folder, in one step, in place of a file that had it.
	Rename(from, to string) error
	// Link gives a file a second name in the same folder. The name must be free (fs.ErrExist).
	Link(path, second string) error
	// Remove takes a name away; the bytes stay readable to whoever has the file open.
	Remove(path string) error
	// SyncDir makes creations, renames, links and removals in a folder durable. Until then any of
	// them may be undone by a loss of power.
	SyncDir(dir string) error
}

// File is an open file. ReadAt may be called concurrently with everything but Close; of the
// rest only one call at a time is made.
type File interface {
	// ReadAt is that of io.ReaderAt. The bytes read are the caller's.
	io.ReaderAt
	// WriteAt writes b at an offset. It may write less than all without an error, or fail after a part;
	// n is what was written. b stays the caller's. Nothing is durable before Datasync.
	WriteAt(b []byte, off int64) (n int, err error)
	// Allocate reserves space for the first size bytes. An error that is errors.ErrUnsupported
	// means that this can't be told beforehand.
	Allocate(size int64) error
	// Datasync makes the content and the size durable. After an error nothing is known of what was written
	// since the last success, and a later success says nothing of it either.
	Datasync() error
	// Truncate cuts the file to size.
	Truncate(size int64) error
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Close gives the file back. It promises nothing about durability.
	Close() error
}

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) MkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (osFS) Create(path string) (File, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(path string) (File, error) { return openOS(path, os.O_RDONLY) }

func (osFS) OpenWrite(path string) (File, error) { return openOS(path, os.O_RDWR) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Link(path, second string) error { return os.Link(path, second) }

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) SyncDir(dir string) error { return syncDir(dir) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close() // the failed sync is the news
		return err
	}
	return d.Close()
}

type osFile struct {
	f  *os.File
	fd int // kept, since os.File.Fd costs a lock on every call
}

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{f: f, fd: int(f.Fd())}, nil
}

func (f *osFile) ReadAt(b []byte, off int64) (int, error) { return f.f.ReadAt(b, off) }

func (f *osFile) WriteAt(b []byte, off int64) (int, error) { return f.f.WriteAt(b, off) }

func (f *osFile) Truncate(size int64) error { return f.f.Truncate(size) }

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Close() error { return f.f.Close() }
