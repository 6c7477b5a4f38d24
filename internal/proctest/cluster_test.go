package proctest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/client"
	"mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

// cluster is every role of the real binary over a real Kafka and a real ClickHouse of its own.
type cluster struct {
	t         *testing.T
	broker    *kafka.Broker
	store     *clickhouse.Server
	brokerWay *wire   // to the broker, where the cluster is over wires; else nil
	ways      []*wire // to the broker, of each role in the order of all, where each has its own; else nil
	storeWays []*wire // to the store, of each consumer
	dir       string
	settings  []string                   // of all roles
	extra     func(role string) []string // more arguments of a role; may be nil
	program   string                     // what runs; the usual binary if empty
	admin     *server
	edges     []*server
	consumers []*server
}

const (
	testPartitions = 4
	testEdges      = 2
	testConsumers  = 2
)

// newCluster starts all of it.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	c.own()
	return c
}

// own starts engines for a cluster that has none, and the roles on them.
func (c *cluster) own() {
	c.t.Helper()
	c.dir, c.broker, c.store = c.t.TempDir(), kafkatest.Own(c.t, kafka.Options{}), clickhousetest.Own(c.t, clickhouse.Options{})
	c.begin(c.broker.Addr())
}

// await waits until the reports hold at least what was answered, and everything is counted. What is more than
// that is for check to find.
func (c *cluster) await(api *client.Client, lanes []*lane) {
	c.t.Helper()
	deadline := time.Now().Add(2 * patience)
	for _, l := range lanes {
		for {
			r, err := api.Report(c.t.Context(), l.campaign)
			if err == nil && r.Opens.Total >= l.answered[open] && r.Clicks.Total >= l.answered[click] && r.Opens.Suppressed["opted_out"] >= l.answered[refused] {
				break
			}
			if time.Now().After(deadline) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	c.drain()
}

// newWiredCluster is newCluster with a wire before the broker and one before the store.
func newWiredCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), brokerWay: newWire(t), store: clickhousetest.Own(t, clickhouse.Options{})}
	// The last line of a name counts: whoever asks the broker where it is comes back by the wire.
	c.broker = kafkatest.Own(t, kafka.Options{Properties: []string{"advertised.listeners=PLAINTEXT://" + c.brokerWay.addr()}})
	c.brokerWay.lead(c.broker.Addr())
	for range testConsumers + 1 {
		w := newWire(t)
		w.lead(c.store.Native)
		c.storeWays = append(c.storeWays, w)
	}
	c.begin(c.brokerWay.addr())
	return c
}

// newPartedCluster is a cluster of a program in which each role has a wire to the broker of its own.
func newPartedCluster(t *testing.T, program string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), store: clickhousetest.Own(t, clickhouse.Options{}), program: program}
	var o kafka.Options
	for range 1 + testEdges + testConsumers {
		w := newWire(t)
		c.ways, o.Ways = append(c.ways, w), append(o.Ways, w.addr())
	}
	c.broker = kafkatest.Own(t, o)
	for i, w := range c.ways {
		w.lead(c.broker.Way(i))
	}
	c.begin(c.broker.Addr())
	return c
}

// storeSetting says where the store is.
func (c *cluster) storeSetting(addr, parameters string) string {
	return fmt.Sprintf("clickhouse://default:%s@%s/mailbeacon%s", c.store.Password, addr, parameters)
}

// begin starts the roles on a broker.
func (c *cluster) begin(broker string) {
	t := c.t
	t.Helper()
	keyring := filepath.Join(c.dir, "keyring.json")
	if out, serr, code := mailbeacon(t.Context(), t, "", "keyring", "create", keyring); code != 0 {
		t.Fatalf("make a keyring: %s%s", out, serr)
	}
	config := fmt.Sprintf("kafka: kafka://%s\nclickhouse: %s\nkeyring: %s\npublic-url: http://t.example\npartitions: %d\n"+
		"classify-window: 100ms\ncommit-interval: 50ms\nsegment-bytes: 64KiB\nstop-timeout: 5s\n",
		broker, c.storeSetting(c.store.Native, ""), keyring, testPartitions)
	file := filepath.Join(c.dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.settings = []string{"--config", file}
	if out, serr, code := mailbeacon(t.Context(), t, "", "admin", "migrate", "--clickhouse", c.storeSetting(c.store.Native, "")); code != 0 {
		t.Fatalf("make the tables: %s%s", out, serr)
	}
	c.edges, c.consumers = make([]*server, testEdges), make([]*server, testConsumers)
	c.startAll()
}

// startAll starts every role, for the first time or again.
func (c *cluster) startAll() {
	c.t.Helper()
	c.admin = c.start("admin", 0)
	for i := range c.edges {
		c.edges[i] = c.start("edge", i)
	}
	for i := range c.consumers {
		c.consumers[i] = c.start("consume", i)
	}
	for _, s := range c.consumers {
		s.awaitReady()
	}
}

// all is every role, in the order in which they start.
func (c *cluster) all() []*server {
	return slices.Concat([]*server{c.admin}, c.edges, c.consumers)
}

// start starts a role and waits until it is ready. A consumer need not have joined its group: where another one was killed
// before, that takes until the session of that one ended.
func (c *cluster) start(role string, n int) *server {
	c.t.Helper()
	s := c.launch(role, n)
	if role == "consume" {
		s.await("that it counts once it joined its group", func(status int, body string) bool {
			return status == http.StatusOK || strings.Contains(body, "was not joined yet") && !strings.Contains(body, "nothing is counted, since")
		})
		return s
	}
	s.awaitReady()
	if role == "edge" {
		s.ready()
	}
	return s
}

func (c *cluster) launch(role string, n int) *server {
	c.t.Helper()
	args := append([]string{role}, c.settings...)
	if role == "edge" {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	if c.extra != nil {
		args = append(args, c.extra(role)...)
	}
	if role == "consume" && c.storeWays != nil {
		// A silent store is given up soon, so that a time-out takes no half minute.
		args = append(args, "--clickhouse", c.storeSetting(c.storeWays[n].addr(), "?read_timeout=1s&dial_timeout=1s"))
	}
	if c.ways != nil {
		args = append(args, "--kafka", "kafka://"+c.way(role, n).addr())
	}
	program := c.program
	if program == "" {
		program = binary(c.t)
	}
	s := newRole(c.t, program, c.folder(role, n), args...)
	s.launch()
	return s
}

// way is a role's own way to the broker.
func (c *cluster) way(role string, n int) *wire {
	switch role {
	case "edge":
		n++
	case "consume":
		n += 1 + testEdges
	}
	return c.ways[n]
}

// folder is where a role's data is.
func (c *cluster) folder(role string, n int) string {
	return filepath.Join(c.dir, fmt.Sprintf("%s-%d", role, n))
}

// stop ends every role, each without an error.
func (c *cluster) stop() {
	c.t.Helper()
	for _, s := range slices.Backward(c.all()) {
		s.stop()
	}
}

// awaitReady waits until /readyz of the private side says so.
func (s *server) awaitReady() {
	s.t.Helper()
	s.await("that it is ready", func(status int, _ string) bool { return status == http.StatusOK })
}

// await waits until the answer of /readyz is as it should be.
func (s *server) await(what string, ok func(status int, body string) bool) {
	s.t.Helper()
	last := "nothing"
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.ended:
			s.t.Fatalf("the role ended (%v) instead of serving:\n%s", s.err, &s.out)
		default:
		}
		addr, err := os.ReadFile(filepath.Join(s.data, client.AddrFile))
		if err != nil {
			continue
		}
		resp, err := http.Get(strings.TrimSpace(string(addr)) + "/readyz")
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if last = string(b); ok(resp.StatusCode, last) {
			return
		}
	}
	s.t.Fatalf("it does not say %s; it answers %s, and said:\n%s", what, last, &s.out)
}

// drain waits until everything that the edges took is in Kafka, and all of that is counted.
func (c *cluster) drain() {
	c.t.Helper()
	waiting := func() string {
		for i, e := range c.edges {
			if n := e.metric("mailbeacon_ship_waiting_events"); n > 0 {
				return fmt.Sprintf("%v events wait on edge %d; it said:\n%s", n, i, &e.out)
			}
		}
		partitions := 0
		for i, s := range c.consumers {
			text := s.scrape()
			partitions += strings.Count(text, "\nmailbeacon_fold_lag_records{")
			// One page: the next one may be of another division of the partitions.
			lag, _ := s.family(text, "mailbeacon_fold_lag_records")
			held, _ := s.family(text, "mailbeacon_fold_held_events")
			if lag+held > 0 {
				return fmt.Sprintf("consumer %d is %v records behind and holds %v events; it said:\n%s", i, lag, held, &s.out)
			}
		}
		if partitions != testPartitions {
			return fmt.Sprintf("%d of %d partitions have an owner that has read", partitions, testPartitions)
		}
		return ""
	}
	calm, why := 0, ""
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if why = waiting(); why != "" {
			calm = 0
		} else if calm++; calm == 10 {
			return
		}
	}
	c.t.Fatalf("not everything is counted: %s", why)
}

// drive loads all edges, each with lanes of its own, until what is done meanwhile returns.
func (c *cluster) drive(lanes [][]*lane, meanwhile func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	ended := make(chan struct{})
	for i, mine := range lanes {
		edge := c.edges[i]
		go func() {
			defer func() { ended <- struct{}{} }()
			load(c.t, edge, mine, func() { <-ctx.Done() })
		}()
	}
	meanwhile()
	cancel()
	for range lanes {
		<-ended
	}
}

// lanesOf makes lanes for each edge.
func (c *cluster) lanesOf(api *client.Client, prefix string, n int) [][]*lane {
	c.t.Helper()
	all := make([][]*lane, len(c.edges))
	for i := range all {
		all[i] = newLanes(c.t.Context(), c.t, api, fmt.Sprintf("%s-edge-%d", prefix, i), n)
	}
	c.agree()
	return all
}

// agree waits until every edge knows what the admin knows.
func (c *cluster) agree() {
	c.t.Helper()
	const applied = "mailbeacon_control_applied"
	want := c.admin.metric(applied)
	for i, e := range c.edges {
		for deadline := time.Now().Add(patience); e.metric(applied) < want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				c.t.Fatalf("edge %d is at %v of the control log, not at %v; it said:\n%s", i, e.metric(applied), want, &e.out)
			}
		}
	}
}

// check compares what is counted with what was answered, campaign by campaign, once everything is. An
// edge is one of killed, or has answered every request, each within slowest.
func (c *cluster) check(t *testing.T, api *client.Client, lanes [][]*lane, killed ...int) {
	t.Helper()
	c.await(api, slices.Concat(lanes...))
	var answered, doubtful uint64
	longest := time.Duration(0)
	for edge, mine := range lanes {
		for _, l := range mine {
			l.check(t.Context(), t, api)
			left := uint64(0)
			for kind := range kinds {
				answered += l.answered[kind]
				left += l.doubtful[kind]
			}
			if left > 0 && !slices.Contains(killed, edge) {
				t.Errorf("edge %d left %d requests of %s without an answer", edge, left, l.campaign)
			}
			doubtful += left
			longest = max(longest, l.longest)
		}
	}
	if longest > slowest {
		t.Errorf("a reader waited %v for an answer", longest)
	}
	if answered < 100 {
		t.Errorf("%d answers are no load", answered)
	}
	t.Logf("%d answers, the slowest after %v, each counted once; %d requests without an answer", answered, longest.Round(time.Millisecond), doubtful)
}

// slowest is how long an answer may take on a machine that does all of this at once.
const slowest = 5 * time.Second

// owned is how many partitions a consumer has and reads.
func (s *server) owned() int {
	s.t.Helper()
	return strings.Count(s.scrape(), "\nmailbeacon_fold_lag_records{")
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// sum is a metric of several processes. One that owns no partition has none of a partition.
func sum(all []*server, metric string) float64 {
	total := 0.0
	for _, s := range all {
		s.t.Helper()
		n, _ := s.family(s.scrape(), metric)
		total += n
	}
	return total
}
