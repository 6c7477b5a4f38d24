//go:build !linux

package slotfile

func (f systemFile) Datasync() error { return f.Sync() }
