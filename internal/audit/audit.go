// Package audit keeps who came in to the dashboard, who was refused, who left, and who took files away: lines of JSON in the data
// folder, for their owner only, to which it only ever adds. A name is a key's or one that the operator's provider gives without an
// address; nobody's address is in it.
package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mailbeacon/internal/datadir"
)

// File is the newest of the files. The one before is audit.1.jsonl, and so on.
const File = "audit.jsonl"

const (
	fileBytes = 4 << 20 // a file that has so many is the last but one
	mostFiles = 32      // the oldest is deleted beyond
)

// Event is what happened.
type Event string

// The events.
const (
	SignIn     Event = "sign-in"
	Refused    Event = "sign-in-refused" // or not even looked at, after too many
	SignOut    Event = "sign-out"
	LinkMade   Event = "link-made" // one that signs in once
	Export     Event = "export"
	NotAllowed Event = "not-allowed" // a page that the role may not see
)

// Entry is one line.
type Entry struct {
	Time  time.Time `json:"time"`
	Event Event     `json:"event"`
	// Who is the name of a key, or "oidc:" and the name that the provider gives. It is empty where nobody knows.
	Who  string `json:"who,omitempty"`
	Role string `json:"role,omitempty"`
	// Via is the way in: key, link or oidc.
	Via string `json:"via,omitempty"`
	// What is the file that was taken away, or why somebody was refused.
	What string `json:"what,omitempty"`
	// Alike is how many events of the kind came since the one before and have no line of their own.
	Alike uint64 `json:"alike,omitempty"`
}

// Log adds entries. It may be used concurrently.
type Log struct {
	dir string
	now func() time.Time

	mu   sync.Mutex
	file *os.File
	size int64
	full int64
}

// Open opens the log of a data folder, and makes it where there is none. A line that a crash cut short is closed off.
func Open(dir string) (*Log, error) {
	l := &Log{dir: dir, now: time.Now, full: fileBytes}
	return l, l.open()
}

func (l *Log) open() error {
	f, err := os.OpenFile(filepath.Join(l.dir, File), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	st, err := f.Stat()
	if err == nil && st.Mode().Perm()&0o077 != 0 { // copied, as from a backup: it holds names, and nothing that opens anything
		err = f.Chmod(0o600)
	}
	if err == nil {
		l.size = st.Size()
		err = l.closeOff(f)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("open the audit log: %w", err)
	}
	l.file = f
	return nil
}

// closeOff ends a last line that has no end.
func (l *Log) closeOff(f *os.File) error {
	if l.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], l.size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	n, err := f.Write([]byte("\n"))
	l.size += int64(n)
	return err
}

// Note adds an entry, with the time, and returns once it is on disk.
func (l *Log) Note(e Entry) error {
	e.Time = l.now().UTC().Truncate(time.Millisecond)
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("note in the audit log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size >= l.full {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(append(line, '\n'))
	l.size += int64(n)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		// What was written of the line is closed off when the file is opened again.
		l.file.Close()
		l.file = nil
		return fmt.Errorf("note in the audit log: %w", err)
	}
	return nil
}

func numbered(dir string, n int) string {
	if n == 0 {
		return filepath.Join(dir, File)
	}
	return filepath.Join(dir, fmt.Sprintf("audit.%d.jsonl", n))
}

// rotate moves each file one on. A crash between leaves a gap among the names, which is passed over.
func (l *Log) rotate() error {
	for n := mostFiles - 1; n >= 1; n-- {
		if err := os.Rename(numbered(l.dir, n-1), numbered(l.dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("begin a new audit file: %w", err)
		}
	}
	l.file.Close()
	l.file = nil
	if err := datadir.SyncDir(l.dir); err != nil {
		return err
	}
	return l.open()
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("close the audit log: %w", err)
	}
	return nil
}

// Read calls fn for every entry of a data folder's log, the oldest first. damaged is how many lines hold none. The log may grow
// meanwhile. Where there is no log yet, there are no entries.
func Read(dir string, fn func(Entry) error) (damaged int, err error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	for n := mostFiles - 1; n >= 0; n-- {
		bad, err := readFile(numbered(dir, n), fn)
		damaged += bad
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return damaged, fmt.Errorf("read the audit log: %w", err)
		}
	}
	return damaged, nil
}

func readFile(name string, fn func(Entry) error) (damaged int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2*fileBytes))
	if err != nil {
		return 0, err
	}
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if len(line) == 0 {
			continue
		}
		var e Entry
		if json.Unmarshal(line, &e) != nil || e.Event == "" {
			damaged++
			continue
		}
		if err := fn(e); err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

// Examine says whether the log can be read by its owner only.
func Examine(dir string) error {
	for n := range mostFiles {
		st, err := os.Stat(numbered(dir, n))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at the audit log: %w", err)
		case st.Mode().Perm()&0o077 != 0:
			return fmt.Errorf("%s can be read or written by others (mode %04o); set it to 0600", numbered(dir, n), st.Mode().Perm())
		}
	}
	return nil
}
