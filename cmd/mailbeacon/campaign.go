package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
)

func newCampaignCommand(c *cli) *cobra.Command {
	cmd := group("campaign", "Campaigns: one for each mailing")
	r := remoteFlags(cmd.PersistentFlags())
	cmd.AddCommand(newCampaignAdd(c, r), newCampaignList(c, r), newCampaignShow(c, r), newCampaignMail(c, r))
	return cmd
}

func newCampaignAdd(c *cli, r *remote) *cobra.Command {
	title, dateOnly := "", false
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Create a campaign",
		Long:  "Create a campaign. Its name, 1 to 64 of a-z, 0-9, '.', '_' and '-', is how everything else calls it.",
		Example: `  mailbeacon campaign add spring --title "Spring news"
  mailbeacon campaign add spring-2 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			one, err := cl.CreateCampaign(cmd.Context(), api.NewCampaign{Name: args[0], Title: title, DateOnly: dateOnly})
			if err != nil {
				return asUsage(err)
			}
			if r.json {
				return c.printJSON(one)
			}
			_, err = fmt.Fprintf(c.stdout, "campaign %s is number %d\n", one.Name, one.Number)
			return err
		},
	}
	cmd.Flags().BoolVar(&dateOnly, "date-only", false, "keep nothing of opens and clicks but the date of each person's last activity; for good")
	cmd.Flags().StringVar(&title, "title", "", "what people call it, in reports")
	return cmd
}

func newCampaignList(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List campaigns",
		Example: "  mailbeacon campaign list\n  mailbeacon campaign list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := listed(func(fn func(api.Campaign) error) error { return cl.Campaigns(cmd.Context(), fn) })
			if err != nil {
				return err
			}
			if r.json {
				return c.printJSON(all)
			}
			t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NUMBER\tNAME\tCREATED\tLINKS\tDELIVERED\tDATE ONLY\tTITLE")
			for _, one := range all {
				fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%s\t%s\n", one.Number, one.Name, one.Created.Format("2006-01-02"), one.Links, one.Delivered, yes(one.DateOnly), one.Title)
			}
			return t.Flush()
		},
	}
}

func newCampaignShow(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a campaign",
		Example: "  mailbeacon campaign show spring",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			one, err := cl.Campaign(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if r.json {
				return c.printJSON(one)
			}
			t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(t, "name\t%s\nnumber\t%d\ntitle\t%s\ncreated\t%s\nlinks\t%d\ndelivered\t%d\nbounced\t%d\ndate only\t%s\n",
				one.Name, one.Number, one.Title, one.Created.Format("2006-01-02 15:04:05 MST"), one.Links, one.Delivered, one.Bounced, yes(one.DateOnly))
			return t.Flush()
		},
	}
}

func newDeliveryCommand(c *cli) *cobra.Command {
	cmd := group("delivery", "Deliveries: what the mail servers took, which rates are measured against")
	r := remoteFlags(cmd.PersistentFlags())
	var d api.Delivery
	add := &cobra.Command{
		Use:   "add CAMPAIGN",
		Short: "Tell how many messages were delivered",
		Long: `Tell how many messages of a batch were delivered. The id names the batch: telling of the same
one again replaces what was told before, so that a repeated call counts once.`,
		Example: "  mailbeacon delivery add spring --id batch-1 --delivered 9800 --bounced 200",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			told, err := cl.Deliver(cmd.Context(), args[0], d)
			if err != nil {
				return asUsage(err)
			}
			if r.json {
				return c.printJSON(told)
			}
			_, err = fmt.Fprintf(c.stdout, "batch %s: %d delivered, %d bounced\n", told.ID, told.Delivered, told.Bounced)
			return err
		},
	}
	add.Flags().StringVar(&d.ID, "id", "", "name of the batch (required)")
	add.Flags().Uint64Var(&d.Delivered, "delivered", 0, "messages accepted by their mail servers (required)")
	add.Flags().Uint64Var(&d.Bounced, "bounced", 0, "messages refused")
	required(add, "id", "delivered")
	cmd.AddCommand(add)
	return cmd
}

// required marks flags that a command can't do without.
func required(cmd *cobra.Command, flags ...string) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range flags {
			if !cmd.Flags().Changed(name) {
				return usagef("%s needs --%s", cmd.CommandPath(), name)
			}
		}
		return run(cmd, args)
	}
}
