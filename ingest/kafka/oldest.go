package kafka

import (
	"context"
	"time"

	"mailbeacon/ingest/event"
)

// cameAt is when the first of some events came that follow each other, in milliseconds, 0 if there are none. Of an event that is
// suppressed only the hour is kept; it came before what follows it.
func cameAt(events []event.Event, now time.Time) int64 {
	if len(events) == 0 {
		return 0
	}
	at := now.UnixMilli()
	for i := range events {
		if events[i].Reason == event.Counted {
			return min(at, events[i].Time)
		}
		at = min(at, events[i].Time+time.Hour.Milliseconds())
	}
	return at
}

// OldestAt is when the event came that has a number of the spool, as far as the spool tells, zero where it can't be read.
func OldestAt(ctx context.Context, s Spool, number uint64) time.Time {
	r, err := s.Reader(number)
	if err != nil {
		return time.Time{}
	}
	defer func() { _ = r.Close() }() // it only read
	some := make([]event.Event, 256)
	_, n, _, err := r.Next(ctx, some)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(cameAt(some[:n], time.Now()))
}
