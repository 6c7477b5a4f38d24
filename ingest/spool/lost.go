package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrLost is returned for a folder that was in use and holds no segment: whatever was acknowledged and not read
// yet is gone with them. An open spool always has one, so they were taken away. Nothing was changed.
var ErrLost = errors.New("its segments are gone, and the events in them that were not counted")

func lost(dir string, identity bool) error {
	if identity {
		return fmt.Errorf("spool: folder %s has an identity and no segment: %w", dir, ErrLost)
	}
	return fmt.Errorf("spool: folder %s is missing or empty, though it was in use: %w", dir, ErrLost)
}

// CheckLost returns nil, or the ErrLost with which Open would refuse a folder; known is Options.Known. It only reads. fsys
// is OS where it is nil.
func CheckLost(fsys FS, dir string, known bool) error {
	if fsys == nil {
		fsys = OS
	}
	names, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: list folder %s: %w", dir, err)
	}
	identity := false
	for _, name := range names {
		if _, ok := parseSegmentName(name); ok {
			return nil
		}
		identity = identity || name == identityName
	}
	if identity || known {
		return lost(dir, identity)
	}
	return nil
}
