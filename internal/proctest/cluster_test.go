package proctest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
	dir       string
	settings  []string // of all roles
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
	c := &cluster{t: t, dir: t.TempDir(), broker: kafkatest.Own(t, kafka.Options{}), store: clickhousetest.Own(t, clickhouse.Options{})}
	keyring := filepath.Join(c.dir, "keyring.json")
	if out, serr, code := mailbeacon(t.Context(), t, "", "keyring", "create", keyring); code != 0 {
		t.Fatalf("make a keyring: %s%s", out, serr)
	}
	config := fmt.Sprintf("kafka: kafka://%s\nclickhouse: clickhouse://default:%s@%s/mailbeacon\nkeyring: %s\npublic-url: http://t.example\npartitions: %d\n"+
		"classify-window: 100ms\ncommit-interval: 50ms\nsegment-bytes: 64KiB\nstop-timeout: 5s\n",
		c.broker.Addr(), c.store.Password, c.store.Native, keyring, testPartitions)
	file := filepath.Join(c.dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.settings = []string{"--config", file}
	if out, serr, code := mailbeacon(t.Context(), t, "", "admin", "migrate", "--clickhouse",
		fmt.Sprintf("clickhouse://default:%s@%s/mailbeacon", c.store.Password, c.store.Native)); code != 0 {
		t.Fatalf("make the tables: %s%s", out, serr)
	}
	c.admin = c.start("admin", 0)
	for i := range testEdges {
		c.edges = append(c.edges, c.start("edge", i))
	}
	for i := range testConsumers {
		c.consumers = append(c.consumers, c.start("consume", i))
	}
	return c
}

// start starts a role and waits until it is ready.
func (c *cluster) start(role string, n int) *server {
	c.t.Helper()
	s := c.launch(role, n)
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
	s := newRole(c.t, binary(c.t), filepath.Join(c.dir, fmt.Sprintf("%s-%d", role, n)), args...)
	s.launch()
	return s
}

// awaitReady waits until /readyz of the private side says so.
func (s *server) awaitReady() {
	s.t.Helper()
	last := "nothing"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
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
		if last = string(b); resp.StatusCode == http.StatusOK {
			return
		}
	}
	s.t.Fatalf("the role is not ready: %s; it said:\n%s", last, &s.out)
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
			if !strings.Contains(text, "mailbeacon_fold_lag_records{") {
				continue
			}
			if lag, held := s.metric("mailbeacon_fold_lag_records"), s.metric("mailbeacon_fold_held_events"); lag+held > 0 {
				return fmt.Sprintf("consumer %d is %v records behind and holds %v events; it said:\n%s", i, lag, held, &s.out)
			}
		}
		if partitions != testPartitions {
			return fmt.Sprintf("%d of %d partitions have an owner", partitions, testPartitions)
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
