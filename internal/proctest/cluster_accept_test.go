package proctest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailbeacon/internal/client"
)

// topicLook is what `mailbeacon topic show --json` prints.
type topicLook struct {
	Standing string
	Stream   *struct {
		Number int
		ID     string
	}
	ID         string
	Partitions []partitionLook
}

type partitionLook struct {
	Counted int64
	Start   int64 `json:"log_start"`
	End     int64 `json:"log_end"`
	Lost    int64
	Problem string
}

// show types `mailbeacon topic show`.
func (c *cluster) show() (l topicLook) {
	c.t.Helper()
	out, serr, code := mailbeacon(c.t.Context(), c.t, "", append([]string{"topic", "show", "--json"}, c.settings...)...)
	if err := json.Unmarshal([]byte(out), &l); code != 0 || err != nil {
		c.t.Fatalf("topic show: exit code %d, %v\n%s%s", code, err, out, serr)
	}
	return l
}

// accept types `mailbeacon topic accept-loss`, and expects an exit code and a word of the answer.
func (c *cluster) accept(stdin string, code int, word string, args ...string) string {
	c.t.Helper()
	out, serr, got := mailbeacon(c.t.Context(), c.t, stdin, slices.Concat([]string{"topic", "accept-loss"}, c.settings, args)...)
	if got != code || !strings.Contains(out+serr, word) {
		c.t.Fatalf("topic accept-loss %v: exit code %d, want %d and %q\n%s%s", args, got, code, word, out, serr)
	}
	return out
}

// stopped waits until a consumer is not ready for an alarm that has some words.
func (s *server) stopped(words ...string) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("an alarm with %q", words), func() bool {
		if _, err := os.Stat(filepath.Join(s.data, client.AddrFile)); err != nil {
			return false // it does not listen yet
		}
		status, body := s.readyz()
		if status != http.StatusServiceUnavailable || !strings.Contains(body, "is stopped: ") {
			return false
		}
		for _, w := range words {
			if !strings.Contains(body, w) {
				return false
			}
		}
		return true
	})
}

// driveMany loads the edges until they took some hundreds of events.
func (c *cluster) driveMany(lanes [][]*lane) {
	c.t.Helper()
	const took = "mailbeacon_spool_events_total"
	want := sum(c.edges, took) + 500
	c.drive(lanes, func() { await(c.t, "the edges take events", func() bool { return sum(c.edges, took) >= want }) })
}

// loaded is a load of lanes of their own that is counted, each answer once, or fails the test.
func (c *cluster) loaded(name string) [][]*lane {
	c.t.Helper()
	lanes := c.lanesOf(c.admin.client(), name, 2)
	c.driveMany(lanes)
	c.check(c.t, c.admin.client(), lanes)
	return lanes
}

// TestClusterAcceptLoss loses what is not counted, by deleting the topic of events and then by deleting records, and has a person go
// on by the commands: what is answered from then on is counted, each once.
func TestClusterAcceptLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	f := &faulted{newCluster(t), nil}
	f.api = f.admin.client()
	first := f.loaded("first")
	f.accept("", 1, "nothing is lost", "--yes")

	meanwhile := f.lanesOf(f.api, "meanwhile", 1)[:1]
	// One edge was never told that what is counted is in Kafka: it ships all of it again, to the new topic.
	f.edges[1].stop()
	if err := os.Remove(filepath.Join(f.folder("edge", 1), "shipped.cursor")); err != nil {
		t.Fatal(err)
	}
	f.drive(meanwhile, func() {
		deleteTopic(t, f.broker.Addr(), eventsTopic)
		f.createTopic(t)
		for _, s := range f.consumers {
			s.stopped(anew, "topic accept-loss", "restart all consumers")
		}
	})
	f.edges[1] = f.start("edge", 1)
	since := f.lanesOf(f.api, "since", 1)
	f.driveMany(since)
	f.goOnWithTheNewTopic(t)
	f.check(t, f.api, since) // what edges took since the topic was made anew is not lost
	f.check(t, f.api, first)
	f.noMoreThanAnswered(t, meanwhile)
	f.loaded("second")
	f.goOnBehindDeletedRecords(t)
	third := f.loaded("third")
	f.goOnWithWhatTheBrokersKept(t)
	f.check(t, f.api, third) // it was looked through again
	f.noMoreThanAnswered(t, meanwhile)
	f.loaded("fourth")
}

// goOnWithTheNewTopic types what the alarms say, and restarts the consumers: one with its folder, one with a new one.
func (f *faulted) goOnWithTheNewTopic(t *testing.T) {
	fresh := filepath.Join(f.dir, "consume-2")
	for _, n := range []int{0, 2} { // a consumer knows by the store, whatever is in its folder
		if n == 0 {
			f.consumers[0].stop()
		}
		s := f.launch("consume", n)
		if code := s.wait(); code != 1 || !strings.Contains(s.out.String(), anew) || !strings.Contains(s.out.String(), "topic accept-loss") {
			t.Fatalf("consumer %d starts on another topic: exit code %d\n%s", n, code, &s.out)
		}
	}
	if l := f.show(); l.Standing != "made anew" || l.Stream.Number != 0 || l.Stream.ID == l.ID {
		t.Errorf("%+v", l)
	}
	f.accept("no\n", 2, "not confirmed")
	f.accept(eventsTopic+"\n", 0, "is counted as stream 1 from now on")
	f.accept("", 1, "nothing is lost", "--yes")
	f.accept("", 1, "not an edge's", "--yes", "--data", f.folder("consume", 0))
	// An old owner is told that it is behind.
	if err := os.RemoveAll(fresh); err != nil {
		t.Fatal(err)
	}
	f.consumers[1].stop()
	f.consumers[0], f.consumers[1] = f.start("consume", 0), f.start("consume", 2)
	for i, e := range f.edges {
		await(t, "an edge says what to type", func() bool {
			return strings.Contains(e.out.String(), "topic accept-loss --data "+f.folder("edge", i))
		})
		f.accept("", 0, "it goes on by itself", "--yes", "--data", f.folder("edge", i))
		f.accept("", 1, "nothing is lost", "--yes", "--data", f.folder("edge", i))
	}
	if l := f.show(); l.Standing != "counted" || l.Stream.Number != 1 || l.Stream.ID != l.ID {
		t.Errorf("%+v", l)
	}
}

// goOnBehindDeletedRecords deletes records that nobody counted. Consumers that run go on by themselves.
func (f *faulted) goOnBehindDeletedRecords(t *testing.T) {
	folders := []int{0, 2}
	for _, s := range f.consumers {
		s.stop()
	}
	lost := f.lanesOf(f.api, "lost", 1)
	f.drive(lost, func() {
		await(t, "something of each partition waits", func() bool {
			return !slices.ContainsFunc(f.show().Partitions, func(p partitionLook) bool { return p.End == p.Counted })
		})
	})
	await(t, "the edges ship all", func() bool { return sum(f.edges, "mailbeacon_ship_waiting_events") == 0 })
	want := int64(0)
	for p, is := range f.show().Partitions {
		deleteRecords(t, f.broker.Addr(), eventsTopic, p, is.End)
		want += is.End - is.Counted
	}
	for i := range f.consumers {
		f.consumers[i] = f.launch("consume", folders[i])
	}
	for _, s := range f.consumers {
		s.stopped("deleted before they were counted", "topic accept-loss", "goes on by itself")
	}
	got := int64(0)
	for p, is := range f.show().Partitions {
		if got += is.Lost; is.Problem == "" {
			t.Errorf("partition %d: %+v", p, is)
		}
	}
	if got != want {
		t.Errorf("%d records are said to be lost, want %d", got, want)
	}
	out := f.accept("", 0, "go on by themselves", "--yes")
	if n := strings.Count(out, "records are given up"); n != testPartitions {
		t.Errorf("%d partitions are told of:\n%s", n, out)
	}
	f.awaitConsumers()
	f.noMoreThanAnswered(t, lost)
}

// goOnWithWhatTheBrokersKept has the store stand beyond the topic's end, as it does where brokers lost acknowledged records.
func (f *faulted) goOnWithWhatTheBrokersKept(t *testing.T) {
	for _, s := range f.consumers {
		s.stop()
	}
	for p, is := range f.show().Partitions {
		beyond := (is.End + 100) << 16
		askClickHouse(t, f.store, fmt.Sprintf("INSERT INTO mailbeacon.aggregates (row, scope, offset, commit_id, context) VALUES ('progress', %d, %d, 1, %d)", 1<<16|p, beyond, beyond))
	}
	for i, n := range []int{0, 2} {
		f.consumers[i] = f.launch("consume", n)
	}
	for _, s := range f.consumers {
		s.stopped("ends at offset", "topic accept-loss", "restart all consumers")
	}
	f.accept("", 0, "is counted as stream 2 from now on", "--yes")
	for _, s := range f.consumers {
		s.stopped("has ended", "restart this consumer")
		s.stop()
	}
	for i, n := range []int{0, 2} {
		f.consumers[i] = f.start("consume", n)
	}
}

// noMoreThanAnswered: what was lost may be missing, and nothing is counted twice.
func (f *faulted) noMoreThanAnswered(t *testing.T, lanes [][]*lane) {
	for _, l := range slices.Concat(lanes...) {
		r, err := f.api.Report(t.Context(), l.campaign)
		if err != nil {
			t.Fatal(err)
		}
		if r.Opens.Total > l.answered[open] || r.Clicks.Total > l.answered[click] || r.Opens.Suppressed["opted_out"] > l.answered[refused] {
			t.Errorf("%s: more is counted than was answered", l.campaign)
		}
	}
}
