package slotfile

import (
	"io"
	"os"
	"path/filepath"

	"mailbeacon/internal/datadir"
)

// disk is the part of a file system that a File needs; tests put faults behind it.
type disk interface {
	ReadFile(path string) ([]byte, error)
	// Create opens a file for the owner alone, and empties it.
	Create(path string) (file, error)
	OpenWrite(path string) (file, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a file's folder durable.
	SyncDir(path string) error
}

type file interface {
	io.WriterAt
	// Datasync makes content and size durable. One that failed says nothing of what it was about, nor does a later one.
	Datasync() error
	Close() error
}

// system is the operating system's.
type system struct{}

func (system) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }
func (system) Rename(from, to string) error         { return os.Rename(from, to) }
func (system) Remove(path string) error             { return os.Remove(path) }
func (system) SyncDir(path string) error            { return datadir.SyncDir(filepath.Dir(path)) }

func (system) Create(path string) (file, error) {
	return openSystem(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
}

func (system) OpenWrite(path string) (file, error) { return openSystem(path, os.O_WRONLY) }

func openSystem(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

type systemFile struct{ *os.File }
