package kafka

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// resum gives a frame's header its sum.
func resum(b []byte) {
	binary.LittleEndian.PutUint32(b[44:], crc32.Checksum(b[:44], castagnoli))
}

// resumCursor gives a cursor its sum.
func resumCursor(b []byte) {
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
}

// deleteRequest is DeleteRecords in version 0, which the library does not have.
type deleteRequest struct {
	describeRequest
	before int64
}

type deleteResponse struct{ code int16 }

func (*deleteRequest) ApiKey() protocol.ApiKey  { return protocol.DeleteRecords }
func (*deleteResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

func (r *deleteRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	b := make([]byte, 4)
	b = binary.BigEndian.AppendUint16(b, uint16(protocol.DeleteRecords))
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, describeNumber)
	b = binary.BigEndian.AppendUint16(b, 0xffff)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.name)))
	b = append(b, r.name...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(r.partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.before))
	b = binary.BigEndian.AppendUint32(b, 5000)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(rw, answer); err != nil {
		return nil, err
	}
	return &deleteResponse{int16(binary.BigEndian.Uint16(answer[len(answer)-2:]))}, nil
}

// deleteRecords deletes the records of a topic's partition 0 before an offset.
func deleteRecords(tb testing.TB, k *Client, topic string, before int64) {
	tb.Helper()
	r := &deleteRequest{describeRequest{name: topic}, before}
	m, err := k.transport.RoundTrip(tb.Context(), k.client.Addr, r)
	must(tb, err)
	if code := m.(*deleteResponse).code; code != 0 {
		tb.Fatal(kafkago.Error(code))
	}
	eventually(tb, "the records are gone", func() bool {
		first, _, err := k.bounds(tb.Context(), topic, 0)
		return err == nil && first == before
	})
}

// answerOf is a valid answer to describeRequest.
func answerOf(partitions int) []byte {
	b := binary.BigEndian.AppendUint32(nil, describeNumber)
	b = append(b, 0, 0, 0, 0, 0)                // tags, throttled
	b = append(b, 2, 0, 0, 0, 1, 2, 'h')        // one broker
	b = append(b, 0, 0, 0, 9, 0, 1, 3, 2, 9, 9) // port, no rack, a tag
	b = append(b, 0, 0, 0, 0, 1)                // no cluster id, controller
	b = append(b, 2, 0, 0, 2, 't')              // one topic without error
	b = append(b, "0123456789abcdef"...)        //
	b = append(b, 0, byte(partitions+1))
	for range partitions {
		b = append(b, make([]byte, 14)...)
		b = append(b, 3, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0) // two replicas, none in sync, none offline
	}
	b = append(b, 0, 0, 0, 0, 0)
	return append(b, 0)
}

func TestParseDescribe(t *testing.T) {
	t.Parallel()
	r, err := parseDescribe(answerOf(3))
	if err != nil || r.code != 0 || r.topic.Partitions != 3 || r.topic.Replicas != 2 || r.topic.ID != TopicID([]byte("0123456789abcdef")) {
		t.Errorf("%+v, %v", r, err)
	}
	whole := answerOf(2)
	for n := range whole {
		if _, err := parseDescribe(whole[:n]); err == nil {
			t.Errorf("cut after %d bytes: taken", n)
		}
	}
	if _, err := parseDescribe(append(whole, 0)); err == nil {
		t.Error("too long: taken")
	}
}

func FuzzParseDescribe(f *testing.F) {
	f.Add(answerOf(1))
	f.Add(answerOf(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseDescribe(b); err == nil && r.topic.Partitions > len(b) {
			t.Errorf("%d partitions in %d bytes", r.topic.Partitions, len(b))
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add((&cursor{edge: 1, epoch: 2, next: 70_000, counts: []uint32{3, 4}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCursor(b)
		if err != nil {
			if !errors.Is(err, errBadCursor) && !errors.Is(err, errNewerCursor) {
				t.Error(err)
			}
			return
		}
		if again := c.encode(); string(again) != string(b) {
			t.Errorf("%x is read, and written as %x", b, again)
		}
	})
}

func TestCursorOfNewerVersion(t *testing.T) {
	t.Parallel()
	c := cursor{edge: 1, epoch: 2, next: 70_000, counts: []uint32{3, 4}}
	b := c.encode()
	for i := range b {
		changed := append([]byte(nil), b...)
		changed[i] ^= 1
		if _, err := parseCursor(changed); !errors.Is(err, errBadCursor) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	b[4] = 2
	resumCursor(b)
	if _, err := parseCursor(b); !errors.Is(err, errNewerCursor) {
		t.Errorf("%v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte("\x01kx"), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		e, err := decodeEntry(key, value)
		if err == nil && e.Check() != nil {
			t.Errorf("an entry that no log would take: %+v", e)
		}
	})
}
