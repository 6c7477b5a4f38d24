package proctest

import (
	bin "encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"
)

// Requests of Kafka's protocol that the product never makes: it deletes nothing, and writes
// nothing but what is its own.
const (
	produceKey       = 0
	deleteTopicsKey  = 20
	deleteRecordsKey = 21
)

// deleteRecords deletes what comes before an offset in a partition.
func deleteRecords(t *testing.T, addr, name string, partition int, before int64) {
	t.Helper()
	b := bin.BigEndian.AppendUint32(nil, 1) // one topic
	b = appendText(b, name)
	b = bin.BigEndian.AppendUint32(b, 1) // one partition
	b = bin.BigEndian.AppendUint32(b, uint32(partition))
	b = bin.BigEndian.AppendUint64(b, uint64(before))
	b = bin.BigEndian.AppendUint32(b, 10_000) // milliseconds
	answer := askKafka(t, addr, deleteRecordsKey, 0, b)
	if code := int16(bin.BigEndian.Uint16(answer[len(answer)-2:])); code != 0 {
		t.Fatalf("delete records of partition %d of %s: error %d", partition, name, code)
	}
}

// deleteTopic deletes a topic.
func deleteTopic(t *testing.T, addr, name string) {
	t.Helper()
	b := bin.BigEndian.AppendUint32(nil, 1) // one topic
	b = appendText(b, name)
	b = bin.BigEndian.AppendUint32(b, 10_000) // milliseconds
	answer := askKafka(t, addr, deleteTopicsKey, 1, b)
	if code := int16(bin.BigEndian.Uint16(answer[len(answer)-2:])); code != 0 {
		t.Fatalf("delete topic %s: error %d", name, code)
	}
}

// writeRecord writes one record of any bytes, without a key.
func writeRecord(t *testing.T, addr, topic string, partition int, value []byte) {
	t.Helper()
	writeKeyed(t, addr, topic, partition, nil, value)
}

// writeKeyed writes one record with a key, which a compacted topic wants.
func writeKeyed(t *testing.T, addr, topic string, partition int, key, value []byte) {
	t.Helper()
	batch := recordBatch(key, value)
	b := []byte{0xff, 0xff, 0xff, 0xff}       // no transaction, all acknowledge
	b = bin.BigEndian.AppendUint32(b, 10_000) // milliseconds
	b = bin.BigEndian.AppendUint32(b, 1)      // one topic
	b = appendText(b, topic)
	b = bin.BigEndian.AppendUint32(b, 1) // one partition
	b = bin.BigEndian.AppendUint32(b, uint32(partition))
	b = bin.BigEndian.AppendUint32(b, uint32(len(batch)))
	answer := askKafka(t, addr, produceKey, 3, append(b, batch...))
	at := 4 + 2 + len(topic) + 4 + 4 // behind topics, name, partitions, number
	if code := int16(bin.BigEndian.Uint16(answer[at:])); code != 0 {
		t.Fatalf("write to partition %d of %s: error %d", partition, topic, code)
	}
}

// recordBatch is a batch of one record; nil is no key.
func recordBatch(key, value []byte) []byte {
	r := []byte{0, 0, 0} // attributes, time and offset after the batch's
	if key == nil {
		r = bin.AppendVarint(r, -1)
	} else {
		r = append(bin.AppendVarint(r, int64(len(key))), key...)
	}
	r = bin.AppendVarint(r, int64(len(value)))
	r = append(append(r, value...), 0) // no headers
	record := append(bin.AppendVarint(nil, int64(len(r))), r...)

	now := uint64(time.Now().UnixMilli())
	b := make([]byte, 6, 64+len(record)) // attributes, offset of the last record
	b = bin.BigEndian.AppendUint64(b, now)
	b = bin.BigEndian.AppendUint64(b, now)
	for range 14 { // no producer's id, epoch and sequence
		b = append(b, 0xff)
	}
	b = bin.BigEndian.AppendUint32(b, 1)
	b = append(b, record...)

	head := make([]byte, 8, 21+len(b)) // the offset, which the broker gives
	head = bin.BigEndian.AppendUint32(head, uint32(9+len(b)))
	head = append(head, 0xff, 0xff, 0xff, 0xff, 2) // the leader's epoch, the format
	head = bin.BigEndian.AppendUint32(head, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return append(head, b...)
}

func appendText(b []byte, s string) []byte {
	return append(bin.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// askKafka sends one request and returns the answer behind its header.
func askKafka(t *testing.T, addr string, key, version uint16, body []byte) []byte {
	t.Helper()
	answer, err := exchange(addr, key, version, body)
	if err != nil || len(answer) < 16 {
		t.Fatalf("ask Kafka at %s (request %d): %v, %d bytes", addr, key, err, len(answer))
	}
	return answer
}

func exchange(addr string, key, version uint16, body []byte) ([]byte, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	head := bin.BigEndian.AppendUint16(nil, key)
	head = bin.BigEndian.AppendUint16(head, version)
	head = bin.BigEndian.AppendUint32(head, 7) // the answer's number
	head = appendText(head, "proctest")
	b := bin.BigEndian.AppendUint32(nil, uint32(len(head)+len(body)))
	if _, err := c.Write(append(append(b, head...), body...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, bin.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, err
	}
	if len(answer) < 4 || bin.BigEndian.Uint32(answer) != 7 {
		return nil, fmt.Errorf("an answer to another request")
	}
	return answer[4:], nil
}
