package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how soon after a signal another one is the same: timeout(1) and others send theirs to a process and to its group.
const sameSignal = 50 * time.Millisecond

// untilTold is ctx until the process is told to stop, by SIGINT or SIGTERM. A second one ends the process at once: what
// a stop waits for may never come, and whatever is kept survives a kill. release must be called once nothing is left to stop.
func untilTold(ctx context.Context, say io.Writer) (told context.Context, release func()) {
	told, cancel := context.WithCancel(ctx)
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for first := (time.Time{}); ; {
			select {
			case s := <-signals:
				if first.IsZero() {
					first = time.Now()
					cancel()
				} else if time.Since(first) > sameSignal {
					fmt.Fprintf(say, "mailbeacon: %v for the second time: ending at once, and not in order\n", s)
					os.Exit(exitCode(s))
				}
			case <-done:
				return
			}
		}
	}()
	return told, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// exitCode is what a shell says of a process that a signal ended.
func exitCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitFailure
}
