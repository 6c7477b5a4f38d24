package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"mailbeacon/internal/client"
)

// inForms has a command print a report of its one argument: as a table, or as JSON or CSV where that is asked for.
func inForms[T any](c *cli, cmd *cobra.Command, r *remote, read func(*client.Client, context.Context, string) (*T, error), csv, table func(io.Writer, *T) error) {
	asCSV := false
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
		what, err := read(cl, cmd.Context(), args[0])
		switch {
		case err != nil:
			return err
		case r.json:
			return c.printJSON(what)
		case asCSV:
			return csv(c.stdout, what)
		}
		return table(c.stdout, what)
	}
}

// listed are all that a list calls a function with; none is an empty list, not nil.
func listed[T any](list func(func(T) error) error) ([]T, error) {
	all := []T{}
	err := list(func(one T) error {
		all = append(all, one)
		return nil
	})
	return all, err
}
