package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

func TestControlLogConforms(t *testing.T) {
	t.Parallel()
	controltest.Run(t, controltest.Backend{Open: func(t *testing.T, place string) control.Log {
		k := sharedClient(t)
		topic := ensure(t, k, ControlTopic(topicFor(place), 0))
		return OpenControlLog(k, topic.Name, testLogger(t))
	}})
}

// TestEchoes: a role that echoes over a topic of its own gets leave, and a change is effective by its echo.
func TestEchoes(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	log := OpenControlLog(k, ensure(t, k, ControlTopic(newTopic(t), 0)).Name, testLogger(t))
	echoes := OpenEchoLog(k, ensure(t, k, EchoTopic(newTopic(t), 0)).Name, testLogger(t))
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer func() { stop(); all.Wait(); log.Close(); echoes.Close() }()
	follower := controltest.Follow(t, log, nothing{})
	echoer, ear := control.NewEchoer(echoes, follower, "edge", testLogger(t)), control.NewEchoes(echoes, follower, testLogger(t))
	for _, run := range []func(context.Context) error{echoer.Run, ear.Run, func(ctx context.Context) error { return control.Beat(ctx, log, testLogger(t)) }} {
		all.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the role has leave, and is heard", func() bool { return echoer.Open() && ear.Stats().Roles["edge"] == 1 })
	eventually(t, "a change is effective by its echo", func() bool {
		pos, err := log.Append(t.Context(), controltest.Record(1))
		must(t, err)
		must(t, ear.Await(t.Context(), pos))
		s := ear.Stats()
		return s.Settled > s.ByLease
	})
	if _, err := echoes.Append(t.Context(), controltest.Record(1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is no echo is counted", func() bool { return ear.Stats().Foreign == 1 })
}

// nothing is a folder of no state.
type nothing struct{}

func (nothing) Name() string              { return "nothing" }
func (nothing) Apply(control.Entry) error { return nil }
func (nothing) Snapshot() ([]byte, error) { return nil, nil }
func (nothing) Restore([]byte) error      { return nil }

// compactedAtOnce makes a control topic that the broker compacts as soon as it can.
func compactedAtOnce(t *testing.T, k *Client) TopicSpec {
	t.Helper()
	spec := ControlTopic(newTopic(t), 0)
	ensure(t, k, spec.with("min.compaction.lag.ms", "0"))
	r, err := k.client.IncrementalAlterConfigs(t.Context(), &kafkago.IncrementalAlterConfigsRequest{Resources: []kafkago.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: spec.Name,
		Configs: []kafkago.IncrementalAlterConfigsRequestConfig{
			{Name: "segment.ms", Value: "100"}, {Name: "min.cleanable.dirty.ratio", Value: "0.01"},
		},
	}}})
	must(t, err)
	must(t, r.Resources[0].Error)
	return spec
}

// TestControlLogIsCompacted: what compaction leaves is read in order, with gaps; the head stays, and
// newest states too.
func TestControlLogIsCompacted(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	spec := compactedAtOnce(t, k)
	log := OpenControlLog(k, spec.Name, testLogger(t))
	defer log.Close()
	const keys, rounds = 5, 20
	var head control.Position
	var err error
	for n := range keys * rounds {
		record := controltest.Record(n)
		record.Key = fmt.Sprint(n % keys)
		if head, err = log.Append(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if n%keys == 0 {
			time.Sleep(50 * time.Millisecond)
		}
	}
	read := func() (all []control.Entry) {
		for after := control.Position(0); ; after = all[len(all)-1].Position {
			es, err := log.Read(t.Context(), after, 7)
			must(t, err)
			if len(es) == 0 {
				return all
			}
			all = append(all, es...)
		}
	}
	eventually(t, "the topic is compacted", func() bool {
		n := controltest.Record(1000)
		head, err = log.Append(t.Context(), n) // ends a segment
		must(t, err)
		return len(read()) < keys*rounds/2
	})
	all := read()
	newest := map[string]string{}
	for i, e := range all {
		if i > 0 && e.Position <= all[i-1].Position {
			t.Errorf("position %d after %d", e.Position, all[i-1].Position)
		}
		newest[e.Key] = string(e.Body)
	}
	if h, err := log.Head(t.Context()); err != nil || h != head || all[len(all)-1].Position != head {
		t.Errorf("head %d (%v), the last append got %d, the last entry is at %d", h, err, head, all[len(all)-1].Position)
	}
	for key := range keys {
		if want := string(controltest.Record(keys*(rounds-1) + key).Body); newest[fmt.Sprint(key)] != want {
			t.Errorf("key %d is %s, want %s", key, newest[fmt.Sprint(key)], want)
		}
		es, err := log.History(t.Context(), control.KindCampaign, fmt.Sprint(key))
		if err != nil || len(es) == 0 || string(es[len(es)-1].Body) != newest[fmt.Sprint(key)] {
			t.Errorf("history of %d: %d entries, %v", key, len(es), err)
		}
	}
	if h, err := log.Head(t.Context()); err != nil || h < 100 {
		t.Errorf("%d entries, %v", h, err)
	}
}

// TestControlLogPassesOverForeignRecords: a record of somebody else stops nobody.
func TestControlLogPassesOverForeignRecords(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, ControlTopic(newTopic(t), 0))
	log := OpenControlLog(k, topic.Name, testLogger(t))
	defer log.Close()
	put := func(key, value string) {
		t.Helper()
		r := kafkago.Record{Key: kafkago.NewBytes([]byte(key))}
		if value != "" {
			r.Value = kafkago.NewBytes([]byte(value))
		}
		_, err := k.produce(t.Context(), topic.Name, 0, kafkago.NewRecordReader(r), 0)
		must(t, err)
	}
	_, err := log.Append(t.Context(), controltest.Record(0))
	must(t, err)
	put("x", "y")
	put("\x08campaignkey-0", "") // somebody deleted a key
	put("\x01kx", "\x02 a newer one")
	_, err = log.Append(t.Context(), controltest.Record(1))
	must(t, err)
	put("\x09campaign", "\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	es, err := log.Read(t.Context(), 0, 10)
	if err != nil || len(es) != 2 || es[0].Position != 1 || es[1].Position != 5 {
		t.Errorf("%+v, %v", es, err)
	}
	if n := log.Foreign(); n != 4 {
		t.Errorf("%d foreign records, want 4", n)
	}
	if es, err := log.Read(t.Context(), 5, 10); err != nil || len(es) != 0 {
		t.Errorf("after the last: %+v, %v", es, err)
	}
}

// TestControlLogThroughKills: several admins write while the broker is killed. What was acknowledged is there, in order, each
// batch as a whole, and a follower of its own sees all of it.
func TestControlLogThroughKills(t *testing.T) {
	t.Parallel()
	b := kafkatest.Own(t, kafka.Options{})
	c := Config{Brokers: []string{b.Addr()}, Timeout: 3 * time.Second}
	topic := ensure(t, client(t, c), ControlTopic(newTopic(t), 0))
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	at := map[control.Position]string{}
	var admins sync.WaitGroup
	for a := range 3 {
		log := OpenControlLog(client(t, c), topic.Name, nil)
		admins.Go(func() {
			defer log.Close()
			for n := 0; ctx.Err() == nil; n++ {
				one, two := controltest.Record(n), controltest.Record(n)
				one.Key, two.Key = fmt.Sprintf("%d-%d-one", a, n), fmt.Sprintf("%d-%d-two", a, n)
				pos, err := log.Append(ctx, one, two)
				if err != nil {
					continue
				}
				mu.Lock()
				at[pos-1], at[pos] = one.Key, two.Key
				mu.Unlock()
			}
		})
	}
	follower := OpenControlLog(client(t, c), topic.Name, nil)
	t.Cleanup(func() { follower.Close() }) // after the follower of it ended
	seen := &order{}
	f := controltest.Follow(t, follower, seen)
	acked := func() int { mu.Lock(); defer mu.Unlock(); return len(at) }
	for range rounds(t, 3) {
		before := acked()
		eventually(t, "appends go on", func() bool { return acked() > before+10 })
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		b.Kill()
		must(t, b.Restart(t.Context()))
	}
	before := acked()
	eventually(t, "appends go on", func() bool { return acked() > before+10 })
	stop()
	admins.Wait()
	head, err := follower.Head(t.Context())
	must(t, err)
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, f.WaitApplied(waiting, head))
	got := seen.all()
	for pos, key := range at {
		if got[pos] != key {
			t.Errorf("at %d: %q, acknowledged was %q", pos, got[pos], key)
		}
	}
	for pos := control.Position(1); pos <= head; pos += 2 {
		if one, two := got[pos], got[pos+1]; len(one) < 4 || one[:len(one)-3] != two[:max(3, len(two))-3] {
			t.Errorf("%q and %q are no batch", one, two)
		}
	}
	t.Logf("%d entries, %d of them acknowledged", head, len(at))
}

// order is a folder that notes what is where.
type order struct {
	mu sync.Mutex
	at map[control.Position]string
}

func (*order) Name() string { return "order" }

func (o *order) Apply(e control.Entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at == nil {
		o.at = map[control.Position]string{}
	}
	o.at[e.Position] = e.Key
	return nil
}

func (*order) Snapshot() ([]byte, error) { return nil, nil }
func (*order) Restore([]byte) error      { return nil }

func (o *order) all() map[control.Position]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

func TestAppendIsBounded(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, ControlTopic(newTopic(t), 0))
	log := OpenControlLog(k, topic.Name, nil)
	defer log.Close()
	large := controltest.Record(0)
	large.Body = make([]byte, control.MaxBody)
	many := slices.Repeat([]control.Record{large}, maxAppend/control.MaxBody)
	var invalid *control.InvalidError
	if _, err := log.Append(t.Context(), many...); !errors.As(err, &invalid) || invalid.Field != "records" {
		t.Errorf("%v", err)
	}
	if pos, err := log.Append(t.Context(), many[1:]...); err != nil || int(pos) != len(many)-1 {
		t.Errorf("%d, %v", pos, err)
	}
	es, err := log.Read(t.Context(), 0, len(many))
	if err != nil || len(es) != len(many)-1 {
		t.Errorf("%d entries, %v", len(es), err)
	}
}

// TestNothingIsLeftRunning: what is closed has ended.
func TestNothingIsLeftRunning(t *testing.T) {
	addr := kafkatest.Start(t) // not parallel: the goroutines of others are none of its business
	before := goleak.IgnoreCurrent()
	r := newRig(t, Config{Brokers: []string{addr}}, 2)
	r.append(1000)
	r.shipAll()
	stopFold := r.fold()
	r.awaitFolded()
	stopFold()
	k := r.client()
	_, stopMember := r.member(k, r.quarantine())
	time.Sleep(100 * time.Millisecond)
	stopMember()
	log := OpenControlLog(k, ensure(t, k, ControlTopic(newTopic(t), 0)).Name, nil)
	_, err := log.Append(t.Context(), controltest.Record(1))
	must(t, err)
	must(t, log.Close())
	must(t, r.spool.Close())
	for _, c := range r.clients {
		c.Close()
	}
	goleak.VerifyNone(t, before)
}

// TestAppendIsNotRepeated: where the acknowledgement is lost the outcome is unknown, and what may have been written is
// not written again.
func TestAppendIsNotRepeated(t *testing.T) {
	t.Parallel()
	c := shared(t)
	p := newProxy(t, c.Brokers[0])
	direct := client(t, c)
	topic := ensure(t, direct, ControlTopic(newTopic(t), 0))
	log := OpenControlLog(client(t, Config{Brokers: c.Brokers, Timeout: 4 * time.Second, dial: p.dial}), topic.Name, nil)
	defer log.Close()
	_, err := log.Append(t.Context(), controltest.Record(0))
	must(t, err)
	p.deaf.Store(true)
	failed := make(chan error, 1)
	go func() {
		_, err := log.Append(t.Context(), controltest.Record(1))
		failed <- err
	}()
	other := OpenControlLog(direct, topic.Name, nil)
	defer other.Close()
	must(t, other.Wait(t.Context(), 1)) // it is written
	p.cut()                             // while it is deaf: written is not yet answered, and the answer would pass afterwards
	p.deaf.Store(false)
	if err := <-failed; err == nil {
		t.Error("an answer that was dropped arrived")
	}
	time.Sleep(200 * time.Millisecond)
	es, err := other.History(t.Context(), control.KindCampaign, controltest.Record(1).Key)
	if err != nil || len(es) != 1 {
		t.Errorf("%d entries, %v", len(es), err)
	}
}
