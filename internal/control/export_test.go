package control

import "context"

// OnlyOnce reads one batch.
func (f *Follower) OnlyOnce(ctx context.Context) { _, _ = f.fold(ctx) }
