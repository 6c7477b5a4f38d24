package sqlite

import (
	"context"
	"database/sql"
	"fmt"
)

// query is a prepared statement that its database, or its transaction, closes: whoever uses it does not.
type query struct{ *sql.Stmt }

// tx is a write transaction under way. It lives as long as the function it was given to.
type tx struct {
	*sql.Tx
	d *database
}

// query is the named query within the transaction.
func (t *tx) query(name string) query {
	return query{t.Stmt(named(t.d.writing, name).Stmt)}
}

// update runs fn in a write transaction: wholly or not at all, durable once it returns nil. After
// an error of fn nothing was written; after any other the outcome is unknown.
//
// ctx ends the wait for the writer, never the transaction: SQLite rolls back a transaction whose
// statement is interrupted, and the statements after it would then stand alone.
func (d *database) update(ctx context.Context, fn func(*tx) error) error {
	conn, err := d.writer.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	defer func() { _ = conn.Close() }() // back into the pool
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return explain(err)
	}
	if err := fn(&tx{Tx: t, d: d}); err != nil {
		if rerr := t.Rollback(); rerr != nil {
			return fmt.Errorf("%w; and rolling back: %w", explain(err), rerr)
		}
		return explain(err)
	}
	return explain(t.Commit())
}

// read is the named query on the readers.
func (d *database) read(name string) query { return named(d.reading, name) }

func named(stmts map[string]query, name string) query {
	s, ok := stmts[name]
	if !ok {
		panic("sqlite: no query is named " + name)
	}
	return s
}
