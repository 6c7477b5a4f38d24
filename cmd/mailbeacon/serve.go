package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/api"
	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/mint"
	"mailbeacon/internal/reconfirm"
)

func newServeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run everything on this machine: edge, fold, reports, admin API",
		Long: `Run everything on this machine: the public edge that answers beacons and clicks, the write-ahead log,
the fold into SQLite, and the private admin API. All of its data is in one folder.

Each setting can also be a variable (MAILBEACON_PUBLIC_URL for --public-url) or a key in the YAML file
that --config names; a flag comes before a variable, and that before the file. SIGTERM or SIGINT stops it
in order, within a bound (--stop-timeout); a second one ends it at once.`,
		Example: "  mailbeacon serve\n  mailbeacon serve --data /var/lib/mailbeacon --public-url https://t.example.com",
		Args:    cobra.NoArgs,
	}
	config.Flags(cmd.Flags(), config.Serve)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(cmd.Flags(), os.Environ(), config.Serve)
		if err != nil {
			return usage(err)
		}
		ctx, release := untilTold(cmd.Context(), cmd.ErrOrStderr())
		defer release()
		return serve(ctx, c, cfg)
	}
	return cmd
}

// serve is the life of the server. Each step needs the ones before it, and what is deferred ends
// them in the opposite order: no more requests, then no more events, then what they are kept in.
func serve(ctx context.Context, c *cli, cfg *config.Config) (err error) {
	began := time.Now()
	logger := newLogger(c.stderr, cfg)

	dir, err := datadir.Open(cfg.Data)
	if err != nil {
		return err
	}
	defer closing(&err, dir.Close)

	if err := wholeFolder(dir); err != nil {
		return err
	}
	keys, err := openKeys(dir, logger)
	if err != nil {
		return err
	}
	if err := sameKeyring(dir, keys.ring, dir.Path(keyringFile)); err != nil {
		return err
	}
	state, err := openState(ctx, dir, cfg, logger)
	if err != nil {
		return err
	}
	defer closing(&err, state.close)

	events, err := openEvents(ctx, dir, cfg, state, logger)
	if err != nil {
		return err
	}
	defer closing(&err, events.close)

	public, private, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeQuietly(public, private)
	notes := warnings(cfg, private.Addr())
	if cfg.PublicURL == "" {
		cfg.PublicURL = config.LocalURL(public.Addr())
	}

	edge, err := newEdge(cfg, keys.ring, state, events.spool, nil, nil, logger)
	if err != nil {
		return err
	}
	fold, err := newFold(cfg, state, events, logger)
	if err != nil {
		return err
	}
	hook, err := newWebhook(cfg, dir, state, logger)
	if err != nil {
		return err
	}
	files, err := newExport(cfg, state, events.counts, logger)
	if err != nil {
		return err
	}
	advertisers, err := newAdvertisers(cfg, state, events.counts, logger)
	if err != nil {
		return err
	}
	notReady := func() []string { return serveNotReady(state, events, fold) }
	board, err := openDashboard(cfg, dir, keys.api, private.Addr(), shown{
		state: state, store: events.counts, told: advertisers, system: systemOf(state, events, fold), notReady: notReady,
	}, logger)
	if err != nil {
		return err
	}
	defer closing(&err, board.close)
	metrics := newMetrics()
	edge.measure(metrics)
	events.measure(metrics)
	state.measure(metrics)
	fold.measure(metrics)
	admin, err := newAPI(cfg, keys, state, events.counts, advertisers, board, notReady, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}), logger)
	if err != nil {
		return err
	}

	if err := leavePrivate(dir, private.Addr(), logger); err != nil {
		return err
	}
	if err := leavePublic(dir, public.Addr(), logger); err != nil {
		return err
	}

	link, err := board.firstLink()
	if err != nil {
		return err
	}

	work := newParts(ctx, logger)
	work.Go("take up rotated keys", func(ctx context.Context) error { return watchKeys(ctx, dir, keys.ring, dir.Path(keyringFile), logger) })
	work.Go("follow the control log", state.follower.Run)
	work.Go("fold", fold.runner.Run)
	work.Go("keep the dashboard's numbers", board.keepPages)
	startWebhook(work, metrics, hook)
	startExport(work, metrics, files)
	startAdvertisers(work, metrics, advertisers)
	work.Go("mark the control log", markControl(state, events.counts, logger))
	work.Serve("the public side", func() error { return edge.serve(public) })
	work.Serve("the admin side", func() error { return admin.Serve(private) })

	logger.Info("ready", "edge", public.Addr().String(), "admin", private.Addr().String(), "took", time.Since(began).Round(time.Millisecond))
	welcome(c.stdout, &greeting{
		data: dir.Root(), fresh: dir.Fresh(), edge: public.Addr(), admin: private.Addr(), publicURL: cfg.PublicURL, dashboard: link,
		warnings: notes, recovery: events.recovery,
	})

	work.Wait()
	logger.Info("stopping")
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.StopTimeout)
	defer cancel()
	err = errors.Join(edge.server.Shutdown(bound), admin.Shutdown(bound))
	err = errors.Join(err, work.Stop())
	logger.Info("stopped", "events_left_in_the_spool", events.left(fold))
	return err
}

// edgeAddrFile is where the public side's address stands in the data folder, for whoever starts the
// server on a port of the system's choice.
const edgeAddrFile = "edge.addr"

func newLogger(w interface{ Write([]byte) (int, error) }, cfg *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// closing closes at the end of a function whose error it may set.
func closing(err *error, closeIt func() error) {
	*err = errors.Join(*err, closeIt())
}

func closeQuietly(listeners ...net.Listener) {
	for _, ln := range listeners {
		ln.Close() // after a stop they are closed already
	}
}

func listen(ctx context.Context, cfg *config.Config) (public, private net.Listener, err error) {
	var lc net.ListenConfig
	if public, err = lc.Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, nil, fmt.Errorf("setting listen: %w", err)
	}
	if private, err = lc.Listen(ctx, "tcp", cfg.Admin); err != nil {
		public.Close()
		return nil, nil, fmt.Errorf("setting admin: %w", err)
	}
	return public, private, nil
}

// newAPI puts the private side together.
func newAPI(cfg *config.Config, keys *keys, state *state, store aggregate.Store, advertisers *advertiser.Reports, board *dashboard, notReady func() []string, metrics http.Handler, logger *slog.Logger) (*api.Server, error) {
	minter, err := mint.New(mint.Options{
		Ring: keys.ring, Consent: state.consent, Campaigns: state.campaigns, Links: state.campaignWriter,
		Population: store, Mails: store, PublicURL: cfg.PublicURL,
	})
	if err != nil {
		return nil, err
	}
	inactive, err := reconfirm.New(reconfirm.Options{Activity: store, Plans: state.consent, Ledger: state.consentWriter})
	if err != nil {
		return nil, err
	}
	handler, err := api.New(api.Options{
		Campaigns: state.campaigns, Writer: state.campaignWriter, Consent: state.consentWriter,
		Minter: minter, Counts: store, Mails: store, Keys: keys.api, NotReady: notReady, Inactive: inactive, Advertisers: advertisers,
		Receipts: receiptsOf(keys.ring), SignInLink: board.site.Link,
		Metrics: metrics, Logger: logger, Version: version(),
	})
	if err != nil {
		return nil, err
	}
	return api.NewServer(board.behind(handler)), nil
}
