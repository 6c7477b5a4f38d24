package clickhouse

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

//go:embed sql
var files embed.FS

// queries are the texts of sql/NAME.sql.
var queries = func() map[string]string {
	all := map[string]string{}
	entries, err := fs.ReadDir(files, "sql")
	if err != nil {
		panic(err) // they are in the binary
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".sql"); ok {
			text, err := fs.ReadFile(files, path.Join("sql", e.Name()))
			if err != nil {
				panic(err)
			}
			all[name] = strings.TrimSpace(string(text))
		}
	}
	return all
}()

func query(name string) string {
	text, ok := queries[name]
	if !ok {
		panic("clickhouse: no query is named " + name)
	}
	return text
}

// migration is one step of the schema. Its number is the version after it.
type migration struct {
	number uint32
	name   string
	text   string
}

// migrations lists the steps in order; their numbers are 1, 2, 3 ...
func migrations(from fs.FS) ([]migration, error) {
	entries, err := fs.ReadDir(from, ".") // sorted by name
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, e := range entries {
		if prefix := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(e.Name(), prefix) {
			return nil, fmt.Errorf("migration %s should begin with %s", e.Name(), prefix)
		}
		text, err := fs.ReadFile(from, e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, migration{number: uint32(i + 1), name: e.Name(), text: string(text)})
	}
	return all, nil
}

// ours are the migrations of this build.
func ours() ([]migration, error) {
	sub, err := fs.Sub(files, "sql/migrations")
	if err != nil {
		return nil, err
	}
	return migrations(sub)
}

// A token must be remembered for as long as a commit that starts from its offset may be on its way: the
// time of arrival, and five minutes that a server waits for the rest of an insert. The window is
// counted in commits of all partitions; in the keeper each of them is a node.
const (
	deduplicationWindow           = 100_000
	replicatedDeduplicationWindow = 10_000

	underWay = arrival + 5*time.Minute
)

// CheckRate says with an error which settings to change where partitions that commit at an interval would
// have tokens forgotten before every commit that they guard against has ended.
func (o *Options) CheckRate(partitions int, interval time.Duration) error {
	window := deduplicationWindow
	if o.Replicated {
		window = replicatedDeduplicationWindow
	}
	least := underWay * time.Duration(partitions) / time.Duration(window)
	if interval >= least {
		return nil
	}
	return fmt.Errorf("setting --commit-interval: %d partitions that commit every %v are more commits than the store remembers for the %v that a late one may take, "+
		"so an event could be counted twice; right would be %v or more, or fewer --partitions", partitions, interval, underWay, least.Round(time.Millisecond)+time.Millisecond)
}

// dialect fills the placeholders of a migration.
type dialect struct {
	cluster    string
	replicated bool
}

// OnCluster makes a statement run on every server.
func (d dialect) OnCluster() string {
	if d.cluster == "" {
		return ""
	}
	return " ON CLUSTER `" + d.cluster + "`"
}

// Engine is the table engine. The servers find the path of a table in the keeper by its identity,
// and their own name by the macro {replica}.
func (d dialect) Engine(name string) string {
	if d.replicated {
		return "Replicated" + name + "('/clickhouse/tables/mailbeacon/{database}/{table}', '{replica}')"
	}
	return name
}

// Deduplication is how long the tokens of commits are remembered.
func (d dialect) Deduplication() string {
	if d.replicated {
		return fmt.Sprintf("replicated_deduplication_window = %d, replicated_deduplication_window_seconds = %d", replicatedDeduplicationWindow, 7*24*60*60)
	}
	return fmt.Sprintf("non_replicated_deduplication_window = %d", deduplicationWindow)
}

// statements are the parts of a text, filled in; each ends with a semicolon at the end of a line.
func (d dialect) statements(name, text string) ([]string, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return nil, err
	}
	var all []string
	for part := range strings.SplitSeq(b.String()+"\n", ";\n") {
		if strings.TrimSpace(part) != "" {
			all = append(all, part)
		}
	}
	return all, nil
}

// Migrate makes the database and its tables, or brings them to this build's version, and returns the
// names of the steps that it took. It may be run again after a failure, and by several at once:
// every statement is one that can be repeated.
func Migrate(ctx context.Context, o Options) ([]string, error) {
	steps, err := ours()
	if err != nil {
		return nil, err
	}
	done, err := migrate(ctx, o, steps)
	if err != nil {
		return done, fmt.Errorf("migrate %s %s: %w", Setting, o, explain(err))
	}
	return done, nil
}

func migrate(ctx context.Context, o Options, steps []migration) ([]string, error) {
	d := dialect{cluster: o.Cluster, replicated: o.Replicated}
	if err := createDatabase(ctx, o, d); err != nil {
		return nil, err
	}
	conn, err := connect(ctx, o, o.Database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // nothing waits in it
	if err := run(ctx, conn, d, migration{name: "migrations_table", text: query("migrations_table")}); err != nil {
		return nil, err
	}
	have, err := version(ctx, conn)
	if err != nil {
		return nil, err
	}
	if int(have) > len(steps) {
		return nil, fmt.Errorf("%w (version %d, this one knows %d)", ErrNewer, have, len(steps))
	}
	var done []string
	for _, m := range steps[have:] {
		if err := run(ctx, conn, d, m); err != nil {
			return done, err
		}
		// Last: a step that was cut short is taken again.
		if err := conn.Exec(ctx, query("migration_done"), clickhouse.Named("version", m.number), clickhouse.Named("name", m.name)); err != nil {
			return done, fmt.Errorf("note that migration %s is done: %w", m.name, err)
		}
		done = append(done, m.name)
	}
	return done, nil
}

func createDatabase(ctx context.Context, o Options, d dialect) error {
	conn, err := connect(ctx, o, "")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing waits in it
	return conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS `"+o.Database+"`"+d.OnCluster())
}

func run(ctx context.Context, conn driver.Conn, d dialect, m migration) error {
	all, err := d.statements(m.name, m.text)
	if err != nil {
		return err
	}
	for _, statement := range all {
		if err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

// version is the schema's version, 0 where nothing was made yet.
func version(ctx context.Context, conn driver.Conn) (uint32, error) {
	var v uint32
	err := conn.QueryRow(ctx, query("version_get")).Scan(&v)
	return v, err
}

// checkVersion refuses a schema that is not this build's.
func checkVersion(ctx context.Context, conn driver.Conn) error {
	steps, err := ours()
	if err != nil {
		return err
	}
	have, err := version(ctx, conn)
	switch {
	case code(err) == codeUnknownTable:
		return ErrMissing
	case err != nil:
		return err
	case have == 0:
		return ErrMissing
	case int(have) > len(steps):
		return fmt.Errorf("%w (version %d, this one knows %d)", ErrNewer, have, len(steps))
	case int(have) < len(steps):
		return fmt.Errorf("%w (version %d, this one needs %d)", ErrOlder, have, len(steps))
	}
	return nil
}

// checkEngine makes sure that the tables are what the setting says: an insert that asks for a quorum, or asks for none,
// would otherwise be acknowledged by one server that the others know nothing of.
func checkEngine(ctx context.Context, conn driver.Conn, replicated bool) error {
	var engine string
	if err := conn.QueryRow(ctx, query("engine_get")).Scan(&engine); err != nil {
		return fmt.Errorf("ask for the engine of the table aggregates: %w", err)
	}
	switch is := strings.HasPrefix(engine, "Replicated"); {
	case replicated && !is:
		return fmt.Errorf("replicated=true, and the table aggregates was made without it: it is %s", engine)
	case !replicated && is:
		return fmt.Errorf("the table aggregates is %s: the setting needs replicated=true", engine)
	}
	return nil
}
