package kafka

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
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

// TestLateOutlastsTheTopic: a refusal that an edge learned of late, and that was granted since, still holds where what it is about
// was acknowledged by a topic that was made anew before the cursor was saved, and is shipped again.
func TestLateOutlastsTheTopic(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 1)
	r.fresh.Store(false)
	var shipper atomic.Pointer[Shipper]
	late := consent.NewLate(r.fresh.Load, func() (uint64, uint64) {
		if s := shipper.Load(); s != nil {
			return s.Stats().Saved, r.spool.Stats().Next
		}
		return Shipped(r.cursor()), r.spool.Stats().Next
	})
	r.late = late.Reason
	const events = 100
	for range events {
		must(t, r.spool.Append(&event.Event{Time: time.Now().UnixMilli(), Subject: 8, Campaign: 1, Kind: event.Open}))
	}
	log, table := control.NewMemory(), consent.NewTable(consent.BasisSubject)
	r.consent = table
	for _, said := range []consent.State{consent.Refused, consent.Granted} {
		_, _, err := consent.NewWriter(log, controltest.Follow(t, log, consent.NewTable(consent.BasisSubject)), table).
			Change(t.Context(), consent.Change{Subject: 8, Opens: said, Source: "test"})
		must(t, err)
	}
	follower, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{table}, Before: late.Note, Hold: late.Holding})
	must(t, err)
	must(t, follower.CatchUp(t.Context()))

	s := r.newShipper(r.client())
	s.o.SaveEvery = time.Hour
	s.savedT = time.Now()
	shipper.Store(s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r.fresh.Store(true)
	r.awaitShipped(s)
	time.Sleep(control.Lease + 100*time.Millisecond) // no request that looked before the refusal is under way any more
	if !late.Holding() {
		t.Error("the refusal is forgotten before the cursor is saved")
	}
	k := client(t, r.config)
	deleteTopic(t, k, r.topic.Name)
	r.topic = ensure(t, k, EventsTopic(r.topic.Name, 1, 0, 0))
	stop()
	if err := <-ended; err == nil {
		t.Fatal("the cursor was saved though the topic is another")
	}
	s, end := r.ship()
	shipper.Store(s)
	r.awaitShipped(s)
	must(t, end())
	all := r.shipped()
	for _, ev := range all {
		if ev.Reason != event.OptedOut || ev.Subject != 0 {
			t.Fatalf("%+v left", ev)
		}
	}
	if len(all) != events {
		t.Errorf("%d events left", len(all))
	}
	if late.Holding() {
		t.Error("the refusal is held on to, and all is shipped and saved")
	}
}
