package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"mailbeacon/ingest/clickhouse"
	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/config"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	pages "mailbeacon/internal/dashboard"
)

func newAdminCommand(c *cli) *cobra.Command {
	cmd := roleCommand(config.Admin, "Run the API of a cluster: campaigns, minting, consent, reports",
		`Run the API of a cluster. It makes the topics in Kafka where they are missing, and checks them where they
are there. The tables in ClickHouse are made by mailbeacon admin migrate. Several admins may run.`,
		"  mailbeacon admin --data /var/lib/mailbeacon-admin --kafka kafka://localhost:9092 --clickhouse clickhouse://localhost:9000/mailbeacon --keyring /etc/mailbeacon/keyring.json --public-url https://t.example.com",
		func(ctx context.Context, cfg *config.Config) error { return runAdmin(ctx, c, cfg) })
	cmd.AddCommand(newMigrateCommand(c))
	return cmd
}

func newMigrateCommand(c *cli) *cobra.Command {
	var setting string
	cmd := &cobra.Command{
		Use: "migrate", Short: "Make the tables in ClickHouse, or bring them to this version", Args: cobra.NoArgs,
		Long: `Make the store's database and tables in ClickHouse, or bring them to this build's version. It may be run
again at any time, also while consumers run.`,
		Example: "  mailbeacon admin migrate --clickhouse clickhouse://default:PASSWORD@localhost:9000/mailbeacon",
	}
	cmd.Flags().StringVar(&setting, "clickhouse", "", "where the store is (or MAILBEACON_CLICKHOUSE)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if setting == "" {
			setting = c.env("MAILBEACON_CLICKHOUSE")
		}
		o, err := clickhouse.Parse(setting)
		if err != nil {
			return usage(err)
		}
		steps, err := clickhouse.Migrate(cmd.Context(), o)
		for _, s := range steps {
			fmt.Fprintln(c.stdout, s)
		}
		if err == nil && len(steps) == 0 {
			fmt.Fprintln(c.stdout, "nothing to do")
		}
		return err
	}
	return cmd
}

// runAdmin is the life of an admin.
func runAdmin(ctx context.Context, c *cli, cfg *config.Config) (err error) {
	began := time.Now()
	logger := newLogger(c.stderr, cfg)
	if cfg.PublicURL == "" {
		return usage(&config.Error{Setting: "public-url", Source: "--public-url", Reason: "is not set; mail has to carry the address of the edges, as https://t.example.com"})
	}

	dir, err := openFolder(cfg.Data, config.Admin)
	if err != nil {
		return err
	}
	defer closing(&err, dir.Close)
	ring, err := openSharedKeys(cfg)
	if err != nil {
		return err
	}
	if err := sameKeyring(dir, ring, cfg.Keyring); err != nil {
		return err
	}
	if _, err := api.EnsureAdminKey(dir.Root()); err != nil {
		return err
	}
	access, err := api.LoadKeys(dir.Root(), logger)
	if err != nil {
		return err
	}
	brokers, err := newKafka(cfg, config.Admin)
	if err != nil {
		return err
	}
	defer closing(&err, brokers.Close)
	if _, err := topicOf(ctx, brokers, cfg, controlTopic(cfg), brokers.Ensure); err != nil {
		return err
	}
	if _, err := topicOf(ctx, brokers, cfg, echoTopic(cfg), brokers.Ensure); err != nil {
		return err
	}
	if _, err := topicOf(ctx, brokers, cfg, eventsTopic(cfg, cfg.Partitions), brokers.Ensure); err != nil {
		return err
	}
	store, err := openStore(ctx, cfg, 0)
	if err != nil {
		return err
	}
	defer closing(&err, store.Close)
	state, err := followKafka(brokers, dir, cfg, nil, logger)
	if err != nil {
		return err
	}
	defer closing(&err, state.close)
	if err := state.follower.CatchUp(ctx); err != nil {
		return err
	}
	ledger := consent.NewCopier(state.log, store, logger)
	state.consentWriter = state.consentWriter.Archived(store, func() control.Position { return ledger.Stats().Copied })
	voices := openEcho(brokers, cfg, config.Admin, state, logger)
	defer closing(&err, voices.close)
	private, err := listenPrivate(ctx, cfg, dir, logger)
	if err != nil {
		return err
	}
	defer closeQuietly(private)

	advertisers, err := newAdvertisers(cfg, state, store, logger)
	if err != nil {
		return err
	}
	notReady := func() []string { return adminNotReady(state, voices, store) }
	board, err := openDashboard(cfg, dir, access, private.Addr(), shown{
		state: state, store: store, told: advertisers, notReady: notReady, system: func() pages.System { return pages.System{Control: state.controlOf(true)} },
	}, logger)
	if err != nil {
		return err
	}
	defer closing(&err, board.close)
	metrics := newMetrics()
	state.measure(metrics)
	measureLedger(metrics, ledger)
	measureLease(metrics, state.follower)
	voices.measure(metrics)
	server, err := newAPI(cfg, &keys{ring, access}, state, store, advertisers, board, notReady,
		promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}), logger)
	if err != nil {
		return err
	}
	hook, err := newWebhook(cfg, dir, state, logger)
	if err != nil {
		return err
	}
	files, err := newExport(cfg, state, store, logger)
	if err != nil {
		return err
	}
	work := newParts(ctx, logger)
	startWebhook(work, metrics, hook)
	startExport(work, metrics, files)
	startAdvertisers(work, metrics, advertisers)
	work.Go("take up rotated keys", func(ctx context.Context) error { return watchKeys(ctx, dir, ring, cfg.Keyring, logger) })
	work.Go("follow the control log", state.follower.Run)
	work.Go("keep the dashboard's numbers", board.keepPages)
	voices.start(work)
	work.Go("copy consent changes into the ledger", ledger.Run)
	work.Go("beat in the control log", func(ctx context.Context) error { return control.Beat(ctx, state.log, logger) })
	work.Serve("the API", func() error { return server.Serve(private) })
	logger.Info("ready", "role", config.Admin, "admin", private.Addr().String(), "took", time.Since(began).Round(time.Millisecond))

	work.Wait()
	logger.Info("stopping")
	err = errors.Join(stopStatus(server, cfg), work.Stop())
	_ = os.Remove(dir.Path(client.AddrFile)) // the next start leaves another
	logger.Info("stopped")
	return err
}

// storePatience is how long the store may take to say that it is there.
const storePatience = 2 * time.Second

func adminNotReady(state *state, voices *echo, store *clickhouse.Store) []string {
	reasons := voices.notReady()
	if state.follower.Stats().LogFailing {
		reasons = append(reasons, "the control log can't be read")
	} else if !state.follower.Fresh() {
		reasons = append(reasons, "no heartbeat comes back from the control log: edges ship nothing and nothing is counted")
	}
	ctx, cancel := context.WithTimeout(context.Background(), storePatience)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		reasons = append(reasons, fmt.Sprintf("the store does not answer: %v", err))
	}
	return reasons
}
