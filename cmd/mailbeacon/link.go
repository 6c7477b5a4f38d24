package main

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
)

func newLinkCommand(c *cli) *cobra.Command {
	cmd := group("link", "Links: where the clicks of a campaign lead")
	r := remoteFlags(cmd.PersistentFlags())
	cmd.AddCommand(newLinkAdd(c, r), newLinkList(c, r), newLinkSet(c, r))
	return cmd
}

func (c *cli) printLink(r *remote, l api.Link) error {
	if r.json {
		return c.printJSON(l)
	}
	_, err := fmt.Fprintf(c.stdout, "link %d leads to %s\n", l.Link, l.URL)
	return err
}

func newLinkAdd(c *cli, r *remote) *cobra.Command {
	var l api.NewLink
	cmd := &cobra.Command{
		Use:   "add CAMPAIGN URL",
		Short: "Register a link",
		Long: `Register a link, with http or https. Links in mail that is rendered register themselves; this is
for mailers that mint in bulk, for advertisements, and for hidden links that only machines follow.`,
		Example: `  mailbeacon link add spring https://example.com/offer --label "the offer"
  mailbeacon link add spring https://example.com/ad --advertiser acme
  mailbeacon link add spring https://example.com/trap --hidden`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			l.URL = args[1]
			made, err := cl.AddLink(cmd.Context(), args[0], l)
			if err != nil {
				return asUsage(err)
			}
			return c.printLink(r, made)
		},
	}
	cmd.Flags().StringVar(&l.Label, "label", "", "what people call it, in reports")
	cmd.Flags().StringVar(&l.Advertiser, "advertiser", "", "whose advertisement it is")
	cmd.Flags().BoolVar(&l.Hidden, "hidden", false, "no person can see it: who follows it is a machine")
	return cmd
}

func newLinkList(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list CAMPAIGN",
		Short:   "List a campaign's links",
		Example: "  mailbeacon link list spring",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := listed(func(fn func(api.Link) error) error { return cl.Links(cmd.Context(), args[0], fn) })
			if err != nil {
				return err
			}
			if r.json {
				return c.printJSON(all)
			}
			t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "LINK\tLABEL\tADVERTISER\tHIDDEN\tURL")
			for _, l := range all {
				hidden := ""
				if l.Hidden {
					hidden = "yes"
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", l.Link, l.Label, l.Advertiser, hidden, l.URL)
			}
			return t.Flush()
		},
	}
}

func newLinkSet(c *cli, r *remote) *cobra.Command {
	var label, advertiser string
	var hidden bool
	cmd := &cobra.Command{
		Use:   "set CAMPAIGN LINK URL",
		Short: "Mend a link's destination, in mail already sent too",
		Example: `  mailbeacon link set spring 1 https://example.com/offer-2
  mailbeacon link set spring 1 https://example.com/offer-2 --label "the better offer"`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := strconv.ParseUint(args[1], 10, 16)
			if err != nil || number == 0 {
				return usagef("%q is no link's number; right would be one from 1, as `mailbeacon link list` shows it", args[1])
			}
			l := api.MendedLink{URL: args[2]}
			if cmd.Flags().Changed("label") {
				l.Label = &label
			}
			if cmd.Flags().Changed("advertiser") {
				l.Advertiser = &advertiser
			}
			if cmd.Flags().Changed("hidden") {
				l.Hidden = &hidden
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			made, err := cl.MendLink(cmd.Context(), args[0], uint16(number), l)
			if err != nil {
				return asUsage(err)
			}
			return c.printLink(r, made)
		},
	}
	cmd.Flags().StringVar(&label, "label", "", "another label; without this, it stays")
	cmd.Flags().StringVar(&advertiser, "advertiser", "", "another advertiser; without this, it stays")
	cmd.Flags().BoolVar(&hidden, "hidden", false, "whether no person can see it; without this, it stays")
	return cmd
}
