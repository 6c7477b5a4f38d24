package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is how a server is loaded. With a rate the loop is open: requests are due at fixed moments
// whether or not the former ones were answered, and latency counts from the moment a request was
// due, so a server that stalls can't hide the requests that it kept from being sent. Without one it
// is closed: each connection sends the next request when it has its answer.
type load struct {
	conns    int
	rate     float64
	duration time.Duration
	warmUp   time.Duration
}

func (l *load) check() error {
	if l.conns < 1 || l.duration <= 0 || l.warmUp < 0 {
		return errors.New("-conns and -duration must be above 0, -warmup not below")
	}
	return nil
}

// result is what a load measured.
type result struct {
	Rate     float64           `json:"rate,omitempty"` // intended, 0 in a closed loop
	Conns    int               `json:"connections"`
	Seconds  float64           `json:"seconds"`
	Answered int64             `json:"answered"`
	PerSec   float64           `json:"per_second"`
	P50      time.Duration     `json:"p50_ns"`
	P99      time.Duration     `json:"p99_ns"`
	P999     time.Duration     `json:"p999_ns"`
	Max      time.Duration     `json:"max_ns"`
	Errors   map[string]uint64 `json:"errors"`
	// Processor is what the server used meanwhile, 0 where it is not known.
	Processor time.Duration `json:"processor_ns,omitempty"`
}

func (r *result) failed() (n uint64) {
	for _, c := range r.Errors {
		n += c
	}
	return n
}

// pick chooses the next request; it is called by many connections at once, each with its own rng.
type pick func(rng *rand.Rand) *request

// caller is one connection's part of a load.
type caller struct {
	wire   wire
	pick   pick
	rng    *rand.Rand
	hist   *hdrhistogram.Histogram // in microseconds
	errors map[string]uint64
}

const (
	shortest = int64(1)
	longest  = int64(answerTimeout / time.Microsecond * 6)
)

// run loads addr and returns what was measured after the warm-up. Every request that was sent is
// waited for, so that afterwards it is known of each whether it was answered.
func (l *load) run(ctx context.Context, addr string, p pick) (*result, error) {
	callers := make([]*caller, l.conns)
	for i := range callers {
		callers[i] = &caller{
			wire: wire{addr: addr, buf: make([]byte, 8<<10)}, pick: p,
			rng:  rand.New(rand.NewPCG(uint64(i), 1)),
			hist: hdrhistogram.New(shortest, longest, 2), errors: map[string]uint64{},
		}
		if err := callers[i].wire.connect(); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	from, until := begin.Add(l.warmUp), begin.Add(l.warmUp+l.duration)
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	var wg sync.WaitGroup
	for i, c := range callers {
		wg.Go(func() {
			defer c.wire.close()
			if l.rate > 0 {
				gap := time.Duration(float64(time.Second) / l.rate * float64(l.conns))
				c.open(begin.Add(gap*time.Duration(i)/time.Duration(l.conns)), gap, from, until, &stop)
				return
			}
			c.closed(from, until, &stop)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.gather(callers, time.Since(from)), nil
}

func (l *load) gather(callers []*caller, took time.Duration) *result {
	all := hdrhistogram.New(shortest, longest, 3)
	r := &result{Rate: l.rate, Conns: l.conns, Errors: map[string]uint64{}}
	for _, c := range callers {
		all.Merge(c.hist)
		for kind, n := range c.errors {
			r.Errors[kind] += n
		}
	}
	r.Answered, r.Seconds = all.TotalCount(), took.Seconds()
	r.PerSec = float64(r.Answered) / r.Seconds
	quantile := func(q float64) time.Duration { return time.Duration(all.ValueAtQuantile(q)) * time.Microsecond }
	r.P50, r.P99, r.P999, r.Max = quantile(50), quantile(99), quantile(99.9), quantile(100)
	return r
}

func (c *caller) closed(from, until time.Time, stop *atomic.Bool) {
	sent := time.Now()
	for sent.Before(until) && !stop.Load() {
		answered := c.one(sent, !sent.Before(from))
		sent = answered
	}
}

func (c *caller) open(due time.Time, gap time.Duration, from, until time.Time, stop *atomic.Bool) {
	for ; due.Before(until) && !stop.Load(); due = due.Add(gap) {
		if early := time.Until(due); early > 0 {
			time.Sleep(early)
		}
		c.one(due, !due.Before(from))
	}
}

// one makes a request and counts its latency from a moment; it returns when the answer was there.
func (c *caller) one(since time.Time, measure bool) time.Time {
	r := c.pick(c.rng)
	r.tally.sent.Add(1)
	err := c.wire.send(r, time.Now())
	if err == nil {
		err = c.wire.wait(r)
	}
	now := time.Now()
	if err != nil {
		kind := "other"
		var f *failure
		if errors.As(err, &f) {
			kind = f.kind
		}
		c.errors[kind]++
		return now
	}
	r.tally.answered.Add(1)
	if measure {
		// What is beyond the histogram's range counts as its longest.
		_ = c.hist.RecordValue(min(max(shortest, int64(now.Sub(since)/time.Microsecond)), longest))
	}
	return now
}

// tally counts the requests of one campaign and kind.
type tally struct {
	sent, answered atomic.Int64
}
