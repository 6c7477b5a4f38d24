package kafka

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
		if n := q.Count(); n != uint64(len(kept(t, path))) {
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
	all := kept(t, path)
	if len(all) != 2 || !bytes.Equal(all[0].content, foreign) || all[0].offset != 5 || all[1].offset != 6 || all[1].index != 1 || all[1].partition != 3 {
		t.Errorf("%+v", all)
	}
}

// kept is what a quarantine file holds.
func kept(t *testing.T, path string) (all []entry) {
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
