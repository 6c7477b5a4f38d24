package main

import (
	"github.com/spf13/cobra"

	"mailbeacon/internal/report"
)

func newReportCommand(c *cli) *cobra.Command {
	asCSV := false
	cmd := &cobra.Command{
		Use:   "report CAMPAIGN",
		Short: "What is known of a campaign: opens, clicks, and how certain that is",
		Long: `What is known of a campaign. Rates are ranges: from the people who certainly opened or clicked to
those who may have, of the messages that could be measured at all.`,
		Example: "  mailbeacon report spring\n  mailbeacon report spring --csv > spring.csv\n  mailbeacon report spring --json",
		Args:    cobra.ExactArgs(1),
	}
	r := remoteFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print CSV")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asCSV && r.json {
			return usagef("--csv and --json exclude each other")
		}
		cl, err := c.connect(r)
		if err != nil {
			return err
		}
		defer cl.Close()
		what, err := cl.Report(cmd.Context(), args[0])
		switch {
		case err != nil:
			return err
		case r.json:
			return c.printJSON(what)
		case asCSV:
			return report.CSV(c.stdout, what)
		}
		return report.Table(c.stdout, what)
	}
	return cmd
}
