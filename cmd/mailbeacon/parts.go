package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// parts are the parts of a server, run together. The first one that ends on its own ends the whole: half a
// server is worse than none, since a supervisor does not restart it.
type parts struct {
	ctx    context.Context // ends when the server is told to stop, or a part ended
	cancel context.CancelFunc
	logger *slog.Logger

	background context.Context // ends with Stop
	stop       context.CancelFunc
	wg         sync.WaitGroup

	mu  sync.Mutex
	err error
}

func newParts(ctx context.Context, logger *slog.Logger) *parts {
	g := &parts{logger: logger}
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.background, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	return g
}

// Go runs a part in the background until Stop. Parts go on after the group's end was asked for, so
// that what requests still under way need is there.
func (g *parts) Go(what string, run func(context.Context) error) {
	g.wg.Go(func() { g.ended(what, run(g.background)) })
}

// Serve runs a part that somebody else makes return.
func (g *parts) Serve(what string, run func() error) {
	g.wg.Go(func() { g.ended(what, run()) })
}

func (g *parts) ended(what string, err error) {
	if err != nil {
		g.mu.Lock()
		g.err = errors.Join(g.err, fmt.Errorf("%s: %w", what, err))
		g.mu.Unlock()
		g.logger.Error("a part of the server ended", "part", what, "error", err)
	}
	g.cancel()
}

// Wait blocks until the server is to stop: because it was told to, or because a part ended.
func (g *parts) Wait() { <-g.ctx.Done() }

// Stop ends the background parts, waits for everything, and returns what went wrong in any of it.
func (g *parts) Stop() error {
	g.stop()
	g.wg.Wait()
	g.cancel()
	return g.err
}
