package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed sql
var files embed.FS

// schema is one kind of database file: the folder of its SQL, and the mark in the file's header by
// which it is told from others.
type schema struct {
	name string // folder under sql/
	mark int32  // PRAGMA application_id
}

// migration is one step of a schema. Its number is the file's version after it.
type migration struct {
	number int
	name   string
	text   string
}

// migrations lists the steps in order; their numbers are 1, 2, 3 ...
func (s schema) migrations() ([]migration, error) {
	dir := path.Join("sql", s.name, "migrations")
	entries, err := fs.ReadDir(files, dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, e := range entries {
		if prefix := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(e.Name(), prefix) {
			return nil, fmt.Errorf("migration %s/%s should begin with %s", dir, e.Name(), prefix)
		}
		text, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, migration{number: i + 1, name: e.Name(), text: string(text)})
	}
	return all, nil
}

// recognise refuses a file that is not of this schema, or of a version that this build can't read.
func (s schema) recognise(ctx context.Context, db *sql.DB) error {
	var mark int32
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&mark); err != nil {
		return err
	}
	if mark != s.mark {
		return fmt.Errorf("%w: its header says %#x, not %#x (%s)", ErrForeign, uint32(mark), uint32(s.mark), s.name)
	}
	steps, err := s.migrations()
	if err != nil {
		return err
	}
	version, err := s.version(ctx, db)
	switch {
	case err != nil:
		return err
	case version > len(steps):
		return fmt.Errorf("%w (version %d, this one knows %d); start it with that mailbeacon", ErrNewer, version, len(steps))
	case version < 1:
		return fmt.Errorf("%w: version %d never was", ErrForeign, version)
	}
	return nil
}

func (s schema) version(ctx context.Context, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (int, error) {
	var v int
	err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// migrate takes the file from its version to the newest in one transaction: a crash leaves the old
// version or the new one.
func (s schema) migrate(ctx context.Context, db *sql.DB) error {
	steps, err := s.migrations()
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit this does nothing
	have, err := s.version(ctx, tx)
	if err != nil {
		return err
	}
	if have >= len(steps) {
		return nil
	}
	for _, m := range steps[have:] {
		if _, err := tx.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	// Both are in the file's header and part of the transaction; pragmas take no parameters.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", s.mark, len(steps))); err != nil {
		return err
	}
	return tx.Commit()
}

// prepare compiles every query of the schema: a query that does not fit the tables stops the start
// and not the first call.
func (s schema) prepare(ctx context.Context, db *sql.DB) (map[string]query, error) {
	dir := path.Join("sql", s.name)
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	stmts := map[string]query{}
	for _, e := range entries {
		name, isQuery := strings.CutSuffix(e.Name(), ".sql")
		if !isQuery {
			continue
		}
		text, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return stmts, err
		}
		stmt, err := db.PrepareContext(ctx, string(text))
		if err != nil {
			return stmts, fmt.Errorf("query %s: %w", name, err)
		}
		stmts[name] = query{stmt}
	}
	return stmts, nil
}
