package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/internal/control/controltest"
)

// endTransaction puts a marker of an aborted transaction at the end of a partition: a record of Kafka's own, which no reader is
// given.
func endTransaction(t *testing.T, k *Client, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := newTopic(t)
	for retry := (backoff{}); ; {
		_, err := k.client.FindCoordinator(ctx, &kafkago.FindCoordinatorRequest{Key: id, KeyType: kafkago.CoordinatorKeyTypeTransaction})
		var p *kafkago.InitProducerIDResponse
		if err == nil {
			p, err = k.client.InitProducerID(ctx, &kafkago.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMs: 60_000})
		}
		if err == nil {
			err = p.Error
		}
		if err == nil {
			var a *kafkago.AddPartitionsToTxnResponse
			a, err = k.client.AddPartitionsToTxn(ctx, &kafkago.AddPartitionsToTxnRequest{
				TransactionalID: id, ProducerID: p.Producer.ProducerID, ProducerEpoch: p.Producer.ProducerEpoch,
				Topics: map[string][]kafkago.AddPartitionToTxn{topic: {{Partition: 0}}},
			})
			if err == nil {
				err = a.Topics[topic][0].Error
			}
		}
		if err == nil {
			var e *kafkago.EndTxnResponse
			e, err = k.client.EndTxn(ctx, &kafkago.EndTxnRequest{TransactionalID: id, ProducerID: p.Producer.ProducerID, ProducerEpoch: p.Producer.ProducerEpoch, Committed: false})
			if err == nil {
				err = e.Error
			}
		}
		if err == nil {
			break
		}
		if !retry.wait(ctx) {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second) // the marker is written after the answer
}

// TestMarkerAtTheEnd: a foreign transaction leaves a marker behind, which is no record. The feed must get behind it.
func TestMarkerAtTheEnd(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	write(t, k, topic.Name, 0, frameOf(1, 0, 1))
	endTransaction(t, k, topic.Name)
	_, end, err := k.bounds(t.Context(), topic.Name, 0)
	must(t, err)
	if end != 2 {
		t.Fatalf("the partition ends at %d: there is no marker", end)
	}
	p := partition(t, k, topic, quarantineIn(t, t.TempDir()), nil)
	f := openFeed(t, p, 0)
	if _, err := next(t, f); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if b, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v after the last record", b, err)
	}
	if n, known := p.Lag(); !known || n != 0 {
		t.Errorf("lag %d (%t) with nothing left to read", n, known)
	}
}

// TestControlLogWithMarkerAtTheEnd: the same in the control topic must not keep anybody from reading to its end.
func TestControlLogWithMarkerAtTheEnd(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, ControlTopic(newTopic(t), 0))
	log := OpenControlLog(k, topic.Name, testLogger(t))
	defer log.Close()
	_, err := log.Append(t.Context(), controltest.Record(0))
	must(t, err)
	endTransaction(t, k, topic.Name)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	es, err := log.Read(ctx, 0, 10)
	if err != nil || len(es) != 1 {
		t.Errorf("%d entries, %v", len(es), err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("reading never ends: nothing starts, nothing is fresh, nothing is shipped or counted")
	}
}
