package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
)

func newTopicCommand(c *cli) *cobra.Command {
	return group("topic", "The topic of events of a cluster, and how far it is counted", newTopicShow(c), newTopicAcceptLoss(c))
}

// topicFlags are the settings of commands that look at the topic themselves, as the roles have them.
func topicFlags(cmd *cobra.Command) { config.FlagsOf(cmd.Flags(), "kafka", "clickhouse", "topics") }

// withTopic calls fn with what the settings of a command say.
func withTopic(cmd *cobra.Command, fn func(ctx context.Context, cfg *config.Config, k *kafka.Client) error) (err error) {
	cfg, err := config.Load(cmd.Flags(), os.Environ(), "")
	if err != nil {
		return usage(err)
	}
	if cfg.Kafka == "" {
		return usagef("setting --kafka is not set; %s needs it", cmd.CommandPath())
	}
	k, err := newKafka(cfg, "topic")
	if err != nil {
		return usage(err)
	}
	defer closing(&err, k.Close)
	return fn(cmd.Context(), cfg, k)
}

// withStore is withTopic with the store open.
func withStore(cmd *cobra.Command, fn func(ctx context.Context, cfg *config.Config, k *kafka.Client, store *clickhouse.Store) error) error {
	return withTopic(cmd, func(ctx context.Context, cfg *config.Config, k *kafka.Client) (err error) {
		if cfg.ClickHouse == "" {
			return usagef("setting --clickhouse is not set; %s needs it", cmd.CommandPath())
		}
		o, err := clickhouse.Parse(cfg.ClickHouse)
		if err != nil {
			return usage(err)
		}
		store, err := clickhouse.Open(ctx, o)
		if err != nil {
			return err
		}
		defer closing(&err, store.Close)
		return fn(ctx, cfg, k, store)
	})
}

func newTopicShow(c *cli) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show how far each partition is counted, and what is lost",
		Long: `Show what the store counts from, and of each partition how far it is counted, what Kafka has of it, and
whether records were deleted before they were counted. Numbers are offsets of records; a record holds up to 16,384 events.`,
		Example: "  mailbeacon topic show --kafka kafka://localhost:9092 --clickhouse clickhouse://localhost:9000/mailbeacon",
		Args:    cobra.NoArgs,
	}
	topicFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withStore(cmd, func(ctx context.Context, cfg *config.Config, k *kafka.Client, store *clickhouse.Store) error {
			l, err := lookAtTopic(ctx, k, store, cfg)
			if err != nil {
				return err
			}
			if asJSON {
				return c.printJSON(l)
			}
			return l.print(c)
		})
	}
	return cmd
}

func (l *topicLook) print(c *cli) error {
	fmt.Fprintf(c.stdout, "topic %s, id %s: %s\n", l.Topic, l.ID, l.Standing)
	if s := l.Stream; s != nil {
		fmt.Fprintf(c.stdout, "counted is stream %d: topic %s, id %s, since %s\n", s.Number, s.Topic, s.ID, s.Since)
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PARTITION\tCOUNTED TO\tLOG START\tLOG END\tWAITING\tLOST\tPROBLEM")
	for _, p := range l.Partitions {
		counted := fmt.Sprint(p.Counted)
		if p.Problem == hasEnded {
			counted = "-"
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d\t%d\t%s\n", p.Partition, counted, p.Start, p.End, p.Waiting, p.Lost, p.Problem)
	}
	return t.Flush()
}

func newTopicAcceptLoss(c *cli) *cobra.Command {
	var data string
	sure := false
	cmd := &cobra.Command{
		Use:   "accept-loss",
		Short: "Give up what a topic lost before it was counted, so that counting goes on",
		Long: `Give up events that can't be counted any more, so that consumers which stopped with an alarm go on.

Where the topic was deleted and made anew, the new one is counted from then on; how far each edge was counted is carried
over, so that nothing is counted twice. Consumers go on after a restart. Each edge that holds back its events has to be told too,
with --data, on its machine; it may run meanwhile.

Where Kafka deleted records before they were counted, counting goes on behind them. Consumers go on by themselves.

It does nothing where nothing is lost. It asks before it does something; --yes answers.`,
		Example: `  mailbeacon topic accept-loss --kafka kafka://localhost:9092 --clickhouse clickhouse://localhost:9000/mailbeacon
  mailbeacon topic accept-loss --kafka kafka://localhost:9092 --data /var/lib/mailbeacon-edge`,
		Args: cobra.NoArgs,
	}
	topicFlags(cmd)
	cmd.Flags().StringVar(&data, "data", "", "data folder of an edge: have it ship to the topic that was made anew")
	cmd.Flags().BoolVar(&sure, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a := &acceptance{cli: c, sure: sure}
		if cmd.Flags().Changed("data") {
			return withTopic(cmd, func(ctx context.Context, cfg *config.Config, k *kafka.Client) error { return a.edge(ctx, cfg, k, data) })
		}
		return withStore(cmd, a.cluster)
	}
	return cmd
}

// acceptance is a person's word that something is lost.
type acceptance struct {
	*cli
	sure bool
}

// confirm asks before something is given up.
func (a *acceptance) confirm(topic, what string) error {
	if a.sure {
		return nil
	}
	fmt.Fprintf(a.stderr, "%s Type the topic's name, %s, to go on: ", what, topic)
	line, _ := bufio.NewReader(a.stdin).ReadString('\n') // an end of input is an answer too: not confirmed
	if strings.TrimSpace(line) != topic {
		return usagef("nothing is changed: not confirmed")
	}
	return nil
}

// cluster has consumers go on.
func (a *acceptance) cluster(ctx context.Context, cfg *config.Config, k *kafka.Client, store *clickhouse.Store) error {
	l, err := lookAtTopic(ctx, k, store, cfg)
	switch {
	case err != nil:
		return err
	case l.Standing == standsUnknown:
		return fmt.Errorf("nothing is lost: topic %s is not counted yet; a consumer begins with it when it starts", l.Topic)
	case l.Standing == standsFormer:
		return fmt.Errorf("topic %s (id %s) was counted before stream %d began: these are old brokers, and going on with them would lose what came since (setting kafka)", l.Topic, l.ID, l.newest.Number)
	case l.succession():
		return a.succeed(ctx, l, k, store, cfg)
	case l.lost() > 0:
		return a.skip(ctx, l, store)
	}
	return fmt.Errorf("nothing is lost: topic %s is the one that is counted, and has all that is not counted yet", l.Topic)
}

// succeed goes on with a new stream.
func (a *acceptance) succeed(ctx context.Context, l *topicLook, k *kafka.Client, store *clickhouse.Store, cfg *config.Config) error {
	what := fmt.Sprintf("Topic %s was made anew: it is %s now, and was %s. What the old one held and was not counted is given up.", l.Topic, l.ID, l.newest.ID)
	if l.Standing == standsCounted {
		what = fmt.Sprintf("Topic %s ends before what is counted of it: the brokers lost records. All that it holds is looked through again; what was counted is known by its numbers.", l.Topic)
		if n := l.lost(); n > 0 {
			what += fmt.Sprintf(" %d records of other partitions were deleted before they were counted. They are given up.", n)
		}
	}
	if err := a.confirm(l.Topic, what); err != nil {
		return err
	}
	before := l
	st, err := store.Succeed(ctx, l.newest, l.Topic, clickhouse.TopicID(l.topic.ID), l.topic.Partitions)
	if err != nil {
		return err
	}
	// A stream begins with offset 0, a topic that is older than a few days does not.
	if l, err = lookAtTopic(ctx, k, store, cfg); err != nil {
		return err
	}
	for i := range l.Partitions {
		if p := &l.Partitions[i]; l.newest.Number == st.Number && p.at == 0 && p.Problem == overtaken {
			if err := skip(ctx, store, st.Number, p); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(a.stdout, "topic %s (id %s) is counted as stream %d from now on\n", l.Topic, l.ID, st.Number)
	for _, line := range before.givenUp() {
		fmt.Fprintln(a.stdout, line)
	}
	fmt.Fprintln(a.stdout, "restart all consumers; edges whose log says that the topic was made anew need `mailbeacon topic accept-loss --data FOLDER`")
	return nil
}

// skip goes on behind what was deleted.
func (a *acceptance) skip(ctx context.Context, l *topicLook, store *clickhouse.Store) error {
	what := fmt.Sprintf("%d records of topic %s were deleted before they were counted. They are given up.", l.lost(), l.Topic)
	if err := a.confirm(l.Topic, what); err != nil {
		return err
	}
	for i := range l.Partitions {
		p := &l.Partitions[i]
		if p.Problem != overtaken {
			continue
		}
		if err := skip(ctx, store, l.newest.Number, p); err != nil {
			return fmt.Errorf("partition %d is left as it is; `mailbeacon topic show` tells how it stands: %w", p.Partition, err)
		}
		fmt.Fprintln(a.stdout, p.gaveUp())
	}
	fmt.Fprintln(a.stdout, "consumers that run go on by themselves")
	return nil
}

// edge has an edge ship to a topic that was made anew. The edge may run: it reads the file whenever it tries.
func (a *acceptance) edge(ctx context.Context, cfg *config.Config, k *kafka.Client, root string) error {
	role, err := roleOf(root)
	if err == nil && role != config.Edge {
		err = errors.New("it is not an edge's; consumers are let go on without --data")
	}
	if err != nil {
		return fmt.Errorf("data folder %s: %w", root, err)
	}
	topic, err := topicOf(ctx, k, cfg, eventsTopic(cfg, 0), k.Verify)
	if err != nil {
		return err
	}
	file := filepath.Join(root, topicFile)
	was, err := kafka.Remembered(file, topic.Name)
	if err != nil {
		return err
	}
	if was.IsZero() || was == topic.ID {
		return fmt.Errorf("nothing is lost: topic %s is the one that this edge ships to", topic.Name)
	}
	what := fmt.Sprintf("Topic %s was made anew: it is %s now, and was %s. What this edge shipped to the old one and was not counted is given up.", topic.Name, topic.ID, was)
	if err := a.confirm(topic.Name, what); err != nil {
		return err
	}
	if err := kafka.RememberAnew(file, topic); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "this edge ships to topic %s with id %s from now on; it goes on by itself\n", topic.Name, topic.ID)
	return err
}
