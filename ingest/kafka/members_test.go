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
)

// member runs a member of the rig's group until stop.
func (r *rig) member(k *Client, q *Quarantine) (m *Members, stop func()) {
	r.t.Helper()
	m, err := NewMembers(MembersOptions{
		Client: k, Group: r.topic.Name, Topic: r.topic, Session: leastSession, Logger: testLogger(r.t),
		Own: func(ctx context.Context, topic Topic, p int) error { return r.runner(k, topic, p, q).Run(ctx) },
	})
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	r.t.Cleanup(stop)
	return m, stop
}

func owned(all ...*Members) []int {
	var p []int
	for _, m := range all {
		p = append(p, m.Stats().Owned...)
	}
	slices.Sort(p)
	return p
}

// TestMembersComeAndGo: members of one group divide the partitions, under load, and what they count
// together is exact.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 4)
	everything := []int{0, 1, 2, 3}
	s, stopShipping := r.ship()
	halt := r.load()
	q := r.quarantine()
	a, stopA := r.member(client(t, r.config), q)
	eventually(t, "one member owns everything", func() bool { return slices.Equal(owned(a), everything) })
	for range rounds(t, 3) {
		b, stopB := r.member(client(t, r.config), q)
		eventually(t, "two members divide the partitions", func() bool {
			return slices.Equal(owned(a, b), everything) && len(owned(b)) == 2
		})
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		if rand.IntN(2) == 0 {
			a, b, stopA, stopB = b, a, stopB, stopA
		}
		began := time.Now()
		stopB()
		eventually(t, "the one that is left owns everything", func() bool { return slices.Equal(owned(a), everything) })
		t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
	}
	halt()
	r.awaitShipped(s)
	must(t, stopShipping())
	r.awaitFolded()
	stopA()
	r.check()
}

// TestMemberSleepsPastItsSession: a member that the broker does not hear of any more goes on with its partitions
// while the others take them over, and comes back. Both have read the same events; they count once.
func TestMemberSleepsPastItsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	p := newProxy(t, r.config.Brokers[0])
	s, stopShipping := r.ship()
	halt := r.load()
	q := r.quarantine()
	direct := r.config
	r.config = Config{Brokers: direct.Brokers, Timeout: 3 * time.Second, dial: p.dial}
	a, stopA := r.member(r.client(), q)
	r.config = direct
	eventually(t, "the first owns everything", func() bool { return slices.Equal(owned(a), []int{0, 1}) })
	b, stopB := r.member(r.client(), q)
	eventually(t, "both own some", func() bool { return len(owned(a)) == 1 && len(owned(b)) == 1 })
	for range rounds(t, 1) {
		p.frozen.Store(true)
		eventually(t, "the other takes over", func() bool { return slices.Equal(owned(b), []int{0, 1}) })
		eventually(t, "the first knows that it is out", func() bool { return !a.Stats().Out.IsZero() })
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		p.frozen.Store(false)
		eventually(t, "both own some again", func() bool {
			return len(owned(a)) == 1 && len(owned(b)) == 1 && slices.Equal(owned(a, b), []int{0, 1}) && a.Stats().Out.IsZero() && b.Stats().Out.IsZero()
		})
	}
	halt()
	r.awaitShipped(s)
	must(t, stopShipping())
	r.awaitFolded()
	stopA()
	stopB()
	r.check()
}

// TestMemberWithAnAlarm: a partition that can't be worked on stops alone, and the others go on.
func TestMemberWithAnAlarm(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 3, 0, 0))
	alarm := errors.New("this is no good")
	var mu sync.Mutex
	runs := map[int]int{}
	m, err := NewMembers(MembersOptions{Client: k, Group: topic.Name, Topic: topic, Own: func(ctx context.Context, _ Topic, p int) error {
		mu.Lock()
		runs[p]++
		mu.Unlock()
		if p == 1 {
			return alarm
		}
		<-ctx.Done()
		return nil
	}})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	eventually(t, "the alarm", func() bool { return errors.Is(m.Stats().Alarms[1], alarm) })
	time.Sleep(time.Second)
	if st := m.Stats(); !slices.Equal(st.Owned, []int{0, 2}) || st.Err != nil {
		t.Errorf("%+v", st)
	}
	mu.Lock()
	if fmt.Sprint(runs) != "map[0:1 1:1 2:1]" {
		t.Errorf("runs: %v", runs)
	}
	mu.Unlock()
	stop()
	must(t, <-ended)
}

// TestStoppedPartitionGoesOn: Resume says when Own is called again, and of which alarm; meanwhile it stands in the stats.
func TestStoppedPartitionGoesOn(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	first, second := errors.New("the first"), errors.New("the second")
	own, told, again := make(chan error), make(chan error), make(chan bool)
	m, err := NewMembers(MembersOptions{
		Client: k, Group: topic.Name, Topic: topic,
		Own: func(ctx context.Context, _ Topic, _ int) error {
			select {
			case err := <-own:
				return err
			case <-ctx.Done():
				return nil
			}
		},
		Resume: func(ctx context.Context, p int, err error) bool {
			select {
			case told <- err:
			case <-ctx.Done():
				return false
			}
			select {
			case ok := <-again:
				return ok && p == 0
			case <-ctx.Done():
				return false
			}
		},
	})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	for _, alarm := range []error{first, second} {
		own <- alarm
		if err := <-told; !errors.Is(err, alarm) {
			t.Errorf("told of %v, want %v", err, alarm)
		}
		if st := m.Stats(); !errors.Is(st.Alarms[0], alarm) || len(st.Owned) != 0 {
			t.Errorf("while it is stopped: %+v", st)
		}
		again <- true
		eventually(t, "it is worked on again", func() bool { st := m.Stats(); return len(st.Alarms) == 0 && slices.Equal(st.Owned, []int{0}) })
	}
	own <- first
	<-told
	stop() // while it waits
	must(t, <-ended)
	if st := m.Stats(); len(st.Alarms) != 0 || len(st.Owned) != 0 {
		t.Errorf("in the end: %+v", st)
	}
}

// TestMembersAreToldOfMorePartitions: a member that may not go on with more partitions ends with the reason, and one that has nothing to do
// is a member all the same.
func TestMembersAreToldOfMorePartitions(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	tooMany := errors.New("these are too many")
	var told []int
	m, err := NewMembers(MembersOptions{
		Client: k, Group: topic.Name, Topic: topic, Logger: testLogger(t),
		Divided: func(now Topic) error {
			if told = append(told, now.Partitions); now.Partitions > 3 {
				return tooMany
			}
			return nil
		},
		Own: func(ctx context.Context, _ Topic, _ int) error { <-ctx.Done(); return nil },
	})
	must(t, err)
	if st := m.Stats(); st.Generation != 0 || st.Out.IsZero() {
		t.Errorf("before it joined: %+v", st)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	joined := func() bool { st := m.Stats(); return st.Generation > 0 && st.Out.IsZero() }
	eventually(t, "it joins", joined)
	more(t, k, topic.Name, 3)
	eventually(t, "it goes on with three", func() bool { return joined() && len(m.Stats().Owned) == 3 })
	more(t, k, topic.Name, 5)
	select {
	case err := <-ended:
		if !errors.Is(err, tooMany) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on with five")
	}
	if !slices.Equal(told, []int{3, 5}) {
		t.Errorf("told of %v partitions", told)
	}
}

// TestSleepingOwner: an owner that slept while another took over its partition counts nothing, since the
// store's offset is not where it left it.
func TestSleepingOwner(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 1)
	q := r.quarantine()
	// Two runners at a time are what a member that slept and its successor are.
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 3 {
		run := r.runner(client(t, r.config), r.topic, 0, q)
		all.Go(func() {
			if err := run.Run(ctx); err != nil {
				t.Logf("ended: %v", err)
			}
		})
	}
	s, stop := r.ship()
	for range 20 {
		r.append(2000)
		time.Sleep(10 * time.Millisecond)
	}
	r.awaitShipped(s)
	must(t, stop())
	r.awaitFolded()
	cancel()
	all.Wait()
	r.check()
}

func TestMembersOptions(t *testing.T) {
	t.Parallel()
	k := client(t, Config{Brokers: []string{"127.0.0.1:1"}})
	own := func(context.Context, Topic, int) error { return nil }
	for name, o := range map[string]MembersOptions{
		"no group": {Client: k, Topic: Topic{Name: "x"}, Own: own},
		"session":  {Client: k, Group: "g", Topic: Topic{Name: "x"}, Own: own, Session: time.Second},
	} {
		if _, err := NewMembers(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
