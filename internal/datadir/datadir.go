// Package datadir is the folder that one mailbeacon lives in: where its files are, which format
// they have, and the lock that keeps a second process out.
package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Version is the format of the folder that this build reads and writes. It changes when an older
// build could not use the folder any more; each file in it has a version of its own besides.
const Version = 1

const (
	versionFile = "VERSION"
	lockFile    = "lock"
)

// Errors that a caller may want to tell apart; all come wrapped with the folder and what to do.
var (
	ErrInUse   = errors.New("in use by another process")
	ErrNewer   = errors.New("written by a newer mailbeacon")
	ErrForeign = errors.New("not a mailbeacon data folder")
)

// Dir is an open, locked data folder. It is not for concurrent use.
type Dir struct {
	path  string
	fresh bool
	lock  *os.File
}

// Open creates the folder (mode 0700) where there is none, takes its lock and checks its version.
// The lock is held until Close, and the kernel drops it with the process, however that ends.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read data folder: %w", err)
	}
	d := &Dir{path: path}
	if d.fresh, err = d.isFresh(entries); err != nil {
		return nil, err
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.checkVersion(); err != nil {
		d.lock.Close()
		return nil, err
	}
	return d, nil
}

// isFresh tells an empty folder (or one whose first start was cut short) from one in use, and
// refuses to move into a folder that belongs to something else.
func (d *Dir) isFresh(entries []fs.DirEntry) (bool, error) {
	foreign := ""
	for _, e := range entries {
		switch e.Name() {
		case versionFile:
			return false, nil
		case lockFile, versionFile + ".tmp", "lost+found":
		default:
			foreign = e.Name()
		}
	}
	if foreign != "" {
		return false, fmt.Errorf("data folder %s: %w: it holds %q and no %s file; name an empty folder, or put %s back with the number %d in it if it was lost",
			d.path, ErrForeign, foreign, versionFile, versionFile, Version)
	}
	return true, nil
}

func (d *Dir) takeLock() error {
	f, err := os.OpenFile(d.Path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("data folder %s can't be written: %w", d.path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := d.owner(f)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("data folder %s: %w%s; stop it first, or name another folder with --data", d.path, ErrInUse, owner)
		}
		return fmt.Errorf("lock data folder %s: %w", d.path, err)
	}
	// Over what is there, which wants no room of a full disk; then the rest of that goes.
	n, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	if err == nil {
		err = f.Truncate(int64(n))
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("data folder %s can't be written: %w", d.path, err)
	}
	d.lock = f
	return nil
}

// owner names the process in the lock file; it is only as true as that process left it. Who only
// looks writes nothing there.
func (d *Dir) owner(f *os.File) string {
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return " (somebody looks at it: `mailbeacon doctor`)"
	}
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

func (d *Dir) checkVersion() error {
	if d.fresh {
		return WriteFile(d.Path(versionFile), []byte(strconv.Itoa(Version)+"\n"), 0o600)
	}
	b, err := os.ReadFile(d.Path(versionFile))
	if err != nil {
		return fmt.Errorf("read the data folder's version: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil || v < 1:
		return fmt.Errorf("data folder %s: %w: its %s file holds no version number", d.path, ErrForeign, versionFile)
	case v > Version:
		return fmt.Errorf("data folder %s: %w (version %d, this one knows %d); start it with that mailbeacon", d.path, ErrNewer, v, Version)
	}
	return nil
}

// Look is a data folder that somebody looks at.
type Look struct {
	// InUse: a process has the folder. If none has, none can take it before Close.
	InUse bool
	lock  *os.File
}

// Inspect looks at a data folder without changing anything: whether it is one that this build can
// use, and whether a process has it now. Several may look at once. The caller closes the Look.
func Inspect(path string) (*Look, error) {
	if _, err := os.Stat(filepath.Join(path, versionFile)); err != nil {
		return nil, fmt.Errorf("data folder %s: %w: no %s file in it: %w", path, ErrForeign, versionFile, err)
	}
	d := &Dir{path: path}
	if err := d.checkVersion(); err != nil {
		return nil, err
	}
	f, err := os.Open(d.Path(lockFile))
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", path, err)
	}
	// A shared lock that can't be had is a process's exclusive one.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("lock data folder %s: %w", path, err)
	}
	return &Look{InUse: err != nil, lock: f}, nil
}

// Close lets others have the folder.
func (l *Look) Close() error { return l.lock.Close() }

// Fresh says whether this Open made the folder.
func (d *Dir) Fresh() bool { return d.fresh }

// Root is the folder itself.
func (d *Dir) Root() string { return d.path }

// Path is the place of a file in the folder.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Close gives the lock back. The lock file stays: removing it would race with a new owner.
func (d *Dir) Close() error {
	if err := d.lock.Close(); err != nil {
		return fmt.Errorf("unlock data folder %s: %w", d.path, err)
	}
	return nil
}

// WriteFile replaces a small file so that after a crash it holds either the old content or the
// new: written aside, synced, renamed, and the folder synced.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // half of it takes room that is wanted; the failure before is the news
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// ExposedError is of a file that others can read or write, and should not.
type ExposedError struct {
	Path string
	Mode fs.FileMode
}

func (e *ExposedError) Error() string {
	return fmt.Sprintf("%s can be read or written by others (mode %04o); set it to 0600", e.Path, e.Mode)
}

// ReadPrivate reads up to most bytes of a file that only its owner may read. The error is an *ExposedError where others may, or the system's,
// which names the file.
func ReadPrivate(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, &ExposedError{path, st.Mode().Perm()}
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// Hint leaves a small file for others, which the process itself can do without. left is false where the disk has no room for it: then
// there is none, not even a former one, which may be wrong by now.
func Hint(path string, content []byte, mode fs.FileMode) (left bool, err error) {
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, content) {
		return true, nil
	}
	err = WriteFile(path, content, mode)
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err == nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("take %s away: %w", path, err)
	}
	return false, nil
}

// SyncDir makes names created, renamed or removed in a folder durable.
func SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
