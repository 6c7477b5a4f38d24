package kafka

import (
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// more gives a topic more partitions.
func more(tb testing.TB, k *Client, topic string, n int) {
	tb.Helper()
	r, err := k.client.CreatePartitions(tb.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: int32(n)}}})
	must(tb, err)
	must(tb, r.Errors[topic])
	eventually(tb, "the partitions are there", func() bool {
		t, err := k.Topic(tb.Context(), topic)
		return err == nil && t.Partitions == n
	})
}
