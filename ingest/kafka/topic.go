package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/ingest/event"
)

const (
	// MaxFrameEvents is how many events a record holds at most.
	MaxFrameEvents = 16 << 10
	// recordRoom is what Kafka puts around a record, with room to spare.
	recordRoom = 4 << 10

	// DefaultRetention is how long events stay in their topic unless told; leastRetention is refused
	// below: consumers may be down for a weekend.
	DefaultRetention = 7 * 24 * time.Hour
	leastRetention   = 24 * time.Hour

	// CompactionLag is how long a control record stays beside its newer states at least, so that each of
	// them can be copied into the ledger before.
	CompactionLag = 7 * 24 * time.Hour
	// echoLeast is how long an echo stays at least, echoRetention and echoSegment keep their topic small.
	echoLeast     = time.Minute
	echoRetention = time.Hour
	echoSegment   = 10 * time.Minute
	// maxAppend is how much one Append to the control log may hold.
	maxAppend = 8 << 20

	creationTries = 100
	creationPause = 100 * time.Millisecond
	// startPatience is how long a broker may say that it is not ready yet.
	startPatience = 10 * time.Second
)

// TopicSpec is how a topic must be.
type TopicSpec struct {
	Name string
	// Partitions is how many it has; for a topic that is there, 0 takes what it has.
	Partitions int
	// Replicas is of how many brokers each partition is; where the topic is made, 0 is the
	// broker's default.
	Replicas int
	// settings are what it is made with and checked for.
	settings []setting
}

// setting is one of a topic's settings.
type setting struct {
	name string
	made string               // the value that a new topic gets
	want string               // in words
	ok   func(is string) bool // of a topic that is there
}

func exactly(name, value string) setting {
	return setting{name: name, made: value, want: value, ok: func(is string) bool { return is == value }}
}

func atLeast(name string, least, made int64) setting {
	return setting{name: name, made: strconv.FormatInt(made, 10), want: fmt.Sprintf("at least %d", least), ok: func(is string) bool {
		n, err := strconv.ParseInt(is, 10, 64)
		return err == nil && n >= least
	}}
}

// unlimitedOrAtLeast is atLeast where -1 means without limit.
func unlimitedOrAtLeast(name string, least, made int64) setting {
	s := atLeast(name, least, made)
	ok := s.ok
	s.want += ", or -1"
	s.ok = func(is string) bool { return is == "-1" || ok(is) }
	return s
}

// anything is a setting that a new topic gets, and that may be changed.
func anything(name string, made int64) setting {
	return setting{name: name, made: strconv.FormatInt(made, 10), ok: func(string) bool { return true }}
}

// EventsTopic is the topic of events. retention is for a new one, DefaultRetention if 0.
func EventsTopic(name string, partitions, replicas int, retention time.Duration) TopicSpec {
	if retention == 0 {
		retention = DefaultRetention
	}
	record := int64(event.FrameHeaderSize + MaxFrameEvents*event.Size + recordRoom)
	return TopicSpec{Name: name, Partitions: partitions, Replicas: replicas, settings: []setting{
		exactly("cleanup.policy", "delete"),
		unlimitedOrAtLeast("retention.ms", leastRetention.Milliseconds(), retention.Milliseconds()),
		exactly("retention.bytes", "-1"),
		atLeast("max.message.bytes", record, max(record, 1<<20)),
		exactly("unclean.leader.election.enable", "false"),
		exactly("message.timestamp.type", "LogAppendTime"), // ages go by the brokers' clock, whatever the writers' say
	}}
}

// ControlTopic is the topic of the control log.
func ControlTopic(name string, replicas int) TopicSpec {
	return TopicSpec{Name: name, Partitions: 1, Replicas: replicas, settings: []setting{
		exactly("cleanup.policy", "compact"),
		atLeast("min.compaction.lag.ms", CompactionLag.Milliseconds(), CompactionLag.Milliseconds()),
		atLeast("max.message.bytes", maxAppend+recordRoom, maxAppend+recordRoom),
		exactly("unclean.leader.election.enable", "false"),
		exactly("message.timestamp.type", "LogAppendTime"), // ages go by the brokers' clock, whatever the writers' say
	}}
}

// EchoTopic is the topic of the echo log. Nobody needs what is older than seconds; a reader that pauses for longer
// begins anew, before anything of what it had not read can go.
func EchoTopic(name string, replicas int) TopicSpec {
	return TopicSpec{Name: name, Partitions: 1, Replicas: replicas, settings: []setting{
		exactly("cleanup.policy", "compact,delete"),
		atLeast("min.compaction.lag.ms", echoLeast.Milliseconds(), echoLeast.Milliseconds()),
		unlimitedOrAtLeast("retention.ms", echoLeast.Milliseconds(), echoRetention.Milliseconds()),
		anything("segment.ms", echoSegment.Milliseconds()), // whoever likes a larger topic may have it
		exactly("unclean.leader.election.enable", "false"),
		exactly("message.timestamp.type", "LogAppendTime"), // ages go by the brokers' clock, whatever the writers' say
	}}
}

// Ensure makes a topic where it is missing, and checks it where it is there. The errors name
// the setting: a *SettingError for one of the topic's, others for the connection's.
func (k *Client) Ensure(ctx context.Context, s TopicSpec) (t Topic, err error) {
	err = k.patiently(ctx, func() (err error) { t, err = k.ensure(ctx, s); return err })
	return t, err
}

func (k *Client) ensure(ctx context.Context, s TopicSpec) (Topic, error) {
	if err := k.Check(ctx); err != nil {
		return Topic{}, err
	}
	t, err := k.Topic(ctx, s.Name)
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		if err := k.create(ctx, s); err != nil {
			return Topic{}, err
		}
		t, err = k.created(ctx, s)
	}
	if err != nil {
		return Topic{}, k.denied(err, "topic "+s.Name, "Describe")
	}
	return t, k.checkTopic(ctx, s, t)
}

// Verify is Ensure for those who may not make topics: a missing one is an error.
func (k *Client) Verify(ctx context.Context, s TopicSpec) (t Topic, err error) {
	err = k.patiently(ctx, func() (err error) { t, err = k.verify(ctx, s); return err })
	return t, err
}

// patiently calls fn again, for startPatience at most, while a broker answers that it is not ready:
// for seconds after its start, and after a topic was made, it says so to one question or another.
func (k *Client) patiently(ctx context.Context, fn func() error) error {
	for deadline := time.Now().Add(startPatience); ; {
		err := fn()
		var code kafkago.Error
		if err == nil || !errors.As(err, &code) || time.Now().After(deadline) {
			return err
		}
		switch code {
		case kafkago.BrokerNotAvailable, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition, kafkago.NetworkException:
		case kafkago.InvalidReplicationFactor:
			// There are brokers enough, and the controller has not heard of them for a moment.
			if !strings.Contains(err.Error(), "fenced") {
				return err
			}
		default:
			return err
		}
		if !pause(ctx, creationPause) {
			return err
		}
	}
}

func (k *Client) verify(ctx context.Context, s TopicSpec) (Topic, error) {
	if err := k.Check(ctx); err != nil {
		return Topic{}, err
	}
	t, err := k.Topic(ctx, s.Name)
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		return Topic{}, fmt.Errorf("kafka: there is no topic %s; is the name right? The admin role makes it: %w", s.Name, err)
	}
	if err != nil {
		return Topic{}, k.denied(err, "topic "+s.Name, "Describe")
	}
	return t, k.checkTopic(ctx, s, t)
}

// denied says which permission is missing, where that is what err says.
func (k *Client) denied(err error, what, operation string) error {
	for _, code := range []kafkago.Error{kafkago.TopicAuthorizationFailed, kafkago.ClusterAuthorizationFailed, kafkago.GroupAuthorizationFailed} {
		if errors.Is(err, code) {
			who := "clients without a name (sasl)"
			if k.c.SASL != nil {
				who = fmt.Sprintf("user %q", k.c.SASL.User)
			}
			return fmt.Errorf("kafka: permission: %s may not %s %s; give it that right by an ACL: %w", who, operation, what, err)
		}
	}
	return err
}

// create makes a topic. That another made it meanwhile is no error.
func (k *Client) create(ctx context.Context, s TopicSpec) error {
	if s.Partitions <= 0 {
		return fmt.Errorf("kafka: there is no topic %s, and the number of partitions to make it with is not set (partitions)", s.Name)
	}
	replicas := s.Replicas
	if replicas == 0 {
		replicas = -1
	}
	c := kafkago.TopicConfig{Topic: s.Name, NumPartitions: s.Partitions, ReplicationFactor: replicas}
	for _, set := range s.settings {
		c.ConfigEntries = append(c.ConfigEntries, kafkago.ConfigEntry{ConfigName: set.name, ConfigValue: set.made})
	}
	if s.Replicas >= 3 {
		c.ConfigEntries = append(c.ConfigEntries, kafkago.ConfigEntry{ConfigName: minInSync, ConfigValue: "2"})
	}
	err := k.tryCreate(ctx, c)
	// A cluster that has only just started does not know its brokers yet.
	for try := 0; try < creationTries && (notWritten(err) || errors.Is(err, kafkago.NotController)) && pause(ctx, creationPause); try++ {
		err = k.tryCreate(ctx, c)
	}
	if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		if errors.Is(err, kafkago.InvalidReplicationFactor) {
			return fmt.Errorf("kafka: make topic %s with %d replicas (replicas): are there as many brokers? %w", s.Name, s.Replicas, err)
		}
		return fmt.Errorf("kafka: make topic %s: %w", s.Name, k.denied(err, "topic "+s.Name, "Create"))
	}
	return nil
}

func (k *Client) tryCreate(ctx context.Context, c kafkago.TopicConfig) error {
	r, err := k.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{c}})
	if err != nil {
		return err
	}
	return r.Errors[c.Topic]
}

// created waits until every broker that is asked knows a new topic.
func (k *Client) created(ctx context.Context, s TopicSpec) (t Topic, err error) {
	for range creationTries {
		if t, err = k.Topic(ctx, s.Name); err == nil {
			return t, nil
		}
		if !errors.Is(err, kafkago.UnknownTopicOrPartition) && !errors.Is(err, kafkago.LeaderNotAvailable) {
			return t, err
		}
		if !pause(ctx, creationPause) {
			return t, ctx.Err()
		}
	}
	return t, err
}

const minInSync = "min.insync.replicas"

func (k *Client) checkTopic(ctx context.Context, s TopicSpec, t Topic) error {
	if s.Partitions > 0 && t.Partitions != s.Partitions {
		return &SettingError{s.Name, "partitions", strconv.Itoa(t.Partitions), strconv.Itoa(s.Partitions)}
	}
	if s.Replicas > 0 && t.Replicas < s.Replicas {
		return &SettingError{s.Name, "replication.factor", strconv.Itoa(t.Replicas), fmt.Sprintf("at least %d", s.Replicas)}
	}
	settings := s.settings
	if t.Replicas >= 3 {
		settings = append(slices.Clone(settings), atLeast(minInSync, 2, 2))
	}
	names := make([]string, len(settings))
	for i := range settings {
		names[i] = settings[i].name
	}
	r, err := k.client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{
		Resources: []kafkago.DescribeConfigRequestResource{{ResourceType: kafkago.ResourceTypeTopic, ResourceName: s.Name, ConfigNames: names}},
	})
	if err == nil && len(r.Resources) != 1 {
		err = fmt.Errorf("%d answers instead of one", len(r.Resources))
	}
	if err == nil {
		err = r.Resources[0].Error
	}
	if err != nil {
		return fmt.Errorf("kafka: ask for the settings of topic %s: %w", s.Name, k.denied(err, "topic "+s.Name, "DescribeConfigs"))
	}
	is := map[string]string{}
	for _, e := range r.Resources[0].ConfigEntries {
		is[e.ConfigName] = e.ConfigValue
	}
	var wrong []error
	for _, set := range settings {
		if v := is[set.name]; !set.ok(v) {
			wrong = append(wrong, &SettingError{s.Name, set.name, v, set.want})
		}
	}
	return errors.Join(wrong...)
}

// pause waits, and says whether it was for as long as it was told to.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
