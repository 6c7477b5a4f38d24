package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"time"
)

// contender is one server of the comparison.
type contender struct {
	name    string
	start   func(ctx context.Context, dir string) (*process, error)
	mail    *mailings // with what to load it; nil: paths of the same shape
	results []*result
	skipped string // why it does not run
}

func runCompare(ctx context.Context, args []string, out io.Writer) (err error) {
	o := options{}
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.IntVar(&o.load.conns, "conns", 256, "connections")
	fs.DurationVar(&o.load.duration, "duration", 10*time.Second, "how long to measure, each time")
	fs.DurationVar(&o.load.warmUp, "warmup", time.Second, "how long to load before that")
	fs.Float64Var(&o.load.rate, "rate", 0, "requests per second in an open loop; 0: closed loop")
	fs.Float64Var(&o.clicks, "clicks", 0, "share of clicks among mailbeacon's requests")
	fs.IntVar(&o.people, "people", 20_000, "people to mint for")
	rounds := fs.Int("rounds", 5, "how often each server's turn comes")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o.campaigns, o.links = 4, 5
	if err := o.check(); err != nil {
		return err
	}
	if *rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	dir, err := os.MkdirTemp("", "mailbeacon-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(out, "%d cores, %d connections, %d rounds of %v each; servers and generator share the machine\n\n",
		runtime.NumCPU(), o.load.conns, *rounds, o.load.duration)
	return compare(ctx, out, &o, dir, *rounds)
}

func compare(ctx context.Context, out io.Writer, o *options, dir string, rounds int) error {
	if err := buildMailbeacon(ctx, dir); err != nil {
		return err
	}
	contenders := []*contender{
		{name: "bare fasthttp, constant GIF", start: startBare},
		{name: "nginx empty_gif, access log", start: startNginx},
		{name: "mailbeacon, durable", start: startMailbeacon},
	}
	ours := contenders[2]
	servers := make([]*process, len(contenders))
	defer func() {
		for _, p := range servers {
			p.stop()
		}
	}()
	for i, c := range contenders {
		p, err := c.start(ctx, dir)
		if errors.Is(err, errAbsent) {
			c.skipped = err.Error()
			continue
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
		servers[i] = p
	}
	api, err := newAPI("", "", servers[2].data)
	if err != nil {
		return err
	}
	if ours.mail, err = prepare(ctx, api, o); err != nil {
		return err
	}
	for range rounds {
		for i, c := range contenders {
			if servers[i] == nil {
				continue
			}
			meter := time.AfterFunc(o.load.warmUp, servers[i].startMeter)
			r, err := o.load.run(ctx, servers[i].addr, c.picker(ours.mail))
			meter.Stop()
			if err != nil {
				return fmt.Errorf("load %s: %w", c.name, err)
			}
			if r.Processor, err = servers[i].readMeter(); err != nil {
				return fmt.Errorf("ask for the processor time of %s: %w", c.name, err)
			}
			c.results = append(c.results, r)
		}
	}
	if err := printComparison(out, contenders); err != nil {
		return err
	}
	for _, c := range contenders {
		for _, r := range c.results {
			fmt.Fprint(out, errorLines(r.Errors))
		}
	}
	verdict, err := ours.mail.verify(ctx, api)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, verdict)
	return nil
}

// picker gives the peers the very requests that mailbeacon gets, which they answer all alike.
func (c *contender) picker(mail *mailings) pick {
	if c.mail != nil {
		return c.mail.pick
	}
	same := &mailing{}
	for _, m := range mail.all {
		for _, r := range m.opens {
			same.opens = append(same.opens, &request{raw: r.raw, status: 200, body: gifBytes, tally: &same.open})
		}
	}
	return func(rng *rand.Rand) *request { return same.opens[rng.IntN(len(same.opens))] }
}
