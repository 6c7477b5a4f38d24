package kafka

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// TopicID names one life of a topic: a topic that is deleted and made anew has another one.
type TopicID [16]byte

func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

func parseTopicID(s string) (id TopicID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("kafka: %q is no topic's id", s)
	}
	return TopicID(b), nil
}

// IsZero says whether this is nobody's id.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// Topic is what a broker says of a topic.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions int
	Replicas   int // of the partition that has the fewest
}

// Topic asks a broker for a topic, past the client's cache. Where there is no such topic,
// the error is kafka's UnknownTopicOrPartition.
func (k *Client) Topic(ctx context.Context, name string) (Topic, error) {
	return k.describe(ctx, describeRequest{name: name, partition: -1})
}

// topicAtLeader asks the broker that leads a partition.
func (k *Client) topicAtLeader(ctx context.Context, name string, partition int) (Topic, error) {
	return k.describe(ctx, describeRequest{name: name, partition: int32(partition)})
}

func (k *Client) describe(ctx context.Context, r describeRequest) (Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, k.c.Timeout)
	defer cancel()
	r.clientID = k.c.ClientID
	m, err := k.transport.RoundTrip(ctx, k.client.Addr, &r)
	if err != nil {
		return Topic{}, fmt.Errorf("kafka: ask for topic %s: %w", r.name, err)
	}
	answer, ok := m.(*describeResponse)
	if !ok {
		return Topic{}, fmt.Errorf("kafka: ask for topic %s: an answer of type %T", r.name, m)
	}
	if answer.code != 0 {
		return Topic{}, fmt.Errorf("kafka: topic %s: %w", r.name, kafkago.Error(answer.code))
	}
	answer.topic.Name = r.name
	return answer.topic, nil
}

// describeRequest is Metadata in version 12, the first that tells topic ids. The library knows up to
// version 8, so it is written and read here, on the library's connection.
type describeRequest struct {
	name      string
	partition int32 // whose leader is asked; -1: anybody
	clientID  string
}

type describeResponse struct {
	code  int16
	topic Topic
}

// ApiKey implements protocol.Message.
func (*describeRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }

// ApiKey implements protocol.Message.
func (*describeResponse) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Broker implements protocol.BrokerMessage.
func (r *describeRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	if p, ok := c.Topics[r.name].Partitions[r.partition]; ok {
		if b, ok := c.Brokers[p.Leader]; ok {
			return b, nil
		}
	}
	return protocol.Broker{ID: -1}, nil
}

// Required implements protocol.RawExchanger.
func (*describeRequest) Required(map[protocol.ApiKey]int16) bool { return true }

const describeNumber = 0x6d62 // correlates the answer; a connection carries one request at a time

// RawExchange implements protocol.RawExchanger.
func (r *describeRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	b := make([]byte, 4, 64+len(r.name)+len(r.clientID))
	b = binary.BigEndian.AppendUint16(b, uint16(protocol.Metadata))
	b = binary.BigEndian.AppendUint16(b, leastMetadata)
	b = binary.BigEndian.AppendUint32(b, describeNumber)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.clientID)))
	b = append(b, r.clientID...)
	b = append(b, 0)                                   // no tagged fields
	b = append(b, 2)                                   // one topic
	b = append(b, make([]byte, 16)...)                 // by its name, so without an id
	b = binary.AppendUvarint(b, uint64(len(r.name))+1) //
	b = append(b, r.name...)                           //
	b = append(b, 0)                                   // no tagged fields
	b = append(b, 0, 0, 0)                             // don't create it, no authorised operations, no tagged fields
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))    // the length
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 16<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(rw, answer); err != nil {
		return nil, err
	}
	return parseDescribe(answer)
}

// parseDescribe reads an answer, from the number of the request on.
func parseDescribe(b []byte) (*describeResponse, error) {
	w := &wire{b: b}
	if n := w.uint32(); n != describeNumber {
		return nil, fmt.Errorf("an answer to request %d instead of %d", n, describeNumber)
	}
	w.tags()
	w.uint32() // throttled for
	for range w.array() {
		w.uint32() // a broker's id, host, port and rack
		w.text()
		w.uint32()
		w.text()
		w.tags()
	}
	w.text()   // the cluster's id
	w.uint32() // the controller's
	topics := w.array()
	if topics != 1 && w.err == nil {
		return nil, fmt.Errorf("an answer of %d topics instead of one", topics)
	}
	r := &describeResponse{code: int16(w.uint16())}
	w.text() // its name
	copy(r.topic.ID[:], w.take(16))
	w.take(1) // internal?
	r.topic.Partitions = w.array()
	for i := range r.topic.Partitions {
		w.uint16() // error, index, leader and its epoch
		w.take(12)
		replicas := w.array()
		w.take(4 * replicas)
		for range 2 { // in sync, offline
			w.take(4 * w.array())
		}
		w.tags()
		if i == 0 || replicas < r.topic.Replicas {
			r.topic.Replicas = replicas
		}
	}
	w.uint32() // operations
	w.tags()
	w.tags()
	if w.err == nil && len(w.b) > 0 {
		w.err = fmt.Errorf("%d bytes too many", len(w.b))
	}
	if w.err != nil {
		return nil, fmt.Errorf("the answer can't be read: %w", w.err)
	}
	return r, nil
}

// wire reads Kafka's flexible encoding. After an error everything is zero.
type wire struct {
	b   []byte
	err error
}

func (w *wire) take(n int) []byte {
	if n < 0 || n > len(w.b) {
		w.fail(io.ErrUnexpectedEOF)
		return nil
	}
	b := w.b[:n]
	w.b = w.b[n:]
	return b
}

func (w *wire) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.b = nil
}

func (w *wire) uint16() uint16 {
	b := w.take(2)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func (w *wire) uint32() uint32 {
	b := w.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (w *wire) uvarint() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.fail(io.ErrUnexpectedEOF)
		return 0
	}
	w.b = w.b[n:]
	return v
}

// array is an array's length; a null array is empty.
func (w *wire) array() int {
	v := w.uvarint()
	if v > uint64(len(w.b))+1 {
		w.fail(errors.New("an array longer than the answer"))
		return 0
	}
	return max(0, int(v)-1)
}

// text passes over a string.
func (w *wire) text() {
	w.take(w.array())
}

// tags passes over tagged fields.
func (w *wire) tags() {
	for range w.uvarint() {
		if w.err != nil {
			return
		}
		w.uvarint()
		w.take(int(min(w.uvarint(), 1<<20)))
	}
}
