package proctest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// clusterKills is how often TestClusterKill kills.
func clusterKills(t *testing.T) int {
	t.Helper()
	v := os.Getenv("MAILBEACON_CLUSTER_KILLS")
	if v == "" {
		return 12
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("MAILBEACON_CLUSTER_KILLS is %q, no number", v)
	}
	return n
}

// TestClusterKill kills an edge, a consumer, the broker or the store at random moments under load, and
// starts it again. The edges that live answer all the time, and in the end each answer is counted,
// once, in its campaign.
func TestClusterKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	c, n := newCluster(t), clusterKills(t)
	api := c.admin.client()
	victims := []string{"edge", "consumer", "broker", "store"}
	var all []*lane
	killed := map[string]int{}
	for round := range n {
		began := time.Now()
		lanes := c.lanesOf(api, fmt.Sprintf("round-%d", round), 4)
		victim := victims[round%len(victims)]
		edge := -1
		c.drive(lanes, func() {
			time.Sleep(rand.N(400 * time.Millisecond))
			which := rand.IntN(2)
			switch victim {
			case "edge":
				edge = which
				c.edges[which].kill()
				c.edges[which] = c.start("edge", which)
			case "consumer":
				c.consumers[which].kill()
				time.Sleep(rand.N(200 * time.Millisecond))
				c.consumers[which] = c.launch("consume", which)
			case "broker":
				c.broker.Kill()
				time.Sleep(rand.N(time.Second))
				if err := c.broker.Restart(t.Context()); err != nil {
					t.Error(err)
				}
			case "store":
				c.store.Kill()
				time.Sleep(rand.N(500 * time.Millisecond))
				if err := c.store.Restart(t.Context()); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(rand.N(400 * time.Millisecond))
		})
		killed[victim]++
		for i, mine := range lanes {
			for _, l := range mine {
				if doubtful := l.doubtful[open] + l.doubtful[click] + l.doubtful[refused]; doubtful > 0 && i != edge {
					t.Errorf("round %d: edge %d left %d requests without an answer while the %s was killed", round, i, doubtful, victim)
				}
			}
			all = append(all, mine...)
		}
		for _, s := range c.consumers { // one that started while the broker or the store was down may have given up
			select {
			case <-s.ended:
				t.Fatalf("round %d: a consumer ended with %v:\n%s", round, s.err, &s.out)
			default:
			}
		}
		t.Logf("round %d: the %s, %v", round, victim, time.Since(began).Round(time.Millisecond))
		if t.Failed() {
			return
		}
	}
	for _, s := range c.consumers {
		s.awaitReady()
	}
	c.await(api, all)
	var answered uint64
	for _, l := range all {
		l.check(t.Context(), t, api)
		for kind := range kinds {
			answered += l.answered[kind]
		}
	}
	if t.Failed() {
		for i, s := range c.consumers {
			t.Logf("consumer %d said:\n%s", i, &s.out)
		}
	}
	if answered < uint64(n) {
		t.Errorf("%d answers in %d rounds are no load", answered, n)
	}
	t.Logf("killed %v: %d answers, each counted once in %d campaigns", killed, answered, len(all))
	c.stop()
}
