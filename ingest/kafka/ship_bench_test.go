package kafka

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

// endless is a spool that always has events, numbered without a gap.
type endless struct {
	next uint64
	end  uint64
	made []event.Event
}

func (e *endless) Next(ctx context.Context, buf []event.Event) (uint64, int, uint64, error) {
	if e.next >= e.end {
		<-ctx.Done()
		return e.next, 0, 0, ctx.Err()
	}
	n := copy(buf, e.made)
	first := e.next
	e.next += uint64(n)
	return first, n, 0, nil
}

func (*endless) Close() error { return nil }

func madeEvents(n int) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i] = event.Event{Time: time.Now().UnixMilli(), Subject: rand.Uint64(), Campaign: uint32(i%20) + 1, Kind: event.Open}
	}
	return all
}

// ship ships at least n events from a reader that is never short of them, into a topic of the shared broker.
func shipMany(b *testing.B, n int, c Compression) (*Client, Topic) {
	b.Helper()
	k := client(b, Config{Brokers: []string{kafkatest.Start(b)}})
	topic, err := k.Ensure(b.Context(), EventsTopic(newTopic(b), 4, 0, 0))
	must(b, err)
	s, err := NewShipper(ShipperOptions{
		Client: k, Topic: topic, Cursor: b.TempDir() + "/cursor", Consent: everybody{}, Campaigns: anyCampaign{}, Fresh: func() bool { return true }, Compression: c,
		Spool: Spool{
			Edge: 1, Epoch: 1,
			Reader: func(from uint64) (aggregate.SpoolReader, error) {
				return &endless{next: from, end: uint64(n), made: madeEvents(MaxFrameEvents)}, nil
			},
			Bounds: func() (uint64, uint64) { return 0, 0 },
			Trim:   func(uint64) error { return nil },
		},
	})
	must(b, err)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ResetTimer()
	go func() { ended <- s.Run(ctx) }()
	for s.Stats().Next < uint64(n) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	stop()
	must(b, <-ended)
	return k, topic
}

// BenchmarkShip is from the spool's reader to the acknowledgement of the broker, which shares the machine.
func BenchmarkShip(b *testing.B) {
	for _, c := range []Compression{Uncompressed, Snappy, LZ4, Zstd} {
		b.Run(string(c), func(b *testing.B) {
			shipMany(b, b.N, c)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFetch reads what was shipped, up to the decoded events.
func BenchmarkFetch(b *testing.B) {
	for _, c := range []Compression{Uncompressed, LZ4} {
		b.Run(string(c), func(b *testing.B) {
			k, topic := shipMany(b, b.N, c)
			q, err := OpenQuarantine(b.TempDir() + "/q")
			must(b, err)
			defer q.Close()
			b.ResetTimer()
			b.StartTimer()
			got := 0
			for p := range topic.Partitions {
				_, end, err := k.bounds(b.Context(), topic.Name, p)
				must(b, err)
				part, err := NewPartition(PartitionOptions{Client: k, Topic: topic, Partition: p, Quarantine: q})
				must(b, err)
				f, err := part.Open(0, 0)
				must(b, err)
				for at := uint64(0); at < uint64(end)<<positionBits; {
					batch, err := f.Next(b.Context())
					must(b, err)
					got += len(batch.Events)
					at = batch.Offset + uint64(len(batch.Events))
				}
				must(b, f.Close())
			}
			b.StopTimer()
			if got < b.N {
				b.Errorf("%d events of %d", got, b.N)
			}
			b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
