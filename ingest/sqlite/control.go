package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/internal/control"
)

var controlSchema = schema{name: "control", mark: 0x4d424c47} // "MBLG"

// ControlLog is the control log in a file: a control.Log for one process. An entry is on disk when
// Append returns.
type ControlLog struct {
	db   *database
	file os.FileInfo  // as it was opened
	end  atomic.Int64 // the last position that was seen
	bell control.Bell // rung after every append, and at Close

	using  sync.RWMutex // held for reading by every call while it uses db
	closed bool         // guarded by using
}

// OpenControl opens the control log in a file, which is made if there is none. The folder must
// exist and be locked against other processes: what another one appends is not noticed by Wait.
func OpenControl(ctx context.Context, path string) (*ControlLog, error) {
	db, err := open(ctx, path, controlSchema)
	if err != nil {
		return nil, err
	}
	file, err := os.Stat(db.path)
	if err != nil {
		_ = db.Close() // the failure before is the news
		return nil, fmt.Errorf("open the control log: %w", err)
	}
	return &ControlLog{db: db, file: file}, nil
}

// errReplaced: what is folded is not what the file holds any more. A decision that went into it would be
// acknowledged and never be folded, or be gone with the next start.
var errReplaced = errors.New("the file was replaced while it was in use, or lost its end; stop the server and put the newer one back")

// whole looks whether the file is the one that was opened.
func (l *ControlLog) whole() error {
	if now, err := os.Stat(l.db.path); err != nil || !os.SameFile(now, l.file) {
		return errReplaced
	}
	return nil
}

// saw notes a position that is on disk.
func (l *ControlLog) saw(at int64) {
	for known := l.end.Load(); at > known && !l.end.CompareAndSwap(known, at); known = l.end.Load() {
	}
}

// use begins a call and returns its end; ErrClosed after Close.
func (l *ControlLog) use() (end func(), err error) {
	l.using.RLock()
	if l.closed {
		l.using.RUnlock()
		return nil, control.ErrClosed
	}
	return l.using.RUnlock, nil
}

// Append implements control.Log.
func (l *ControlLog) Append(ctx context.Context, records ...control.Record) (control.Position, error) {
	if err := control.CheckAll(records); err != nil {
		return 0, err
	}
	last, err := l.append(ctx, records)
	// After an error the entries may be there all the same.
	l.bell.Ring()
	if err != nil {
		return 0, fmt.Errorf("append to the control log: %w", err)
	}
	return last, nil
}

func (l *ControlLog) append(ctx context.Context, records []control.Record) (control.Position, error) {
	end, err := l.use()
	if err != nil {
		return 0, err
	}
	defer end()
	if err := l.whole(); err != nil {
		return 0, err
	}
	var last int64
	err = l.db.update(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx) // see update
		insert := t.query("entry_append")
		for i := range records {
			r := &records[i]
			body := r.Body
			if body == nil {
				body = []byte{} // nil would be NULL
			}
			res, err := insert.ExecContext(ctx, string(r.Kind), r.Key, r.Time.UnixMilli(), body)
			if err != nil {
				return err
			}
			if last, err = res.LastInsertId(); err != nil {
				return err
			}
			if last <= l.end.Load() {
				return errReplaced
			}
		}
		return nil
	})
	if err == nil {
		l.saw(last)
	}
	return control.Position(last), err
}

// Read implements control.Log.
func (l *ControlLog) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	if limit <= 0 || after >= math.MaxInt64 {
		return nil, nil
	}
	return l.entries(ctx, "entries_after", int64(after), limit)
}

// History implements control.Log.
func (l *ControlLog) History(ctx context.Context, kind control.Kind, key string) ([]control.Entry, error) {
	return l.entries(ctx, "entries_of_key", string(kind), key)
}

func (l *ControlLog) entries(ctx context.Context, query string, args ...any) ([]control.Entry, error) {
	end, err := l.use()
	if err != nil {
		return nil, fmt.Errorf("read the control log: %w", err)
	}
	defer end()
	rows, err := l.db.read(query).QueryContext(ctx, args...)
	if err != nil {
		return nil, l.failed(err)
	}
	defer rows.Close()
	var all []control.Entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, l.failed(err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, l.failed(err)
	}
	return all, nil
}

func scanEntry(rows *sql.Rows) (control.Entry, error) {
	var e control.Entry
	var position, millis int64
	err := rows.Scan(&position, &e.Kind, &e.Key, &millis, &e.Body)
	e.Position, e.Time = control.Position(position), time.UnixMilli(millis).UTC()
	return e, err
}

func (l *ControlLog) failed(err error) error {
	return fmt.Errorf("read the control log %s: %w", l.db.path, explain(err))
}

// Wait implements control.Log.
func (l *ControlLog) Wait(ctx context.Context, after control.Position) error {
	for {
		rung := l.bell.C()
		head, err := l.Head(ctx)
		if err != nil {
			return err
		}
		if head > after {
			return nil
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return fmt.Errorf("wait for the control log: %w", ctx.Err())
		}
	}
}

// Head implements control.Log.
func (l *ControlLog) Head(ctx context.Context) (control.Position, error) {
	end, err := l.use()
	if err != nil {
		return 0, fmt.Errorf("read the control log: %w", err)
	}
	defer end()
	if err := l.whole(); err != nil {
		return 0, l.failed(err)
	}
	seen := l.end.Load() // before the look: what is appended meanwhile may not be in it
	var head int64
	if err := l.db.read("head_get").QueryRowContext(ctx).Scan(&head); err != nil {
		return 0, l.failed(err)
	}
	if head < seen {
		return 0, l.failed(errReplaced)
	}
	l.saw(head)
	return control.Position(head), nil
}

// Close implements control.Log. It waits for calls under way; those that wait for entries end.
func (l *ControlLog) Close() error {
	l.using.Lock()
	defer l.using.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.bell.Ring()
	return l.db.Close()
}

// Check reads the whole file and reports the first thing that is wrong with its structure.
func (l *ControlLog) Check(ctx context.Context) error {
	end, err := l.use()
	if err != nil {
		return fmt.Errorf("check the control log: %w", err)
	}
	defer end()
	return l.db.Check(ctx)
}
