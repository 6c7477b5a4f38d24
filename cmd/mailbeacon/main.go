// Command mailbeacon measures opens and clicks of mail, with the consent of the people who read it.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	c := &cli{stdout: os.Stdout, stderr: os.Stderr, stdin: os.Stdin, env: os.Getenv}
	os.Exit(c.execute(context.Background(), newRootCommand(c), os.Args[1:]))
}

func newRootCommand(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "mailbeacon",
		Short: "Consent-first open and click measurement for email",
		Long: `Consent-first open and click measurement for email: beacons, redirects and reports that count every
event exactly once, and nobody who said no.

` + "`mailbeacon serve`" + ` runs it; the other commands talk to a server that runs.`,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newServeCommand(c), newDemoCommand(c), newEdgeCommand(c), newConsumeCommand(c), newAdminCommand(c),
		newCampaignCommand(c), newLinkCommand(c), newMessageCommand(c), newDeliveryCommand(c),
		newConsentCommand(c), newReconfirmCommand(c), newReportCommand(c), newAdvertiserCommand(c), newCompareCommand(c),
		newKeyCommand(c), newSignInCommand(c), newAuditCommand(c), newKeyringCommand(c), newSpoolCommand(c), newTopicCommand(c), newDoctorCommand(c), newReadyCommand(c), newVersionCommand(c),
	)
	return root
}
