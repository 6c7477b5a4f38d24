package main

import (
	"github.com/spf13/cobra"

	"mailbeacon/internal/client"
	"mailbeacon/internal/report"
)

func newReportCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report CAMPAIGN",
		Short: "What is known of a campaign: opens, clicks, and how certain that is",
		Long: `What is known of a campaign. Rates are ranges: from the people who certainly opened or clicked to
those who may have, of the messages that could be measured at all.`,
		Example: "  mailbeacon report spring\n  mailbeacon report spring --csv > spring.csv\n  mailbeacon report spring --json",
		Args:    cobra.ExactArgs(1),
	}
	r := remoteFlags(cmd.Flags())
	inForms(c, cmd, r, (*client.Client).Report, report.CSV, report.Table)
	return cmd
}
