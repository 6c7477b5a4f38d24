package clickhouse

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/ingest/aggregate"
)

// TopicID is what Kafka names one life of a topic by.
type TopicID [16]byte

func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// Stream is one life of the topic of events that was counted from.
type Stream struct {
	Number uint16
	ID     TopicID
	Topic  string // its name
	// At is when it was registered, by the server's clock, UTC.
	At time.Time
}

// ended is the offset of a partition whose stream was succeeded by another: beyond all that a stream can have, so that
// nothing can be committed to it any more.
const ended = 1 << 63

// EndedError is of a partition that nothing is counted from any more.
type EndedError struct {
	Stream    uint16
	Partition int
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("partition %d of stream %d has ended: counting goes on, or is about to, with the stream after it", e.Partition, e.Stream)
}

// Is says that the stream is broken.
func (e *EndedError) Is(target error) bool { return target == aggregate.ErrBroken }

// OtherTopicError is of a topic that is not the one that the store counts from.
type OtherTopicError struct {
	Topic  string
	ID     TopicID
	Newest Stream // what the store counts from
	Former bool   // the store counted from this one before
}

func (e *OtherTopicError) Error() string {
	if e.Former {
		return fmt.Sprintf("topic %s (id %s) was counted from before stream %d began on %s (topic %s, id %s): these are old brokers, or an older copy of their disks",
			e.Topic, e.ID, e.Newest.Number, e.Newest.At.Format(time.RFC3339), e.Newest.Topic, e.Newest.ID)
	}
	was := ""
	if e.Topic != e.Newest.Topic {
		was = " of topic " + e.Newest.Topic
	}
	return fmt.Sprintf("topic %s was deleted and made anew, or is another one: its id is %s, and the store counts from %s%s; what that held and was not counted is gone", e.Topic, e.ID, e.Newest.ID, was)
}

// Streams returns all streams in the order of their numbers; the last one is counted from.
func (s *Store) Streams(ctx context.Context) ([]Stream, error) {
	all, err := s.streams(ctx)
	if err != nil {
		return nil, s.failed(err, "read the streams")
	}
	return all, nil
}

func (s *Store) streams(ctx context.Context) (all []Stream, err error) {
	err = s.each(s.sequential(ctx), "streams_get", nil, func(rows driver.Rows) error {
		var st Stream
		var id string
		if err := rows.Scan(&st.Number, &id, &st.Topic, &st.At); err != nil {
			return err
		}
		if copy(st.ID[:], id) != len(st.ID) {
			return fmt.Errorf("stream %d has an id of %d bytes", st.Number, len(id))
		}
		st.At = st.At.UTC()
		all = append(all, st)
		return nil
	})
	return all, err
}

// Attach finds out which stream a topic is. The first one is registered; remembered is what a consumer knows that it counted
// from when there were no streams yet, zero if it knows nothing. A topic that is not the newest stream is an *OtherTopicError:
// a person must say that what the newest one held is given up (Succeed).
func (s *Store) Attach(ctx context.Context, topic string, id, remembered TopicID) (Stream, error) {
	st, err := s.attach(ctx, topic, id, remembered)
	if err != nil {
		return Stream{}, s.failed(err, "find the stream of topic %s", topic)
	}
	return st, nil
}

func (s *Store) attach(ctx context.Context, topic string, id, remembered TopicID) (Stream, error) {
	all, err := s.streams(ctx)
	if err != nil {
		return Stream{}, err
	}
	if len(all) == 0 {
		first := Stream{ID: id, Topic: topic}
		// What is counted may be of a topic that is gone; where nothing is, it does not matter what was there before.
		if _, any, err := s.partitionsOf(ctx, 0); err != nil {
			return Stream{}, err
		} else if any && remembered != (TopicID{}) {
			first.ID = remembered
		}
		if first, err = s.register(ctx, first); err != nil {
			return Stream{}, err
		}
		if all, err = s.streams(ctx); err != nil { // another may have gone further
			return Stream{}, err
		}
	}
	newest := all[len(all)-1]
	if newest.ID == id {
		return newest, nil
	}
	other := &OtherTopicError{Topic: topic, ID: id, Newest: newest}
	for _, st := range all {
		other.Former = other.Former || st.ID == id
	}
	return Stream{}, other
}

// register makes a stream the one of its number, unless another is. It returns the one that is.
func (s *Store) register(ctx context.Context, st Stream) (Stream, error) {
	for try := range lostTokens {
		var clock uint32
		if err := s.conn.QueryRow(reading(ctx), query("clock_get")).Scan(&clock); err != nil {
			return Stream{}, fmt.Errorf("ask for the time: %w", err)
		}
		row := &streamRow{st, clock + uint32(arrival/time.Second)}
		if err := s.insert(ctx, "streams_add", row, tokenOf(fmt.Sprintf("stream:%d", st.Number), try)); err != nil {
			return Stream{}, fmt.Errorf("register stream %d: %w", st.Number, err)
		}
		all, err := s.streams(ctx)
		if err != nil {
			return Stream{}, err
		}
		for _, is := range all {
			if is.Number == st.Number {
				return is, nil
			}
		}
		if s.o.Replicated {
			return Stream{}, errors.New("the server acknowledged a stream and does not show it")
		}
	}
	return Stream{}, fmt.Errorf("%d tokens are spent, and no stream %d is stored by them; the server loses parts", lostTokens, st.Number)
}

type streamRow struct {
	Stream
	deadline uint32
}

func (r *streamRow) columns() []any {
	return []any{[]uint16{r.Number}, []string{string(r.ID[:])}, []string{r.Topic}, []uint32{r.deadline}}
}

// partitionsOf is how many partitions of a stream may have been counted from, by the greatest one that was.
func (s *Store) partitionsOf(ctx context.Context, stream uint16) (n int, any bool, err error) {
	first, last := uint32(stream)<<16, uint32(stream)<<16|(aggregate.MaxPartitions-1)
	var there uint8
	var most uint32
	err = s.conn.QueryRow(s.sequential(ctx), query("progress_most"), clickhouse.Named("first", first), clickhouse.Named("last", last)).Scan(&there, &most)
	if err != nil {
		return 0, false, fmt.Errorf("ask how many partitions are counted: %w", err)
	}
	if there == 0 {
		return 0, false, nil
	}
	_, partition := aggregate.SplitPartition(most)
	return partition + 1, true, nil
}

// Succeed goes on with a topic of so many partitions instead of the stream old, which must be the newest, and returns its
// stream. What old still holds is given up: every partition of it ends, so that a consumer that still
// has some of it can't commit that any more. How far each edge was counted is carried over before the new stream is there: what
// an edge ships again, because it was never told that the old topic took it, is known as a repetition.
// The same topic may succeed itself, where it lost records that were counted; then all that it holds is looked through again.
//
// It may be repeated after a failure, and by several at once: all of them go on with one topic. Where that is not this one,
// the error is an *OtherTopicError.
func (s *Store) Succeed(ctx context.Context, old Stream, topic string, id TopicID, partitions int) (Stream, error) {
	st, err := s.succeed(ctx, old, Stream{ID: id, Topic: topic}, partitions)
	if err != nil {
		return Stream{}, s.failed(err, "go on with topic %s instead of stream %d", topic, old.Number)
	}
	return st, nil
}

func (s *Store) succeed(ctx context.Context, old, st Stream, partitions int) (Stream, error) {
	all, err := s.streams(ctx)
	switch {
	case err != nil:
		return Stream{}, err
	case len(all) == 0 || all[len(all)-1].Number != old.Number || all[len(all)-1].ID != old.ID:
		return Stream{}, fmt.Errorf("%w: another stream has begun meanwhile", aggregate.ErrConflict)
	case old.Number == 1<<16-1:
		return Stream{}, fmt.Errorf("%d streams are all that a store can count from", 1<<16)
	}
	st.Number = old.Number + 1
	if err := s.fits(ctx, old, st.Topic, partitions); err != nil {
		return Stream{}, err
	}
	if err := s.carryOver(ctx, old.Number, st.Number, 0, partitions); err != nil {
		return Stream{}, err
	}
	// More may have been counted from meanwhile.
	if err := s.fits(ctx, old, st.Topic, partitions); err != nil {
		return Stream{}, err
	}
	is, err := s.register(ctx, st)
	if err != nil {
		return Stream{}, err
	}
	// And until now. Whoever counts from one for the first time after this look finds that the stream has ended (commitFirst).
	counted, _, err := s.partitionsOf(ctx, old.Number)
	if err == nil {
		err = s.carryOver(ctx, old.Number, is.Number, partitions, counted)
	}
	if err != nil {
		return Stream{}, err
	}
	if is.ID != st.ID {
		return Stream{}, &OtherTopicError{Topic: st.Topic, ID: st.ID, Newest: is}
	}
	return is, nil
}

// fits refuses a topic with fewer partitions than were counted from.
func (s *Store) fits(ctx context.Context, old Stream, topic string, partitions int) error {
	counted, _, err := s.partitionsOf(ctx, old.Number)
	if err == nil && counted > partitions {
		// Edges divide by the number that they had: their numbers in each partition would be others'.
		err = fmt.Errorf("topic %s has %d partitions, and events of %d were counted: make it with as many, or more", topic, partitions, counted)
	}
	return err
}

// carryOver ends the partitions of a stream from one on up to another, and has the same ones of a later stream begin with how far its edges are
// counted.
func (s *Store) carryOver(ctx context.Context, old, now uint16, from, to int) error {
	var marks []carried
	for p := from; p < to; p++ {
		was, err := aggregate.PartitionOf(old, p)
		if err != nil {
			return err
		}
		edges, err := s.end(ctx, was)
		if err != nil {
			return err
		}
		is, err := aggregate.PartitionOf(now, p)
		if err != nil {
			return err
		}
		for _, e := range edges {
			marks = append(marks, carried{is, e})
		}
	}
	if len(marks) == 0 {
		return nil
	}
	if err := s.insert(ctx, "aggregates_add", carriedRows(marks), ""); err != nil {
		return fmt.Errorf("carry over how far the edges are counted: %w", err)
	}
	return nil
}

// commitFirst is the first commit of a partition, of which whoever went on with another topic need not have known. So it looks whether
// that was done, before it and after it: of the two, one sees the other.
func (s *Store) commitFirst(ctx context.Context, c *aggregate.Commit) error {
	over, err := s.endIfOver(ctx, c.Partition)
	if err != nil {
		return err
	}
	if over {
		return hasEnded(c.Partition)
	}
	if err := s.commit(ctx, c); err != nil {
		return err
	}
	_, err = s.endIfOver(ctx, c.Partition)
	return err
}

// endIfOver ends a partition of a stream that was succeeded by others.
func (s *Store) endIfOver(ctx context.Context, partition uint32) (over bool, err error) {
	all, err := s.streams(ctx)
	if err != nil {
		return false, err
	}
	stream, p := aggregate.SplitPartition(partition)
	for _, st := range all {
		if st.Number > stream {
			over = true
			if err := s.carryOver(ctx, stream, st.Number, p, p+1); err != nil {
				return over, err
			}
		}
	}
	return over, nil
}

// hasEnded is a conflict with the end of a partition.
func hasEnded(partition uint32) error {
	stream, p := aggregate.SplitPartition(partition)
	return fmt.Errorf("%w: %w", aggregate.ErrConflict, &EndedError{stream, p})
}

// end ends a partition, so that nothing is committed to it any more, and returns how far its edges were counted then.
func (s *Store) end(ctx context.Context, partition uint32) ([]aggregate.EdgeMark, error) {
	for {
		p, err := s.progress(ctx, partition)
		switch {
		case err != nil:
			return nil, err
		case p.Offset == ended:
			return p.Edges, nil
		}
		err = s.commit(ctx, &aggregate.Commit{Partition: partition, Before: p.Offset, After: aggregate.Progress{Offset: ended, Context: ended}})
		if err != nil {
			s.forget(partition)
		}
		if err != nil && !errors.Is(err, aggregate.ErrConflict) { // its owner commits, and so can't for ever
			return nil, fmt.Errorf("end %s: %w", partitionName(partition), err)
		}
	}
}

// partitionName is a partition in the operator's words.
func partitionName(known uint32) string {
	stream, partition := aggregate.SplitPartition(known)
	if stream == 0 {
		return fmt.Sprintf("partition %d", partition)
	}
	return fmt.Sprintf("partition %d of stream %d", partition, stream)
}
