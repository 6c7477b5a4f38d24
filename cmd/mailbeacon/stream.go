package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/datadir"
)

// resumeEvery is how often the store is asked whether a person let a stopped partition go on.
const resumeEvery = 2 * time.Second

// attach asks the store which stream the topic of events is. A folder of a consumer from before there were streams tells what
// was counted from.
func attach(ctx context.Context, store *clickhouse.Store, dir *datadir.Dir, topic kafka.Topic) (clickhouse.Stream, error) {
	remembered, err := kafka.Remembered(dir.Path(topicFile), topic.Name)
	if err != nil {
		return clickhouse.Stream{}, err
	}
	if _, err := aggregate.PartitionOf(0, topic.Partitions-1); err != nil {
		return clickhouse.Stream{}, fmt.Errorf("setting topics: topic %s has %d partitions: %w", topic.Name, topic.Partitions, err)
	}
	stream, err := store.Attach(ctx, topic.Name, clickhouse.TopicID(topic.ID), clickhouse.TopicID(remembered))
	if other, ok := errors.AsType[*clickhouse.OtherTopicError](err); ok && !other.Former {
		err = fmt.Errorf("%w; if that is given up, `mailbeacon topic accept-loss` goes on with this one: run it, then start the consumers again", err)
	}
	return stream, err
}

// adviseStopped adds to what stopped a partition what a person can do about it.
func adviseStopped(err error) error {
	if lost, ok := errors.AsType[*kafka.LostError](err); ok {
		if lost.Overtaken() {
			return fmt.Errorf("%w; `mailbeacon topic accept-loss` gives them up, and this consumer goes on by itself then", err)
		}
		return fmt.Errorf("%w; `mailbeacon topic accept-loss` goes on with what it holds; then restart all consumers", err)
	}
	if _, ok := errors.AsType[*kafka.RecreatedError](err); ok {
		return fmt.Errorf("%w; if that is given up, `mailbeacon topic accept-loss` goes on with the new one; then restart all consumers", err)
	}
	if _, ok := errors.AsType[*clickhouse.EndedError](err); ok {
		return fmt.Errorf("%w; restart this consumer", err)
	}
	return err
}

// adviseEdge adds to an edge's alarm what a person can do about it.
func adviseEdge(err error, data string) error {
	if _, ok := errors.AsType[*kafka.RecreatedError](err); ok {
		return fmt.Errorf("%w; to have this edge ship to the new one, `mailbeacon topic accept-loss --data %s`: it goes on by itself then", err, shellWord(data))
	}
	return err
}

// resume waits until a person has let a stopped partition go on: its position is behind what was lost.
func (c *counting) resume(ctx context.Context, partition int, stopped error) bool {
	lost, ok := errors.AsType[*kafka.LostError](stopped)
	if !ok {
		return false
	}
	known, err := aggregate.PartitionOf(c.stream, partition)
	if err != nil {
		return false
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(resumeEvery):
		}
		// A store that does not answer is asked again; that the stream has ended is for Run to find.
		p, err := c.store.Progress(ctx, known)
		if errors.Is(err, aggregate.ErrBroken) || err == nil && kafka.RecordOf(p.Context) != lost.Offset {
			return true
		}
	}
}
