package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
)

func newCampaignMail(c *cli, r *remote) *cobra.Command {
	file, remove := "", false
	cmd := &cobra.Command{
		Use:   "mail NAME [--html FILE | --remove]",
		Short: "Keep a campaign's mail as it was designed, for reports to draw on, or show it",
		Long: `Keep a campaign's mail as it was designed, before it is made for anybody: reports show on it where people clicked. Its
links are registered. "-" as FILE is stdin. Without a flag the mail that is kept goes to stdout.`,
		Example: "  mailbeacon campaign mail spring --html mail.html\n  mailbeacon campaign mail spring > mail.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" && remove {
				return usagef("--html and --remove exclude each other")
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			if file == "" && !remove {
				mail, err := cl.Mail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if r.json {
					return c.printJSON(mail)
				}
				_, err = io.WriteString(c.stdout, mail.HTML)
				return err
			}
			var html []byte
			if file != "" {
				if html, err = c.readFile(file); err != nil {
					return err
				}
				if len(html) == 0 {
					return usagef("%s is empty; --remove takes a mail away", file)
				}
			}
			kept, err := cl.KeepMail(cmd.Context(), args[0], string(html))
			if err != nil {
				return asUsage(err)
			}
			return c.toldOfMail(r, args[0], &kept)
		},
	}
	cmd.Flags().StringVar(&file, "html", "", "file with the mail's HTML")
	cmd.Flags().BoolVar(&remove, "remove", false, "keep none any more")
	return cmd
}

func (c *cli) toldOfMail(r *remote, campaign string, kept *api.KeptMail) error {
	if r.json {
		return c.printJSON(kept)
	}
	for _, w := range kept.Warnings {
		fmt.Fprintf(c.stderr, "warning: %s\n", w.Text)
	}
	if kept.Bytes == 0 {
		_, err := fmt.Fprintf(c.stdout, "no mail is kept of campaign %s any more\n", campaign)
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "mail of campaign %s: %d bytes, %d counted links\n", campaign, kept.Bytes, kept.Links)
	return err
}
