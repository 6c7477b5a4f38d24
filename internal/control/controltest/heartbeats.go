package controltest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"mailbeacon/internal/control"
)

// heartbeats: a follower is fresh while somebody beats, not before, and not a lease after.
func heartbeats(t *testing.T, log control.Log) {
	appendAll(t, log, Record(0), control.Heartbeat(), Record(1))
	f := Follow(t, log, nothing{})
	if time.Sleep(2 * control.HeartbeatEvery); f.Fresh() {
		t.Error("fresh by a heartbeat that was there before")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- control.Beat(ctx, log, slog.New(slog.DiscardHandler)) }()
	within(t, "fresh while somebody beats", f.Fresh)
	stop()
	if err := <-ended; err != nil {
		t.Fatalf("the beat ended: %v", err)
	}
	time.Sleep(control.Lease)
	if f.Fresh() {
		t.Error("fresh a lease after the last heartbeat")
	}
	appendAll(t, log, Record(2))
	if err := f.CatchUp(t.Context()); err != nil || f.Fresh() {
		t.Errorf("fresh %v by other records (%v)", f.Fresh(), err)
	}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s within %s", what, patience)
		}
	}
}

// nothing is a folder of no state.
type nothing struct{}

func (nothing) Name() string              { return "nothing" }
func (nothing) Apply(control.Entry) error { return nil }
func (nothing) Snapshot() ([]byte, error) { return nil, nil }
func (nothing) Restore([]byte) error      { return nil }
