package proctest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailbeacon/internal/client"
)

// faultRounds is how often TestClusterFaults injects each of its faults.
func faultRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("MAILBEACON_CLUSTER_FAULTS")
	if v == "" {
		return 1
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("MAILBEACON_CLUSTER_FAULTS is %q, no number", v)
	}
	return n
}

// outage is how long Kafka can't be reached.
func outage(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("MAILBEACON_CLUSTER_OUTAGE")
	if v == "" {
		return 7 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		t.Fatalf("MAILBEACON_CLUSTER_OUTAGE is %q, no duration", v)
	}
	return d
}

// faulted is a cluster under faults.
type faulted struct {
	*cluster
	api *client.Client
}

// TestClusterFaults injects one fault after the other into a cluster under load. Edges that live answer
// all the time; after each fault every answer is counted, once, in its campaign.
func TestClusterFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	c := newWiredCluster(t)
	f := &faulted{c, c.admin.client()}
	for number, fault := range []struct {
		name   string
		inject func(t *testing.T, lanes [][]*lane)
		killed []int // edges that are
	}{
		{"answers of Kafka are lost", f.loseAnswersOfKafka, nil},
		{"answers of ClickHouse are lost", f.loseAnswersOfClickHouse, nil},
		{"inserts are answered by errors, time-outs and silence", f.loseOutcomes, nil},
		{"ClickHouse falls silent", f.silentStore, nil},
		{"Kafka is out of reach", f.outOfReach, []int{0}},
		{"a consumer sleeps past its session", f.sleepingOwner, nil},
		{"rival owners under kill -9", f.rivals, nil},
		{"consumers come and go", f.comeAndGo, nil},
		{"foreign records", f.foreignRecords, nil},
		{"the disk of an edge is full", f.fullDisk, nil},
		{"the disk of an edge stays full", f.diskStaysFull, nil},
	} {
		for round := range faultRounds(t) {
			ok := t.Run(fault.name, func(t *testing.T) {
				lanes := c.lanesOf(f.api, fmt.Sprintf("fault-%d-round-%d", number, round), 3)
				fault.inject(t, lanes)
				if !t.Failed() {
					c.check(t, f.api, lanes, fault.killed...)
				}
			})
			if !ok {
				return
			}
		}
	}
	t.Run("the topic is made anew", f.recreatedTopic) // after it nothing is counted any more
}

// loseAnswersOfKafka cuts connections, or lets them fall silent, instead of an answer: what was written
// may be there or not.
func (f *faulted) loseAnswersOfKafka(t *testing.T, lanes [][]*lane) {
	before, retries := f.brokerWay.lost.Load(), sum(f.edges, "mailbeacon_ship_retries_total")
	f.drive(lanes, func() {
		f.brokerWay.set(func(answer) fate {
			switch n := rand.IntN(1000); {
			case n < 30:
				return cut
			case n < 33:
				return hangs
			}
			return arrives
		})
		time.Sleep(5 * time.Second)
		f.brokerWay.set(nil)
		time.Sleep(200 * time.Millisecond)
	})
	lost, again := f.brokerWay.lost.Load()-before, sum(f.edges, "mailbeacon_ship_retries_total")-retries
	t.Logf("%d answers were lost, and %v records sent again", lost, again)
	if lost == 0 || again == 0 {
		t.Error("that is no fault")
	}
}

// loseAnswersOfClickHouse is the same with the store, whatever was asked.
func (f *faulted) loseAnswersOfClickHouse(t *testing.T, lanes [][]*lane) {
	before := f.lostOfStore()
	f.drive(lanes, func() {
		f.setStore(func(answer) fate {
			switch n := rand.IntN(100); {
			case n < 10:
				return cut
			case n < 12:
				return hangs
			}
			return arrives
		})
		time.Sleep(5 * time.Second)
		f.setStore(nil)
	})
	lost := f.lostOfStore() - before
	t.Logf("%d answers were lost", lost)
	if lost == 0 {
		t.Error("that is no fault")
	}
}

// loseOutcomes lets every second INSERT happen, and says otherwise.
func (f *faulted) loseOutcomes(t *testing.T, lanes [][]*lane) {
	var turn atomic.Int64
	became := map[fate]*atomic.Int64{cut: {}, hangs: {}, errs: {}}
	f.drive(lanes, func() {
		f.setStore(func(a answer) fate {
			if !a.outcome {
				return arrives
			}
			becomes := []fate{cut, arrives, hangs, arrives, errs, arrives}[turn.Add(1)%6]
			if n := became[becomes]; n != nil {
				n.Add(1)
			}
			return becomes
		})
		time.Sleep(6 * time.Second)
		f.setStore(nil)
	})
	t.Logf("of %d inserts %d ended with a cut connection, %d with silence, %d with an error", turn.Load(), became[cut].Load(), became[hangs].Load(), became[errs].Load())
	for _, n := range became {
		if n.Load() == 0 {
			t.Error("that is no fault")
		}
	}
}

// silentStore lets a consumer's connections to the store stay silent: it says that its partitions stand still, and that
// they don't once the store answers.
func (f *faulted) silentStore(t *testing.T, lanes [][]*lane) {
	i := rand.IntN(testConsumers)
	s := f.consumers[i]
	await(t, "each consumer owns something", func() bool { return f.consumers[0].owned() > 0 && f.consumers[1].owned() > 0 })
	s.awaitReady()
	f.drive(lanes, func() {
		f.storeWays[i].block(true)
		began := time.Now()
		s.await("that a partition stands still", func(_ int, body string) bool { return strings.Contains(body, "nothing of partition ") })
		t.Logf("said after %v", time.Since(began).Round(100*time.Millisecond))
		f.storeWays[i].unblock()
		s.awaitReady()
	})
}

// outOfReach takes Kafka away: connections are refused, then they are taken and stay silent. An edge is
// restarted meanwhile, in order and by force, and serves by what its folder holds.
func (f *faulted) outOfReach(t *testing.T, lanes [][]*lane) {
	long := outage(t)
	// Those of the first edge's three lives; its first load ends with the first life.
	lives := lanes[0]
	f.drive([][]*lane{lives[:1], lanes[1]}, func() {
		f.brokerWay.block(false)
		time.Sleep(long / 4)
		for life, end := range []func(){f.edges[0].stop, func() { f.edges[0].kill() }} {
			end()
			began := time.Now()
			f.edges[0] = f.start("edge", 0)
			t.Logf("without Kafka an edge serves again after %v", time.Since(began).Round(time.Millisecond))
			f.brokerWay.block(life == 0)
			load(t, f.edges[0], lives[1+life:2+life], func() { time.Sleep(long / 4) })
		}
		if status, body := f.edges[0].readyz(); status != 200 {
			t.Errorf("an edge without Kafka is not ready: %s", body)
		}
		time.Sleep(long / 4)
		if n := sum(f.edges, "mailbeacon_ship_waiting_events"); n == 0 {
			t.Error("nothing waits to be shipped: Kafka was there")
		}
		f.brokerWay.unblock()
		time.Sleep(200 * time.Millisecond)
	})
}

// sleepingOwner stops a consumer that commits until the other has taken over, and lets it go on: its commit
// arrives from an offset that the other has left.
func (f *faulted) sleepingOwner(t *testing.T, lanes [][]*lane) {
	i := rand.IntN(testConsumers)
	asleep, awake := f.consumers[i], f.consumers[1-i]
	await(t, "each consumer owns something", func() bool { return asleep.owned() > 0 && awake.owned() > 0 })
	f.drive(lanes, func() {
		release := f.holdCommit(t, i)
		f.takeover(t, asleep, awake)
		before := asleep.refusals()
		release()
		asleep.signal(syscall.SIGCONT)
		await(t, "the one that slept is told that the store stands elsewhere", func() bool { return asleep.refusals() > before })
		time.Sleep(time.Second)
	})
}

// committing is how many partitions a consumer has committed to since it owns them.
func (s *server) committing() (n int) {
	s.t.Helper()
	for line := range strings.Lines(s.scrape()) {
		if strings.HasPrefix(line, "mailbeacon_fold_commits_total{") && !strings.HasSuffix(line, " 0\n") {
			n++
		}
	}
	return n
}

// holdCommit waits until a commit of a consumer is under way, and holds it there until release.
func (f *faulted) holdCommit(t *testing.T, consumer int) (release func()) {
	w := f.storeWays[consumer]
	release = w.hold()
	await(t, "a commit is under way", func() bool { return w.held.Load() > 0 })
	return release
}

// refusals is how often a consumer said that the store stands elsewhere than it thought.
func (s *server) refusals() int {
	said := s.out.String()
	return strings.Count(said, "stored offset differs from the commit's") + strings.Count(said, "stored progress is another than expected")
}

// takeover stops a consumer and waits until another has all partitions and counts them.
func (f *faulted) takeover(t *testing.T, asleep, awake *server) {
	began := time.Now()
	asleep.signal(syscall.SIGSTOP)
	await(t, "another consumer takes over", func() bool { return awake.owned() == testPartitions })
	t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
	defer func() {
		if t.Failed() {
			t.Logf("the consumer that took over said:\n%s", &awake.out)
		}
	}()
	await(t, "it has committed to every partition", func() bool { return awake.committing() == testPartitions })
}

// rivals has a commit of an owner that sleeps arrive when its successor has committed from the same offset.
// Then the sleeper is woken while the store is dead, so that both commit once it is back, and the
// successor and the store are killed.
func (f *faulted) rivals(t *testing.T, lanes [][]*lane) {
	i := rand.IntN(testConsumers)
	asleep, awake := f.consumers[i], f.consumers[1-i]
	await(t, "each consumer owns something", func() bool { return asleep.owned() > 0 && awake.owned() > 0 })
	f.drive(lanes, func() {
		release := f.holdCommit(t, i)
		f.takeover(t, asleep, awake)
		release()
		time.Sleep(200 * time.Millisecond)

		f.store.Kill()
		asleep.signal(syscall.SIGCONT)
		time.Sleep(rand.N(100 * time.Millisecond))
		if err := f.store.Restart(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(rand.N(500 * time.Millisecond))
		awake.kill()
		f.consumers[1-i] = f.start("consume", 1-i) // it would not start without the store
		time.Sleep(rand.N(500 * time.Millisecond))
		f.store.Kill()
		if err := f.store.Restart(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
	})
	f.awaitConsumers()
}

// setStore decides what becomes of the store's answers to the consumers.
func (f *faulted) setStore(fate func(answer) fate) {
	for _, w := range f.storeWays {
		w.set(fate)
	}
}

func (f *faulted) lostOfStore() (n int64) {
	for _, w := range f.storeWays {
		n += w.lost.Load()
	}
	return n
}

func (f *faulted) awaitConsumers() {
	for _, s := range f.consumers {
		s.awaitReady()
	}
}

// comeAndGo starts consumers, up to three, and ends them in order or by force.
func (f *faulted) comeAndGo(t *testing.T, lanes [][]*lane) {
	slots := append(f.consumers[:testConsumers:testConsumers], nil)
	done := map[string]int{}
	f.drive(lanes, func() {
		for range 14 {
			i := rand.IntN(len(slots))
			switch s := slots[i]; {
			case s == nil:
				slots[i] = f.launch("consume", i)
				done["started"]++
			case rand.IntN(2) == 0:
				s.signal(syscall.SIGTERM) // it may not be far enough yet to end in order
				s.wait()
				slots[i] = nil
				done["stopped"]++
			default:
				s.kill()
				slots[i] = nil
				done["killed"]++
			}
			time.Sleep(rand.N(700 * time.Millisecond))
		}
		for i := range testConsumers {
			if slots[i] == nil {
				slots[i] = f.launch("consume", i)
			}
			f.consumers[i] = slots[i]
		}
		if slots[testConsumers] != nil {
			slots[testConsumers].kill()
		}
	})
	f.awaitConsumers()
	t.Logf("consumers: %v", done)
}
