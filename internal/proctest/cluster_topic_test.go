package proctest

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/kafka"
)

const eventsTopic = "mailbeacon.events"

// foreign are records that are not ours, or damaged.
func foreign() map[string][]byte {
	frame := func(kind event.Kind) []byte {
		b := make([]byte, event.FrameHeaderSize+2*event.Size)
		for i := range 2 {
			ev := event.Event{Time: time.Now().UnixMilli(), Subject: 7, Campaign: 1, Kind: kind}
			ev.Put(b[event.FrameHeaderSize+i*event.Size:])
		}
		event.SealFrame(b, 1, 1, 0)
		return b
	}
	flip := func(b []byte, at int) []byte {
		b[at] ^= 1
		return b
	}
	return map[string][]byte{
		"text":           []byte("somebody else's record"),
		"empty":          {},
		"cut short":      frame(event.Open)[:70],
		"bad header":     flip(frame(event.Open), 20),
		"bad body":       flip(frame(event.Open), event.FrameHeaderSize+3),
		"bytes after it": append(frame(event.Open), 1),
		"large":          bytes.Repeat([]byte{0xf5, 'M', 'B', 'E'}, 50_000),
	}
}

// foreignRecords puts records into every partition that are none of ours: they are set aside and counted
// as such, and the partition goes on.
func (f *faulted) foreignRecords(t *testing.T, lanes [][]*lane) {
	const set = "mailbeacon_quarantined_records_total"
	before, records := sum(f.consumers, set), foreign()
	f.drive(lanes, func() {
		for p := range testPartitions {
			for _, r := range records {
				writeRecord(t, f.broker.Addr(), eventsTopic, p, r)
			}
		}
		time.Sleep(time.Second)
	})
	f.drain()
	if got, want := sum(f.consumers, set)-before, float64(testPartitions*len(records)); got != want {
		t.Errorf("%v records were set aside, want %v", got, want)
	}
	kept := 0
	for i := range f.consumers {
		b, err := os.ReadFile(filepath.Join(f.folder("consume", i), "quarantine"))
		if err != nil {
			t.Error(err)
		}
		kept += bytes.Count(b, records["text"])
	}
	if kept < testPartitions {
		t.Errorf("the quarantine files hold %d of %d texts", kept, testPartitions)
	}
}

// recreatedTopic deletes the topic of events under load and makes it anew. Nothing of the new one is
// counted, and everybody says why; the edges serve.
func (f *faulted) recreatedTopic(t *testing.T) {
	before := f.lanesOf(f.api, "of-the-old-topic", 1)
	f.drive(before, func() { time.Sleep(time.Second) })
	f.check(t, f.api, before)

	lanes := f.lanesOf(f.api, "of-the-new-topic", 2)
	f.drive(lanes, func() {
		time.Sleep(300 * time.Millisecond)
		deleteTopic(t, f.broker.Addr(), eventsTopic)
		f.createTopic(t)
		for _, s := range f.consumers {
			await(t, "a consumer says that the topic was made anew", func() bool {
				status, body := s.readyz()
				return status == http.StatusServiceUnavailable && strings.Contains(body, "is stopped: ") && strings.Contains(body, anew)
			})
			await(t, "its log says so", func() bool { return strings.Contains(s.out.String(), anew) })
		}
		for i, s := range f.edges {
			await(t, "an edge says that the topic was made anew", func() bool {
				return strings.Contains(s.out.String(), anew) && s.metric("mailbeacon_ship_faulty") == 1
			})
			if status, body := s.readyz(); status != http.StatusOK {
				t.Errorf("edge %d is not ready: %s", i, body)
			}
		}
		time.Sleep(500 * time.Millisecond)
	})
	for _, mine := range before {
		mine[0].check(t.Context(), t, f.api)
	}
	f.noMoreThanAnswered(t, lanes)
	for edge, mine := range lanes {
		for _, l := range mine {
			if n := l.doubtful[open] + l.doubtful[click] + l.doubtful[refused]; n > 0 {
				t.Errorf("edge %d left %d requests without an answer", edge, n)
			}
		}
	}
	if n := sum(f.edges, "mailbeacon_ship_waiting_events"); n == 0 {
		t.Error("the edges keep nothing: what they took since is in a topic that nobody reads")
	}
	// Nor does a restart help: what is to be done is a person's to say.
	f.consumers[0].stop()
	s := f.launch("consume", 0)
	if code := s.wait(); code != 1 || !strings.Contains(s.out.String(), anew) {
		t.Errorf("a consumer that starts now: exit code %d\n%s", code, &s.out)
	}
	f.edges[0].stop()
	f.edges[0] = f.start("edge", 0)
	await(t, "an edge that starts now says so", func() bool { return strings.Contains(f.edges[0].out.String(), anew) })
}

// anew is what every role says of a topic that is another.
const anew = "was deleted and made anew"

// createTopic makes the topic of events as the admin does, once the old one is gone.
func (f *faulted) createTopic(t *testing.T) {
	k, err := kafka.NewClient(kafka.Config{Brokers: []string{f.broker.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	await(t, "the topic is made anew", func() bool {
		_, err = k.Ensure(t.Context(), kafka.EventsTopic(eventsTopic, testPartitions, 0, 0))
		return err == nil
	})
}
