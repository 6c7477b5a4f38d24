package slotfile

import (
	"os"

	"golang.org/x/sys/unix"
)

func (f systemFile) Datasync() error {
	for {
		switch err := unix.Fdatasync(int(f.Fd())); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}
