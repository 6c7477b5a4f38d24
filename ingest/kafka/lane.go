package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/kept"
)

// lane is the way to one partition: one record is under way at a time.
type lane struct {
	*Shipper
	partition int
	first     uint64 // number of the first event in the partition
	events    []event.Event
	numbers   []uint64 // of the events, in the spool
	frame     []byte
	err       error
}

// ship writes the lane's events as one record, as long as it takes. It gives up only when it is
// told to end: by ctx before a try, by hard during one.
func (l *lane) ship(ctx, hard context.Context) error {
	for retry, tries := (backoff{}), 0; ; tries++ {
		if err := l.await(ctx); err != nil {
			return err
		}
		l.encode()
		if err := l.o.fail("before produce"); err != nil {
			return err
		}
		err := l.produce(hard)
		if err == nil {
			if tries > 0 {
				l.o.Logger.Info("Kafka takes events again", "partition", l.partition, "tries", tries+1)
			}
			return l.o.fail("after produce")
		}
		l.frame = nil // the library may still read it
		l.status.retries.Add(1)
		l.status.fault(err)
		if tries == 0 {
			l.o.Logger.Warn("Kafka does not take events; they stay in the spool", "partition", l.partition, "error", err)
		}
		if !retry.wait(ctx) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// await waits until it is known who may be counted.
func (l *lane) await(ctx context.Context) error {
	for waited := false; ; waited = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.o.Fresh() {
			return nil
		}
		if !waited {
			l.status.held.Add(1)
		}
		pause(ctx, gatePoll)
	}
}

// encode makes the record's frame, by what is known of consent and campaigns now: another try may be much later.
func (l *lane) encode() {
	if need := event.FrameHeaderSize + len(l.events)*event.Size; cap(l.frame) < need {
		l.frame = make([]byte, need, need+need/2)
	} else {
		l.frame = l.frame[:need]
	}
	for i := range l.events {
		ev := l.events[i] // a copy: the original says which partition it is of
		named := l.rule.Recheck(&ev)
		if l.o.Late != nil {
			kept.Withhold(&ev, l.o.Late(ev.Kind, ev.Subject, l.numbers[i]))
		}
		if !named && ev.Reason == event.Counted { // counted without the person, whom nobody needs to ask about any more
			ev.Subject = 0
		}
		ev.Put(l.frame[event.FrameHeaderSize+i*event.Size:])
	}
	event.SealFrame(l.frame, l.o.Spool.Edge, l.o.Spool.Epoch, l.first)
}

// worthPacking is from how many bytes on a record is compressed: below, a codec's own frame takes what it
// saves, and whoever reads unpacks each record by itself.
const worthPacking = 1 << 10

// produce writes the record. Whoever is stopped between the look at consent and here writes by what was known before: an
// event may reach Kafka whose person has refused meanwhile. It is not counted for that. Shipping is not counting: the fold asks again
// for each event, while its own knowledge is fresh, and the store takes no commit beyond that (aggregate.Commit.Until).
func (l *lane) produce(ctx context.Context) error {
	r := kafkago.NewRecordReader(kafkago.Record{Value: kafkago.NewBytes(l.frame)})
	codec := codecs[l.o.Compression]
	if len(l.frame) < worthPacking {
		codec = 0
	}
	_, err := l.o.Client.produce(ctx, l.o.Topic.Name, l.partition, r, codec)
	return l.o.Client.denied(err, "topic "+l.o.Topic.Name, "Write")
}

// ShipperStats is how a Shipper is doing.
type ShipperStats struct {
	// Next is the first number of the spool that is not known to be in Kafka.
	Next uint64
	// Saved is the first number that would be shipped again after a crash, or to a topic that was made anew: at most Next.
	Saved uint64
	// Partitions is how many the events are divided among: fewer than the topic has, for a while,
	// after it got more.
	Partitions int
	// Shipped is how many events were acknowledged since the start, Retries how many tries failed, Held how
	// often a record waited for fresh knowledge of consent.
	Shipped, Retries, Held uint64
	// Lost is how many events of the spool could not be read any more.
	Lost uint64
	// CursorsLost is how often shipping began without its cursor, where there was one: 0 or 1.
	CursorsLost uint64
	// Oldest is when the oldest event came that was read and is not acknowledged; zero where there is none.
	Oldest time.Time
	// Err is why nothing is shipped at the moment, since Since; nil while it works.
	Err   error
	Since time.Time
}

// shipStatus is what others may ask of a Shipper while it runs.
type shipStatus struct {
	next, saved, shipped, retries, held, lost atomic.Uint64
	cursorsLost                               atomic.Uint64
	partitions, oldest                        atomic.Int64

	mu    sync.Mutex
	since time.Time
	err   error
}

func (s *shipStatus) fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.err == nil {
		s.since = time.Now()
	}
	s.err = err
}

// Stats may be called at any time.
func (s *Shipper) Stats() ShipperStats {
	st := &s.status
	out := ShipperStats{
		Saved: st.saved.Load(), Next: st.next.Load(), Partitions: int(st.partitions.Load()), Shipped: st.shipped.Load(),
		Retries: st.retries.Load(), Held: st.held.Load(), Lost: st.lost.Load(),
		CursorsLost: st.cursorsLost.Load(),
	}
	if ms := st.oldest.Load(); ms != 0 {
		out.Oldest = time.UnixMilli(ms)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	out.Err, out.Since = st.err, st.since
	if out.Err == nil && !s.o.Fresh() {
		out.Err = fmt.Errorf("kafka: nothing is shipped: %w", errStale)
	}
	return out
}

// errStale: what is known of consent may be old.
var errStale = errors.New("the control log is not known to be up to date")
