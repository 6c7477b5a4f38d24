package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
)

func newCompareCommand(c *cli) *cobra.Command {
	latest, by, zone := 50, "opens", "UTC"
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Compare campaigns: which mails people found more interesting, as far as that can be told",
		Long: `Compare campaigns by the rate of opens or of clicks. A campaign stands above another where both the people who certainly read and
all who may have are more, and by more than chance (95 % intervals). Places are ranges: where that is not so nothing
tells which of them met more interest, and both have the same places. Campaigns with too few mails have none.`,
		Example: "  mailbeacon compare\n  mailbeacon compare --by clicks --latest 20\n  mailbeacon compare --json --zone Europe/Berlin",
		Args:    cobra.NoArgs,
	}
	r := remoteFlags(cmd.Flags())
	cmd.Flags().IntVar(&latest, "latest", latest, "how many campaigns, 1 to 200")
	cmd.Flags().StringVar(&by, "by", by, "opens or clicks")
	cmd.Flags().StringVar(&zone, "zone", zone, "time zone whose months the trend in --json has")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if by != "opens" && by != "clicks" {
			return usagef("--by %s: right would be opens or clicks", by)
		}
		cl, err := c.connect(r)
		if err != nil {
			return err
		}
		defer cl.Close()
		o, err := cl.Overview(cmd.Context(), latest, zone)
		if err != nil {
			return asUsage(err)
		}
		if r.json {
			return c.printJSON(o)
		}
		places := o.Opens
		if by == "clicks" {
			places = o.Clicks
		}
		return c.printPlaces(places, len(o.Campaigns))
	}
	return cmd
}

func (c *cli) printPlaces(places []api.Place, campaigns int) error {
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	if len(places) > 0 {
		fmt.Fprintln(t, "PLACE\tCAMPAIGN\tRATE\t95 % INTERVAL")
	}
	for i := range places {
		p := &places[i]
		place := fmt.Sprint(p.Best)
		if p.Worst > p.Best {
			place = fmt.Sprintf("%d-%d", p.Best, p.Worst)
		}
		if p.Tied {
			place += " tied"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", place, p.Campaign, &p.Rate, &p.Interval)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if without := campaigns - len(places); without > 0 {
		_, err := fmt.Fprintf(c.stdout, "%d of %d campaigns have no place: too few mails that measure it\n", without, campaigns)
		return err
	}
	return nil
}
