// Command bench is a load generator for mailbeacon that knows its public interface only, and a
// comparison with the peers one would measure it against. README.md has the last results.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

const usageText = `usage: go run ./bench [closed|open|compare|backlog|delay|consent|bare] [flags]

  closed   (the default) load a running server as fast as its answers come
  open     load it at a fixed rate; latency counts from the moment a request was due
  compare  bare fasthttp, nginx and mailbeacon in turn, each started here, one table
  backlog  a cluster that finds a full spool: how fast it ships and counts it
  delay    a cluster under load: how long until a request is in the report
  consent  a cluster of four edges: how long until a refusal holds on all of them
  bare     the peer: a fasthttp server that answers a constant GIF

Each takes -h. closed and open need a server that runs, and find its key in its data folder:

  go run ./cmd/mailbeacon serve --classify-window 1s     # in another terminal
  go run ./bench -duration 10s
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	command := "closed"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "closed", "open":
		return runLoad(ctx, command, args, out)
	case "compare":
		return runCompare(ctx, args, out)
	case "backlog":
		return runBacklog(ctx, args, out)
	case "delay":
		return runDelay(ctx, args, out)
	case "consent":
		return runConsent(ctx, args, out)
	case "bare":
		return runBare(ctx, args, out)
	case "help":
		_, err := io.WriteString(out, usageText)
		return err
	default:
		fmt.Fprint(os.Stderr, usageText)
		return fmt.Errorf("unknown command %q", command)
	}
}

// options of a load on a running server.
type options struct {
	admin, edge, data, key string
	people, links          int
	campaigns              int
	clicks                 float64
	asJSON                 bool
	load                   load
}

func (o *options) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.admin, "server", os.Getenv("MAILBEACON_SERVER"), "admin `URL`; by default what the data folder says")
	fs.StringVar(&o.edge, "edge", "", "connect to this `address` for the public side instead of the one in the minted URLs")
	fs.StringVar(&o.data, "data", "mailbeacon-data", "data `folder` of the server, for its address and key")
	fs.StringVar(&o.key, "key", os.Getenv("MAILBEACON_KEY"), "admin key")
	fs.IntVar(&o.campaigns, "campaigns", 4, "campaigns to make")
	fs.IntVar(&o.people, "people", 10_000, "people to mint for, over all campaigns")
	fs.IntVar(&o.links, "links", 5, "links of a campaign")
	fs.Float64Var(&o.clicks, "clicks", 0.2, "share of clicks among the requests; the rest are opens")
	fs.BoolVar(&o.asJSON, "json", false, "print JSON")
	fs.IntVar(&o.load.conns, "conns", 256, "connections")
	fs.DurationVar(&o.load.duration, "duration", 10*time.Second, "how long to measure")
	fs.DurationVar(&o.load.warmUp, "warmup", time.Second, "how long to load before that")
}

func (o *options) check() error {
	switch {
	case o.campaigns < 1 || o.people < o.campaigns || o.links < 1:
		return errors.New("-campaigns, -people and -links must be at least 1, and -people at least -campaigns")
	case o.clicks < 0 || o.clicks > 1:
		return errors.New("-clicks must be from 0 to 1")
	}
	return o.load.check()
}

func runLoad(ctx context.Context, command string, args []string, out io.Writer) error {
	var o options
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	o.flags(fs)
	if command == "open" {
		fs.Float64Var(&o.load.rate, "rate", 10_000, "requests per second")
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if command == "open" && o.load.rate <= 0 {
		return errors.New("-rate must be above 0")
	}
	if err := o.check(); err != nil {
		return err
	}
	api, err := newAPI(o.admin, o.key, o.data)
	if err != nil {
		return err
	}
	mail, err := prepare(ctx, api, &o)
	if err != nil {
		return err
	}
	r, err := o.load.run(ctx, mail.target(o.edge), mail.pick)
	if err != nil {
		return err
	}
	if o.asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else if err := printLoad(out, r); err != nil {
		return err
	}
	verdict, err := mail.verify(ctx, api)
	if err != nil {
		return err
	}
	if !o.asJSON {
		fmt.Fprintln(out, verdict)
	}
	return nil
}
