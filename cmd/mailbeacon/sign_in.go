package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/internal/audit"
)

func newSignInCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign-in",
		Short: "Print a link that signs a browser in to the dashboard, once",
		Long: `Print a link that signs a browser in to the dashboard: once, within 10 minutes, as the holder of the key
that it is asked for with, whose role has to be admin. It works while wrong keys lock the sign-in page.`,
		Example: "  mailbeacon sign-in\n  mailbeacon sign-in --server https://beacon.example.com",
		Args:    cobra.NoArgs,
	}
	r := remoteFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cl, err := c.connect(r)
		if err != nil {
			return err
		}
		defer cl.Close()
		link, err := cl.SignInLink(cmd.Context())
		if err != nil {
			return err
		}
		if r.json {
			return c.printJSON(map[string]any{"url": link.URL, "expires": link.Expires})
		}
		_, err = fmt.Fprintln(c.stdout, link.URL)
		return err
	}
	return cmd
}

func newAuditCommand(c *cli) *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Print who came in to the dashboard, who was refused, who left, and what was exported",
		Long: `Print the audit log of the data folder, the oldest first: who came in to the dashboard and how, who was
refused, who left, and which files were taken away. In a cluster each admin has one of its own. With
--json it prints one object a line.`,
		Example: "  mailbeacon audit\n  mailbeacon audit --json",
		Args:    cobra.NoArgs,
	}
	dataFlag(cmd.Flags(), &data)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	cmd.RunE = func(*cobra.Command, []string) error {
		damaged, err := c.printAudit(c.dataDir(data), asJSON)
		if err != nil {
			return err
		}
		if damaged > 0 {
			return errors.New(countOf(damaged, "line") + " of the audit log can't be read")
		}
		return nil
	}
	return cmd
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c *cli) printAudit(dir string, asJSON bool) (damaged int, err error) {
	if asJSON {
		lines := json.NewEncoder(c.stdout)
		lines.SetEscapeHTML(false)
		return audit.Read(dir, func(e audit.Entry) error { return lines.Encode(e) })
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tEVENT\tWHO\tROLE\tVIA\tWHAT")
	damaged, err = audit.Read(dir, func(e audit.Entry) error {
		what := e.What
		if e.Alike > 0 {
			what += fmt.Sprintf(" (and %d before it)", e.Alike)
		}
		_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Format(time.DateTime), e.Event, dash(e.Who), dash(e.Role), dash(e.Via), dash(what))
		return err
	})
	return damaged, errors.Join(err, t.Flush())
}

// dash stands where there is nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
