package control_test

import (
	"context"
	"testing"
	"time"

	"mailbeacon/internal/control"
)

// gated is a log whose reads wait for a turn.
type gated struct {
	control.Log
	turn chan struct{}
}

func (g gated) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	select {
	case <-g.turn:
		return g.Log.Read(ctx, after, limit)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestNotFreshWithABacklog: a follower that has read a part of what the log holds does not know of all refusals.
func TestNotFreshWithABacklog(t *testing.T) {
	log := control.NewMemory()
	put(t, log, 0, 100)
	g := gated{log, make(chan struct{})}
	f, err := control.OpenFollower(control.FollowerOptions{Log: g, Folders: []control.Folder{&keys{name: "keys"}}, Batch: 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	g.turn <- struct{}{}
	g.turn <- struct{}{} // the first ten are folded, the next ten are read
	for f.Applied() < 20 {
		time.Sleep(time.Millisecond)
	}
	if f.Fresh(5 * time.Second) {
		t.Errorf("fresh with %d of 100 entries folded", f.Applied())
	}
}
