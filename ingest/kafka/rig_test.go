package kafka

import (
	"context"

	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/kept"
)

// everybody may be counted.
type everybody struct{}

func (everybody) Verdict(event.Kind, uint64) event.Reason { return event.Counted }
func (everybody) Attributed(event.Kind, uint64) bool      { return true }
func (e everybody) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return e.Verdict(k, s), s != 0 && e.Attributed(k, s)
}

// anyCampaign is there.
type anyCampaign struct{}

func (anyCampaign) HashKey(uint32) ([16]byte, bool) { return [16]byte{1}, true }
func (anyCampaign) LinkCount(uint32) int            { return 3 }
func (anyCampaign) DateOnly(uint32) bool            { return false }

// rig is the whole line: a spool, a shipper, and a fold of each partition into one store.
type rig struct {
	t      *testing.T
	dir    string
	config Config
	topic  Topic
	spool  *spool.Spool
	store  *storetest.Memory

	consent   kept.Consent
	campaigns kept.Campaigns
	fresh     atomic.Bool
	fail      func(step string) error
	noteEvery time.Duration
	renew     time.Duration // of the spool
	late      func(kind event.Kind, subject, number uint64) event.Reason

	clients []*Client
	acked   [campaigns]atomic.Uint64 // by campaign, from 1
}

const campaigns = 5

func newRig(t *testing.T, c Config, partitions int) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), config: c, store: storetest.NewMemory(), consent: everybody{}, campaigns: anyCampaign{}}
	r.fresh.Store(true)
	r.topic = ensure(t, r.client(), EventsTopic(newTopic(t), partitions, 0, 0))
	r.openSpool()
	return r
}

// client makes a client of the rig's, to be closed with it.
func (r *rig) client() *Client {
	r.t.Helper()
	k := client(r.t, r.config)
	r.clients = append(r.clients, k)
	return k
}

// openSpool opens the spool of the rig, as an edge does that starts.
func (r *rig) openSpool() {
	r.t.Helper()
	var err error
	r.spool, _, err = spool.Open(spool.Options{Dir: filepath.Join(r.dir, "spool"), SegmentBytes: 256 << 10, Next: Shipped(r.cursor()), Renew: r.renew})
	must(r.t, err)
	r.t.Cleanup(func() { r.spool.Close() })
}

func (r *rig) cursor() string { return filepath.Join(r.dir, "cursor") }

// append appends events from many sides, and counts what was acknowledged.
func (r *rig) append(n int) {
	const writers = 512
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < n; i += writers {
				ev := event.Event{Time: time.Now().UnixMilli(), Subject: rand.Uint64(), Campaign: uint32(i%campaigns) + 1, Kind: event.Open}
				if i%7 == 0 {
					ev.Subject = 0
				}
				if r.spool.Append(&ev) == nil {
					r.acked[i%campaigns].Add(1)
				}
			}
		})
	}
	all.Wait()
}

// load appends events until it is told to stop.
func (r *rig) load() (stop func()) {
	ended, halt := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-halt:
				return
			default:
				r.append(640)
			}
		}
	}()
	return func() { close(halt); <-ended }
}

func (r *rig) newShipper(k *Client) *Shipper {
	r.t.Helper()
	s, err := NewShipper(ShipperOptions{
		Client: k, Topic: r.topic, Spool: OfSpool(r.spool), Cursor: r.cursor(), Consent: r.consent, Campaigns: r.campaigns, Fresh: r.fresh.Load, Late: r.late,
		SaveEvery: 10 * time.Millisecond, StopTimeout: time.Second, Logger: testLogger(r.t), fail: r.fail, noteEvery: r.noteEvery,
	})
	must(r.t, err)
	return s
}

// ship runs a shipper until it is told to stop, which returns how it ended.
func (r *rig) ship() (s *Shipper, stop func() error) {
	r.t.Helper()
	s = r.newShipper(r.client())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	r.t.Cleanup(func() { stop() })
	return s, stop
}

// shipAll ships until all that is in the spool is in Kafka.
func (r *rig) shipAll() {
	r.t.Helper()
	s, stop := r.ship()
	r.awaitShipped(s)
	must(r.t, stop())
}

func (r *rig) awaitShipped(s *Shipper) {
	r.t.Helper()
	eventually(r.t, "everything is shipped", func() bool { return s.Stats().Next == r.spool.Stats().Next })
}

// runner makes the runner of a partition.
func (r *rig) runner(k *Client, topic Topic, partition int, q *Quarantine) *aggregate.Runner {
	p, err := NewPartition(PartitionOptions{Client: k, Topic: topic, Partition: partition, Quarantine: q, FetchBytes: 64 << 10, Logger: testLogger(r.t)})
	if err != nil {
		r.t.Error(err)
		return nil
	}
	run, err := aggregate.NewRunner(aggregate.RunnerOptions{
		Source: p, Store: r.store, Interval: 20 * time.Millisecond, StopTimeout: time.Second, Logger: testLogger(r.t),
		Fold: aggregate.FoldOptions{Partition: uint32(partition), Consent: everybody{}, Campaigns: anyCampaign{}, Window: 100 * time.Millisecond},
	})
	if err != nil {
		r.t.Error(err)
	}
	return run
}

func (r *rig) quarantine() *Quarantine {
	r.t.Helper()
	q, err := OpenQuarantine(filepath.Join(r.dir, "quarantine"))
	must(r.t, err)
	r.t.Cleanup(func() { q.Close() })
	return q
}

// fold counts all partitions until the test ends, or stop is called.
func (r *rig) fold() (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k, q := r.client(), r.quarantine()
	var all sync.WaitGroup
	for p := range r.topic.Partitions {
		run := r.runner(k, r.topic, p, q)
		all.Go(func() {
			if err := run.Run(ctx); err != nil {
				r.t.Errorf("partition %d: %v", p, err)
			}
		})
	}
	stop = func() { cancel(); all.Wait() }
	r.t.Cleanup(stop)
	return stop
}

// awaitFolded waits until all that is in the topic is counted.
func (r *rig) awaitFolded() {
	r.t.Helper()
	k := r.client()
	eventually(r.t, "everything is counted", func() bool {
		for p := range r.topic.Partitions {
			_, next, err := k.bounds(r.t.Context(), r.topic.Name, p)
			if err != nil {
				return false
			}
			got, err := r.store.Progress(r.t.Context(), uint32(p))
			if err != nil || got.Offset < uint64(next)<<positionBits {
				return false
			}
		}
		return true
	})
}

// check compares what was acknowledged with what is counted, campaign by campaign.
func (r *rig) check() {
	r.t.Helper()
	total := uint64(0)
	for c := range campaigns {
		all, err := r.store.Counts(r.t.Context(), uint32(c)+1)
		must(r.t, err)
		n := uint64(0)
		for i := range all {
			n += all[i].N
		}
		if want := r.acked[c].Load(); n != want {
			r.t.Errorf("campaign %d: %d events are counted, %d were acknowledged", c+1, n, want)
		}
		total += n
	}
	if total == 0 {
		r.t.Error("nothing is counted")
	}
	r.t.Logf("%d events", total)
}

// repeated is how many records of the topic there are, and how many events in them more than were
// acknowledged: what was shipped again.
func (r *rig) repeated() (records int, events int) {
	r.t.Helper()
	r.eachRecord(func(value []byte) {
		if h, err := event.ParseFrameHeader(value); err == nil {
			records++
			events += int(h.Count)
		}
	})
	for c := range campaigns {
		events -= int(r.acked[c].Load())
	}
	return records, events
}

// eachRecord calls fn with what is in the topic, record by record.
func (r *rig) eachRecord(fn func(value []byte)) {
	r.t.Helper()
	k := r.client()
	for p := range r.topic.Partitions {
		for offset := int64(0); ; {
			f, err := k.fetch(r.t.Context(), place{r.topic.Name, p, offset}, fetchLimits{bytes: 1 << 20, wait: time.Millisecond})
			must(r.t, err)
			for {
				rec, err := f.next()
				must(r.t, err)
				if rec == nil {
					break
				}
				offset = rec.offset + 1
				fn(rec.value)
			}
			f.close()
			if offset >= f.end {
				break
			}
		}
	}
}

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for until := time.Now().Add(patience); !ok(); {
		if time.Now().After(until) {
			tb.Fatalf("not in %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// write puts a record of any bytes into a partition.
func write(tb testing.TB, k *Client, topic string, partition int, value []byte) {
	tb.Helper()
	for retry := (backoff{}); ; {
		_, err := k.produce(tb.Context(), topic, partition, kafkago.NewRecordReader(kafkago.Record{Value: kafkago.NewBytes(value)}), 0)
		if err == nil {
			return
		}
		if !notWritten(err) || !retry.wait(tb.Context()) {
			tb.Fatal(err)
		}
	}
}
