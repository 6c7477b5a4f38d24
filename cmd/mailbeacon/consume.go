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
	if err := kafka.Remember(dir.Path(topicFile), topic); err != nil {
		return err
	}
	store, err := openStore(ctx, cfg, topic.Partitions)
	if err != nil {
		return err
	}
	defer closing(&err, store.Close)
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
	private, err := listenPrivate(ctx, cfg, dir)
	if err != nil {
		return err
	}
	defer closeQuietly(private)

	count := &counting{cfg: cfg, brokers: brokers, store: store, state: state, voice: voice, quarantine: quarantine, room: roomOf(cfg), logger: logger, owned: map[int]*ownership{}}
	count.members, err = kafka.NewMembers(kafka.MembersOptions{
		Client: brokers, Group: cfg.Group, Topic: topic, Own: count.own, Logger: logger,
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
	logger.Info("ready", "role", config.Consume, "private", private.Addr().String(), "took", time.Since(began).Round(time.Millisecond))

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
	o, err := clickhouse.Parse(cfg.ClickHouse)
	if err != nil {
		return nil, err
	}
	if err := o.CheckRate(partitions, cfg.CommitInterval); err != nil {
		return nil, err
	}
	return clickhouse.Open(ctx, o)
}

// counting is the partitions that this consumer owns.
type counting struct {
	cfg        *config.Config
	brokers    *kafka.Client
	store      *clickhouse.Store
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

// own counts one partition until ctx ends.
func (c *counting) own(ctx context.Context, topic kafka.Topic, partition int) error {
	source, err := kafka.NewPartition(kafka.PartitionOptions{
		Client: c.brokers, Topic: topic, Partition: partition, Quarantine: c.quarantine, Logger: c.logger,
	})
	if err != nil {
		return err
	}
	o := foldOptions(c.cfg, c.state, c.room)
	o.Partition = uint32(partition)
	runner, err := aggregate.NewRunner(aggregate.RunnerOptions{
		Source: source, Store: c.store, Fold: o, Interval: c.cfg.CommitInterval, StopTimeout: c.cfg.StopTimeout,
		Fresh: c.voice.here.Open, Logger: c.logger,
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
	return runner.Run(ctx)
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

// notReady says what keeps this consumer from counting.
func (c *counting) notReady() []string {
	var reasons []string
	if why := c.voice.here.Why(); why != "" {
		reasons = append(reasons, c.state.stale(why, "nothing is counted"))
	}
	m := c.members.Stats()
	if m.Err != nil {
		reasons = append(reasons, fmt.Sprintf("the group %s can't be joined: %v", c.cfg.Group, m.Err))
	}
	for _, p := range slices.Sorted(maps.Keys(m.Alarms)) {
		reasons = append(reasons, fmt.Sprintf("partition %d is stopped: %v", p, m.Alarms[p]))
	}
	c.each(func(p int, o *ownership) {
		if since, err := o.runner.Fault(); err != nil && time.Since(since) > foldPatience {
			reasons = append(reasons, fmt.Sprintf("nothing of partition %d is counted since %s: %v", p, since.UTC().Format(time.RFC3339), err))
		}
	})
	return reasons
}
