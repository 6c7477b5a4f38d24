package proctest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestClusterWebhookUnderKill unsubscribes people at the edges of a cluster, with a kill -9 at each moment between the
// decision and the end of its delivery: before the admin knows of it, before and after the receiver has it, and of
// the edge that answered. The mailer is told of each at least once, signed, with the campaign, and under one id.
func TestClusterWebhookUnderKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c := &cluster{t: t}
	in, receiver := newInbox(t)
	secret := in.secretFile(t)
	c.extra = func(role string) []string {
		if role == "admin" {
			return []string{"--webhook=" + receiver.URL + "/hook?key=hidden", "--webhook-secret=" + secret}
		}
		return nil
	}
	c.own()
	newLane(t.Context(), t, c.admin.client(), "spring")
	want, said := map[string]bool{}, ""
	people := 0
	leaves := func(edge int) string {
		t.Helper()
		m := mint(t.Context(), t, c.admin.client(), "spring", fmt.Sprintf("reader%d@example.org", people))
		people++
		want["unsubscribed "+m.Subject+" spring"] = true
		return m.UnsubscribeURL
	}
	restart := func() {
		t.Helper()
		c.admin.kill()
		said += c.admin.out.String()
		c.admin = c.start("admin", 0)
	}
	told := func(what string) {
		t.Helper()
		await(t, "the mailer is told of whom it was "+what, func() bool { return maps.Equal(in.people(), want) })
	}

	in.reacts(refuse)
	oneClick(t, c.edges[0].public, leaves(0))
	await(t, "the receiver is asked", func() bool { return in.attempts() > 0 })
	restart() // what it tried is nowhere but in the ledger
	in.reacts(take)
	told("not taken")

	in.reacts(hang)
	oneClick(t, c.edges[1].public, leaves(1))
	await(t, "the receiver has it", func() bool { return in.told() == 2 })
	in.reacts(take)
	restart() // the receiver has it, and the admin does not know
	await(t, "what nobody knows to be taken comes again", func() bool { return in.repeated() > 0 })
	told("taken and not answered")

	address := leaves(0)
	c.agree()
	c.admin.kill()
	said += c.admin.out.String()
	oneClick(t, c.edges[0].public, address) // no admin knows
	c.admin = c.start("admin", 0)
	told("while there was no admin")

	address = leaves(1)
	c.admin.signal(syscall.SIGSTOP)
	oneClick(t, c.edges[1].public, address)
	c.edges[1].kill() // nobody but Kafka knows
	c.admin.signal(syscall.SIGCONT)
	told("at an edge that died")

	if ids := in.told(); ids != len(want) {
		t.Errorf("%d ids for %d decisions: %v", ids, len(want), slices.Sorted(maps.Keys(in.people())))
	}
	c.admin.stop()
	said += c.admin.out.String()
	for _, hidden := range []string{in.secret()[6:], string(in.key), "key=hidden", "example.org"} {
		if strings.Contains(said, hidden) {
			t.Errorf("the admin's output holds %q", hidden)
		}
	}
}

// attempts is how often a message came, taken or not.
func (in *inbox) attempts() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.calls
}

// repeated is how often one came that had been taken before.
func (in *inbox) repeated() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.again
}
