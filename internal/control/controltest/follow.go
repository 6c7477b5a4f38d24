package controltest

import (
	"context"
	"testing"

	"mailbeacon/internal/control"
)

// Follow has folders follow a log, caught up when it returns, until the test ends.
func Follow(tb testing.TB, log control.Log, folders ...control.Folder) *control.Follower {
	tb.Helper()
	f, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: folders})
	if err != nil {
		tb.Fatalf("open the follower: %v", err)
	}
	if err := f.CatchUp(tb.Context()); err != nil {
		tb.Fatalf("catch up: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			tb.Errorf("the follower ended: %v", err)
		}
	})
	return f
}
