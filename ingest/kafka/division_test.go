package kafka

import (
	"errors"
	"fmt"
	"os"
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
