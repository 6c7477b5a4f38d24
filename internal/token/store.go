package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mailbeacon/internal/datadir"
	"mailbeacon/internal/subject"
)

var (
	// ErrExposed is returned, wrapped, for a keyring file that others than its owner can read.
	ErrExposed = errors.New("others can read it")
	// ErrExhausted is returned, wrapped, when all 255 ids were given away.
	ErrExhausted = errors.New("all 255 key ids are used up")
)

// LoadKeyring reads a keyring file. It is refused if others than its owner may read it, if it was
// written by a newer build, and if anything in it is not as FORMAT.md says.
func LoadKeyring(path string) (*Keyring, error) {
	k, _, err := load(path)
	return k, err
}

func load(path string) (*Keyring, fs.FileInfo, error) {
	f, info, err := readFile(path)
	if err != nil {
		return nil, info, err
	}
	k, err := newKeyring(f)
	if err != nil {
		return nil, info, fmt.Errorf("keyring %s: %w", path, err)
	}
	return k, info, nil
}

// readFile reads and checks the file. The file's info is returned too once its content was read,
// whether that is good or not.
func readFile(path string) (*file, fs.FileInfo, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open keyring: %w", err)
	}
	defer r.Close()
	info, err := r.Stat()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("open keyring: %w", err)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("keyring %s: not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, info, fmt.Errorf("keyring %s: %w (mode %04o): chmod 600 it, and rotate the key if it may have been seen",
			path, ErrExposed, info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, info, fmt.Errorf("keyring %s: larger than %d bytes", path, maxFile)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return nil, nil, fmt.Errorf("read keyring: %w", err)
	}
	f, err := parseFile(content)
	if err != nil {
		return nil, info, fmt.Errorf("keyring %s: %w", path, err)
	}
	return f, info, nil
}

// CreateKeyring makes a keyring file (mode 0600) with a subject key and one active key, id 1. It
// never replaces a file: the error is then fs.ErrExist, wrapped.
func CreateKeyring(path string) (*Keyring, error) {
	unlock, err := lockFolder(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil, fmt.Errorf("create keyring %s: %w", path, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	f := &file{subjectKey: randomBytes(subject.KeySize)}
	f.keys = append(f.keys, newFileKey(1, time.Now()))
	if err := f.write(path); err != nil {
		return nil, err
	}
	return LoadKeyring(path)
}

// Rotate puts a new active key into a keyring file and returns its id. The former active key stays
// live. now is written down as the key's creation. Rotations at the same time, of this process or
// others, come one after the other. After an error the file is the old one or, if only the folder
// could not be synced, the new one.
func Rotate(path string, now time.Time) (uint8, error) {
	var id uint8
	err := edit(path, func(f *file) error {
		if id = f.freeID(); id == 0 {
			return ErrExhausted
		}
		for i := range f.keys {
			if f.keys[i].State == Active {
				f.keys[i].State = Live
			}
		}
		f.keys = append(f.keys, newFileKey(id, now))
		return nil
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Retire makes a live key open nothing any more and throws its secret away: every mail minted with
// it has dead links from then on, for good. The active key can't be retired; rotate first.
func Retire(path string, id uint8) error {
	return edit(path, func(f *file) error {
		for i := range f.keys {
			k := &f.keys[i]
			if k.ID != id {
				continue
			}
			if k.State == Active {
				return fmt.Errorf("key %d is the active one: rotate first", id)
			}
			k.verify = k.receiptPublic() // receipts given under it stay good
			k.State, k.secret = Retired, nil
			return nil
		}
		return fmt.Errorf("no key %d", id)
	})
}

// edit changes a keyring file under the lock of its folder.
func edit(path string, change func(*file) error) error {
	unlock, err := lockFolder(path)
	if err != nil {
		return err
	}
	defer unlock()
	f, _, err := readFile(path)
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return fmt.Errorf("keyring %s: %w", path, err)
	}
	return f.write(path)
}

// freeID is the id after the largest, or the smallest that was never used once 255 was; 0 for none.
func (f *file) freeID() uint8 {
	var used [maxID + 1]bool
	largest := 0
	for _, k := range f.keys {
		used[k.ID] = true
		largest = max(largest, int(k.ID))
	}
	if largest < maxID {
		return uint8(largest + 1)
	}
	for id := 1; id <= maxID; id++ {
		if !used[id] {
			return uint8(id)
		}
	}
	return 0
}

// write replaces the file, durably.
func (f *file) write(path string) error {
	content, err := f.format()
	if err != nil {
		return fmt.Errorf("keyring %s: %w", path, err)
	}
	// What is left of a write that was cut short may have another mode, which it would keep.
	if err := os.Remove(path + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write keyring: %w", err)
	}
	return datadir.WriteFile(path, content, 0o600)
}

func newFileKey(id uint8, now time.Time) fileKey {
	return fileKey{
		KeyInfo: KeyInfo{ID: id, State: Active, Created: now.UTC().Truncate(time.Second)},
		secret:  randomBytes(SecretSize),
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: the program ends if the system has no randomness
	return b
}

// lockFolder waits for the lock of the folder that holds the keyring. The file itself can't be
// locked: it is replaced. The kernel drops the lock with the process, however that ends.
func lockFolder(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("lock keyring: %w", err)
	}
	for {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock keyring folder %s: %w", filepath.Dir(path), err)
	}
	return func() { dir.Close() }, nil
}
