package clickhouse

import (
	"context"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// exec runs a statement as the administrator would; the test may have ended already.
func exec(t testing.TB, o Options, statement string) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	conn, err := connect(ctx, o, "")
	must(t, err)
	defer conn.Close()
	must(t, conn.Exec(ctx, statement))
}

// ask scans the one row of a query in the database of a store.
func ask(t testing.TB, o Options, q string, to ...any) {
	t.Helper()
	conn, err := connect(t.Context(), o, o.Database)
	must(t, err)
	defer conn.Close()
	must(t, conn.QueryRow(clickhouse.Context(t.Context()), q).Scan(to...))
}
