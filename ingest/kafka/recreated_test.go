package kafka

import (
	"context"
	"errors"
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
