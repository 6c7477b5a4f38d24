package clickhouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

func topicID(n byte) TopicID { return TopicID{0: n, 7: '\n', 8: 0xff, 15: n} } // of any bytes

// marked is a commit that moves a partition from an offset on by one, and a mark of edge 1 to the same number.
func marked(partition uint32, before uint64) *aggregate.Commit {
	return &aggregate.Commit{
		Partition: partition, Before: before,
		After:  aggregate.Progress{Offset: before + 1, Context: before, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 9, Next: before + 1}}},
		Counts: []aggregate.Count{{Cell: aggregate.Cell{Campaign: 1, Kind: event.Open}, N: 1}},
	}
}

func partitionOf(t testing.TB, stream uint16, partition int) uint32 {
	t.Helper()
	known, err := aggregate.PartitionOf(stream, partition)
	must(t, err)
	return known
}

// other makes sure that a topic is refused.
func other(t testing.TB, err error, former bool, newest uint16) {
	t.Helper()
	var o *OtherTopicError
	if !errors.As(err, &o) || o.Former != former || o.Newest.Number != newest {
		t.Errorf("%v: want an OtherTopicError (former %v) with stream %d", err, former, newest)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	for protocol, change := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := open(t, change(server, database(t, server)))
			ctx := t.Context()
			first, err := s.Attach(ctx, "events", topicID(1), topicID(7)) // what a folder knows counts for nothing where nothing is counted
			must(t, err)
			if first.Number != 0 || first.ID != topicID(1) || first.Topic != "events" || first.At.IsZero() {
				t.Errorf("%+v", first)
			}
			again, err := s.Attach(ctx, "events", topicID(1), topicID(7))
			if must(t, err); again != first {
				t.Errorf("again: %+v", again)
			}
			_, err = s.Attach(ctx, "events", topicID(2), TopicID{})
			other(t, err, false, 0)
			second, err := s.Succeed(ctx, first, "events", topicID(2), 1)
			if must(t, err); second.Number != 1 || second.ID != topicID(2) {
				t.Errorf("%+v", second)
			}
			if is, err := s.Attach(ctx, "events", topicID(2), topicID(1)); err != nil || is != second {
				t.Errorf("%+v, %v", is, err)
			}
			_, err = s.Attach(ctx, "events", topicID(1), topicID(1))
			other(t, err, true, 1)
			_, err = s.Attach(ctx, "events", topicID(3), topicID(1))
			other(t, err, false, 1)
			// Another name is no other matter.
			_, err = s.Attach(ctx, "others", topicID(4), TopicID{})
			other(t, err, false, 1)
			// A topic may succeed itself, and then stands under its newest number.
			third, err := s.Succeed(ctx, second, "events", topicID(2), 1)
			must(t, err)
			if is, err := s.Attach(ctx, "events", topicID(2), TopicID{}); err != nil || is != third || is.Number != 2 {
				t.Errorf("%+v, %v", is, err)
			}
			if all, err := s.Streams(ctx); err != nil || len(all) != 3 {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
}

// TestAttachAtOnce: of several consumers that start over an empty store one registers the stream.
func TestAttachAtOnce(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	for name, kinds := range map[string]int{"one topic": 1, "two topics": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := database(t, server)
			var all sync.WaitGroup
			var mu sync.Mutex
			won, lost := map[TopicID]int{}, map[TopicID]int{}
			for i := range 8 {
				s, id := open(t, o), topicID(1+byte(i%kinds))
				all.Go(func() {
					st, err := s.Attach(t.Context(), "events", id, TopicID{})
					mu.Lock()
					defer mu.Unlock()
					var o *OtherTopicError
					switch {
					case err == nil && st.Number == 0 && st.ID == id:
						won[id]++
					case errors.As(err, &o) && o.Newest.ID != id:
						lost[id]++
					default:
						t.Errorf("%+v, %v", st, err)
					}
				})
			}
			all.Wait()
			if len(won) != 1 || len(lost) != kinds-1 {
				t.Errorf("won %v, lost %v", won, lost)
			}
			var rows uint64
			if ask(t, o, "SELECT count() FROM `"+o.Database+"`.streams", &rows); rows != 1 {
				t.Errorf("%d rows", rows)
			}
		})
	}
}

// TestSucceedUnderCommits: owners of the old stream commit while several go on with new ones, which not all of them do with the same.
// What the new stream knows of the edges is what was counted last in the old one: not one commit more came after it.
func TestSucceedUnderCommits(t *testing.T) {
	t.Parallel()
	const partitions, rivals = 3, 3
	server := clickhousetest.Start(t)
	o := database(t, server)
	first, err := open(t, o).Attach(t.Context(), "events", topicID(1), TopicID{})
	must(t, err)
	var owners, successors sync.WaitGroup
	var last [partitions]uint64
	begun := make(chan struct{}, partitions)
	for p := range partitions {
		s := open(t, o)
		owners.Go(func() {
			for {
				err := s.Commit(t.Context(), marked(uint32(p), last[p]))
				if err != nil {
					if !errors.Is(err, aggregate.ErrConflict) {
						t.Error(err)
					}
					var e *EndedError
					if _, err := s.Progress(t.Context(), uint32(p)); !errors.As(err, &e) || !errors.Is(err, aggregate.ErrBroken) || e.Partition != p {
						t.Errorf("partition %d after a conflict: %v", p, err)
					}
					return
				}
				if last[p]++; last[p] == 3 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range partitions {
		<-begun
	}
	var mu sync.Mutex
	won := map[TopicID]int{}
	for i := range rivals {
		s, id := open(t, o), topicID(2+byte(i%2))
		successors.Go(func() {
			st, err := s.Succeed(t.Context(), first, "events", id, partitions)
			mu.Lock()
			defer mu.Unlock()
			var o *OtherTopicError
			switch {
			case err == nil && st.Number == 1 && st.ID == id:
				won[id]++
			case errors.As(err, &o), errors.Is(err, aggregate.ErrConflict):
			default:
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
	successors.Wait()
	owners.Wait()
	if len(won) != 1 {
		t.Errorf("won: %v", won)
	}
	s := open(t, o)
	total := uint64(0)
	for p := range partitions {
		now := partitionOf(t, 1, p)
		is, err := s.Progress(t.Context(), now)
		must(t, err)
		if is.Offset != 0 || is.Context != 0 || len(is.Edges) != 1 || is.Edges[0] != (aggregate.EdgeMark{Edge: 1, Epoch: 9, Next: last[p]}) {
			t.Errorf("partition %d begins with %+v, and %d were counted", p, is, last[p])
		}
		total += last[p] + 1
		// A commit of the new stream moves the mark on, wherever its offset is.
		c := marked(now, 0)
		c.After.Edges[0].Next = last[p] + 5
		must(t, s.Commit(t.Context(), c))
		if is, err := s.Progress(t.Context(), now); err != nil || is.Offset != 1 || is.Edges[0].Next != last[p]+5 {
			t.Errorf("partition %d goes on with %+v, %v", p, is, err)
		}
	}
	if n := sumOf(t, s); n != total {
		t.Errorf("%d are counted, want %d", n, total)
	}
}

func sumOf(t testing.TB, s *Store) (n uint64) {
	t.Helper()
	all, err := s.Counts(t.Context(), 1)
	must(t, err)
	for _, c := range all {
		n += c.N
	}
	return n
}

// TestSucceedRepeated: one that died at any step is done by the next; who comes too late changes nothing.
func TestSucceedRepeated(t *testing.T) {
	t.Parallel()
	s := open(t, database(t, clickhousetest.Start(t)))
	first, err := s.Attach(t.Context(), "events", topicID(1), TopicID{})
	must(t, err)
	must(t, s.Commit(t.Context(), marked(1, 0)))
	if _, err := s.Succeed(t.Context(), first, "events", topicID(2), 1); err == nil {
		t.Error("a topic with fewer partitions is taken")
	}
	// It died after partition 0, which nothing was counted from, and after partition 1.
	for p := range uint32(2) {
		edges, err := s.end(t.Context(), p)
		if must(t, err); len(edges) != int(p) {
			t.Errorf("partition %d: %v", p, edges)
		}
		if _, err := s.Progress(t.Context(), p); !errors.Is(err, aggregate.ErrBroken) {
			t.Errorf("an ended partition: %v", err)
		}
	}
	// And with the marks written.
	must(t, s.insert(t.Context(), "aggregates_add", carriedRows([]carried{{partitionOf(t, 1, 1), aggregate.EdgeMark{Edge: 1, Epoch: 9, Next: 1}}}), ""))
	second, err := s.Succeed(t.Context(), first, "events", topicID(2), 2)
	must(t, err)
	must(t, s.Commit(t.Context(), &aggregate.Commit{Partition: partitionOf(t, 1, 1), After: aggregate.Progress{Offset: 9, Context: 9, Edges: []aggregate.EdgeMark{{Edge: 1, Epoch: 9, Next: 8}}}}))
	if _, err := s.Succeed(t.Context(), first, "events", topicID(2), 2); !errors.Is(err, aggregate.ErrConflict) {
		t.Errorf("instead of a stream that is not the newest: %v", err)
	}
	// One that slept since before the first one registered.
	must(t, s.insert(t.Context(), "aggregates_add", carriedRows([]carried{{partitionOf(t, 1, 1), aggregate.EdgeMark{Edge: 1, Epoch: 9, Next: 1}}}), ""))
	if is, err := s.register(t.Context(), Stream{Number: 1, ID: topicID(3)}); err != nil || is != second {
		t.Errorf("the sleeper registers %+v, %v", is, err)
	}
	if p, err := s.Progress(t.Context(), partitionOf(t, 1, 1)); err != nil || p.Offset != 9 || p.Edges[0].Next != 8 {
		t.Errorf("the sleeper changed it to %+v, %v", p, err)
	}
	// Nor can anything be committed to where nobody could go on.
	if err := s.Commit(t.Context(), &aggregate.Commit{Partition: 5, After: aggregate.Progress{Offset: ended}}); err == nil {
		t.Error("a commit ends a partition")
	}
}

// TestSucceedToFewerPartitions: a partition that only the old topic had, and that is counted from for the first time while counting goes on with another, is
// a reason to refuse, or the new stream knows how far it was counted. Once that has begun nothing is counted from it.
func TestSucceedToFewerPartitions(t *testing.T) {
	t.Parallel()
	const fewer = 2
	o := database(t, clickhousetest.Start(t))
	s, owner := open(t, o), open(t, o)
	st, err := s.Attach(t.Context(), "events", topicID(1), TopicID{})
	must(t, err)
	counted, outcomes := uint64(0), map[string]int{}
	for round := range 20 {
		above := partitionOf(t, st.Number, fewer)
		c, result := marked(above, 0), make(chan error, 1)
		c.After.Edges[0].Edge = uint64(round) + 1
		go func() {
			time.Sleep(time.Duration(round) * 10 * time.Millisecond)
			result <- owner.Commit(t.Context(), c)
		}()
		next, err := s.Succeed(t.Context(), st, "events", topicID(byte(round+2)), fewer)
		committed := <-result
		var ended *EndedError
		switch {
		case committed == nil:
			counted++
		case !errors.Is(committed, aggregate.ErrConflict) || !errors.As(committed, &ended):
			t.Fatalf("round %d: %v", round, committed)
		}
		if err != nil { // as before: with as many, then
			outcomes["refused"]++
			if committed != nil || !strings.Contains(err.Error(), "3 were counted") {
				t.Fatalf("round %d: %v, %v", round, err, committed)
			}
			next, err = s.Succeed(t.Context(), st, "events", topicID(byte(round+2)), fewer+1)
			must(t, err)
		} else {
			outcomes[fmt.Sprintf("counted %v", committed == nil)]++
		}
		p, err := s.Progress(t.Context(), partitionOf(t, next.Number, fewer))
		if must(t, err); p.Offset != 0 || slices.Contains(p.Edges, c.After.Edges[0]) != (committed == nil) {
			t.Errorf("round %d: counted: %v, and the new stream knows %+v", round, committed == nil, p)
		}
		if _, err := s.Progress(t.Context(), above); (committed == nil || ended != nil) && !errors.Is(err, aggregate.ErrBroken) {
			t.Errorf("round %d: the partition is open: %v", round, err)
		}
		// Nor from one that nobody looked at.
		for range 2 {
			if err := owner.Commit(t.Context(), marked(partitionOf(t, st.Number, 7), 0)); !errors.Is(err, aggregate.ErrConflict) || !errors.As(err, &ended) {
				t.Errorf("round %d: a stream that was succeeded is counted from: %v", round, err)
			}
		}
		st = next
	}
	t.Logf("%v", outcomes)
	if n := sumOf(t, s); n != counted {
		t.Errorf("%d are counted, want %d", n, counted)
	}
}

// TestStreamOfALostPart: a crash that keeps the token and loses the row leaves the number to be had.
func TestStreamOfALostPart(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "lost")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	for round := range byte(2) { // the second time two tokens are spent
		_, err = open(t, o).Attach(t.Context(), "events", topicID(1+round), TopicID{})
		must(t, err)
		losePart(t, server, o, "SELECT path FROM system.parts WHERE database = 'lost' AND table = 'streams' AND active")
	}
	s := open(t, o)
	if all, err := s.Streams(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("the part is not lost: %v, %v", all, err)
	}
	if st, err := s.Attach(t.Context(), "events", topicID(9), TopicID{}); err != nil || st.Number != 0 || st.ID != topicID(9) {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestStreamThatComesTooLate: its token may be forgotten by then.
func TestStreamThatComesTooLate(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	s := open(t, o)
	var clock uint32
	ask(t, o, "SELECT toUInt32(now())", &clock)
	if err := s.insert(t.Context(), "streams_add", &streamRow{Stream{ID: topicID(1)}, clock - 1}, "late"); code(err) != codeThrowIf {
		t.Errorf("%v", err)
	}
}

func TestPartitionName(t *testing.T) {
	t.Parallel()
	for stream, want := range map[uint16]string{0: "partition 7", 3: "partition 7 of stream 3"} {
		if got := partitionName(partitionOf(t, stream, 7)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, p := range []int{-1, aggregate.MaxPartitions} {
		if known, err := aggregate.PartitionOf(0, p); err == nil {
			t.Errorf("partition %d is known by %d", p, known)
		}
	}
	if s, p := aggregate.SplitPartition(partitionOf(t, 65535, 65535)); fmt.Sprint(s, p) != "65535 65535" {
		t.Errorf("stream %d, partition %d", s, p)
	}
}
