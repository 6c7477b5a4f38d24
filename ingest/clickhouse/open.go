// Package clickhouse is the cluster's aggregate.Store. A commit is one INSERT of one block into one
// table, and thereby one part: counts, distinct counts and progress are there together or not at all.
// Its deduplication token is the offset it starts from, which makes it a compare-and-swap. README.md
// is the design, FORMAT.md what is stored.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/ingest/aggregate"
)

// Store is the aggregate.Store on ClickHouse. It keeps no data of its own: any number of processes
// may use the same database.
type Store struct {
	o        Options
	conn     driver.Conn
	settings clickhouse.Settings // of every insert

	mu       sync.Mutex
	standing map[uint32]standing // what was last seen of a partition

	gather *gatherer
}

var _ aggregate.Store = (*Store)(nil)

// least is the oldest server that the store works with.
var least = [2]uint64{25, 8}

const maxConns = 16

// Open opens the store. The database must be there and of this build's version: ErrMissing and
// ErrOlder ask for a migration, ErrNewer for a newer mailbeacon. Errors name the setting.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o, standing: map[uint32]standing{}}
	s.gather = newGatherer(s.insertPopulations)
	err := s.open(ctx)
	if err != nil {
		if s.conn != nil {
			_ = s.conn.Close() // the failure before is the news
		}
		return nil, fmt.Errorf("%s %s: %w", Setting, o, explain(err))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	var err error
	if s.conn, err = connect(ctx, s.o, s.o.Database); err != nil {
		return err
	}
	if err := checkVersion(ctx, s.conn); err != nil {
		return err
	}
	if err := checkEngine(ctx, s.conn, s.o.Replicated); err != nil {
		return err
	}
	s.settings, err = knownSettings(ctx, s.conn, insertSettings(s.o.Replicated))
	return err
}

// Close implements aggregate.Store.
func (s *Store) Close() error {
	s.gather.close()
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.o, err)
	}
	return nil
}

// connect opens connections to a database ("": the server's default one) and makes sure that there
// is a server that is new enough.
func connect(ctx context.Context, o Options, database string) (driver.Conn, error) {
	opt := &clickhouse.Options{
		Protocol: clickhouse.Native,
		Addr:     o.Addr,
		TLS:      o.TLS,
		Auth:     clickhouse.Auth{Database: database, Username: o.User, Password: o.Password},
		// Fixed numbers, where the library has others or none.
		DialTimeout:      o.DialTimeout,
		ReadTimeout:      o.ReadTimeout,
		MaxOpenConns:     maxConns,
		MaxIdleConns:     maxConns,
		ConnMaxLifetime:  connLife,
		ConnOpenStrategy: clickhouse.ConnOpenInOrder,
		Compression:      &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
	}
	if o.HTTP {
		opt.Protocol = clickhouse.HTTP
	}
	if opt.DialTimeout == 0 {
		opt.DialTimeout = defaultDialTimeout
	}
	if opt.ReadTimeout == 0 {
		opt.ReadTimeout = defaultReadTimeout
	}
	conn, err := clickhouse.Open(opt)
	if err != nil {
		return nil, err
	}
	if err := greet(ctx, conn); err != nil {
		_ = conn.Close() // the failure before is the news
		return nil, err
	}
	return conn, nil
}

func greet(ctx context.Context, conn driver.Conn) error {
	if err := conn.Ping(ctx); err != nil {
		if code(err) == 0 && ctx.Err() == nil { // not even an error of ClickHouse: another port, another protocol
			return fmt.Errorf("%w: %w", ErrAddress, err)
		}
		return err
	}
	v, err := conn.ServerVersion()
	if err != nil {
		return err
	}
	if has := [2]uint64{v.Version.Major, v.Version.Minor}; slices.Compare(has[:], least[:]) < 0 {
		return fmt.Errorf("%w: it is %d.%d, and %d.%d is needed", ErrOldServer, has[0], has[1], least[0], least[1])
	}
	return nil
}

// insertSettings are what an insert rests on, whatever the server's profile says.
func insertSettings(replicated bool) clickhouse.Settings {
	all := clickhouse.Settings{
		// One block is one part, and is there when the insert is answered.
		"async_insert":                   0,
		"use_strict_insert_block_limits": 0,
		"max_insert_block_size":          1 << 30,
		"min_insert_block_size_rows":     1 << 30,
		"min_insert_block_size_bytes":    0,
		"max_insert_threads":             1,
		"optimize_on_insert":             1,
		// The token decides.
		"insert_deduplicate": 1,
		"deduplicate_insert": "enable",
		"insert_quorum":      0,
	}
	if replicated {
		// In order: a read in sequence then sees every commit that was acknowledged.
		all["insert_quorum"] = "auto"
		all["insert_quorum_parallel"] = 0
		all["insert_quorum_timeout"] = quorumTimeout.Milliseconds()
	}
	return all
}

// knownSettings leaves out what the server does not know: settings come and go with its versions.
func knownSettings(ctx context.Context, conn driver.Conn, all clickhouse.Settings) (clickhouse.Settings, error) {
	rows, err := conn.Query(ctx, query("settings_known"), clickhouse.Named("names", slices.Sorted(maps.Keys(all))))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	known := clickhouse.Settings{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		known[name] = all[name]
	}
	if known["insert_deduplicate"] == nil {
		return nil, errors.Join(rows.Err(), errors.New("the server names no setting for deduplication"))
	}
	return known, rows.Err()
}
