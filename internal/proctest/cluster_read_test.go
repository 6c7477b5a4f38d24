package proctest

import (
	bin "encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Two more requests of Kafka's protocol: they read whatever there is.
const (
	fetchKey    = 1
	metadataKey = 3
)

// cutter takes an answer of Kafka apart. What is missing ends the test.
type cutter struct {
	t *testing.T
	b []byte
}

func (c *cutter) take(n int) []byte {
	c.t.Helper()
	if n < 0 || n > len(c.b) {
		c.t.Fatalf("an answer of Kafka ends %d bytes too early", n-len(c.b))
	}
	head := c.b[:n]
	c.b = c.b[n:]
	return head
}

func (c *cutter) short() int { return int(int16(bin.BigEndian.Uint16(c.take(2)))) }
func (c *cutter) int() int   { return int(int32(bin.BigEndian.Uint32(c.take(4)))) }
func (c *cutter) text() string {
	n := c.short()
	if n < 0 {
		return ""
	}
	return string(c.take(n))
}

// topics are all topics of a broker, with their partitions.
func topics(t *testing.T, addr string) map[string]int {
	t.Helper()
	c := &cutter{t, askKafka(t, addr, metadataKey, 1, []byte{0xff, 0xff, 0xff, 0xff})}
	for range c.int() { // brokers: number, name, port, rack
		c.int()
		_ = c.text()
		c.int()
		_ = c.text()
	}
	c.int() // the controller
	all := map[string]int{}
	for range c.int() {
		c.short() // error
		name := c.text()
		c.take(1) // whether it is the broker's own
		all[name] = c.int()
		for range all[name] {
			c.take(2 + 4 + 4) // error, number, leader
			c.take(4 * c.int())
			c.take(4 * c.int())
		}
	}
	return all
}

// records are all batches of records that a partition has, as they came.
func records(t *testing.T, addr, topic string, partition int) []byte {
	t.Helper()
	var all []byte
	for next := uint64(0); ; {
		b := []byte{0xff, 0xff, 0xff, 0xff}       // no replica asks
		b = bin.BigEndian.AppendUint32(b, 0)      // milliseconds to wait
		b = bin.BigEndian.AppendUint32(b, 0)      // bytes at least
		b = bin.BigEndian.AppendUint32(b, 32<<20) // and at most
		b = append(b, 0)                          // also what is not committed
		b = bin.BigEndian.AppendUint32(b, 1)
		b = appendText(b, topic)
		b = bin.BigEndian.AppendUint32(b, 1)
		b = bin.BigEndian.AppendUint32(b, uint32(partition))
		b = bin.BigEndian.AppendUint64(b, next)
		b = bin.BigEndian.AppendUint32(b, 32<<20)
		c := &cutter{t, askKafka(t, addr, fetchKey, 4, b)}
		c.take(4 + 4) // throttle, one topic
		_ = c.text()
		c.take(4 + 4) // one partition, its number
		if code := c.short(); code != 0 {
			t.Fatalf("read partition %d of %s from %d: error %d", partition, topic, next, code)
		}
		end := bin.BigEndian.Uint64(c.take(8))
		c.take(8)                         // the last stable offset
		c.take(max(0, c.int()) * (8 + 8)) // aborted transactions
		got := c.take(max(0, c.int()))
		all = append(all, got...)
		from := next
		for len(got) >= 27 { // whole batches; offset, length, and where the last record is
			size := 12 + int(bin.BigEndian.Uint32(got[8:]))
			if size > len(got) {
				break
			}
			next = bin.BigEndian.Uint64(got) + uint64(bin.BigEndian.Uint32(got[23:])) + 1
			got = got[size:]
		}
		if next >= end || next == from {
			return all
		}
	}
}

// query asks the store over HTTP, in a format of its own.
func (c *cluster) query(statement, format string) string {
	c.t.Helper()
	ask := "http://" + c.store.HTTP + "/?" + url.Values{"default_format": {format}, "user": {"default"}, "password": {c.store.Password}}.Encode()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, ask, strings.NewReader(statement))
	must(c.t, err)
	resp, err := http.DefaultClient.Do(r)
	must(c.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: status %d, %v: %.300s", statement, resp.StatusCode, err, b)
	}
	return string(b)
}

// addKafka adds every record of every topic.
func (cs *contents) addKafka(t *testing.T, addr string) {
	t.Helper()
	for topic, partitions := range topics(t, addr) {
		for p := range partitions {
			cs.add(fmt.Sprintf("topic %s, partition %d", topic, p), string(records(t, addr, topic, p)))
		}
	}
}

// addTables adds every row of every table: what is not stored as it is shown, too.
func (cs *contents) addTables(c *cluster) {
	c.t.Helper()
	names := c.query("SELECT concat(database, '.`', name, '`') FROM system.tables WHERE database NOT IN ('system', 'information_schema', 'INFORMATION_SCHEMA') "+
		"OR database = 'system' AND name LIKE '%\\_log'", "TabSeparatedRaw")
	for name := range strings.Lines(names) {
		name = strings.TrimSpace(name)
		for _, format := range []string{"TabSeparatedRaw", "RowBinary"} {
			cs.add("table "+name+" as "+format, c.query("SELECT * FROM "+name, format))
		}
	}
}
