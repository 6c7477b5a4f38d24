package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// delay is how long after a request its event is in the report, in a cluster under load.
type delay struct {
	*roles
	window time.Duration
	every  time.Duration // between two opens of a campaign that is watched
	look   time.Duration // between two looks at its report
	load   load

	mu   sync.Mutex
	hist *hdrhistogram.Histogram // in milliseconds
}

func runDelay(ctx context.Context, args []string, out io.Writer) (err error) {
	d := &delay{hist: hdrhistogram.New(1, int64(10*time.Minute/time.Millisecond), 3)}
	fs := flag.NewFlagSet("delay", flag.ContinueOnError)
	fs.DurationVar(&d.window, "classify-window", 15*time.Second, "the consumer's setting")
	fs.DurationVar(&d.every, "every", 50*time.Millisecond, "time between two opens of a campaign that is watched")
	fs.DurationVar(&d.look, "look", 250*time.Millisecond, "time between two looks at its report; it counts as delay")
	fs.Float64Var(&d.load.rate, "rate", 2000, "requests a second of other campaigns meanwhile")
	fs.DurationVar(&d.load.duration, "duration", time.Minute, "how long to load")
	partitions := fs.Int("partitions", 12, "partitions of the topic")
	if err := fs.Parse(args); err != nil {
		return err
	}
	d.load.conns = 64
	if d.load.rate <= 0 || d.every <= 0 || d.look <= 0 {
		return errors.New("-rate, -every and -look must be above 0")
	}
	if d.roles, err = newRoles(ctx, *partitions); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	return d.measure(ctx, out)
}

func (d *delay) measure(ctx context.Context, out io.Writer) error {
	a, err := newAPI("", "", d.admin.data)
	if err != nil {
		return err
	}
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	if _, err := d.work(ctx, "edge", "--listen", listen); err != nil {
		return err
	}
	if _, err := d.work(ctx, "consume", "--classify-window", d.window.String()); err != nil {
		return err
	}
	others, err := prepare(ctx, a, &options{campaigns: 100, people: 100_000, links: 5, clicks: 0.2})
	if err != nil {
		return err
	}
	watched, err := prepare(ctx, a, &options{campaigns: 4, people: 4, links: 1})
	if err != nil {
		return err
	}
	until := time.Now().Add(d.load.duration)
	failures := make(chan error, len(watched.all))
	for _, m := range watched.all {
		// Not all of them at the same moment.
		time.Sleep(d.look / time.Duration(len(watched.all)))
		go func() { failures <- d.watch(ctx, a, listen, m, until) }()
	}
	r, err := d.load.run(ctx, listen, others.pick)
	for range watched.all {
		err = errors.Join(err, <-failures)
	}
	if err != nil {
		return err
	}
	if r.failed() > 0 {
		return fmt.Errorf("%d requests of the load failed: %v", r.failed(), r.Errors)
	}
	verdict, err := others.verify(ctx, a)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, verdict)
	t := newTable("from request to report", "events", "p50 s", "p99 s", "longest s")
	row := []any{fmt.Sprintf("window %v, %.0f requests/s beside it", d.window, r.PerSec), d.hist.TotalCount()}
	for _, q := range []float64{50, 99, 100} {
		row = append(row, fmt.Sprintf("%.2f", float64(d.hist.ValueAtQuantile(q))/1000))
	}
	t.AppendRow(row)
	_, err = fmt.Fprintln(out, t.Render())
	return err
}

// watch opens a campaign's mail again and again, and looks when each open is in the report. It is one
// person's mail, so the opens take the same way and arrive in their order.
func (d *delay) watch(ctx context.Context, a *api, addr string, m *mailing, until time.Time) error {
	var mu sync.Mutex
	var sent []time.Time
	opened := make(chan error, 1)
	go func() {
		w := wire{addr: addr, buf: make([]byte, 8<<10)}
		if err := w.connect(); err != nil {
			opened <- err
			return
		}
		defer w.close()
		for time.Now().Before(until) && ctx.Err() == nil {
			now := time.Now()
			err := w.send(m.opens[0], now)
			if err == nil {
				err = w.wait(m.opens[0])
			}
			if err != nil {
				opened <- fmt.Errorf("open %s: %w", m.name, err)
				return
			}
			mu.Lock()
			sent = append(sent, now)
			mu.Unlock()
			time.Sleep(d.every/2 + rand.N(d.every))
		}
		opened <- nil
	}()
	seen, ended := 0, false
	for deadline := until.Add(d.window + foldPatience); ; time.Sleep(d.look) {
		select {
		case err := <-opened:
			if err != nil {
				return err
			}
			ended = true
		default:
		}
		n, _, err := a.totals(ctx, m.name)
		if err != nil {
			return err
		}
		now := time.Now()
		mu.Lock()
		all := sent
		mu.Unlock()
		if int(n) > len(all)+1 { // one may have been counted before its answer was here
			return fmt.Errorf("%w: %s reports %d opens of %d", errTotals, m.name, n, len(all))
		}
		d.mu.Lock()
		for ; seen < min(int(n), len(all)); seen++ {
			_ = d.hist.RecordValue(now.Sub(all[seen]).Milliseconds())
		}
		d.mu.Unlock()
		if ended && seen == len(all) {
			return nil
		}
		if now.After(deadline) {
			return fmt.Errorf("%w: %s reports %d opens of %d", errTotals, m.name, n, len(all))
		}
	}
}
