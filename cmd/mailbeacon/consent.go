package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/token"
)

// aboutAddresses is why "-" can stand for an address.
const aboutAddresses = `An address on the command line ends up in the shell's history and in the list of processes: "-" in its
place reads it from stdin.`

func newConsentCommand(c *cli) *cobra.Command {
	cmd := group("consent", "Consent: who agreed to what, and how that came to be")
	r := remoteFlags(cmd.PersistentFlags())
	cmd.AddCommand(newConsentSet(c, r), newConsentShow(c, r), newConsentExport(c, r), newConsentImport(c, r), newConsentVerify(c, r))
	return cmd
}

func newConsentSet(c *cli, r *remote) *cobra.Command {
	var d api.Decision
	var unsubscribed bool
	var receipt string
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
			if d.Opens == "" && d.Clicks == "" && d.Format == "" && d.Unsubscribed == nil && d.Tracking == "" {
				return usagef("name what was decided: --opens, --clicks, --format, --unsubscribed or --tracking")
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
			if receipt != "" {
				if err := os.WriteFile(receipt, []byte(e.Receipt), 0o600); err != nil {
					return fmt.Errorf("the decision is recorded; write the receipt: %w", err)
				}
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
	fs.StringVar(&d.Tracking, "tracking", "", "full or date-only; date-only keeps nothing but the date of the last open or click")
	fs.StringVar(&d.Source, "source", "command line", "how the decision came")
	fs.StringVar(&d.TextVersion, "text-version", "", "which text the person was shown")
	fs.StringVar(&receipt, "receipt", "", "write the signed receipt to a `FILE`, for the person; it holds no address")
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
			p, err := c.choicesOf(cmd.Context(), r, args[0], (*client.Client).Consent)
			if err != nil {
				return err
			}
			if r.json {
				return c.printJSON(p)
			}
			return c.printChoices(&p)
		},
	}
}

// choicesOf asks a server about the person of an argument.
func (c *cli) choicesOf(ctx context.Context, r *remote, arg string, ask func(*client.Client, context.Context, string) (api.Choices, error)) (api.Choices, error) {
	address, err := c.argument(arg, "an address")
	if err != nil {
		return api.Choices{}, err
	}
	cl, err := c.connect(r)
	if err != nil {
		return api.Choices{}, err
	}
	defer cl.Close()
	p, err := ask(cl, ctx, address)
	return p, asUsage(err)
}

func (c *cli) printChoices(p *api.Choices) error {
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "subject\t%s\nopens\t%s\nclicks\t%s\nformat\t%s\nunsubscribed\t%s\ntracking\t%s\n", p.Subject, p.Opens, p.Clicks, p.Format, yes(p.Unsubscribed), p.Tracking)
	if len(p.History) > 0 {
		fmt.Fprintln(t, "\nTIME\tCHANGE\tSOURCE\tTEXT\tBY\tPOSITION")
	}
	for i := range p.History {
		h := &p.History[i]
		by := h.By
		if h.Campaign != "" {
			by += " (" + h.Campaign + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", h.Time.Format("2006-01-02 15:04:05 MST"), whatChanged(h), h.Source, h.TextVersion, by, h.Position)
	}
	return t.Flush()
}

// whatChanged is what a decision spoke of, before and after.
func whatChanged(h *api.Event) string {
	var said []string
	add := func(speaks bool, name, before, after string) {
		switch {
		case !speaks:
		case before == after:
			said = append(said, name+" "+after+" (as before)")
		default:
			said = append(said, name+" "+before+" -> "+after)
		}
	}
	add(h.Opens != "", "opens", h.Before.Opens, h.After.Opens)
	add(h.Clicks != "", "clicks", h.Before.Clicks, h.After.Clicks)
	add(h.Format != "", "format", h.Before.Format, h.After.Format)
	add(h.Tracking != "", "tracking", h.Before.Tracking, h.After.Tracking)
	add(h.Unsubscribed != nil, "unsubscribed", yes(h.Before.Unsubscribed), yes(h.After.Unsubscribed))
	return strings.Join(said, ", ")
}

// decidedBy are the lines of a receipt that say what was decided, and how.
func decidedBy(receipt string) string {
	var b strings.Builder
	_, rest, _ := strings.Cut(receipt, "\ntime: ")
	_, rest, _ = strings.Cut(rest, "\n")
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "key: ") {
			break
		}
		if !strings.HasSuffix(line, ":\n") {
			b.WriteString("  " + line)
		}
	}
	return b.String()
}

// exported is what consent export prints.
type exported struct {
	Format   string    `json:"format"`
	Exported time.Time `json:"exported"`
	api.Choices
}

func newConsentExport(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "export ADDRESS",
		Short: "Print all that the ledger holds of a person, as JSON",
		Long: `Print all that the ledger holds of a person, as JSON: what holds, every decision with what was before and
after, and the signed receipt of each. It holds no address, but the person's number.

` + aboutAddresses,
		Example: "  mailbeacon consent export anna@example.com > anna.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.choicesOf(cmd.Context(), r, args[0], (*client.Client).ConsentReceipts)
			if err != nil {
				return err
			}
			return c.printJSON(exported{"mailbeacon consent export 1", time.Now().UTC().Truncate(time.Second), p})
		},
	}
}

func newConsentVerify(c *cli, r *remote) *cobra.Command {
	var keys string
	cmd := &cobra.Command{
		Use:   "verify RECEIPT",
		Short: "Check a receipt, without a server",
		Long: `Check a receipt (a file, "-" is stdin) against the keys that mailbeacon keyring public prints, without a server,
and print what it says. The file may be what it was copied or sent in: an answer, a mail, a saved page, an export with one change.
The exit code is 0 for a good one, and 1 for one of which anything was changed.`,
		Example: "  mailbeacon consent verify anna.receipt --public-key receipts.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if keys == "" {
				return usagef("--public-key is missing: a file with what `mailbeacon keyring public` prints")
			}
			known, err := c.readFile(keys)
			if err != nil {
				return err
			}
			public, err := token.ParseReceiptKeys(string(known))
			if err != nil {
				return usage(fmt.Errorf("%s: %w", keys, err))
			}
			text, err := c.readFile(args[0])
			if err != nil {
				return err
			}
			receipt, err := consent.FindReceipt(consent.UnwrapReceipts(string(text)))
			if err != nil {
				return usage(fmt.Errorf("%s: %w", args[0], err))
			}
			got, err := consent.VerifyReceipt(receipt, public)
			if err != nil {
				return fmt.Errorf("not verified: %w", err)
			}
			if r.json {
				return c.printJSON(map[string]any{"verified": true, "subject": fmt.Sprintf("%016x", got.Subject), "position": got.Position, "time": got.Time})
			}
			_, err = fmt.Fprintf(c.stdout, "verified: subject %016x, position %d, %s\n%s", got.Subject, got.Position, got.Time.Format("2006-01-02 15:04:05 MST"), decidedBy(receipt))
			return err
		},
	}
	cmd.Flags().StringVar(&keys, "public-key", "", "the `FILE` with the verifying keys")
	return cmd
}
