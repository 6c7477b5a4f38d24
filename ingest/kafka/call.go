package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// backoff is the time between two tries: twice as long each time.
type backoff struct{ last time.Duration }

// wait waits before the next try; false if ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.last = min(max(2*b.last, leastBackoff), mostBackoff)
	return pause(ctx, b.last)
}

// produce writes one batch, acknowledged by all replicas that are in sync, and returns the offset of its
// first record. It tries once.
func (k *Client) produce(ctx context.Context, topic string, partition int, r kafkago.RecordReader, c kafkago.Compression) (int64, error) {
	answer, err := k.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafkago.RequireAll, Records: r, Compression: c,
	})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return 0, fmt.Errorf("kafka: write to partition %d of topic %s: %w", partition, topic, err)
	}
	return answer.BaseOffset, nil
}

// Bounds asks for the first offset of a partition, and for the one that its next record will get. It tries once.
func (k *Client) Bounds(ctx context.Context, topic string, partition int) (first, next int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.c.Timeout)
	defer cancel()
	first, next, err = k.bounds(ctx, topic, partition)
	return first, next, k.denied(err, "topic "+topic, "Describe")
}

// bounds asks for the first offset of a partition, and for the one that the next record will get.
func (k *Client) bounds(ctx context.Context, topic string, partition int) (first, next int64, err error) {
	r, err := k.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{
		topic: {kafkago.FirstOffsetOf(partition), kafkago.LastOffsetOf(partition)},
	}})
	if err == nil {
		switch p := r.Topics[topic]; {
		case len(p) != 1:
			err = fmt.Errorf("%d answers instead of one", len(p))
		case p[0].Error != nil:
			err = p[0].Error
		default:
			return p[0].FirstOffset, p[0].LastOffset, nil
		}
	}
	return 0, 0, fmt.Errorf("kafka: ask for the bounds of partition %d of topic %s: %w", partition, topic, err)
}

// place is where to read.
type place struct {
	topic     string
	partition int
	offset    int64
}

// fetchLimits are how much to fetch, and how long the broker may wait until there is the least.
type fetchLimits struct {
	bytes, least int64
	wait         time.Duration
}

// fetched is what a fetch brought. It belongs to one goroutine and is to be closed.
type fetched struct {
	at      place
	end     int64 // the offset that the next record will get
	records kafkago.RecordReader
	buf     *readBuffer
	own     readBuffer
}

// record is one record. Its bytes are valid until the next one.
type record struct {
	offset     int64
	key, value []byte
}

// readBuffer is room for a record's bytes, to be used again.
type readBuffer struct {
	key, value []byte
	r          record
}

// fetch reads from a place. Where the partition does not hold the offset, the error is a *LostError.
func (k *Client) fetch(ctx context.Context, p place, l fetchLimits) (*fetched, error) {
	k.fetches.Add(1)
	answer, err := k.client.Fetch(ctx, &kafkago.FetchRequest{
		Topic: p.topic, Partition: p.partition, Offset: p.offset, MinBytes: l.least, MaxBytes: l.bytes, MaxWait: l.wait,
	})
	if err == nil {
		err = answer.Error
	}
	if errors.Is(err, kafkago.OffsetOutOfRange) {
		first, next, berr := k.bounds(ctx, p.topic, p.partition)
		if berr != nil {
			return nil, errors.Join(err, berr)
		}
		if p.offset < first || p.offset > next {
			return nil, &LostError{p.topic, p.partition, p.offset, first, next}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("kafka: read partition %d of topic %s at offset %d: %w", p.partition, p.topic, p.offset, k.denied(err, "topic "+p.topic, "Read"))
	}
	f := &fetched{at: p, end: answer.HighWatermark, records: answer.Records}
	f.buf = &f.own
	return f, nil
}

// next returns the next record from the place on, nil at the end.
func (f *fetched) next() (*record, error) {
	for {
		r, err := f.records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("kafka: read partition %d of topic %s after offset %d: %w", f.at.partition, f.at.topic, f.at.offset, err)
		}
		b := f.buf
		b.r = record{offset: r.Offset}
		if b.r.key, err = readAll(r.Key, &b.key); err == nil {
			b.r.value, err = readAll(r.Value, &b.value)
		}
		if err != nil {
			return nil, fmt.Errorf("kafka: read partition %d of topic %s at offset %d: %w", f.at.partition, f.at.topic, r.Offset, err)
		}
		if r.Offset >= f.at.offset { // a broker answers whole batches
			return &b.r, nil
		}
	}
}

// passed says where to go on once next has found no record at all: behind what takes an offset and is no record, such as
// the markers that transactions leave, and what compaction took away. A batch whose last records are gone does not say how far it goes: base
// is then its first offset, and -1 otherwise.
func (f *fetched) passed() (next, base int64) {
	batches := f.batches()
	if len(batches) == 0 {
		return f.at.offset, -1
	}
	last := batches[len(batches)-1]
	if last < f.at.offset { // it holds the offset, and has no record from there on
		return min(f.at.offset+1, f.end), last
	}
	return min(last+1, f.end), -1
}

// batches are the first offsets of the batches that were answered.
func (f *fetched) batches() []int64 {
	stream, ok := f.records.(*protocol.RecordStream)
	if !ok {
		return nil
	}
	var all []int64
	for _, r := range stream.Records {
		switch b := r.(type) {
		case *protocol.ControlBatch:
			all = append(all, b.BaseOffset)
		case *protocol.RecordBatch:
			all = append(all, b.BaseOffset)
		}
	}
	return all
}

// behind is where to go on once next has found no record at all. Where that takes more fetches, it takes some thirty at most,
// however wide the gap is that compaction left.
func (k *Client) behind(ctx context.Context, f *fetched) (int64, error) {
	next, base := f.passed()
	if base < 0 || next >= f.end {
		return next, nil
	}
	// Who asks for an offset of the batch is answered the batch. So ask ever further on, and then in between.
	within, beyond := f.at.offset, f.end
	for step := int64(1); within+step < beyond; step *= 2 {
		in, err := k.inBatch(ctx, f.at, within+step, base)
		if err != nil {
			return 0, err
		}
		if !in {
			beyond = within + step
			break
		}
		within += step
	}
	for beyond-within > 1 {
		middle := within + (beyond-within)/2
		in, err := k.inBatch(ctx, f.at, middle, base)
		if err != nil {
			return 0, err
		}
		if in {
			within = middle
		} else {
			beyond = middle
		}
	}
	return beyond, nil
}

// inBatch says whether an offset lies in the batch that begins at base.
func (k *Client) inBatch(ctx context.Context, at place, offset, base int64) (bool, error) {
	at.offset = offset
	f, err := k.fetch(ctx, at, fetchLimits{bytes: 1, wait: time.Millisecond})
	if err != nil {
		return false, err
	}
	defer f.close()
	batches := f.batches()
	return len(batches) > 0 && batches[0] == base, nil
}

// readAll reads b to its end into room, and closes it.
func readAll(b kafkago.Bytes, room *[]byte) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	n := b.Len()
	if cap(*room) < n {
		*room = make([]byte, n)
	}
	_, err := io.ReadFull(b, (*room)[:n])
	return (*room)[:n], errors.Join(err, b.Close())
}

// close gives the library's pages back.
func (f *fetched) close() {
	for {
		r, err := f.records.ReadRecord()
		if err != nil {
			return
		}
		for _, b := range []kafkago.Bytes{r.Key, r.Value} {
			if b != nil {
				b.Close()
			}
		}
	}
}
