package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

func (f *osFile) Datasync() error {
	for {
		switch err := unix.Fdatasync(f.fd); err {
		case nil:
			return nil
		case unix.EINTR:
			// A signal came before the wait began; nothing was reported, nothing is lost.
		default:
			return &os.PathError{Op: "fdatasync", Path: f.f.Name(), Err: err}
		}
	}
}

func (f *osFile) Allocate(size int64) error {
	for {
		switch err := unix.Fallocate(f.fd, 0, 0, size); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &os.PathError{Op: "fallocate", Path: f.f.Name(), Err: err}
		}
	}
}
