// Package slotfile is a small file that can be written where the disk is full: it is made with its full size, and holds
// two slots that are written in place, in turn. A loss of power in the midst of that leaves the other slot, which is
// what was there before. FORMAT.md is its specification.
package slotfile

import (
	"errors"
	"fmt"
	"io/fs"
)

// MaxContent is how many bytes a file can hold.
const MaxContent = slotSize - headerSize - sumSize

// Errors of a file's content; they come wrapped with its path.
var (
	ErrDamaged = errors.New("damaged")
	ErrNewer   = errors.New("written by a newer mailbeacon")
)

// File is an open file. Nothing is kept open between two calls, and one process at a time may have it. It is not for concurrent use.
type File struct {
	fs   disk
	path string

	whole      bool // it has its full size, and so is written in place
	former     bool // it is content as a whole
	settled    bool // the slot of the generation is on the disk for certain
	generation uint64
	content    []byte
	fault      error
}

// Open reads the file at a path; it changes nothing. A file that is not there has no content. One that is no file of slots is
// content as a whole (or damaged, where that is too long), as written by something else, and becomes one with the next Write.
// What is wrong with the content, Content says; an error is one of reading.
func Open(path string) (*File, error) { return open(system{}, path) }

func open(d disk, path string) (*File, error) {
	f := &File{fs: d, path: path}
	b, err := d.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) < len(magic) || !isSlot(b) && (len(b) != 2*slotSize || !isSlot(b[slotSize:])) {
		if f.content, f.former = b, len(b) > 0; len(b) > MaxContent {
			f.content, f.former, f.fault = nil, false, ErrDamaged
		}
		return f, nil
	}
	f.whole = len(b) == 2*slotSize
	f.read(b)
	return f, nil
}

// read finds the newer slot.
func (f *File) read(b []byte) {
	found := false
	for ; len(b) >= slotSize; b = b[slotSize:] {
		s, err := parseSlot(b[:slotSize])
		if errors.Is(err, ErrNewer) {
			f.fault = err
			return
		}
		if err == nil && (!found || s.generation > f.generation) {
			found, f.generation, f.content = true, s.generation, s.content
		}
	}
	if !found {
		f.fault = ErrDamaged
	}
}

// Content is what was written last: nil where nothing was, or an error that is ErrDamaged or ErrNewer. The bytes are the
// file's, and are not to be changed.
func (f *File) Content() ([]byte, error) {
	if f.fault != nil {
		return nil, fmt.Errorf("%s: %w", f.path, f.fault)
	}
	return f.content, nil
}

// Former says that the file is no file of slots, but content as a whole.
func (f *File) Former() bool { return f.former }

// Generation is how often the file was written since it was made.
func (f *File) Generation() uint64 { return f.generation }

// Reserve gives the file its full size, where it has not, so that no later Write needs room on the disk. Its content
// stays.
func (f *File) Reserve() error {
	if !f.whole && f.fault == nil {
		return f.create(f.content)
	}
	return nil
}

// Write writes content durably. After an error, or a crash before it returns, the file holds what it held before or the
// new content. What is damaged is written over; what is a newer program's is not, and the error is ErrNewer.
func (f *File) Write(content []byte) error {
	switch {
	case len(content) > MaxContent:
		return fmt.Errorf("write %s: %d bytes are more than the %d that it can hold", f.path, len(content), MaxContent)
	case errors.Is(f.fault, ErrNewer):
		return fmt.Errorf("write %s: %w", f.path, f.fault)
	case !f.whole:
		return f.create(content)
	}
	err := f.overwrite(content)
	if errors.Is(err, fs.ErrNotExist) { // somebody took it away
		return f.create(content)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

// Overwrite writes content durably where Former says so and the disk has no room for slots: over what is there, which must be as long. A crash
// before it returns may leave a mixture of both: it is for what can be done without.
func (f *File) Overwrite(content []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write over %s: %w", f.path, err)
		}
	}()
	if !f.former || len(content) != len(f.content) {
		return fmt.Errorf("%d bytes don't fit where %d are", len(content), len(f.content))
	}
	w, err := f.fs.OpenWrite(f.path)
	if err != nil {
		return err
	}
	if _, err = w.WriteAt(content, 0); err == nil {
		err = w.Datasync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		f.content = append([]byte(nil), content...)
	}
	return err
}

func (f *File) overwrite(content []byte) (err error) {
	w, err := f.fs.OpenWrite(f.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if !f.settled && f.fault == nil {
		// The last writer may have died after a sync that failed: then this slot can be read and is not on the disk, and
		// the other one is all that is. Only when this one is there may the other be written over. And it may have died
		// before the name was on the disk.
		if err := put(w, f.generation, f.content); err != nil {
			return err
		}
		if err := f.fs.SyncDir(f.path); err != nil {
			f.whole = false // the name is in doubt for good: only another file has a sure one
			return err
		}
	}
	f.settled = true
	if err := put(w, f.generation+1, content); err != nil {
		return err // the next Write takes the same slot
	}
	f.hold(f.generation+1, content)
	return nil
}

// put writes a slot durably, to the place of its generation.
func put(w file, generation uint64, content []byte) error {
	if _, err := w.WriteAt(encodeSlot(generation, content), int64(generation%2)*slotSize); err != nil {
		return err
	}
	return w.Datasync()
}

// create puts a whole file in place of whatever is there.
func (f *File) create(content []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make %s: %w", f.path, err)
		}
	}()
	generation := f.generation + 1
	tmp := f.path + ".tmp"
	w, err := f.fs.Create(tmp)
	if err != nil {
		return err
	}
	// Both slots are written, since only that takes the room for them.
	if _, err = w.WriteAt(make([]byte, 2*slotSize), 0); err == nil {
		err = put(w, generation, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		_ = f.fs.Remove(tmp) // it would take the room that others need; the failure before is the news
		return err
	}
	f.former = false // after an error, too, this one may be there
	if err = f.fs.Rename(tmp, f.path); err == nil {
		err = f.fs.SyncDir(f.path)
	}
	if err != nil {
		return err
	}
	f.whole, f.settled = true, true
	f.hold(generation, content)
	return nil
}

func (f *File) hold(generation uint64, content []byte) {
	f.generation, f.content, f.fault = generation, append([]byte(nil), content...), nil
}

// SetAside keeps a copy of a file that is of no use as NAME.bad, and returns that name.
func (f *File) SetAside() (string, error) {
	b, err := f.fs.ReadFile(f.path)
	if err != nil {
		return "", fmt.Errorf("set %s aside: %w", f.path, err)
	}
	bad := f.path + ".bad"
	w, err := f.fs.Create(bad)
	if err != nil {
		return "", fmt.Errorf("set %s aside: %w", f.path, err)
	}
	_, err = w.WriteAt(b, 0)
	if err = errors.Join(err, w.Close()); err != nil {
		_ = f.fs.Remove(bad) // half of it is of no use
		return "", fmt.Errorf("set %s aside: %w", f.path, err)
	}
	return bad, nil
}
