package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
)

// aboutAddresses is why "-" can stand for an address.
const aboutAddresses = `An address on the command line ends up in the shell's history and in the list of processes: "-" in its
place reads it from stdin.`

func newConsentCommand(c *cli) *cobra.Command {
	cmd := group("consent", "Consent: who agreed to what, and how that came to be")
	r := remoteFlags(cmd.PersistentFlags())
	cmd.AddCommand(newConsentSet(c, r), newConsentShow(c, r), newConsentImport(c, r))
	return cmd
}

func newConsentSet(c *cli, r *remote) *cobra.Command {
	var d api.Decision
	var unsubscribed bool
	cmd := &cobra.Command{
		Use:   "set ADDRESS",
		Short: "Record a person's decision",
		Long:  "Record a person's decision. What is not given stays as it is. It holds for mail already sent.\n\n" + aboutAddresses,
		Example: `  mailbeacon consent set anna@example.com --opens refused --clicks granted
  echo anna@example.com | mailbeacon consent set - --format plain --source "letter"
  mailbeacon consent set anna@example.com --unsubscribed`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("unsubscribed") {
				d.Unsubscribed = &unsubscribed
			}
			if d.Opens == "" && d.Clicks == "" && d.Format == "" && d.Unsubscribed == nil {
				return usagef("name what was decided: --opens, --clicks, --format or --unsubscribed")
			}
			var err error
			if d.Subject, err = c.argument(args[0], "an address"); err != nil {
				return err
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			e, err := cl.SetConsent(cmd.Context(), d)
			if err != nil {
				return asUsage(err)
			}
			if r.json {
				return c.printJSON(e)
			}
			state := "in effect"
			if !e.Effective {
				state = "recorded, soon in effect"
			}
			_, err = fmt.Fprintf(c.stdout, "subject %s, position %d: %s\n", e.Subject, e.Position, state)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&d.Opens, "opens", "", "granted or refused")
	fs.StringVar(&d.Clicks, "clicks", "", "granted or refused")
	fs.StringVar(&d.Format, "format", "", "html or plain; plain means neither pixel nor counted links, ever")
	fs.BoolVar(&unsubscribed, "unsubscribed", false, "wants no more mail; --unsubscribed=false: is back")
	fs.StringVar(&d.Source, "source", "command line", "how the decision came")
	fs.StringVar(&d.TextVersion, "text-version", "", "which text the person was shown")
	return cmd
}

func newConsentShow(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "show ADDRESS",
		Short:   "Show what holds for a person, and its history",
		Long:    "Show what holds for a person, and how it came to be.\n\n" + aboutAddresses,
		Example: "  mailbeacon consent show anna@example.com\n  echo anna@example.com | mailbeacon consent show - --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			address, err := c.argument(args[0], "an address")
			if err != nil {
				return err
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			p, err := cl.Consent(cmd.Context(), address)
			if err != nil {
				return asUsage(err)
			}
			if r.json {
				return c.printJSON(p)
			}
			return c.printChoices(&p)
		},
	}
}

func (c *cli) printChoices(p *api.Choices) error {
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "subject\t%s\nopens\t%s\nclicks\t%s\nformat\t%s\nunsubscribed\t%s\n", p.Subject, p.Opens, p.Clicks, p.Format, yes(p.Unsubscribed))
	if len(p.History) > 0 {
		fmt.Fprintln(t, "\nTIME\tOPENS\tCLICKS\tFORMAT\tUNSUBSCRIBED\tSOURCE\tTEXT")
	}
	for _, h := range p.History {
		left := ""
		if h.Unsubscribed != nil {
			left = yes(*h.Unsubscribed)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Time.Format("2006-01-02 15:04:05 MST"), h.Opens, h.Clicks, h.Format, left, h.Source, h.TextVersion)
	}
	return t.Flush()
}
