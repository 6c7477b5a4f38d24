// Package sqlite keeps everything that one machine needs: the aggregates (counts.db) and the
// control log (control.db), each a file of its own. It is the only importer of the SQLite driver.
//
// Both files are write-ahead logged and written with synchronous=FULL: what a call has reported as
// written survives a power cut. One connection writes, a few read beside it without waiting. SQL
// lives in sql/NAME/*.sql, a query's name is its file's name; the schema of a file is the sum of
// sql/NAME/migrations/NNNN_what.sql, and its version is the number of the last of them.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// What can be wrong with a file. Errors that wrap these name the file and say what to do.
var (
	ErrNewer    = errors.New("written by a newer mailbeacon")
	ErrForeign  = errors.New("not this database of mailbeacon")
	ErrDamaged  = errors.New("damaged")
	ErrReadOnly = errors.New("can't be written")
	ErrFull     = errors.New("no space left on its disk")
)

const (
	busyMillis = 5000
	// A reader is a few kilobytes and a goroutine's stack; more of them than cores gain nothing.
	minReaders = 4
	// checkBytes is the size up to which a file is checked page by page when it is opened: some
	// 100 ms. Larger ones are checked where they are read.
	checkBytes = 32 << 20
)

// database is one open file: a writer, readers beside it, and its queries, prepared on both.
// It is safe for concurrent use.
type database struct {
	path    string
	schema  schema
	writer  *sql.DB // one connection
	reader  *sql.DB
	writing map[string]query
	reading map[string]query
}

// open opens the file of a schema, makes it where it is missing, and brings it to the newest
// version of the schema. The folder must exist, and be locked against other processes.
func open(ctx context.Context, path string, s schema) (*database, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(ctx, path, s); err != nil {
			return nil, fmt.Errorf("create database %s: %w", path, explain(err))
		}
	}
	d := &database{path: path, schema: s}
	if err := d.connect(ctx); err != nil {
		_ = d.Close() // the failure before is the news
		return nil, fmt.Errorf("open database %s: %w", path, explain(err))
	}
	return d, nil
}

func (d *database) connect(ctx context.Context) error {
	if err := writable(d.path); err != nil {
		return err
	}
	// Nothing may be changed, not even the journal mode, before the file is known to be ours.
	if err := inspect(ctx, d.path, d.schema); err != nil {
		return err
	}
	var err error
	if d.writer, err = pool(d.path, 1, "_txlock=immediate"); err != nil {
		return err
	}
	if err := d.schema.migrate(ctx, d.writer); err != nil {
		return err
	}
	if d.reader, err = pool(d.path, max(minReaders, runtime.GOMAXPROCS(0)), "_pragma=query_only(1)"); err != nil {
		return err
	}
	if d.writing, err = d.schema.prepare(ctx, d.writer); err != nil {
		return err
	}
	d.reading, err = d.schema.prepare(ctx, d.reader)
	return err
}

// Close writes the log back into the file and releases it. Calls under way must have returned.
func (d *database) Close() error {
	var errs []error
	for _, stmts := range []map[string]query{d.reading, d.writing} {
		for _, s := range stmts {
			errs = append(errs, s.Close())
		}
	}
	// The writer goes last: the last connection is the one that folds the log into the file.
	for _, db := range []*sql.DB{d.reader, d.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database %s: %w", d.path, explain(err))
	}
	return nil
}

// pool opens at most n connections to the file, every one with the settings that durability and
// concurrency rest on.
func pool(path string, n int, more string) (*sql.DB, error) {
	q := "_pragma=busy_timeout(" + fmt.Sprint(busyMillis) + ")" +
		"&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)" +
		"&_pragma=fullfsync(1)&_pragma=checkpoint_fullfsync(1)" + // macOS: fsync alone does not reach the disk there
		"&_pragma=foreign_keys(1)" +
		"&_pragma=trusted_schema(0)" +
		"&_pragma=cache_size(-16384)" +
		"&_pragma=journal_size_limit(67108864)" +
		"&_dqs=0&" + more
	db, err := sql.Open("sqlite", address(path, "rw", q))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// address is the driver's name of a file; whatever the path holds, nothing of it is read as a
// parameter.
func address(path, mode, query string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=" + mode + "&" + query}
	return u.String()
}

// create builds a new file under another name and moves it into place when it is whole, so that an
// empty or half-made file is always damage, never a first start that was cut short.
func create(ctx context.Context, path string, s schema) error {
	fresh := path + ".new"
	for _, leftover := range []string{fresh, fresh + "-wal", fresh + "-shm", fresh + "-journal"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := pool(fresh, 1, "_txlock=immediate")
	if err != nil {
		return err
	}
	err = s.migrate(ctx, db)
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := syncFile(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// writable finds a file or folder that can't be written before SQLite does, whose word for it says
// less. It must not open the file: closing any descriptor of it would drop the locks that this
// process holds on it.
func writable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is not a file", ErrForeign)
	}
	if info.Size() == 0 {
		return fmt.Errorf("%w: it is empty; restore it from a backup", ErrDamaged)
	}
	if info.Mode().Perm()&0o222 == 0 {
		return fmt.Errorf("%w: it is marked read-only (mode %04o)", ErrReadOnly, info.Mode().Perm())
	}
	if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%w: nothing can be created in its folder: %w", ErrReadOnly, err)
	}
	return nil
}

// inspect reads what the file is, without changing it.
func inspect(ctx context.Context, path string, s schema) error {
	db, err := sql.Open("sqlite", address(path, "rw", fmt.Sprintf("_pragma=busy_timeout(%d)", busyMillis)))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := s.recognise(ctx, db); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > checkBytes {
		return nil
	}
	return check(ctx, db, "PRAGMA quick_check(1)")
}

// Check reads the whole file and reports the first thing that is wrong with its structure.
func (d *database) Check(ctx context.Context) error {
	if err := check(ctx, d.reader, "PRAGMA integrity_check(1)"); err != nil {
		return fmt.Errorf("check database %s: %w", d.path, explain(err))
	}
	return nil
}

func check(ctx context.Context, db *sql.DB, pragma string) error {
	var verdict string
	if err := db.QueryRowContext(ctx, pragma).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s; restore it from a backup", ErrDamaged, verdict)
	}
	return nil
}

// explain adds the sentinel to errors of SQLite that a caller, or a person, can do something about.
func explain(err error) error {
	var e *driver.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, known := range []error{ErrNewer, ErrForeign, ErrDamaged, ErrReadOnly, ErrFull} {
		if errors.Is(err, known) {
			return err
		}
	}
	switch e.Code() & 0xff {
	case codes.SQLITE_NOTADB, codes.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %w; restore it from a backup", ErrDamaged, err)
	case codes.SQLITE_READONLY, codes.SQLITE_PERM:
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case codes.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
