package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
)

// TestNotMember: who has not joined the group counts nothing, and says so.
func TestNotMember(t *testing.T) {
	t.Parallel()
	k, err := kafka.NewClient(kafka.Config{Brokers: []string{"127.0.0.1:1"}, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	cfg := &config.Config{Group: "readers"}
	members, err := kafka.NewMembers(kafka.MembersOptions{
		Client: k, Group: "readers", Topic: kafka.Topic{Name: "events"}, Own: func(context.Context, kafka.Topic, int) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if why := notMember(cfg, members.Stats(), time.Now()); len(why) != 1 || !strings.Contains(why[0], "the group readers was not joined yet") {
		t.Errorf("%q", why)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- members.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); members.Stats().Err == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody answers there, and there is no error")
		}
	}
	if why := notMember(cfg, members.Stats(), time.Now()); len(why) != 1 || !strings.Contains(why[0], "was not joined yet: ") {
		t.Errorf("%q", why)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestNotMemberAnyMore: who is out of the group for longer than its session says so, and a division is no reason.
func TestNotMemberAnyMore(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Group: "readers"}
	now := time.Now()
	for name, s := range map[string]struct {
		stats kafka.MembersStats
		want  string
	}{
		"a member":              {kafka.MembersStats{Generation: 4}, ""},
		"a division":            {kafka.MembersStats{Generation: 4, Out: now.Add(-kafka.DefaultSession / 2)}, ""},
		"longer than a session": {kafka.MembersStats{Generation: 4, Out: now.Add(-kafka.DefaultSession - time.Second)}, "out of the group readers since"},
		"stopped":               {kafka.MembersStats{Generation: 4, Alarms: map[int]error{3: context.Canceled}}, "partition 3 is stopped"},
	} {
		got := strings.Join(notMember(cfg, s.stats, now), "; ")
		if s.want == "" && got != "" || !strings.Contains(got, s.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestDivided: more partitions than the store can tell commits of end the consumer, by the same error as at its start.
func TestDivided(t *testing.T) {
	t.Parallel()
	c := &counting{
		cfg:    &config.Config{ClickHouse: "clickhouse://127.0.0.1:9000/mailbeacon?replicated=true", CommitInterval: 250 * time.Millisecond},
		logger: slog.New(slog.DiscardHandler),
	}
	if err := c.divided(kafka.Topic{Partitions: 6}); err != nil {
		t.Error(err)
	}
	if err := c.divided(kafka.Topic{Partitions: 12}); err == nil || !strings.Contains(err.Error(), "setting --commit-interval: 12 partitions") {
		t.Errorf("%v", err)
	}
}
