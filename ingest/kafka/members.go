package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

const (
	// DefaultSession is how long a member may be silent before the others take over its partitions.
	DefaultSession = 10 * time.Second
	// leastSession is what brokers take by default.
	leastSession = 6 * time.Second

	heartbeat      = 500 * time.Millisecond
	rebalance      = 30 * time.Second
	rejoin         = 250 * time.Millisecond
	watchPartition = 5 * time.Second
)

// MembersOptions are what a Members is made of. Client, Group, Topic and Own are needed.
type MembersOptions struct {
	Client *Client
	// Group is the group's name: its members divide the topic's partitions.
	Group string
	Topic Topic
	// Divided, if it is set, is told of the topic as it is now after each division, if it has got more partitions since it was told
	// last, or since Topic. An error ends Run with it.
	Divided func(topic Topic) error
	// Own works on one partition until ctx ends; then it must return within half a minute, or the
	// partition has a new owner before it has lost the old one. An error before that is an alarm:
	// the partition stays with this member, and nothing is done with it until the next division, or Resume.
	Own func(ctx context.Context, topic Topic, partition int) error
	// Resume, if it is set, waits until a partition that Own left with an error can be worked on again; then Own is
	// called again. False is never. It must return when ctx ends.
	Resume func(ctx context.Context, partition int, err error) bool
	// Session is how long a member may be silent before it is taken for dead; DefaultSession if 0.
	Session time.Duration
	Logger  *slog.Logger // nil: silent
}

// Members is a member of a group. The group decides who owns a partition, and nothing else: where to
// read is the store's to say, and a member that slept through a division is stopped by the store's
// compare-and-swap.
type Members struct {
	o MembersOptions

	stop context.CancelCauseFunc // of Run

	telling sync.Mutex
	told    int // partitions that Divided knows of

	mu     sync.Mutex
	owned  map[int]struct{}
	alarms map[int]error
	gen    int32
	in     *kafkago.Generation // nil while there is none
	out    time.Time           // since when there is none
	err    error
}

// MembersStats is how a member is doing.
type MembersStats struct {
	Generation int32 // of the last division; 0 before the first
	// Out is since when this member has no part in a division: since Run began, or since the last one ended. Zero while it has.
	// A division takes a few seconds, up to half a minute where somebody is slow to give its partitions up.
	Out   time.Time
	Owned []int // the partitions that are worked on now
	// Alarms are the partitions that are owned and stopped, and why.
	Alarms map[int]error
	// Err is why the group can't be joined at the moment.
	Err error
}

// NewMembers checks the options.
func NewMembers(o MembersOptions) (*Members, error) {
	if o.Client == nil || o.Group == "" || o.Topic.Name == "" || o.Own == nil {
		return nil, errors.New("kafka: a member needs a client, a group, a topic and something to do")
	}
	if o.Session == 0 {
		o.Session = DefaultSession
	}
	if o.Session < leastSession {
		return nil, fmt.Errorf("kafka: session: %v is below %v, which brokers refuse", o.Session, leastSession)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("group", o.Group, "topic", o.Topic.Name)
	return &Members{o: o, told: o.Topic.Partitions, owned: map[int]struct{}{}, alarms: map[int]error{}, out: time.Now()}, nil
}

// Run is a member of the group until ctx ends; then every Own has returned, and the others were told.
// An error means that the group can't be joined by these options at all, or is that of Divided. It must not be called twice.
func (m *Members) Run(ctx context.Context) error {
	told := ctx
	ctx, m.stop = context.WithCancelCause(ctx)
	defer m.stop(nil)
	c := &m.o.Client.c
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: m.o.Group, Brokers: c.Brokers, Topics: []string{m.o.Topic.Name},
		Dialer:            &kafkago.Dialer{ClientID: c.ClientID, Timeout: dialTimeout, DialFunc: c.dial, TLS: c.TLS, SASLMechanism: m.o.Client.mechanism},
		GroupBalancers:    []kafkago.GroupBalancer{kafkago.RangeGroupBalancer{}},
		HeartbeatInterval: heartbeat, SessionTimeout: m.o.Session, RebalanceTimeout: rebalance, JoinGroupBackoff: rejoin,
		WatchPartitionChanges: true, PartitionWatchInterval: watchPartition,
		Timeout: dialTimeout,
	})
	if err != nil {
		return fmt.Errorf("kafka: join group %s: %w", m.o.Group, err)
	}
	for retry := (backoff{}); ctx.Err() == nil; {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			err = m.o.Client.denied(err, "group "+m.o.Group, "Read")
			if m.failing(err) {
				m.o.Logger.Warn("the group can't be joined; trying again", "error", err)
			}
			retry.wait(ctx)
		default:
			retry = backoff{}
			m.start(gen)
		}
	}
	if err := group.Close(); err != nil {
		m.o.Logger.Warn("leaving the group failed; the others wait for its session to end", "error", err)
	}
	if told.Err() == nil {
		return context.Cause(ctx)
	}
	return nil
}

// failing notes why the group can't be joined, and says whether that is new.
func (m *Members) failing(err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh := m.err == nil
	m.err = err
	return fresh
}

// start works on the partitions that a division gave to this member.
func (m *Members) start(gen *kafkago.Generation) {
	topic, mine := m.o.Topic, gen.Assignments[m.o.Topic.Name]
	numbers := make([]int, 0, len(mine))
	for _, p := range mine {
		numbers = append(numbers, p.ID)
		topic.Partitions = max(topic.Partitions, p.ID+1) // it may have got more
	}
	m.mu.Lock()
	m.gen, m.err, m.in, m.out = gen.ID, nil, gen, time.Time{}
	m.mu.Unlock()
	m.o.Logger.Info("partitions were divided", "generation", gen.ID, "owned", numbers)
	gen.Start(func(ctx context.Context) { m.watch(ctx, gen) })
	for _, p := range numbers {
		gen.Start(func(ctx context.Context) { m.own(ctx, topic, p) })
	}
}

// watch tells of a topic that has got more partitions, and notes when a division ends.
func (m *Members) watch(ctx context.Context, gen *kafkago.Generation) {
	if m.o.Divided != nil {
		m.tell(ctx)
	}
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.in == gen {
		m.in, m.out = nil, time.Now()
	}
}

// tell asks for the topic until it has an answer, and tells Divided of it. Whoever adds partitions ends the division, so that
// once for each is enough.
func (m *Members) tell(ctx context.Context) {
	m.telling.Lock()
	defer m.telling.Unlock()
	for retry := (backoff{}); ; {
		topic, err := m.o.Client.Topic(ctx, m.o.Topic.Name)
		switch {
		case err != nil:
			if !retry.wait(ctx) {
				return
			}
			continue
		case topic.Partitions <= m.told:
			return
		}
		m.told = topic.Partitions
		if err := m.o.Divided(topic); err != nil {
			m.stop(err)
		}
		return
	}
}

// own works on a partition until the division ends.
func (m *Members) own(ctx context.Context, topic Topic, p int) {
	for {
		err := m.work(ctx, topic, p)
		if err == nil || m.o.Resume == nil || !m.o.Resume(ctx, p, err) || ctx.Err() != nil {
			break
		}
		m.o.Logger.Info("a partition is worked on again", "partition", p)
	}
	// To return would end the division for all the other partitions.
	<-ctx.Done()
	m.mu.Lock()
	delete(m.alarms, p)
	m.mu.Unlock()
}

// work calls Own, and has its error as an alarm until it is called again.
func (m *Members) work(ctx context.Context, topic Topic, p int) error {
	m.mu.Lock()
	m.owned[p] = struct{}{}
	delete(m.alarms, p)
	m.mu.Unlock()
	err := m.o.Own(ctx, topic, p)
	m.mu.Lock()
	delete(m.owned, p)
	if err != nil && ctx.Err() == nil {
		m.alarms[p] = err
	}
	m.mu.Unlock()
	if err != nil {
		m.o.Logger.Error("a partition is not worked on any more", "partition", p, "error", err)
	}
	return err
}

// Stats may be called at any time.
func (m *Members) Stats() MembersStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return MembersStats{Generation: m.gen, Out: m.out, Owned: slices.Sorted(maps.Keys(m.owned)), Alarms: maps.Clone(m.alarms), Err: m.err}
}
