package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
)

func newConsumeCommand(c *cli) *cobra.Command {
	return roleCommand(config.Consume, "Run a consumer of a cluster: count what comes from Kafka, in ClickHouse",
		`Run a consumer of a cluster: with the others of its group it divides the partitions of the events' topic,
folds each of them, and commits counts to ClickHouse, each event once.`,
		"  mailbeacon consume --data /var/lib/mailbeacon-consume --kafka kafka://localhost:9092 --clickhouse clickhouse://localhost:9000/mailbeacon",
		func(ctx context.Context, cfg *config.Config) error { return runConsume(ctx, c, cfg) })
}

// runConsume is the life of a consumer. Nothing is counted before it knows what everybody has chosen.
func runConsume(ctx context.Context, c *cli, cfg *config.Config) (err error) {
	began := time.Now()
	logger := newLogger(c.stderr, cfg)

	dir, err := openFolder(cfg.Data, config.Consume)
	if err != nil {
		return err
	}
	defer closing(&err, dir.Close)
	brokers, err := newKafka(cfg, config.Consume)
	if err != nil {
		return err
	}
	defer closing(&err, brokers.Close)
	if _, err := topicOf(ctx, brokers, cfg, controlTopic(cfg), brokers.Verify); err != nil {
		return err
	}
	if _, err := topicOf(ctx, brokers, cfg, echoTopic(cfg), brokers.Verify); err != nil {
		return err
	}
	topic, err := topicOf(ctx, brokers, cfg, eventsTopic(cfg, 0), brokers.Verify)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, cfg, topic.Partitions)
	if err != nil {
		return err
	}
	defer closing(&err, store.Close)
	stream, err := attach(ctx, store, dir, topic)
	if err != nil {
		return err
	}
	state, err := followKafka(brokers, dir, cfg, nil, logger)
	if err != nil {
		return err
	}
	defer closing(&err, state.close)
	if err := state.follower.CatchUp(ctx); err != nil {
		return err
	}
	voice := openEcho(brokers, cfg, config.Consume, state, logger)
	defer closing(&err, voice.close)
	quarantine, err := kafka.OpenQuarantine(dir.Path(quarantineFile))
	if err != nil {
		return err
	}
	defer closing(&err, quarantine.Close)
	private, err := listenPrivate(ctx, cfg, dir, logger)
	if err != nil {
		return err
	}
	defer closeQuietly(private)

	count := &counting{cfg: cfg, brokers: brokers, store: store, stream: stream.Number, state: state, voice: voice, quarantine: quarantine, room: roomOf(cfg), logger: logger, owned: map[int]*ownership{}}
	count.members, err = kafka.NewMembers(kafka.MembersOptions{
		Client: brokers, Group: cfg.Group, Topic: topic, Divided: count.divided, Own: count.own, Resume: count.resume, Logger: logger,
	})
	if err != nil {
		return err
	}
	metrics := newMetrics()
	state.measure(metrics)
	measureLease(metrics, state.follower)
	voice.measure(metrics)
	measureCounting(metrics, count)
	status := serveStatus(metrics, count.notReady)

	work := newParts(ctx, logger)
	work.Go("follow the control log", state.follower.Run)
	voice.start(work)
	work.Serve("the private side", func() error { return status.Serve(private) })
	// The members stop first, with what they have folded committed.
	work.Serve("count", func() error { return count.members.Run(ctx) })
	logger.Info("ready", "role", config.Consume, "stream", stream.Number, "private", private.Addr().String(), "took", time.Since(began).Round(time.Millisecond))

	work.Wait()
	logger.Info("stopping")
	count.wait(cfg.StopTimeout + time.Second)
	err = errors.Join(stopStatus(status, cfg), work.Stop())
	logger.Info("stopped")
	return err
}

// openStore opens the cluster's store; what is wrong is said with the setting's name. Consumers of
// partitions commit to it, an admin of 0 only reads.
func openStore(ctx context.Context, cfg *config.Config, partitions int) (*clickhouse.Store, error) {
	o, err := storeOptions(cfg, partitions)
	if err != nil {
		return nil, err
	}
	return clickhouse.Open(ctx, o)
}

// storeOptions are the store's, if it can take what so many partitions commit.
func storeOptions(cfg *config.Config, partitions int) (clickhouse.Options, error) {
	o, err := clickhouse.Parse(cfg.ClickHouse)
	if err != nil {
		return o, err
	}
	return o, o.CheckRate(partitions, cfg.CommitInterval)
}

// counting is the partitions that this consumer owns.
type counting struct {
	cfg        *config.Config
	brokers    *kafka.Client
	store      *clickhouse.Store
	stream     uint16
	state      *state
	voice      *echo
	quarantine *kafka.Quarantine
	members    *kafka.Members
	room       *aggregate.Room // of all partitions
	logger     *slog.Logger

	mu    sync.Mutex
	owned map[int]*ownership
}

// ownership is one partition while it is owned.
type ownership struct {
	source *kafka.Partition
	runner *aggregate.Runner
}

// divided looks, when the topic has got more partitions, whether the store can still take what all of them commit.
func (c *counting) divided(topic kafka.Topic) error {
	c.logger.Info("the topic has more partitions", "partitions", topic.Partitions)
	_, err := storeOptions(c.cfg, topic.Partitions)
	return err
}

// own counts one partition until ctx ends. An error says what can be done about it.
func (c *counting) own(ctx context.Context, topic kafka.Topic, partition int) error {
	known, err := aggregate.PartitionOf(c.stream, partition)
	if err != nil {
		return err
	}
	source, err := kafka.NewPartition(kafka.PartitionOptions{
		Client: c.brokers, Topic: topic, Partition: partition, Quarantine: c.quarantine, Logger: c.logger,
	})
	if err != nil {
		return err
	}
	o := foldOptions(c.cfg, c.state, c.room)
	o.Partition = known
	runner, err := aggregate.NewRunner(aggregate.RunnerOptions{
		Source: source, Store: c.store, Fold: o, Interval: c.cfg.CommitInterval, StopTimeout: c.cfg.StopTimeout,
		FreshUntil: c.voice.here.OpenUntil, Logger: c.logger,
	})
	if err != nil {
		return err
	}
	mine := &ownership{source, runner}
	c.mu.Lock()
	c.owned[partition] = mine
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.owned[partition] == mine {
			delete(c.owned, partition)
		}
	}()
	return adviseStopped(runner.Run(ctx))
}

// each calls fn for every owned partition, in their order.
func (c *counting) each(fn func(partition int, o *ownership)) {
	c.mu.Lock()
	owned := maps.Clone(c.owned)
	c.mu.Unlock()
	for _, p := range slices.Sorted(maps.Keys(owned)) {
		fn(p, owned[p])
	}
}

// wait gives the partitions time to commit what they have.
func (c *counting) wait(most time.Duration) {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left := 0
		c.each(func(int, *ownership) { left++ })
		if left == 0 {
			return
		}
	}
}

// countPatience is how long a partition may stand still before this consumer is not ready. No traffic is kept away by that, so
// it may be said soon.
const countPatience = 8 * time.Second

// notReady says what keeps this consumer from counting.
func (c *counting) notReady() []string {
	var reasons []string
	if why := c.voice.here.Why(); why != "" {
		reasons = append(reasons, c.state.stale(why, "nothing is counted"))
	}
	reasons = append(reasons, notMember(c.cfg, c.members.Stats(), time.Now())...)
	c.each(func(p int, o *ownership) {
		if since, err := o.runner.Stuck(countPatience); err != nil {
			reasons = append(reasons, fmt.Sprintf("nothing of partition %d is counted since %s: %v", p, since.UTC().Format(time.RFC3339), err))
		}
		if silent := o.source.Unanswered(); silent > countPatience {
			reasons = append(reasons, fmt.Sprintf("Kafka has not answered for %s when it was asked for partition %d", silent.Round(time.Second), p))
		}
	})
	return reasons
}

// notMember says whether the group gives this consumer anything to count: none of its partitions is an answer, too.
func notMember(cfg *config.Config, m kafka.MembersStats, now time.Time) []string {
	var reasons []string
	why := ""
	if m.Err != nil {
		why = fmt.Sprintf(": %v", m.Err)
	}
	switch {
	case m.Generation == 0:
		reasons = append(reasons, fmt.Sprintf("the group %s was not joined yet%s", cfg.Group, why))
	case !m.Out.IsZero() && now.Sub(m.Out) > kafka.DefaultSession:
		reasons = append(reasons, fmt.Sprintf("out of the group %s since %s%s", cfg.Group, m.Out.UTC().Format(time.RFC3339), why))
	}
	for _, p := range slices.Sorted(maps.Keys(m.Alarms)) {
		reasons = append(reasons, fmt.Sprintf("partition %d is stopped: %v", p, m.Alarms[p]))
	}
	return reasons
}
