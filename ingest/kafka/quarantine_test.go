package kafka

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestQuarantineOnFullDisk: what can't be set aside is not passed. The partition waits at it, and goes on when there is room.
func TestQuarantineOnFullDisk(t *testing.T) {
	t.Parallel()
	ruined := frameOf(2, 10, 1) // an event of it holds what can't be
	ruined[len(ruined)-1] ^= 0xff
	ruined = reseal(ruined)
	foreign := []byte("hello")
	path := filepath.Join(t.TempDir(), "quarantine")
	q, err := OpenQuarantine(path)
	must(t, err)
	sound := q.f
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	must(t, err)
	defer full.Close()
	topic := Topic{Name: "events", ID: TopicID{7}, Partitions: 4}
	f := &feed{
		p:    &Partition{o: PartitionOptions{Topic: topic, Partition: 3, Quarantine: q, Logger: slog.New(slog.DiscardHandler)}},
		free: make(chan *chunk, chunks), got: make(chan *chunk),
		cur: &chunk{records: []record{{offset: 5, value: foreign}, {offset: 6, value: ruined}, {offset: 7, value: frameOf(3, 20, 1)}}, upTo: 8},
	}
	waits := func() {
		t.Helper()
		q.f = full
		for range 3 {
			if b, err := f.Next(t.Context()); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("%+v, %v", b, err)
			}
		}
		if n := q.Count(); n != uint64(len(setAside(t, path))) {
			t.Errorf("%d are said to be set aside", n)
		}
		q.f = sound
	}
	waits()
	if b, err := f.Next(t.Context()); err != nil || b.Offset != Position(5, 1, 1) || len(b.Events) != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := f.Next(t.Context()); err != nil || len(b.Events) != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	waits()
	if b, err := f.Next(t.Context()); err != nil || b.Lost != 1 || b.Offset != Position(6, 2, 2) {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := f.Next(t.Context()); err != nil || len(b.Events) != 3 {
		t.Errorf("%+v, %v", b, err)
	}
	must(t, q.Close())
	all := setAside(t, path)
	if len(all) != 2 || !bytes.Equal(all[0].content, foreign) || all[0].offset != 5 || all[1].offset != 6 || all[1].index != 1 || all[1].partition != 3 {
		t.Errorf("%+v", all)
	}
}

// unsynced is a file whose syncs fail.
type unsynced struct{ quarantineFile }

func (unsynced) Sync() error { return syscall.EIO }

// TestQuarantineKeeps: what is kept is kept durably and once, over restarts, a death in the midst of a write, and up to the limit.
func TestQuarantineKeeps(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "quarantine")
	open := func() *Quarantine {
		t.Helper()
		q, err := OpenQuarantine(path)
		must(t, err)
		t.Cleanup(func() { q.Close() })
		return q
	}
	of := func(offset int64, index uint32) entry {
		return entry{topic: TopicID{1}, partition: 2, offset: offset, index: index, content: []byte("content")}
	}
	keep := func(q *Quarantine, e entry, want bool) {
		t.Helper()
		if kept, err := q.keep(e); err != nil || kept != want {
			t.Errorf("record %d, event %d: kept %v, %v, want %v", e.offset, int32(e.index), kept, err, want)
		}
	}
	expect := func(want ...int64) {
		t.Helper()
		var got []int64
		for _, e := range setAside(t, path) {
			got = append(got, e.offset)
		}
		if !slices.Equal(got, want) {
			t.Errorf("it holds %v, want %v", got, want)
		}
	}
	q := open()
	keep(q, of(5, 1), true)
	keep(q, of(5, 1), true)
	keep(q, of(5, 2), true)
	keep(q, of(4, 9), true)
	expect(5, 5)
	if n := q.Count(); n != 2 {
		t.Errorf("%d are counted", n)
	}
	file := q.f
	q.f = unsynced{file}
	if _, err := q.keep(of(6, 1)); !errors.Is(err, syscall.EIO) {
		t.Errorf("it is not synced, and passed: %v", err)
	}
	q.f = file
	keep(q, of(6, 1), true)
	expect(5, 5, 6)

	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(b, b[:entryHeader+3]...), 0o600)) // it died while it wrote
	q = open()
	expect(5, 5, 6)
	keep(q, of(6, 1), true)
	keep(q, of(7, 1), true)
	expect(5, 5, 6, 7)

	q.limit = q.size + entryHeader + 7
	keep(q, of(8, 1), true)
	keep(q, of(9, 1), false)
	expect(5, 5, 6, 7, 8)
	if n := q.Count(); n != 3 {
		t.Errorf("%d are counted since the start", n)
	}
}

// kept is what a quarantine file holds.
func setAside(t *testing.T, path string) (all []entry) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	for r := bytes.NewReader(b); r.Len() > 0; {
		e, _, err := readEntry(r)
		must(t, err)
		all = append(all, e)
	}
	return all
}
