package kafka

import (
	"errors"
	"fmt"
	"io"
	"net"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"mailbeacon/ingest/aggregate"
)

// RecreatedError says that a topic is another than it was: somebody deleted it and made it anew.
// Its offsets mean something else now.
type RecreatedError struct {
	Topic    string
	Was, Now TopicID
}

func (e *RecreatedError) Error() string {
	return fmt.Sprintf("kafka: topic %s was deleted and made anew (its id was %s and is %s): offsets are of the old one, and what that held and was not counted is gone", e.Topic, e.Was, e.Now)
}

// Is says that the stream is broken.
func (e *RecreatedError) Is(target error) bool { return target == aggregate.ErrBroken }

// LostError says that a partition does not hold the offset that is to be read next: records were
// deleted before they were read, or the partition ends before it.
type LostError struct {
	Topic     string
	Partition int
	Offset    int64 // wanted
	First     int64 // the first that is there
	Next      int64 // the one that the next record will get
}

func (e *LostError) Error() string {
	if e.Offset > e.Next {
		return fmt.Sprintf("kafka: partition %d of topic %s ends at offset %d, and was read up to %d before: it lost records that were acknowledged, or is another topic", e.Partition, e.Topic, e.Next, e.Offset)
	}
	return fmt.Sprintf("kafka: partition %d of topic %s begins at offset %d, and was read up to %d only: %d records were deleted before they were counted (retention.ms, retention.bytes)", e.Partition, e.Topic, e.First, e.Offset, e.First-e.Offset)
}

// Overtaken says that retention did it: what is left begins after what was to be read.
func (e *LostError) Overtaken() bool { return e.Offset < e.First }

// Is says that the stream is broken.
func (e *LostError) Is(target error) bool { return target == aggregate.ErrBroken }

// SettingError says which setting of a topic is wrong.
type SettingError struct {
	Topic   string
	Setting string // as Kafka calls it; "partitions" and "replication.factor" too
	Got     string
	Want    string
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("kafka: topic %s: %s is %s and must be %s", e.Topic, e.Setting, e.Got, e.Want)
}

// closed says whether the other side hung up.
func closed(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && op.Op != "dial"
}

// notWritten says whether a failed produce certainly wrote nothing, and may do better soon: the
// partition has no leader yet, or another one, or nobody could be connected to.
func notWritten(err error) bool {
	var code kafkago.Error
	if errors.As(err, &code) {
		switch code {
		case kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition, kafkago.NotEnoughReplicas,
			kafkago.BrokerNotAvailable:
			return true
		}
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || unrouted(err)
}

// unrouted says whether the client does not know yet whom to ask.
func unrouted(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader)
}
