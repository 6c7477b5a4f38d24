//go:build !linux

package spool

import "errors"

func (f *osFile) Datasync() error { return f.f.Sync() }

func (f *osFile) Allocate(int64) error { return errors.ErrUnsupported }
