package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/spool"
)

func newSpoolCommand(c *cli) *cobra.Command {
	var o spool.DumpOptions
	dump := &cobra.Command{
		Use:   "dump PATH",
		Short: "Print what a spool folder, or one segment of it, holds",
		Long: `Print what a spool folder or one segment (.seg, .bad) holds: headers, frames, events, and what is
damaged. It only reads, and may look at a folder that is in use. The spool of a data folder is its
folder "spool". Exit code 1 where something is damaged.`,
		Example: "  mailbeacon spool dump mailbeacon-data/spool\n  mailbeacon spool dump --frames --json mailbeacon-data/spool",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			sum, err := spool.Dump(c.stdout, nil, args[0], o)
			if err != nil {
				return err
			}
			if sum.Damaged > 0 {
				return fmt.Errorf("%s: %d damaged places", args[0], sum.Damaged)
			}
			return nil
		},
	}
	dump.Flags().BoolVar(&o.JSON, "json", false, "print one JSON object per line")
	dump.Flags().BoolVar(&o.Frames, "frames", false, "leave the events out")
	return group("spool", "The write-ahead log", dump, newAcceptLossCommand(c), newSpoolFillCommand(c))
}
