package kafka

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestCursorOfRecreatedTopic: what was acknowledged by a topic that was deleted, or by another of its name, does not move the cursor,
// neither while shipping nor at a stop. What was not saved before is still in the spool.
func TestCursorOfRecreatedTopic(t *testing.T) {
	t.Parallel()
	for name, every := range map[string]time.Duration{"while shipping": time.Millisecond, "at a stop": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shared(t), 1)
			r.append(1000)
			r.shipAll()
			before := Shipped(r.cursor())
			if before != r.spool.Stats().Next {
				t.Fatalf("shipped up to %d", before)
			}
			k := client(t, r.config)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			anew := false
			r.fail = func(step string) error {
				if step == "after produce" && !anew {
					anew = true
					deleteTopic(t, k, r.topic.Name)
					ensure(t, k, EventsTopic(r.topic.Name, 1, 0, 0))
				}
				return nil
			}
			s := r.newShipper(r.client())
			s.o.SaveEvery, s.o.StopTimeout = every, patience
			s.savedT = time.Now()
			r.append(100)
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			if every == time.Hour {
				r.awaitShipped(s)
				stop()
			}
			eventually(t, "it ends, or moves the cursor", func() bool { return len(ended) > 0 || Shipped(r.cursor()) != before })
			stop()
			// At a stop it asks once, and a topic that is young may not answer.
			var recreated *RecreatedError
			if err := <-ended; err == nil || every < time.Hour && (!errors.As(err, &recreated) || recreated.Was != r.topic.ID) {
				t.Errorf("it ended with %v", err)
			}
			if n := Shipped(r.cursor()); n != before {
				t.Errorf("the cursor moved from %d to %d, and the events are not in the topic", before, n)
			}
		})
	}
}

// TestNothingIsTrimmedWithoutItsCursor: while the cursor can't be written, what was shipped stays in the spool, and it goes as soon as it can.
func TestNothingIsTrimmedWithoutItsCursor(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 1)
	r.append(BlockEvents + 100)
	s := r.newShipper(r.client())
	trimmed := atomic.Uint64{}
	s.o.Spool.Trim = func(before uint64) error { trimmed.Store(before); return nil }
	away := r.cursor() + ".away"
	must(t, os.Rename(r.cursor(), away))
	must(t, os.Mkdir(r.cursor(), 0o700)) // nothing can be written there
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	eventually(t, "saving fails, and is tried again", func() bool { return s.Stats().Err != nil && s.Stats().Retries > 2 })
	if n := trimmed.Load(); n != 0 {
		t.Errorf("trimmed up to %d", n)
	}
	must(t, os.Remove(r.cursor()))
	must(t, os.Rename(away, r.cursor()))
	eventually(t, "what is noted is trimmed", func() bool { return trimmed.Load() == BlockEvents })
	stop()
	must(t, <-ended)
}
