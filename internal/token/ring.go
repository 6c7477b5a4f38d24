package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
)

// ErrOtherSubjects is returned, wrapped, when a reloaded file has another subject key: everybody
// would be somebody else from one moment to the next, and every refusal forgotten.
var ErrOtherSubjects = errors.New("the subject key is another")

// Ring is the newest keyring of a file. A running server mints and opens through it, so that a key
// rotated elsewhere is taken up without a restart. All methods may be called concurrently.
type Ring struct {
	path    string
	current atomic.Pointer[Keyring]

	mu   sync.Mutex  // held while reading the file
	seen fs.FileInfo // of the file read last, good or bad
}

// OpenRing loads a keyring file.
func OpenRing(path string) (*Ring, error) {
	r := &Ring{path: path}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	return r, nil
}

// Keyring is the keyring of this moment.
func (r *Ring) Keyring() *Keyring { return r.current.Load() }

// Append mints with the newest active key, as Keyring.Append does.
func (r *Ring) Append(dst []byte, kind Kind, c Claims) []byte {
	return r.current.Load().Append(dst, kind, c)
}

// Open reads a token, as Keyring.Open does.
func (r *Ring) Open(kind Kind, text []byte) (Claims, error) {
	return r.current.Load().Open(kind, text)
}

// Subject is a person's number, as Keyring.Subject has it.
func (r *Ring) Subject(normalised []byte) uint64 {
	return r.current.Load().Subject(normalised)
}

// Reload reads the file now. After an error the keyring is what it was.
func (r *Ring) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reload()
}

// Refresh reads the file if it is not the one that was read last, and says whether it took up a
// new keyring. It costs one stat and is meant to be called every few seconds. A bad file is
// reported once, and again when it changed.
func (r *Ring) Refresh() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err != nil {
		return false, fmt.Errorf("look at keyring: %w", err)
	}
	if unchanged(r.seen, info) {
		return false, nil
	}
	if err := r.reload(); err != nil {
		return false, err
	}
	return true, nil
}

func (r *Ring) reload() error {
	k, info, err := load(r.path)
	if info != nil {
		r.seen = info
	}
	if err != nil {
		return err
	}
	if old := r.current.Load(); old != nil && old.fingerprint != k.fingerprint {
		return fmt.Errorf("keyring %s: %w than the one this server started with", r.path, ErrOtherSubjects)
	}
	r.current.Store(k)
	return nil
}

func unchanged(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
