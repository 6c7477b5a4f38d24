package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/internal/control"
)

const (
	controlFetchBytes = 4 << 20
	controlWait       = 500 * time.Millisecond
	leastBackoff      = 20 * time.Millisecond
	mostBackoff       = 2 * time.Second
)

// ControlLog is the control log of a cluster, a topic of one partition. A record's position is its
// offset + 1. It implements control.Log.
//
// The topic is compacted: of each key the newest record stays, older ones go when they are CompactionLag
// old. History returns what the topic still holds.
type ControlLog struct {
	k       *Client
	name    string // in errors
	topic   string
	log     *slog.Logger
	ended   context.Context // by Close
	end     context.CancelCauseFunc
	foreign atomic.Uint64
	gap     atomic.Pointer[gap] // the one that was found last
}

var _ control.Log = (*ControlLog)(nil)

// OpenControlLog opens the log in a topic that Ensure or Verify returned. The client stays the
// caller's, and must outlive the log. A nil logger is silent.
func OpenControlLog(k *Client, topic string, log *slog.Logger) *ControlLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &ControlLog{k: k, name: "control log", topic: topic, log: log}
	l.ended, l.end = context.WithCancelCause(context.Background())
	return l
}

// OpenEchoLog opens the echo log, a log of the same form in a topic of its own.
func OpenEchoLog(k *Client, topic string, log *slog.Logger) *ControlLog {
	l := OpenControlLog(k, topic, log)
	l.name = "echo log"
	return l
}

// use begins a call: its context ends with the log as well. failed must see the call's error, and
// done must be called.
func (l *ControlLog) use(ctx context.Context) (inner context.Context, done func()) {
	inner, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ended, func() { cancel(control.ErrClosed) })
	return inner, func() { stop(); cancel(nil) }
}

// failed is what a call returns for an error.
func (l *ControlLog) failed(ctx context.Context, doing string, err error) error {
	switch {
	case l.ended.Err() != nil:
		err = control.ErrClosed
	case ctx.Err() != nil:
		err = errors.Join(ctx.Err(), err)
	}
	return fmt.Errorf("%s the %s: %w", doing, l.name, err)
}

// Append implements control.Log. The records are one batch, which Kafka takes as a whole or not at all.
func (l *ControlLog) Append(ctx context.Context, records ...control.Record) (control.Position, error) {
	if err := control.CheckAll(records); err != nil {
		return 0, err
	}
	batch, err := encodeAll(records, time.Now())
	if err != nil {
		return 0, err
	}
	ctx, done := l.use(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, l.k.c.Timeout)
	defer cancel()
	if ctx.Err() != nil || l.ended.Err() != nil {
		return 0, l.failed(ctx, "append to", context.Canceled)
	}
	for retry := (backoff{}); ; {
		base, err := l.k.produce(ctx, l.topic, 0, kafkago.NewRecordReader(batch()...), 0)
		if err == nil {
			return control.Position(base) + control.Position(len(records)), nil
		}
		// Only what certainly was not written may be written again.
		if !notWritten(err) || !retry.wait(ctx) {
			return 0, l.failed(ctx, "append to", l.k.denied(err, "topic "+l.topic, "Write"))
		}
	}
}

// Read implements control.Log.
func (l *ControlLog) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	ctx, done := l.use(ctx)
	defer done()
	if l.ended.Err() != nil || ctx.Err() != nil {
		return nil, l.failed(ctx, "read", context.Canceled)
	}
	var all []control.Entry
	err := l.k.patiently(ctx, func() error {
		all = nil
		return l.scan(ctx, int64(min(after, 1<<62)), func(e *control.Entry) bool {
			if len(all) == limit || limit <= 0 {
				return false
			}
			all = append(all, *e)
			return len(all) < limit
		})
	})
	if err != nil {
		return nil, l.failed(ctx, "read", err)
	}
	return all, nil
}

// History implements control.Log: what the topic still holds of it. It reads the whole topic.
func (l *ControlLog) History(ctx context.Context, kind control.Kind, key string) ([]control.Entry, error) {
	ctx, done := l.use(ctx)
	defer done()
	if l.ended.Err() != nil || ctx.Err() != nil {
		return nil, l.failed(ctx, "read", context.Canceled)
	}
	var all []control.Entry
	err := l.scan(ctx, 0, func(e *control.Entry) bool {
		if e.Kind == kind && e.Key == key {
			all = append(all, *e)
		}
		return true
	})
	if err != nil {
		return nil, l.failed(ctx, "read", err)
	}
	return all, nil
}

// scan tells fn of the entries from an offset on, to the end of the log or until fn returns false.
func (l *ControlLog) scan(ctx context.Context, from int64, fn func(*control.Entry) bool) error {
	for {
		p := place{l.topic, 0, from}
		f, err := l.k.fetch(ctx, p, fetchLimits{bytes: controlFetchBytes, wait: time.Millisecond})
		if lost, ok := errors.AsType[*LostError](err); ok && from >= lost.Next {
			return nil // beyond the end: there is nothing yet
		}
		if err != nil {
			return err
		}
		before := from
		goOn, err := l.entries(f, &from, fn)
		if err != nil || !goOn {
			return err
		}
		if from == before {
			if from, err = l.k.behind(ctx, f); err != nil {
				return err
			}
		}
		if from >= f.end {
			return nil
		}
		if from == before && !pause(ctx, leastBackoff) {
			return ctx.Err()
		}
	}
}

// entries tells fn of the entries that were fetched, and moves from behind them.
func (l *ControlLog) entries(f *fetched, from *int64, fn func(*control.Entry) bool) (bool, error) {
	defer f.close()
	for {
		r, err := f.next()
		if err != nil || r == nil {
			return true, err
		}
		*from = r.offset + 1
		e, err := decodeEntry(r.key, r.value)
		if err != nil {
			// Position only: the content may be anything.
			l.foreign.Add(1)
			l.log.Error("the topic of the "+l.name+" holds a record that is not the log's; passed over", "topic", l.topic, "offset", r.offset, "error", err)
			continue
		}
		e.Position = control.Position(r.offset + 1)
		if !fn(&e) {
			return false, nil
		}
	}
}

// Foreign is how many records were passed over since they are not the control log's.
func (l *ControlLog) Foreign() uint64 { return l.foreign.Load() }

// look reads what was fetched and says where the last entry in it is, 0 for none, and the offset behind the last record.
func look(f *fetched) (last control.Position, next int64, err error) {
	next = f.at.offset
	for {
		r, err := f.next()
		switch {
		case err != nil:
			return last, next, err
		case r == nil:
			return last, next, nil
		}
		next = r.offset + 1
		if _, err := decodeEntry(r.key, r.value); err == nil {
			last = control.Position(next)
		}
	}
}

// lookAt fetches and looks.
func (l *ControlLog) lookAt(ctx context.Context, offset int64, limits fetchLimits) (last control.Position, next, end int64, err error) {
	f, err := l.k.fetch(ctx, place{l.topic, 0, offset}, limits)
	if err != nil {
		return 0, offset, 0, err
	}
	defer f.close()
	if last, next, err = look(f); err == nil && next == offset {
		next, err = l.k.behind(ctx, f)
	}
	return last, next, f.end, err
}

// gap is a stretch of the topic, long perhaps, that holds no entry: foreign records, and markers.
type gap struct{ from, to int64 }

// pass is the offset from which on there may be an entry, as far as is known.
func (l *ControlLog) pass(after int64) int64 {
	if g := l.gap.Load(); g != nil && g.from <= after && after < g.to {
		return g.to
	}
	return after
}

// Wait implements control.Log. Offsets that no entry has, a marker's or a foreign record's, end no waiting.
func (l *ControlLog) Wait(ctx context.Context, after control.Position) error {
	ctx, done := l.use(ctx)
	defer done()
	from := int64(min(after, 1<<62))
	at, limits := l.pass(from), fetchLimits{bytes: 1, least: 1, wait: controlWait}
	for retry := (backoff{}); ; {
		if l.ended.Err() != nil || ctx.Err() != nil {
			return l.failed(ctx, "wait for", context.Canceled)
		}
		last, next, end, err := l.lookAt(ctx, at, limits)
		lost, ok := errors.AsType[*LostError](err)
		switch {
		case err == nil && last > after, ok && lost.Next > int64(after):
			return nil // Read has the say
		case err == nil && (next > at || next >= end):
			if next > at {
				limits.bytes = controlFetchBytes // there may be more of it
				l.gap.Store(&gap{from, next})
			}
			at, retry = next, backoff{}
			continue
		case err != nil && !ok && !notWritten(err):
			return l.failed(ctx, "wait for", err)
		}
		retry.wait(ctx)
	}
}

// Head implements control.Log. The topic's last offset need not be an entry's, so it looks back from the end until
// there is one. Where everything was deleted, it is the position of what was deleted last.
func (l *ControlLog) Head(ctx context.Context) (control.Position, error) {
	ctx, done := l.use(ctx)
	defer done()
	if l.ended.Err() != nil || ctx.Err() != nil {
		return 0, l.failed(ctx, "read", context.Canceled)
	}
	var first, next int64
	err := l.k.patiently(ctx, func() (err error) { first, next, err = l.k.bounds(ctx, l.topic, 0); return err })
	if err != nil {
		return 0, l.failed(ctx, "read", err)
	}
	for back := int64(1); next > first; back *= 2 {
		from := max(first, next-back)
		last, err := l.lastEntry(ctx, from, next)
		if err != nil {
			return 0, l.failed(ctx, "read", err)
		}
		if last > 0 {
			return last, nil
		}
		if from == first {
			break
		}
	}
	return control.Position(first), nil
}

// lastEntry is the position of the last entry from an offset on, 0 for none.
func (l *ControlLog) lastEntry(ctx context.Context, from, end int64) (control.Position, error) {
	found := control.Position(0)
	for at := from; at < end; {
		last, next, _, err := l.lookAt(ctx, at, fetchLimits{bytes: controlFetchBytes, wait: time.Millisecond})
		if err != nil {
			return 0, err
		}
		if next == at && !pause(ctx, leastBackoff) {
			return 0, ctx.Err()
		}
		at, found = next, max(found, last)
	}
	return found, nil
}

// Close implements control.Log.
func (l *ControlLog) Close() error {
	l.end(control.ErrClosed)
	return nil
}

// controlVersion is the version of a record's value; see FORMAT.md.
const controlVersion = 1

const controlHeader = 1 + 8

// encodeAll makes a batch, as a function since each try to send it reads it to its end.
func encodeAll(records []control.Record, now time.Time) (func() []kafkago.Record, error) {
	keys, values, size := make([][]byte, len(records)), make([][]byte, len(records)), 0
	for i := range records {
		r := &records[i]
		key := append(make([]byte, 0, 1+len(r.Kind)+len(r.Key)), byte(len(r.Kind)))
		keys[i] = append(append(key, r.Kind...), r.Key...)
		value := append(make([]byte, 0, controlHeader+len(r.Body)), controlVersion)
		value = binary.BigEndian.AppendUint64(value, uint64(r.Time.UnixMilli()))
		values[i] = append(value, r.Body...)
		size += len(keys[i]) + len(values[i]) + 32 // what Kafka adds, at most
	}
	if size > maxAppend {
		return nil, &control.InvalidError{Field: "records", Reason: fmt.Sprintf("are larger than %d bytes together", maxAppend)}
	}
	return func() []kafkago.Record {
		all := make([]kafkago.Record, len(records))
		for i := range all {
			all[i] = kafkago.Record{Time: now, Key: kafkago.NewBytes(keys[i]), Value: kafkago.NewBytes(values[i])}
		}
		return all
	}, nil
}

// decodeEntry reads a record. It copies what it keeps.
func decodeEntry(key, value []byte) (control.Entry, error) {
	switch {
	case len(key) == 0 || len(key) < 1+int(key[0]):
		return control.Entry{}, errors.New("the key names no kind")
	case len(value) < controlHeader:
		return control.Entry{}, errors.New("the value is too short")
	case value[0] != controlVersion:
		return control.Entry{}, fmt.Errorf("version %d is not known", value[0])
	}
	e := control.Entry{Record: control.Record{
		Kind: control.Kind(key[1 : 1+key[0]]),
		Key:  string(key[1+key[0]:]),
		Time: time.UnixMilli(int64(binary.BigEndian.Uint64(value[1:]))).UTC(),
		Body: slices.Clone(value[controlHeader:]),
	}}
	if err := e.Check(); err != nil {
		return control.Entry{}, err
	}
	return e, nil
}
