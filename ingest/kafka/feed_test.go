package kafka

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
)

// frameOf is a frame of n opens of a campaign, numbered from first.
func frameOf(n int, first uint64, campaign uint32) []byte {
	b := make([]byte, event.FrameHeaderSize+n*event.Size)
	for i := range n {
		ev := event.Event{Time: time.Now().UnixMilli(), Subject: first + uint64(i) + 1, Campaign: campaign, Kind: event.Open}
		ev.Put(b[event.FrameHeaderSize+i*event.Size:])
	}
	event.SealFrame(b, 1, 1, first)
	return b
}

// reseal gives a frame right sums after its body was changed.
func reseal(b []byte) []byte {
	h, err := event.ParseFrameHeader(b)
	if err != nil {
		panic(err)
	}
	event.SealFrame(b, h.Edge, h.Epoch, h.First)
	return b
}

func partition(tb testing.TB, k *Client, topic Topic, q *Quarantine, change func(*PartitionOptions)) *Partition {
	tb.Helper()
	o := PartitionOptions{Client: k, Topic: topic, Quarantine: q, Logger: testLogger(tb)}
	if change != nil {
		change(&o)
	}
	p, err := NewPartition(o)
	must(tb, err)
	return p
}

func openFeed(tb testing.TB, p *Partition, from uint64) aggregate.Feed {
	tb.Helper()
	f, err := p.Open(from, from)
	must(tb, err)
	tb.Cleanup(func() { f.Close() })
	return f
}

// next is the feed's next answer that is not a passing fault.
func next(tb testing.TB, f aggregate.Feed) (aggregate.Batch, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for {
		b, err := f.Next(ctx)
		if err != nil && !errors.Is(err, aggregate.ErrBroken) && ctx.Err() == nil {
			continue
		}
		return b, err
	}
}

func quarantineIn(tb testing.TB, dir string) *Quarantine {
	tb.Helper()
	q, err := OpenQuarantine(filepath.Join(dir, "quarantine"))
	must(tb, err)
	tb.Cleanup(func() { q.Close() })
	return q
}

// TestForeignRecords: what is no frame, or a damaged one, is set aside, and the rest counts.
func TestForeignRecords(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	body := frameOf(3, 20, 1)
	body[event.FrameHeaderSize+40] ^= 1
	head := frameOf(3, 30, 1)
	head[9] ^= 1
	inside := frameOf(5, 40, 1)
	inside[event.FrameHeaderSize+2*event.Size+24] = 77 // no kind
	last := frameOf(2, 50, 1)
	last[event.FrameHeaderSize+event.Size+24] = 77
	for _, value := range [][]byte{
		[]byte("hello"), frameOf(10, 0, 1), {}, body, head, append(frameOf(1, 35, 1), 0), reseal(inside), reseal(last), frameOf(4, 60, 1), []byte("bye"),
	} {
		write(t, k, topic.Name, 0, value)
	}
	dir := t.TempDir()
	q := quarantineIn(t, dir)
	run := func(from uint64) (events int, lost uint64, positions []uint64) {
		f := openFeed(t, partition(t, k, topic, q, nil), from)
		for last := uint64(0); last < 10<<positionBits; {
			b, err := next(t, f)
			must(t, err)
			events += len(b.Events)
			lost += b.Lost
			if b.Offset < last {
				t.Errorf("position %d after %d", b.Offset, last)
			}
			positions = append(positions, b.Offset)
			last = b.Offset + uint64(len(b.Events))
		}
		return events, lost, positions
	}
	const events, lost = 10 + 4 + 1 + 4, 3 + 1 + 1
	if n, l, _ := run(0); n != events || l != lost {
		t.Errorf("%d events and %d lost, want %d and %d", n, l, events, lost)
	}
	if n := q.Count(); n != 8 {
		t.Errorf("%d set aside, want 8", n)
	}
	if n, _, _ := run(0); n != events || q.Count() != 8 {
		t.Errorf("read again: %d events, %d set aside", n, q.Count())
	}
	must(t, q.Close())
	info, err := os.Stat(filepath.Join(dir, "quarantine"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	q = quarantineIn(t, dir)
	// From within a record, and as another process.
	if n, _, at := run(Position(1, 7, 10)); n != events-7 || at[0] != Position(1, 7, 10) || q.Count() != 0 {
		t.Errorf("from the middle: %d events, first at %d, %d set aside again", n, at[0], q.Count())
	}
	expectQuarantine(t, filepath.Join(dir, "quarantine"), topic)
}

func expectQuarantine(t *testing.T, path string, topic Topic) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	var offsets []int64
	for {
		e, _, err := readEntry(f)
		if err != nil {
			break
		}
		offsets = append(offsets, e.offset)
		if e.topic != topic.ID || e.partition != 0 {
			t.Errorf("entry of topic %v, partition %d", e.topic, e.partition)
		}
		if e.offset == 0 && string(e.content) != "hello" {
			t.Errorf("kept %q", e.content)
		}
		if e.offset == 6 && (e.index != 2 || len(e.content) != event.Size) {
			t.Errorf("event %d, %d bytes", e.index, len(e.content))
		}
	}
	if len(offsets) != 8 {
		t.Errorf("entries of %v", offsets)
	}
}

// TestForeignRecordsInAFold: the stored offset passes what was set aside, also at the end.
func TestForeignRecordsInAFold(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 1)
	k := client(t, r.config)
	write(t, k, r.topic.Name, 0, []byte("hello"))
	r.append(100)
	r.shipAll()
	write(t, k, r.topic.Name, 0, []byte("bye"))
	r.fold()
	r.awaitFolded()
	r.check()
}

func TestNewerFrame(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	// A frame of version 2, with the sum that it must have.
	b := frameOf(1, 0, 1)
	b[4] = 2
	resum(b)
	write(t, k, topic.Name, 0, b)
	if _, err := next(t, openFeed(t, partition(t, k, topic, quarantineIn(t, t.TempDir()), nil), 0)); !errors.Is(err, event.ErrFrameVersion) || !errors.Is(err, aggregate.ErrBroken) {
		t.Errorf("%v", err)
	}
}

// deleteTopic deletes a topic, and returns when it is gone.
func deleteTopic(tb testing.TB, k *Client, topic string) {
	tb.Helper()
	r, err := k.client.DeleteTopics(tb.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{topic}})
	must(tb, err)
	must(tb, r.Errors[topic])
	eventually(tb, "the topic is gone", func() bool {
		_, err := k.Topic(tb.Context(), topic)
		return errors.Is(err, kafkago.UnknownTopicOrPartition)
	})
}

// TestRecreatedTopic: a topic that was made anew stops its readers, whether it has more records than they
// read or fewer.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]int{"empty": 0, "shorter": 2, "as long": 5, "longer": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := sharedClient(t)
			spec := EventsTopic(newTopic(t), 1, 0, 0)
			old := ensure(t, k, spec)
			for i := range 5 {
				write(t, k, old.Name, 0, frameOf(1, uint64(i), 1))
			}
			dir := t.TempDir()
			f := openFeed(t, partition(t, k, old, quarantineIn(t, dir), nil), 0)
			for range 5 {
				if b, err := next(t, f); err != nil || len(b.Events) != 1 {
					t.Fatalf("%d events, %v", len(b.Events), err)
				}
			}
			must(t, Remember(filepath.Join(dir, "topics"), old))
			deleteTopic(t, k, old.Name)
			anew := ensure(t, k, spec)
			for i := range records {
				write(t, k, anew.Name, 0, frameOf(1, 100+uint64(i), 1))
			}
			var recreated *RecreatedError
			if records != 5 { // one that is exactly as long gives nothing away until it grows
				if _, err := next(t, f); !errors.As(err, &recreated) || recreated.Was != old.ID || recreated.Now != anew.ID {
					t.Fatalf("%v", err)
				}
				if _, err := next(t, f); !errors.As(err, &recreated) {
					t.Errorf("asked again: %v", err)
				}
			} else {
				write(t, k, anew.Name, 0, frameOf(1, 200, 1))
				if b, err := next(t, f); !errors.As(err, &recreated) {
					t.Errorf("%d events, %v", len(b.Events), err)
				}
			}
			if err := Remember(filepath.Join(dir, "topics"), anew); !errors.As(err, &recreated) {
				t.Errorf("remembered: %v", err)
			}
			if err := Remember(filepath.Join(dir, "topics"), old); err != nil {
				t.Error(err)
			}
			must(t, RememberAnew(filepath.Join(dir, "topics"), anew))
			if was, err := Remembered(filepath.Join(dir, "topics"), anew.Name); err != nil || was != anew.ID {
				t.Errorf("remembered anew: %v, %v", was, err)
			}
			must(t, Remember(filepath.Join(dir, "topics"), anew))
		})
	}
}

// TestLogStartPassed: records that were deleted before they were counted stop the reader.
func TestLogStartPassed(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	for i := range 10 {
		write(t, k, topic.Name, 0, frameOf(2, uint64(2*i), 1))
	}
	deleteRecords(t, k, topic.Name, 6)
	q := quarantineIn(t, t.TempDir())
	var lost *LostError
	if _, err := next(t, openFeed(t, partition(t, k, topic, q, nil), 3<<positionBits)); !errors.As(err, &lost) || !errors.Is(err, aggregate.ErrBroken) || lost.First != 6 || lost.Offset != 3 {
		t.Errorf("%v", err)
	}
	if _, err := next(t, openFeed(t, partition(t, k, topic, q, nil), 11<<positionBits)); !errors.As(err, &lost) || lost.Next != 10 {
		t.Errorf("beyond the end: %v", err)
	}
	if b, err := next(t, openFeed(t, partition(t, k, topic, q, nil), 6<<positionBits)); err != nil || b.First != 12 {
		t.Errorf("at the start: %+v, %v", b, err)
	}
	// What was deleted and is counted is not missed; one event more is.
	for counted, fine := range map[uint64]bool{StartOf(6): true, StartOf(9): true, StartOf(6) - 1: false} {
		f, err := partition(t, k, topic, q, nil).Open(StartOf(3), counted)
		must(t, err)
		b, err := next(t, f)
		if err == nil && len(b.Events) == 0 { // it works, from there on
			b, err = next(t, f)
		}
		if fine && (err != nil || b.First != 12) || !fine && !errors.As(err, &lost) {
			t.Errorf("counted up to %d: %+v, %v", counted, b, err)
		}
		must(t, f.Close())
	}
}

// TestRunnerStopsAtBrokenStream: the fold commits what it has and returns the error.
func TestRunnerStopsAtBrokenStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 1)
	r.append(1000)
	r.shipAll()
	stop := r.fold()
	r.awaitFolded()
	stop()
	r.append(1000)
	r.shipAll()
	k := client(t, r.config)
	_, end, err := k.bounds(t.Context(), r.topic.Name, 0)
	must(t, err)
	deleteRecords(t, k, r.topic.Name, end)
	var lost *LostError
	if err := r.runner(k, r.topic, 0, r.quarantine()).Run(t.Context()); !errors.As(err, &lost) {
		t.Errorf("%v", err)
	}
}

// TestLag: it is not known before the broker answered, and then counts from where the store stands.
func TestLag(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, EventsTopic(newTopic(t), 1, 0, 0))
	for i := range 5 {
		write(t, k, topic.Name, 0, frameOf(1, uint64(i), 1))
	}
	p := partition(t, k, topic, quarantineIn(t, t.TempDir()), nil)
	if n, known := p.Lag(); known {
		t.Errorf("%d is known before anything was read", n)
	}
	f := openFeed(t, p, 2<<positionBits)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if n, known := p.Lag(); known {
			if n != 3 {
				t.Errorf("%d records behind, want 3", n)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lag is never known")
		}
	}
	for left := int64(2); left >= 0; left-- {
		_, err := next(t, f)
		must(t, err)
		if n, known := p.Lag(); !known || n != left {
			t.Errorf("%d records behind (%t), want %d", n, known, left)
		}
	}
}
