package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mailbeacon/ingest/aggregate"
)

// ExamineControl reads a whole control log and reports what is wrong with it. Nothing in its folder is
// changed; no process may have the file open for writing meanwhile.
func ExamineControl(ctx context.Context, path string) error {
	return examine(ctx, path, controlSchema, func(*database) error { return nil })
}

// ExamineCounts is ExamineControl for a store of counts. It also returns how far partition 0 is counted.
func ExamineCounts(ctx context.Context, path string) (p aggregate.Progress, err error) {
	err = examine(ctx, path, countsSchema, func(d *database) error {
		p, err = (&Counts{d}).Progress(ctx, 0)
		return err
	})
	return p, err
}

// examine opens a file for reading, checks it from end to end and lets look read from it.
func examine(ctx context.Context, path string, s schema, look func(*database) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("examine database: %w", err)
	}
	d := &database{path: path, schema: s}
	tidy, err := d.openToLook(ctx)
	if err == nil {
		err = d.Check(ctx)
	}
	if err == nil {
		err = look(d)
	}
	if err = errors.Join(err, d.Close(), tidy()); err != nil {
		return fmt.Errorf("examine database %s: %w", path, explain(err))
	}
	return nil
}

// openToLook opens the reading side alone, so that SQLite writes nothing. tidy, which is never nil, takes away
// what it left.
func (d *database) openToLook(ctx context.Context) (tidy func() error, err error) {
	tidy = func() error { return nil }
	info, err := os.Stat(d.path)
	if err != nil {
		return tidy, err
	}
	if info.Size() == 0 {
		return tidy, fmt.Errorf("%w: it is empty; restore it from a backup", ErrDamaged)
	}
	how := "immutable=1" // without a log the file is all there is
	if wal, err := os.Stat(d.path + "-wal"); err == nil && wal.Size() > 0 {
		// The log counts too. SQLite finds its way through it by an index: in a file of its own that
		// it must not touch, or that it makes where there is none.
		how = "readonly_shm=1"
		index := d.path + "-shm"
		if _, err := os.Lstat(index); errors.Is(err, fs.ErrNotExist) {
			how = "readonly_shm=0"
			tidy = func() error {
				if err := os.Remove(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return nil
			}
		}
	}
	db, err := sql.Open("sqlite", address(d.path, "ro", how+"&_pragma=query_only(1)&_pragma=trusted_schema(0)"))
	if err != nil {
		return tidy, err
	}
	db.SetMaxOpenConns(1)
	d.reader = db
	if err := d.schema.recognise(ctx, db); err != nil {
		return tidy, err
	}
	d.reading, err = d.schema.prepare(ctx, db)
	return tidy, err
}
