package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

const (
	// DefaultFetchBytes is how much is fetched at once; three times that much is in memory at most.
	DefaultFetchBytes = 1 << 20

	fetchWait = 500 * time.Millisecond
	// positionBits is how many bits of a position tell the event within its record.
	positionBits = 16
)

// Position is the position of the i-th of count events in the record at an offset. The last event of every
// record has the greatest position that the record has room for, so that the position after it is the
// next record's first one.
func Position(offset int64, i, count int) uint64 {
	return uint64(offset)<<positionBits + uint64(event.MaxFrameCount-count+i)
}

// StartOf is the position of the record at an offset: nothing of it comes before, and nothing of another one after it.
func StartOf(offset int64) uint64 { return uint64(offset) << positionBits }

// RecordOf is the offset of the record that a position is in; one that is not in a record is before the one that is returned.
func RecordOf(position uint64) int64 { return int64(position >> positionBits) }

// PartitionOptions are what a Partition is made of. Client, Topic and Quarantine are needed.
type PartitionOptions struct {
	Client *Client
	// Topic is the topic as it is expected: another one of the same name is a *RecreatedError.
	Topic     Topic
	Partition int
	// Quarantine keeps the records that are not ours.
	Quarantine *Quarantine
	// FetchBytes is how much is fetched at once; DefaultFetchBytes if 0.
	FetchBytes int
	Logger     *slog.Logger // nil: silent
}

// Partition is one partition of the events' topic, an aggregate.Source. Where to read is the caller's
// business, who has it from the store: what the group's offsets say is never asked.
type Partition struct {
	o     PartitionOptions
	end   atomic.Int64 // and 1 more; 0 is not known
	at    atomic.Int64
	asked atomic.Int64 // since when the broker is asked in vain, Unix nanoseconds; 0 while it answers
}

var _ aggregate.Source = (*Partition)(nil)

// NewPartition checks the options.
func NewPartition(o PartitionOptions) (*Partition, error) {
	if o.Client == nil || o.Topic.ID.IsZero() || o.Quarantine == nil || o.Partition < 0 || o.Partition >= o.Topic.Partitions {
		return nil, fmt.Errorf("kafka: partition %d of topic %q: no such partition, or no client, or no quarantine", o.Partition, o.Topic.Name)
	}
	if o.FetchBytes <= 0 {
		o.FetchBytes = DefaultFetchBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("topic", o.Topic.Name, "partition", o.Partition)
	return &Partition{o: o}, nil
}

// Lag is how many records lie between what was handed out last and the partition's end. It is not known
// before the first answer of the broker.
func (p *Partition) Lag() (records int64, known bool) {
	end := p.end.Load()
	return max(0, end-1-p.at.Load()), end > 0
}

// Unanswered is for how long the broker has been asked for records without an answer, 0 while it answers. It answers within half
// a second where there are none.
func (p *Partition) Unanswered() time.Duration {
	since := p.asked.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}

// Trim implements aggregate.Source. The topic's retention has the say.
func (p *Partition) Trim(uint64) error { return nil }

// Open implements aggregate.Source. It asks for nothing yet: what is wrong is Next's error.
func (p *Partition) Open(from, counted uint64) (aggregate.Feed, error) {
	f := &feed{p: p, from: from, counted: counted, room: room{most: p.o.FetchBytes}, got: make(chan *chunk), free: make(chan *chunk, chunks)}
	for range chunks {
		f.free <- &chunk{}
	}
	p.at.Store(RecordOf(from))
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	f.running.Go(func() { f.run(ctx, RecordOf(from)) })
	return f, nil
}

// chunks is how many fetches are in memory: one that is folded, and one that waits.
const chunks = 2

// chunk is what one fetch brought, or why it brought nothing.
type chunk struct {
	records []record
	bytes   []byte
	upTo    int64 // the offset behind it
	err     error
	works   bool // the first answer, or the first after an error
}

// feed is a Partition that is read. One goroutine fetches ahead.
type feed struct {
	p       *Partition
	from    uint64 // nothing before is handed out
	counted uint64 // nothing before is missed
	room    room
	got     chan *chunk
	free    chan *chunk
	stop    context.CancelFunc
	running sync.WaitGroup

	cur    *chunk
	next   int // record of cur
	frame  event.Frame
	at     int // event of frame, where it has any left
	events []event.Event
}

// Close implements aggregate.Feed.
func (f *feed) Close() error {
	f.stop()
	f.running.Wait()
	f.p.asked.Store(0)
	return nil
}

// run fetches until ctx ends or the partition is broken.
func (f *feed) run(ctx context.Context, offset int64) {
	works := false
	for retry := (backoff{}); ; {
		var c *chunk
		select {
		case c = <-f.free:
		case <-ctx.Done():
			return
		}
		before := offset
		f.p.asked.CompareAndSwap(0, time.Now().UnixNano())
		c.err = f.fill(ctx, c, &offset)
		c.upTo = offset
		if ctx.Err() != nil {
			return
		}
		if c.err == nil {
			f.p.asked.Store(0)
		}
		c.works, works = c.err == nil && !works, c.err == nil
		if c.err == nil && offset == before && !c.works {
			f.free <- c
			retry = backoff{}
			continue
		}
		broken, failed := errors.Is(c.err, aggregate.ErrBroken), c.err != nil
		select {
		case f.got <- c:
		case <-ctx.Done():
			return
		}
		switch {
		case broken:
			// Nothing changes by itself; whoever asks again is told again.
			f.repeat(ctx, c.err)
			return
		case failed:
			retry.wait(ctx)
		default:
			retry = backoff{}
		}
	}
}

// repeat answers the same error until ctx ends.
func (f *feed) repeat(ctx context.Context, err error) {
	for {
		select {
		case f.got <- &chunk{err: err}:
		case <-ctx.Done():
			return
		}
	}
}

// fill fetches from an offset on into c, and moves the offset behind it.
func (f *feed) fill(ctx context.Context, c *chunk, offset *int64) error {
	o := &f.p.o
	c.records, c.bytes = c.records[:0], c.bytes[:0]
	at := place{o.Topic.Name, o.Partition, *offset}
	got, err := o.Client.fetch(ctx, at, fetchLimits{bytes: f.room.bytes(), least: 1, wait: fetchWait})
	f.room.learn(err)
	if err != nil {
		return f.explain(ctx, err, offset)
	}
	defer got.close()
	for {
		r, err := got.next()
		if err != nil && len(c.records) == 0 {
			return err
		}
		if err != nil || r == nil { // what is good comes first, the error with the next fetch
			break
		}
		start := len(c.bytes)
		c.bytes = append(c.bytes, r.value...)
		c.records = append(c.records, record{offset: r.offset, value: c.bytes[start:len(c.bytes):len(c.bytes)]})
	}
	var next int64
	if len(c.records) > 0 {
		next = c.records[len(c.records)-1].offset + 1
	} else if next, err = o.Client.behind(ctx, got); err != nil {
		return err
	}
	if next > *offset {
		// Asked after the fetch: what came before was of the topic that is there now.
		if err := f.sameTopic(ctx); err != nil {
			c.records = c.records[:0]
			return err
		}
		*offset = next
	}
	f.p.end.Store(got.end + 1)
	return nil
}

// leastRoom is how little is fetched at once; a broker answers the first batch however large it is.
const leastRoom = 16 << 10

// room is how much to fetch at once: less where that took too long. Unpacking is part of the call's time,
// and thousands of small compressed batches on a machine without time for them would time out for ever.
type room struct{ most, less int }

func (r *room) bytes() int64 { return int64(max(r.most-r.less, min(leastRoom, r.most))) }

// learn takes note of how a fetch ended.
func (r *room) learn(err error) {
	now := int(r.bytes())
	switch {
	case err == nil:
		now *= 2
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		now /= 4
	}
	r.less = max(0, r.most-max(now, leastRoom))
}

// explain finds out what a failed fetch means.
func (f *feed) explain(ctx context.Context, err error, offset *int64) error {
	if same := f.sameTopic(ctx); same != nil {
		return same
	}
	if lost, ok := errors.AsType[*LostError](err); ok && lost.Offset < lost.First && StartOf(lost.First) <= f.counted {
		f.p.o.Logger.Warn("records were deleted that are counted, and were to be looked at once more for the classes of later ones", "from", lost.Offset, "to", lost.First)
		*offset = lost.First
		return nil
	}
	return err
}

func (f *feed) sameTopic(ctx context.Context) error {
	o := &f.p.o
	t, err := o.Client.topicAtLeader(ctx, o.Topic.Name, o.Partition)
	if err != nil {
		return err
	}
	if t.ID != o.Topic.ID {
		return &RecreatedError{Topic: o.Topic.Name, Was: o.Topic.ID, Now: t.ID}
	}
	return nil
}

// Next implements aggregate.Feed: a batch is what is left of one record. When the broker answers for the first time, or again, with
// nothing, that is a batch of nothing: whoever reads may know that reading works.
func (f *feed) Next(ctx context.Context) (aggregate.Batch, error) {
	for {
		if f.at < int(f.frame.Count) {
			return f.batch()
		}
		if f.cur != nil && f.next < len(f.cur.records) {
			r := &f.cur.records[f.next]
			b, ours, err := f.open(r)
			if err != nil {
				return aggregate.Batch{}, err
			}
			f.next++
			f.p.at.Store(r.offset + 1)
			if !ours {
				return b, nil
			}
			continue
		}
		if c := f.cur; c != nil {
			f.p.at.Store(c.upTo)
			f.cur = nil
			nothing, upTo := c.works && len(c.records) == 0, c.upTo
			f.free <- c
			if nothing {
				return aggregate.Batch{Offset: uint64(upTo) << positionBits}, nil
			}
		}
		select {
		case c := <-f.got:
			if c.err != nil {
				f.giveBack(c)
				return aggregate.Batch{}, c.err
			}
			f.cur, f.next = c, 0
		case <-ctx.Done():
			return aggregate.Batch{}, ctx.Err()
		}
	}
}

// giveBack returns a chunk that brought an error; those of repeat find no room, and need none.
func (f *feed) giveBack(c *chunk) {
	select {
	case f.free <- c:
	default:
	}
}

// open takes up a record; where it is not ours, it is set aside, and the batch says that it is passed.
func (f *feed) open(r *record) (b aggregate.Batch, ours bool, err error) {
	frame, err := event.ParseFrame(r.value)
	if err == nil && frame.Len() != len(r.value) {
		err = errTrailing
	}
	switch {
	case err == nil:
		f.frame = frame
		// Where the position lies within the record, its first events were read before.
		f.at = int(min(max(f.from, Position(r.offset, 0, int(frame.Count)))-Position(r.offset, 0, int(frame.Count)), uint64(frame.Count)))
		return b, true, nil
	case errors.Is(err, event.ErrFrameVersion):
		return b, false, fmt.Errorf("kafka: the record at offset %d of partition %d of topic %s was written by a newer mailbeacon; update this one: %w: %w",
			r.offset, f.p.o.Partition, f.p.o.Topic.Name, err, aggregate.ErrBroken)
	}
	if err := f.setAside(r.offset, wholeRecord, r.value, err); err != nil {
		return b, false, err
	}
	b = aggregate.Batch{Offset: StartOf(r.offset + 1)}
	if errors.Is(err, event.ErrFrameBody) {
		if h, herr := event.ParseFrameHeader(r.value); herr == nil {
			b.Lost = uint64(h.Count)
		}
	}
	return b, false, nil
}

var errTrailing = errors.New("kafka: bytes follow the frame")

// batch decodes what is left of the frame, up to an event that can't be; that one is set aside by the
// next call, whose batch tells of it.
func (f *feed) batch() (aggregate.Batch, error) {
	count, offset := int(f.frame.Count), f.cur.records[f.next-1].offset
	if cap(f.events) < count {
		f.events = make([]event.Event, count)
	}
	n, bad := f.frame.Decode(f.events[:count-f.at], f.at)
	if n == 0 {
		content := f.frame.Records[f.at*event.Size : (f.at+1)*event.Size]
		if err := f.setAside(offset, uint32(f.at), content, bad); err != nil {
			return aggregate.Batch{}, err
		}
		f.at++
		return aggregate.Batch{Offset: Position(offset, f.at, count), Lost: 1}, nil
	}
	b := aggregate.Batch{
		Edge: f.frame.Edge, Epoch: f.frame.Epoch, First: f.frame.First + uint64(f.at),
		Offset: Position(offset, f.at, count), Events: f.events[:n],
	}
	f.at += n
	return b, nil
}

func (f *feed) setAside(offset int64, index uint32, content []byte, why error) error {
	o := &f.p.o
	kept, err := o.Quarantine.keep(entry{topic: o.Topic.ID, partition: uint32(o.Partition), index: index, offset: offset, content: content})
	if err != nil {
		return fmt.Errorf("kafka: set a record aside: %w", err)
	}
	o.Logger.Error("the topic holds something that is no frame of events; set aside", "offset", offset, "index", int32(index), "bytes", len(content), "kept", kept, "reason", why)
	return nil
}
