package main

import (
	"context"
	"errors"
	"fmt"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
)

// topicLook is the topic of events as Kafka has it, beside what the store counts from.
type topicLook struct {
	Topic string `json:"topic"`
	ID    string `json:"id"`
	// Stream is what the store counts from; nil before a consumer was there.
	Stream *streamLook `json:"stream"`
	// Standing is what the topic is to the store.
	Standing   standing        `json:"standing"`
	Partitions []partitionLook `json:"partitions"`

	topic  kafka.Topic
	newest clickhouse.Stream
}

// standing is what a topic is to the store.
type standing string

const (
	standsUnknown standing = "not counted yet"
	standsCounted standing = "counted"
	standsAnew    standing = "made anew"  // another than what is counted
	standsFormer  standing = "an old one" // counted before what is counted now
)

type streamLook struct {
	Number uint16 `json:"number"`
	Topic  string `json:"topic"`
	ID     string `json:"id"`
	Since  string `json:"since"`
}

// partitionLook is how far a partition is counted, in offsets of records. Where the topic is not what the store counts from, Counted
// is of the one that was.
type partitionLook struct {
	Partition int   `json:"partition"`
	Counted   int64 `json:"counted"`   // the first record that is not counted, or not wholly; -1 where the stream has ended
	Start     int64 `json:"log_start"` // the first that is there
	End       int64 `json:"log_end"`   // the one that will come next
	Waiting   int64 `json:"waiting"`   // records that are there and not counted
	Lost      int64 `json:"lost"`      // records that were deleted before they were counted
	// Problem is why the partition is not counted, empty where it is.
	Problem problem `json:"problem,omitempty"`

	at uint64 // the stored position
}

// problem is why nothing of a partition is counted.
type problem string

const (
	overtaken problem = "deleted before it was counted"
	cutShort  problem = "ends before what is counted"
	hasEnded  problem = "given up, and nothing taken up instead"
)

// lookAtTopic asks Kafka and the store.
func lookAtTopic(ctx context.Context, k *kafka.Client, store *clickhouse.Store, cfg *config.Config) (*topicLook, error) {
	topic, err := topicOf(ctx, k, cfg, eventsTopic(cfg, 0), k.Verify)
	if err != nil {
		return nil, err
	}
	all, err := store.Streams(ctx)
	if err != nil {
		return nil, err
	}
	l := &topicLook{Topic: topic.Name, ID: topic.ID.String(), Standing: standsUnknown, topic: topic}
	for _, st := range all {
		l.newest, l.Standing = st, standsAnew
	}
	for _, st := range all {
		switch id := clickhouse.TopicID(topic.ID); {
		case l.newest.ID == id:
			l.Standing = standsCounted
		case st.ID == id:
			l.Standing = standsFormer
		}
	}
	if len(all) > 0 {
		l.Stream = &streamLook{l.newest.Number, l.newest.Topic, l.newest.ID.String(), l.newest.At.Format("2006-01-02T15:04:05Z")}
	}
	for p := range topic.Partitions {
		one, err := l.partition(ctx, k, store, p)
		if err != nil {
			return nil, err
		}
		l.Partitions = append(l.Partitions, one)
	}
	return l, nil
}

func (l *topicLook) partition(ctx context.Context, k *kafka.Client, store *clickhouse.Store, p int) (one partitionLook, err error) {
	one = partitionLook{Partition: p}
	known, err := aggregate.PartitionOf(l.newest.Number, p)
	if err != nil {
		return one, err
	}
	progress, err := store.Progress(ctx, known)
	if _, ok := errors.AsType[*clickhouse.EndedError](err); ok {
		one.Counted, one.Problem, err = -1, hasEnded, nil
	}
	if err != nil {
		return one, err
	}
	// After the store: what is counted was there.
	if one.Start, one.End, err = k.Bounds(ctx, l.Topic, p); err != nil {
		return one, fmt.Errorf("setting kafka: %w", err)
	}
	one.Waiting = one.End - one.Start
	if one.Problem == hasEnded {
		return one, nil
	}
	one.at, one.Counted = progress.Offset, kafka.RecordOf(progress.Offset)
	if l.Standing != standsCounted {
		return one, nil
	}
	one.Waiting = max(0, one.End-max(one.Counted, one.Start))
	switch {
	case kafka.StartOf(one.Start) > progress.Offset:
		one.Lost, one.Problem = one.Start-one.Counted, overtaken
	case one.Counted > one.End:
		one.Waiting, one.Problem = one.End-one.Start, cutShort
	}
	return one, nil
}

// succession says whether counting can go on with a new stream only.
func (l *topicLook) succession() bool {
	again := l.Standing == standsAnew
	for _, p := range l.Partitions {
		again = again || p.Problem == cutShort || p.Problem == hasEnded
	}
	return again
}

// lost is how many records were deleted before they were counted, as far as that is known.
func (l *topicLook) lost() (n int64) {
	for _, p := range l.Partitions {
		n += p.Lost
	}
	return n
}

// givenUp says of each partition what goes where another stream takes over.
func (l *topicLook) givenUp() (lines []string) {
	for _, p := range l.Partitions {
		switch {
		case p.Problem == cutShort:
			lines = append(lines, fmt.Sprintf("partition %d: it was counted up to offset %d, and ends at %d", p.Partition, p.Counted, p.End))
		case p.Problem == overtaken:
			lines = append(lines, p.gaveUp())
		case p.Problem != hasEnded && l.Standing == standsAnew:
			lines = append(lines, fmt.Sprintf("partition %d: the old one was counted up to offset %d; what it held from there on is given up", p.Partition, p.Counted))
		}
	}
	return lines
}

// gaveUp says what of a partition that was overtaken is given up.
func (p *partitionLook) gaveUp() string {
	return fmt.Sprintf("partition %d: %d records are given up, from offset %d to %d", p.Partition, p.Lost, p.Counted, p.Start-1)
}

// skip moves the stored position of a partition to the first record that is there. It is a commit like any other, of nothing:
// where somebody else commits, it is an aggregate.ErrConflict.
func skip(ctx context.Context, store *clickhouse.Store, stream uint16, p *partitionLook) error {
	known, err := aggregate.PartitionOf(stream, p.Partition)
	if err != nil {
		return err
	}
	to := kafka.StartOf(p.Start)
	return store.Commit(ctx, &aggregate.Commit{Partition: known, Before: p.at, After: aggregate.Progress{Offset: to, Context: to}})
}
