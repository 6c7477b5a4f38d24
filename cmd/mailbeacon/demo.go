package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/demo"
	"mailbeacon/internal/mint"
)

// demoData is the folder of a demo that names none.
const demoData = "mailbeacon-demo"

func newDemoCommand(c *cli) *cobra.Command {
	seed := uint64(demo.DefaultSeed)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Fill a new folder with a season of made-up campaigns, and serve it to look at",
		Long: `Fill a new data folder with three months of campaigns that never were, then serve it as mailbeacon serve does.
Ten thousand people with made-up addresses at example domains get mail, read it, follow links and change their
minds, with their mail programs and the scanners before them. All of it goes the real way: tokens from the minter,
every open and click as a request over HTTP, the write-ahead log, the fold and SQLite.

The folder must not exist, or be empty. Events and campaigns stand in the past, decisions at the time at which the
demo was made. Ctrl-C while the folder is filled leaves one that can be removed. --seed makes another season.`,
		Example: "  mailbeacon demo\n  mailbeacon demo --data /tmp/look --seed 7",
		Args:    cobra.NoArgs,
	}
	flags := cmd.Flags()
	config.FlagsOf(flags, "data", "listen", "admin", "stop-timeout", "log-format", "log-level")
	folder := flags.Lookup("data")
	folder.DefValue = demoData
	flags.Uint64Var(&seed, "seed", seed, "which season it is; the same seed makes the same")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !folder.Changed { // MAILBEACON_DATA names a folder in use
			if err := flags.Set(folder.Name, demoData); err != nil {
				return err
			}
		}
		cfg, err := demoSettings(flags, os.Environ())
		if err != nil {
			return usage(err)
		}
		if err := emptyFolder(cfg.Data); err != nil {
			return usage(err)
		}
		ctx, release := untilTold(cmd.Context(), cmd.ErrOrStderr())
		defer release()
		public, private, err := listen(ctx, cfg) // a port that is taken is told of now, not after the season
		if err != nil {
			return err
		}
		closeQuietly(public, private)
		season := demo.New(demo.Options{Seed: seed, Until: time.Now()})
		if err := fillDemo(ctx, c, cfg, season); err != nil {
			return abandoned(ctx, cfg.Data, err)
		}
		fmt.Fprint(c.stdout, whereToLook(programName(), cfg.Data))
		return serve(ctx, c, cfg)
	}
	return cmd
}

// demoSettings are those of a demo: what it has flags for, and the defaults of all else. Of what is set for a real server nothing
// holds: its mailer must not hear of people who never were, and its reports must not be written over.
func demoSettings(flags *pflag.FlagSet, environ []string) (*config.Config, error) {
	cfg, err := config.Load(flags, environ, config.Serve)
	if err != nil {
		return nil, err
	}
	none := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	config.Flags(none, config.Serve)
	plain, err := config.Load(none, nil, config.Serve)
	if err != nil {
		return nil, err
	}
	plain.Data, plain.Listen, plain.Admin = cfg.Data, cfg.Listen, cfg.Admin
	plain.StopTimeout, plain.LogFormat, plain.LogLevel = cfg.StopTimeout, cfg.LogFormat, cfg.LogLevel
	return plain, nil
}

// emptyFolder refuses a folder that there is something in.
func emptyFolder(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look into the folder for the demo: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("the folder %s is not empty: a demo fills a new one only. Name another with --data, or, if a demo made it, "+
			"look at it again with: %s serve --data %s", path, programName(), shellWord(path))
	}
	return nil
}

// abandoned says what is to be done with a folder that was not filled.
func abandoned(ctx context.Context, data string, err error) error {
	if ctx.Err() != nil {
		err = errors.New("stopped before the season was over")
	}
	return fmt.Errorf("demo: %w. The folder %s is not a whole demo: remove it (rm -r %s) and start again", err, data, shellWord(data))
}

// whereToLook are commands that show what a demo is made to show.
func whereToLook(program, data string) string {
	return strings.ReplaceAll(`In another terminal:
  MB campaign list
  MB report weekly-213          # the newest
  MB report founders-circle     # too few to say much
  MB report members-notice      # of which dates alone are kept
`, "MB", "MAILBEACON_DATA="+shellWord(data)+" "+program)
}

// fillDemo is the life of a server on loopback for which a season happens.
func fillDemo(ctx context.Context, c *cli, cfg *config.Config, season *demo.Season) (err error) {
	began := time.Now()
	own := *cfg
	own.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	own.MaxConns, own.CommitInterval = 1<<10, 250*time.Millisecond
	logger := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: max(cfg.LogLevel, slog.LevelWarn)}))

	dir, err := datadir.Open(own.Data)
	if err != nil {
		return err
	}
	defer closing(&err, dir.Close)
	keys, err := openKeys(dir, logger)
	if err != nil {
		return err
	}
	state, err := openState(ctx, dir, &own, logger)
	if err != nil {
		return err
	}
	defer closing(&err, state.close)
	events, err := openEvents(ctx, dir, &own, state, logger)
	if err != nil {
		return err
	}
	defer closing(&err, events.close)
	public, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer closeQuietly(public)
	edge, err := newEdge(&own, keys.ring, state, events.spool, nil, demo.TimeOf, logger)
	if err != nil {
		return err
	}
	fold, err := newFold(&own, state, events, logger)
	if err != nil {
		return err
	}
	target, err := demoTarget(keys, state, events, public.Addr())
	if err != nil {
		return err
	}

	work := newParts(ctx, logger)
	work.Go("follow the control log", state.follower.Run)
	work.Go("fold", fold.runner.Run)
	work.Go("mark the control log", markControl(state, events.counts, logger))
	work.Serve("the public side", func() error { return edge.serve(public) })
	err = fillFrom(work.ctx, c.stderr, season, target)
	if err == nil {
		err = folded(work.ctx, events, fold)
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), own.StopTimeout)
	defer cancel()
	err = errors.Join(err, edge.server.Shutdown(bound), work.Stop())
	if err == nil {
		fmt.Fprintf(c.stdout, "%d campaigns, %d people, %d requests: a season in %s\n",
			len(season.Mailings), len(season.People), len(season.Acts), time.Since(began).Round(100*time.Millisecond))
	}
	return err
}

// demoTarget is what a season happens to: the parts of a server with its edge at an address.
func demoTarget(keys *keys, state *state, events *events, edge net.Addr) (demo.Target, error) {
	clock, url := &demo.Clock{}, config.LocalURL(edge)
	minter, err := mint.New(mint.Options{
		Ring: keys.ring, Consent: state.consent, Campaigns: state.campaigns, Links: state.campaignWriter,
		Population: events.counts, Mails: events.counts, PublicURL: url,
	})
	return demo.Target{
		Campaigns: state.campaignWriter.At(clock.Now), Minter: minter, Consent: state.consentWriter.As("key:signup"),
		Clock: clock, Edge: edge.String(), PublicURL: url,
	}, err
}

// fillFrom fills with a bar, which is drawn so often that it moves.
func fillFrom(ctx context.Context, stderr io.Writer, season *demo.Season, target demo.Target) error {
	const often = 50 * time.Millisecond
	var bar *bar
	var drawn time.Time
	err := season.Fill(ctx, target, func(done, of int) {
		if bar == nil {
			bar = newBar(stderr, int64(of), "mails and requests")
		}
		if now := time.Now(); now.Sub(drawn) >= often {
			drawn = now
			bar.draw(int64(done), uint64(done))
		}
	})
	if bar != nil {
		bar.clear()
	}
	return err
}

// folded waits until all but the last event, which is counted nowhere, is counted.
func folded(ctx context.Context, events *events, fold *fold) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for events.left(fold) > 1 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
