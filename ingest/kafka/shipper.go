package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/internal/kept"
)

const (
	// BlockEvents is the length of a block: a run of spool numbers that starts at a multiple of it. It is part of
	// how events are numbered in their partitions (FORMAT.md).
	BlockEvents = 1 << 16

	// DefaultSaveEvery is how often the cursor is written while there is more to ship.
	DefaultSaveEvery = 100 * time.Millisecond

	// noteEvery is how long what was shipped of a block may stay in a spool that is quiet.
	noteEvery = 2 * time.Minute

	shipStopTimeout = 10 * time.Second
	gatePoll        = 20 * time.Millisecond
)

// Spool is what the shipper needs of one; see ingest/spool.
type Spool struct {
	Edge, Epoch uint64
	// Reader opens a reader at a number.
	Reader func(from uint64) (aggregate.SpoolReader, error)
	// Bounds are the first number that can be read, and the one that the next event gets.
	Bounds func() (first, next uint64)
	// Trim says that nothing before a number will be read again.
	Trim func(before uint64) error
}

// OfSpool is s as the shipper needs it.
func OfSpool(s *spool.Spool) Spool {
	edge, epoch := s.Identity()
	return Spool{
		Edge: edge, Epoch: epoch,
		Reader: func(from uint64) (aggregate.SpoolReader, error) { return s.Reader(from) },
		Bounds: func() (first, next uint64) { st := s.Stats(); return st.First, st.Next },
		Trim:   s.Trim,
	}
}

// Compression is how records are compressed on the wire and on the brokers' disks.
type Compression string

// The codecs; the empty Compression is none.
const (
	Uncompressed Compression = "none"
	Snappy       Compression = "snappy"
	LZ4          Compression = "lz4"
	Zstd         Compression = "zstd"
)

var codecs = map[Compression]kafkago.Compression{"": 0, Uncompressed: 0, Snappy: kafkago.Snappy, LZ4: kafkago.Lz4, Zstd: kafkago.Zstd}

// ShipperOptions are what a Shipper is made of. Client, Topic, Spool, Cursor, Consent, Campaigns and
// Fresh are needed.
type ShipperOptions struct {
	Client *Client
	// Topic is what Ensure or Verify said of the events' topic.
	Topic Topic
	Spool Spool
	// Cursor is the file of how far was shipped.
	Cursor string
	// Grown says that the topic may have had fewer partitions when something was shipped to it (see Grown). It matters where the
	// cursor is lost.
	Grown bool
	// Consent and Campaigns are asked again before an event leaves, and before each further try.
	Consent   kept.Consent
	Campaigns kept.Campaigns
	// Fresh says whether these two know of all changes. While it is false nothing leaves. It is asked after events
	// were read and before the two are asked about them: then it need only speak of events that were recorded before.
	Fresh func() bool
	// Late is asked about what Consent lets count, by its number in the spool; nil is everything counts.
	Late        func(kind event.Kind, subject, number uint64) event.Reason
	Compression Compression
	// SaveEvery is how often the cursor is written while there is more to ship; DefaultSaveEvery if 0.
	SaveEvery time.Duration
	// StopTimeout is how long what is under way may take once Run is told to stop; 10 s if 0.
	StopTimeout time.Duration
	Logger      *slog.Logger // nil: silent

	noteEvery time.Duration           // noteEvery if 0, never if below
	fail      func(step string) error // tests end the shipper before and after each step
}

func (o *ShipperOptions) complete() error {
	switch {
	case o.Client == nil || o.Topic.Name == "" || o.Topic.ID.IsZero() || o.Topic.Partitions <= 0:
		return errors.New("kafka: a shipper needs a client and a topic")
	case o.Topic.Partitions > maxPartitions:
		return fmt.Errorf("kafka: topic %s has %d partitions, and an edge can ship to at most %d", o.Topic.Name, o.Topic.Partitions, maxPartitions)
	case o.Spool.Reader == nil || o.Spool.Bounds == nil || o.Spool.Trim == nil || o.Cursor == "":
		return errors.New("kafka: a shipper needs a spool and a file for its cursor")
	case o.Consent == nil || o.Campaigns == nil || o.Fresh == nil:
		return errors.New("kafka: a shipper needs to know who may be counted, of which campaigns dates alone are kept, and whether that is up to date")
	}
	if _, ok := codecs[o.Compression]; !ok {
		return fmt.Errorf("kafka: compression %q is none of none, snappy, lz4, zstd", o.Compression)
	}
	if o.SaveEvery <= 0 {
		o.SaveEvery = DefaultSaveEvery
	}
	if o.noteEvery == 0 {
		o.noteEvery = noteEvery
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = shipStopTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.fail == nil {
		o.fail = func(string) error { return nil }
	}
	return nil
}

// Shipper brings a spool's events to Kafka, each into the partition of its subject, and trims the spool
// behind itself. It reads a round of events, writes one record to each partition that has any, waits for all
// acknowledgements, and only then moves the cursor. Numbers are given by a rule that depends on the
// spool alone (FORMAT.md), so that what is shipped again after a crash is known as a repetition, however
// it is cut into records the second time.
type Shipper struct {
	o       ShipperOptions
	rule    kept.Rule
	cur     cursor
	files   cursorFiles
	doubt   uint64 // numbers below may be in Kafka beyond what the cursor says, divided as it says
	lanes   []lane
	buf     []event.Event
	pending []event.Event // of buf, not shipped yet; the first is the cursor's
	saved   uint64        // the cursor in the file
	savedT  time.Time
	noted   uint64 // the division in its file
	notedT  time.Time
	trimmed uint64 // the spool, up to here
	wrote   int    // a partition that took a record of the last round
	status  shipStatus
}

// NewShipper checks the options and reads the cursor. Of a cursor that is damaged a copy is kept
// (name.bad), and shipping starts at the spool's beginning: what is repeated is known as such. Where too much is lost
// for that it is an error that says what to do.
func NewShipper(o ShipperOptions) (*Shipper, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Shipper{o: o, rule: kept.Rule{Consent: o.Consent, Campaigns: o.Campaigns}, buf: make([]event.Event, MaxFrameEvents)}
	if err := s.restore(); err != nil {
		return nil, err
	}
	s.saved, s.savedT, s.notedT = s.cur.next, time.Now(), time.Now()
	_, s.doubt = o.Spool.Bounds()
	s.status.next.Store(s.cur.next)
	s.status.saved.Store(s.saved)
	if len(s.cur.counts) > o.Topic.Partitions {
		return nil, fmt.Errorf("kafka: topic %s has %d partitions, and this spool was shipped to %d: it was made anew, with too few; make it with as many, or more: events have numbers by it that they must keep", o.Topic.Name, o.Topic.Partitions, len(s.cur.counts))
	}
	s.setLanes(len(s.cur.counts))
	return s, nil
}

// restore sets the cursor from its file, or to the spool's beginning.
func (s *Shipper) restore() (err error) {
	if s.files, err = openCursorFiles(s.o.Cursor); err != nil {
		return err
	}
	b := beginning{edge: s.o.Spool.Edge, epoch: s.o.Spool.Epoch, partitions: s.o.Topic.Partitions, grown: s.o.Grown}
	b.first, b.next = s.o.Spool.Bounds()
	s.cur, s.noted, err = s.files.restore(b, s.o.Logger)
	if s.files.lost {
		s.status.cursorsLost.Store(1)
	}
	return err
}

func (s *Shipper) setLanes(n int) {
	s.lanes = make([]lane, n)
	for i := range s.lanes {
		s.lanes[i] = lane{Shipper: s, partition: i}
	}
	s.status.partitions.Store(int64(n))
}

// Run ships until ctx ends; then what is under way is finished, within StopTimeout, and the cursor
// saved. Faults of Kafka and of the disk are logged and outlasted. An error is one of the spool's that
// can't heal by waiting, the cursor's, or a *RecreatedError: the topic is another, and the cursor
// stands where it was known to be the same. Run must not be called twice.
func (s *Shipper) Run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(s.o.StopTimeout, cancel) })()
	r, err := s.o.Spool.Reader(s.cur.next)
	if err != nil {
		return fmt.Errorf("ship: open the spool at %d: %w", s.cur.next, err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			s.o.Logger.Warn("closing the spool's reader failed", "error", err)
		}
	}()
	// What was shipped before a restart is of no more use either, and nothing else may come for long.
	if err := s.trim(); err != nil {
		s.o.Logger.Warn("the spool can't be trimmed; trying again with the next events", "error", err)
	}
	for retry := (backoff{}); ; {
		err := s.round(ctx, hard, r)
		switch {
		case err == nil:
			retry = backoff{}
		case ctx.Err() != nil:
			return s.ended(hard, err)
		case fatal(err):
			return fmt.Errorf("ship: %w", err)
		default:
			s.status.retries.Add(1)
			s.status.fault(err)
			s.o.Logger.Warn("shipping: trying again", "error", err)
			retry.wait(ctx)
		}
	}
}

// ended saves the cursor at the end.
func (s *Shipper) ended(hard context.Context, err error) error {
	var crash *crashError
	if errors.As(err, &crash) {
		return err
	}
	if err := s.save(hard); err != nil {
		return err
	}
	s.notedT = time.Time{} // nobody will look at the clock again
	return s.note()
}

// crashError is a test's: the process is as good as dead.
type crashError struct{ step string }

func (e *crashError) Error() string { return "crashed " + e.step }

func fatal(err error) bool {
	var crash *crashError
	var trimmed *spool.TrimmedError
	var ahead *spool.AheadError
	return errors.As(err, &crash) || errors.As(err, &trimmed) || errors.As(err, &ahead) || errors.Is(err, spool.ErrClosed) || errors.Is(err, aggregate.ErrBroken)
}

// round ships one round of events.
func (s *Shipper) round(ctx, hard context.Context, r aggregate.SpoolReader) error {
	if len(s.pending) == 0 {
		if err := s.read(ctx, r); err != nil || len(s.pending) == 0 {
			return err
		}
	}
	if err := s.regroup(hard); err != nil {
		return err
	}
	// A round ends where the block does, since the numbers start anew there.
	n := int(min(uint64(len(s.pending)), BlockEvents-s.cur.next%BlockEvents))
	s.divide(s.pending[:n])
	if err := s.send(ctx, hard); err != nil {
		return err
	}
	s.wait(s.pending[n:])
	s.moved(n)
	if time.Since(s.savedT) < s.o.SaveEvery {
		return nil
	}
	return s.save(hard)
}

// regroup divides the events among all partitions of a topic that has got more. It does so only where
// numbers allow it: at the start of a block, with nothing in doubt, and once it is noted that all before is shipped.
func (s *Shipper) regroup(ctx context.Context) error {
	if len(s.lanes) == s.o.Topic.Partitions || s.cur.next%BlockEvents != 0 || s.cur.next < s.doubt {
		return nil
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	next := s.cur
	next.counts = make([]uint32, s.o.Topic.Partitions)
	if err := s.o.fail("before division"); err != nil {
		return err
	}
	if err := s.files.saveDivision(&next); err != nil {
		return err
	}
	if err := s.o.fail("after division"); err != nil {
		return err
	}
	s.o.Logger.Info("the topic has more partitions; events are divided among all of them from here on",
		"number", s.cur.next, "before", len(s.lanes), "now", s.o.Topic.Partitions)
	s.cur, s.noted = next, next.next
	s.setLanes(s.o.Topic.Partitions)
	return nil
}

// read reads events; none where it is time to save the cursor, or to note it.
func (s *Shipper) read(ctx context.Context, r aggregate.SpoolReader) error {
	limited, cancel := ctx, context.CancelFunc(func() {})
	dirty := s.saved != s.cur.next
	switch {
	case dirty:
		limited, cancel = context.WithDeadline(ctx, s.savedT.Add(s.o.SaveEvery))
	case s.notes():
		limited, cancel = context.WithDeadline(ctx, s.notedT.Add(s.o.noteEvery))
	}
	defer cancel()
	first, n, skipped, err := r.Next(limited, s.buf)
	if skipped > 0 {
		s.status.lost.Add(skipped)
		s.o.Logger.Error("events of the spool can't be read any more and are lost", "events", skipped, "before", first)
	}
	if n > 0 || skipped > 0 {
		s.pass(first)
		s.wait(s.buf[:n])
		return nil
	}
	switch {
	case limited.Err() == nil || ctx.Err() != nil:
		return err
	case dirty:
		return s.save(ctx)
	default:
		return s.note()
	}
}

// wait takes events as those that are to be shipped next.
func (s *Shipper) wait(events []event.Event) {
	s.pending = events
	s.status.oldest.Store(cameAt(events, time.Now()))
}

// pass moves over numbers that nobody will see.
func (s *Shipper) pass(to uint64) {
	if to/BlockEvents != s.cur.next/BlockEvents {
		clear(s.cur.counts)
	}
	s.cur.next = to
}

// divide gives each event to the lane of its subject, which depends on what the spool holds and on
// nothing else: not on what consent says today.
func (s *Shipper) divide(events []event.Event) {
	for i := range s.lanes {
		l := &s.lanes[i]
		l.events, l.numbers = l.events[:0], l.numbers[:0]
		l.first = s.cur.next - s.cur.next%BlockEvents + uint64(s.cur.counts[i])
	}
	for i := range events {
		l := &s.lanes[partitionOf(&events[i], s.cur.next+uint64(i), len(s.lanes))]
		l.events = append(l.events, events[i])
		l.numbers = append(l.numbers, s.cur.next+uint64(i))
	}
}

// partitionOf is the partition of an event with a number: that of its subject, or of its number where it
// has none.
func partitionOf(ev *event.Event, number uint64, partitions int) int {
	key := ev.Subject
	if key == 0 {
		key = number * 0x9e3779b97f4a7c15
	}
	return int((key >> 32) * uint64(partitions) >> 32)
}

// send writes what the lanes hold, and returns when all of it is acknowledged.
func (s *Shipper) send(ctx, hard context.Context) error {
	var all sync.WaitGroup
	for i := range s.lanes {
		if l := &s.lanes[i]; len(l.events) > 0 {
			all.Go(func() { l.err = l.ship(ctx, hard) })
		}
	}
	all.Wait()
	var failed []error
	for i := range s.lanes {
		if l := &s.lanes[i]; len(l.events) > 0 {
			failed = append(failed, l.err)
		}
	}
	return errors.Join(failed...)
}

// moved moves the cursor behind a round.
func (s *Shipper) moved(n int) {
	for i := range s.lanes {
		if l := len(s.lanes[i].events); l > 0 {
			s.cur.counts[i] += uint32(l)
			s.wrote = i
		}
	}
	s.pass(s.cur.next + uint64(n))
	s.status.shipped.Add(uint64(n))
	s.status.next.Store(s.cur.next)
	s.status.fault(nil)
}

// sameTopic finds out whether what was acknowledged went to the topic that is meant: one that was made
// anew under its name takes records just as well. It is asked after the records, so a topic that is
// the same now was the same then.
func (s *Shipper) sameTopic(ctx context.Context) error {
	t, err := s.o.Client.topicAtLeader(ctx, s.o.Topic.Name, s.wrote)
	if err != nil {
		return err
	}
	if t.ID != s.o.Topic.ID {
		return &RecreatedError{Topic: s.o.Topic.Name, Was: s.o.Topic.ID, Now: t.ID}
	}
	return nil
}
