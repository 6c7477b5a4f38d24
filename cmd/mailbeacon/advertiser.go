package main

import (
	"fmt"
	"log/slog"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/client"
	"mailbeacon/internal/config"
	"mailbeacon/internal/report"
)

func newAdvertiserCommand(c *cli) *cobra.Command {
	cmd := group("advertiser", "What those who have advertisements in mail are told")
	r := remoteFlags(cmd.PersistentFlags())
	cmd.AddCommand(newAdvertiserReport(c, r), newAdvertiserList(c, r))
	return cmd
}

func newAdvertiserReport(c *cli, r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report NAME",
		Short: "How many people clicked an advertiser's links, as it was released",
		Long: `How many people clicked an advertiser's links, per campaign and epoch. A number is released when its epoch closes: drawn
once, with noise, and never again, so that nobody can be found out by it. Asking again tells nothing more.`,
		Example: "  mailbeacon advertiser report ACME\n  mailbeacon advertiser report ACME --csv > acme.csv\n  mailbeacon advertiser report ACME --json",
		Args:    cobra.ExactArgs(1),
	}
	inForms(c, cmd, r, (*client.Client).AdvertiserReport, advertiser.CSV, advertiser.Table)
	return cmd
}

func newAdvertiserList(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List advertisers: whoever a link names",
		Example: "  mailbeacon advertiser list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := listed(func(fn func(advertiser.Listed) error) error { return cl.Advertisers(cmd.Context(), fn) })
			if err != nil {
				return err
			}
			if r.json {
				return c.printJSON(all)
			}
			t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tCAMPAIGNS\tLINKS")
			for _, a := range all {
				fmt.Fprintf(t, "%s\t%d\t%d\n", report.Plain(a.Name), a.Campaigns, a.Links)
			}
			return t.Flush()
		},
	}
}

// newAdvertisers is what closes epochs for advertisers, and reports to them.
func newAdvertisers(cfg *config.Config, state *state, store aggregate.Advertising, logger *slog.Logger) (*advertiser.Reports, error) {
	return advertiser.New(advertiser.Options{
		Store: store, Campaigns: state.campaigns, Epoch: cfg.Epoch, Epsilon: cfg.Epsilon, Budget: cfg.Budget, Logger: logger,
	})
}

// startAdvertisers closes epochs as they end, and measures that. No number of people is in any metric.
func startAdvertisers(work *parts, reg *prometheus.Registry, r *advertiser.Reports) {
	reg.MustRegister(
		counter("advertiser_closings_total", "Epochs that this process closed for an advertiser.", nil, one(func() uint64 { return r.Stats().Closed })),
		counter("advertiser_releases_total", "Numbers released in them, shown or withheld.", nil, one(func() uint64 { return r.Stats().Released })),
		counter("advertiser_failures_total", "Rounds in which an epoch could not be closed; each is tried again.", nil, one(func() uint64 { return r.Stats().Failed })),
		gauge("advertiser_faulty", "1 while the last round failed, else 0.", nil, flag(func() bool { return r.Stats().Faulty })),
	)
	work.Go("close epochs for advertisers", r.Run)
}
