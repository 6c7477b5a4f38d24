package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/kafka"
	"mailbeacon/ingest/spool"
)

func newSpoolCommand(c *cli) *cobra.Command {
	var o spool.DumpOptions
	dump := &cobra.Command{
		Use:   "dump PATH",
		Short: "Print what a spool folder, one segment of it, or an edge's cursor holds",
		Long: `Print what a spool folder or one segment (.seg, .bad) holds: headers, frames, events, and what is
damaged. It only reads, and may look at a folder that is in use. The spool of a data folder is its
folder "spool". Of an edge it also prints the files shipped.cursor (how far was shipped),
shipped.cursor.division and events.topic. Exit code 1 where something is damaged.`,
		Example: "  mailbeacon spool dump mailbeacon-data/spool\n  mailbeacon spool dump --frames --json mailbeacon-data/spool",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if noted(args[0]) {
				if ok, err := kafka.Dump(c.stdout, args[0], o.JSON); ok || err != nil {
					return err
				}
			}
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

// noted says whether a path has the name of a file in which an edge notes what it has shipped.
func noted(path string) bool {
	name := strings.TrimSuffix(filepath.Base(path), ".bad")
	return slices.Contains([]string{cursorFile, cursorFile + ".division", topicFile}, name)
}
