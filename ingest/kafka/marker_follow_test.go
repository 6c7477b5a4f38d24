package kafka

import (
	"context"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// folded is a folder that keeps nothing.
type folded struct{}

func (folded) Name() string              { return "folded" }
func (folded) Apply(control.Entry) error { return nil }
func (folded) Snapshot() ([]byte, error) { return nil, nil }
func (folded) Restore([]byte) error      { return nil }

// writeForeign puts a record into a control topic that is not the control log's; without a key a compacted topic takes none.
func writeForeign(t *testing.T, k *Client, topic string) {
	t.Helper()
	_, err := k.produce(t.Context(), topic, 0, kafkago.NewRecordReader(kafkago.Record{Key: kafkago.NewBytes([]byte("foreign")), Value: kafkago.NewBytes([]byte("not ours"))}), 0)
	must(t, err)
}

// TestFollowerWithMarkerAtTheEnd: whoever follows the log to its end has to find it, though the last offset is a marker's, or a
// foreign record's, and then has to wait there.
func TestFollowerWithMarkerAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, *Client, string){
		"marker":  endTransaction,
		"foreign": writeForeign,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := sharedClient(t)
			topic := ensure(t, k, ControlTopic(newTopic(t), 0))
			log := OpenControlLog(k, topic.Name, testLogger(t))
			defer log.Close()
			last, err := log.Append(t.Context(), controltest.Record(0))
			must(t, err)
			spoil(t, k, topic.Name)
			if head, err := log.Head(t.Context()); err != nil || head != last {
				t.Errorf("the head is %d, %v; the last entry is %d", head, err, last)
			}
			f, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{folded{}}})
			must(t, err)
			if err := f.CatchUp(t.Context()); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			// A connection's own time-out may come a moment before the context's end, so any error will do.
			if err := log.Wait(ctx, last); err == nil {
				t.Error("waiting at the end is over, without an entry")
			}
			waited := make(chan error, 1)
			go func() { waited <- log.Wait(t.Context(), last) }()
			next, err := log.Append(t.Context(), controltest.Record(1))
			must(t, err)
			must(t, <-waited)
			if head, err := log.Head(t.Context()); err != nil || head != next {
				t.Errorf("the head is %d, %v; the last entry is %d", head, err, next)
			}
			must(t, f.CatchUp(t.Context()))
			if f.Applied() != next {
				t.Errorf("folded up to %d of %d", f.Applied(), next)
			}
		})
	}
}
