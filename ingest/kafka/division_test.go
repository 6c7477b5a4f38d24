package kafka

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCursorIsLostAndMorePartitions: an edge that loses its cursor when it is restarted for more partitions must not
// ship what is in Kafka to other partitions than before, since nothing knows it there.
func TestCursorIsLostAndMorePartitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	r.append(30_000)
	r.shipAll()
	k := client(t, r.config)
	more(t, k, r.topic.Name, 5)
	r.topic = ensure(t, k, EventsTopic(r.topic.Name, 5, 0, 0))
	r.fold()
	must(t, os.WriteFile(r.cursor(), []byte("not a cursor"), 0o600))
	r.shipAll()
	r.awaitFolded()
	r.check()
}

// TestBothCursorsAreLostAndMorePartitions: at the start of a block the numbers are known, and not to how many partitions it was shipped. Nothing
// is, until a person says so.
func TestBothCursorsAreLostAndMorePartitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	r.noteEvery = -1
	topics := filepath.Join(r.dir, "topics")
	must(t, Remember(topics, r.topic))
	r.append(30_000)
	r.shipAll()
	k := client(t, r.config)
	more(t, k, r.topic.Name, 5)
	r.topic = ensure(t, k, EventsTopic(r.topic.Name, 5, 0, 0))
	must(t, Remember(topics, r.topic))
	r.fold()
	must(t, os.Remove(r.cursor()))
	must(t, os.Remove(divisionFile(r.cursor())))
	grown, err := Grown(topics, r.topic)
	must(t, err)
	o := ShipperOptions{Client: k, Topic: r.topic, Spool: OfSpool(r.spool), Cursor: r.cursor(), Consent: everybody{}, Campaigns: anyCampaign{}, Fresh: r.fresh.Load, Grown: grown}
	for _, said := range []string{"", "6", "0", "two"} {
		accept := acceptFile(r.cursor())
		if said != "" {
			must(t, os.WriteFile(accept, []byte(said), 0o600))
		}
		if _, err := NewShipper(o); err == nil || !strings.Contains(err.Error(), accept) {
			t.Fatalf("it was said %q: %v", said, err)
		}
	}
	must(t, os.WriteFile(acceptFile(r.cursor()), []byte("2\n"), 0o600))
	s, err := NewShipper(o)
	must(t, err)
	if _, err := os.Stat(acceptFile(r.cursor())); !errors.Is(err, fs.ErrNotExist) || s.Stats().Partitions != 2 {
		t.Errorf("it says so for ever: %v; %d partitions", err, s.Stats().Partitions)
	}
	r.append(2 * BlockEvents)
	r.shipAll()
	r.awaitFolded()
	r.check()
}

// TestGrown: a topic that may have had fewer partitions, by what the file of topics' ids tells.
func TestGrown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topics")
	of := func(id byte, partitions int) Topic {
		return Topic{Name: "events", ID: TopicID{id}, Partitions: partitions}
	}
	expect := func(what string, topic Topic, want bool) {
		t.Helper()
		if grown, err := Grown(path, topic); err != nil || grown != want {
			t.Errorf("%s: %t, %v", what, grown, err)
		}
	}
	expect("never seen", of(1, 3), false)
	must(t, Remember(path, of(1, 3)))
	expect("as it was", of(1, 3), false)
	must(t, Remember(path, of(1, 5)))
	expect("it got more", of(1, 5), true)
	must(t, RememberAnew(path, of(2, 3)))
	expect("made anew as it was", of(2, 3), false)
	must(t, RememberAnew(path, of(3, 5)))
	expect("made anew with more", of(3, 5), true)
	must(t, RememberAnew(path, of(4, 5)))
	expect("and once more", of(4, 5), true)
	must(t, os.WriteFile(path, []byte(`{"version": 1, "topics": {"events": "`+TopicID{4}.String()+`"}}`), 0o600))
	expect("an older file", of(4, 5), true)
}

// TestDivisionDies: an edge that dies while it takes up more partitions counts nothing twice, whether it loses its cursor
// with that or has one that knows of the old division only.
func TestDivisionDies(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"before save", "before division", "after division", "after produce"} {
		for _, lost := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, cursor lost %t", step, lost), func(t *testing.T) {
				t.Parallel()
				dieDividing(t, step, lost)
			})
		}
	}
}

func dieDividing(t *testing.T, step string, lost bool) {
	r := newRig(t, shared(t), 2)
	r.append(BlockEvents) // the next one may be divided anew
	r.shipAll()
	k := client(t, r.config)
	more(t, k, r.topic.Name, 5)
	r.topic = ensure(t, k, EventsTopic(r.topic.Name, 5, 0, 0))
	r.fold()
	r.fail = func(s string) error {
		if s == step {
			return &crashError{s}
		}
		return nil
	}
	dying := r.newShipper(k)
	r.append(20_000) // after it began, so they are in no doubt
	var crash *crashError
	if err := dying.Run(t.Context()); !errors.As(err, &crash) {
		t.Fatal(err)
	}
	r.fail = nil
	if lost {
		must(t, os.Remove(r.cursor()))
	}
	r.shipAll()
	s, stop := r.ship()
	r.append(2 * BlockEvents)
	r.awaitShipped(s)
	if n := s.Stats().Partitions; n != 5 {
		t.Errorf("%d partitions after more than a block", n)
	}
	must(t, stop())
	r.awaitFolded()
	r.check()
}
