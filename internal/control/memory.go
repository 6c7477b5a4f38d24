package control

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory is a Log that lives as long as its process: for tests of what is folded from a log, and
// for trying things out. It passes the same suite as the durable ones.
type Memory struct {
	mu      sync.RWMutex
	entries []Entry // entries[i] has position i+1
	closed  bool
	bell    Bell
}

// NewMemory makes an empty log.
func NewMemory() *Memory { return &Memory{} }

// Append implements Log.
func (m *Memory) Append(ctx context.Context, records ...Record) (Position, error) {
	if err := CheckAll(records); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("append to the control log: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, fmt.Errorf("append to the control log: %w", ErrClosed)
	}
	for _, r := range records {
		r.Body = slices.Clone(r.Body)
		r.Time = r.Time.UTC().Truncate(time.Millisecond)
		m.entries = append(m.entries, Entry{Position: Position(len(m.entries) + 1), Record: r})
	}
	m.bell.Ring()
	return Position(len(m.entries)), nil
}

// Read implements Log.
func (m *Memory) Read(ctx context.Context, after Position, limit int) ([]Entry, error) {
	if err := m.usable(ctx, "read"); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if limit <= 0 || after >= Position(len(m.entries)) {
		return nil, nil
	}
	rest := m.entries[after:]
	return copyEntries(rest[:min(limit, len(rest))]), nil
}

// History implements Log.
func (m *Memory) History(ctx context.Context, kind Kind, key string) ([]Entry, error) {
	if err := m.usable(ctx, "read"); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Entry
	for i := range m.entries {
		if e := &m.entries[i]; e.Kind == kind && e.Key == key {
			found = append(found, *e)
		}
	}
	return copyEntries(found), nil
}

// Wait implements Log.
func (m *Memory) Wait(ctx context.Context, after Position) error {
	for {
		rung := m.bell.C()
		head, err := m.Head(ctx)
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

// Head implements Log.
func (m *Memory) Head(ctx context.Context) (Position, error) {
	if err := m.usable(ctx, "read"); err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Position(len(m.entries)), nil
}

// Close implements Log.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.bell.Ring()
	return nil
}

func (m *Memory) usable(ctx context.Context, doing string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s the control log: %w", doing, err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return fmt.Errorf("%s the control log: %w", doing, ErrClosed)
	}
	return nil
}

func copyEntries(from []Entry) []Entry {
	to := slices.Clone(from)
	for i := range to {
		to[i].Body = slices.Clone(to[i].Body)
	}
	return to
}
