package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// more gives a topic more partitions.
func more(tb testing.TB, k *Client, topic string, n int) {
	tb.Helper()
	for retry := (backoff{}); ; {
		r, err := k.client.CreatePartitions(tb.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: int32(n)}}})
		if err == nil {
			err = r.Errors[topic]
		}
		if notWritten(err) && retry.wait(tb.Context()) { // the client does not know yet who is the controller
			continue
		}
		must(tb, err)
		break
	}
	eventually(tb, "the partitions are there", func() bool {
		t, err := k.Topic(tb.Context(), topic)
		return err == nil && t.Partitions == n
	})
}

// wrong makes a topic with settings of a test's own.
func (s TopicSpec) with(name, value string) TopicSpec {
	s.settings = append([]setting(nil), s.settings...)
	for i := range s.settings {
		if s.settings[i].name == name {
			s.settings[i].made = value
			s.settings[i].ok = func(string) bool { return true }
			return s
		}
	}
	panic(name)
}

// TestTopicsAreChecked: a topic with a wrong setting is refused by the setting's name.
func TestTopicsAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, value string }{
		{"cleanup.policy", "compact"}, {"retention.ms", "60000"}, {"retention.bytes", "1000000"}, {"max.message.bytes", "1000"},
		{"unclean.leader.election.enable", "true"}, {"message.timestamp.type", "CreateTime"}, {"partitions", ""}, {"", ""},
	} {
		t.Run("events "+c.setting, func(t *testing.T) {
			t.Parallel()
			checkTopic(t, EventsTopic(newTopic(t), 2, 0, 0), c.setting, c.value)
		})
	}
	for _, c := range []struct{ setting, value string }{
		{"cleanup.policy", "delete"}, {"min.compaction.lag.ms", "1000"}, {"max.message.bytes", "1048588"}, {"partitions", ""}, {"", ""},
	} {
		t.Run("control "+c.setting, func(t *testing.T) {
			t.Parallel()
			checkTopic(t, ControlTopic(newTopic(t), 0), c.setting, c.value)
		})
	}
	for _, c := range []struct{ setting, value string }{
		{"cleanup.policy", "compact"}, {"cleanup.policy", "delete"}, {"min.compaction.lag.ms", "1000"}, {"retention.ms", "1000"},
		{"unclean.leader.election.enable", "true"}, {"message.timestamp.type", "CreateTime"}, {"partitions", ""}, {"", ""},
	} {
		t.Run("echo "+c.setting+" "+c.value, func(t *testing.T) {
			t.Parallel()
			checkTopic(t, EchoTopic(newTopic(t), 0), c.setting, c.value)
		})
	}
}

func checkTopic(t *testing.T, right TopicSpec, name, value string) {
	t.Helper()
	k := sharedClient(t)
	made := right
	switch name {
	case "":
	case "partitions":
		made.Partitions = 3
	default:
		made = right.with(name, value)
	}
	ensure(t, k, made)
	for _, check := range []func(context.Context, TopicSpec) (Topic, error){k.Ensure, k.Verify} {
		_, err := check(t.Context(), right)
		var setting *SettingError
		switch {
		case name == "" && err != nil:
			t.Errorf("refused: %v", err)
		case name != "" && (!errors.As(err, &setting) || setting.Setting != name || setting.Topic != right.Name):
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

func TestMissingTopic(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	_, err := k.Verify(t.Context(), EventsTopic("nobody-made-this", 0, 0, 0))
	expectError(t, err, "nobody-made-this")
	_, err = k.Ensure(t.Context(), EventsTopic("nobody-made-this", 0, 0, 0))
	expectError(t, err, "partitions")
	_, err = k.Ensure(t.Context(), EventsTopic(newTopic(t), 1, 3, 0))
	expectError(t, err, "replicas")
}

// TestTopicIsMadeByTwo: several roles may ask for a topic at the same time.
func TestTopicIsMadeByTwo(t *testing.T) {
	t.Parallel()
	spec := EventsTopic(newTopic(t), 3, 0, 0)
	var all sync.WaitGroup
	var ids sync.Map
	for range 5 {
		k := sharedClient(t)
		all.Go(func() {
			topic, err := k.Ensure(t.Context(), spec)
			if err != nil {
				t.Error(err)
			}
			ids.Store(topic.ID, true)
		})
	}
	all.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d topics", n)
	}
}

func expectError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one of %v", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q says nothing of %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "password-of-the-test") {
		t.Errorf("%q tells the password", err)
	}
}

// TestPatiently: what a broker says while it is not ready is asked again; what will be so for good is not.
func TestPatiently(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		again bool
	}{
		"no leader yet":      {fmt.Errorf("x: %w", kafkago.LeaderNotAvailable), true},
		"brokers are fenced": {fmt.Errorf("x: %w: All brokers are currently fenced", kafkago.InvalidReplicationFactor), true},
		"too few brokers":    {fmt.Errorf("x: %w: only 1 broker is registered", kafkago.InvalidReplicationFactor), false},
		"no permission":      {fmt.Errorf("x: %w", kafkago.TopicAuthorizationFailed), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			err := (&Client{}).patiently(t.Context(), func() error {
				if asked++; asked == 1 {
					return c.err
				}
				return nil
			})
			if (asked == 2) != c.again || (err == nil) != c.again {
				t.Errorf("asked %d times: %v", asked, err)
			}
		})
	}
}
