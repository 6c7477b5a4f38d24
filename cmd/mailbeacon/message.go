package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
)

func newMessageCommand(c *cli) *cobra.Command {
	cmd := group("message", "Mail: the pixel, the counted links and the way out, put in for one person or many")
	r := remoteFlags(cmd.PersistentFlags())
	cmd.AddCommand(newMessageRender(c, r), newMessageRecipients(c, r))
	return cmd
}

// render is what `message render` was asked.
type render struct {
	to, html, text, eml, out string
	textLinks                bool
}

func newMessageRender(c *cli, r *remote) *cobra.Command {
	var m render
	cmd := &cobra.Command{
		Use:   "render CAMPAIGN --to ADDRESS (--html FILE [--text FILE] | --text FILE | --eml FILE)",
		Short: "Make one person's mail",
		Long: `Make one person's mail: put in the pixel and counted links, as far as the person agreed. Links that
the campaign does not know are registered. What was made goes to stdout (HTML before text), or to the
file of --out; headers to set and warnings are told on stderr. A mail of --eml has its headers in it.

"-" as a FILE is stdin. An address on the command line ends up in the shell's history and in the list
of processes: "--to -" reads it from stdin.`,
		Example: `  mailbeacon message render spring --to anna@example.com --html mail.html > out.html
  mailbeacon message render spring --to anna@example.com --eml mail.eml --out anna.eml
  echo anna@example.com | mailbeacon message render spring --to - --html mail.html --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.render(cmd, r, &m, args[0]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&m.to, "to", "", "the person's address; - for stdin (required)")
	fs.StringVar(&m.html, "html", "", "file with the mail's HTML")
	fs.StringVar(&m.text, "text", "", "file with the mail's plain text")
	fs.StringVar(&m.eml, "eml", "", "file with a whole mail")
	fs.StringVar(&m.out, "out", "", "write to this file")
	fs.BoolVar(&m.textLinks, "text-links", false, "count the links in plain text too")
	required(cmd, "to")
	return cmd
}

func (m *render) check() error {
	if m.html == "" && m.text == "" && m.eml == "" {
		return usagef("name what to make the mail of: --html, --text or --eml")
	}
	if m.eml != "" && (m.html != "" || m.text != "") {
		return usagef("--eml is a whole mail; it does not go with --html or --text")
	}
	stdin := 0
	for _, v := range []string{m.to, m.html, m.text, m.eml} {
		if v == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return usagef("stdin can be read once: \"-\" is given %d times", stdin)
	}
	return nil
}

func (c *cli) render(cmd *cobra.Command, r *remote, m *render, campaign string) error {
	if err := m.check(); err != nil {
		return err
	}
	req := api.MailRequest{TextLinks: m.textLinks}
	var html, text []byte
	var err error
	if req.To, err = c.argument(m.to, "an address"); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{m.html, &html}, {m.text, &text}, {m.eml, &req.EML}} {
		if *f.to, err = c.readFile(f.name); err != nil {
			return err
		}
	}
	req.HTML, req.Text = string(html), string(text)
	cl, err := c.connect(r)
	if err != nil {
		return err
	}
	defer cl.Close()
	mail, err := cl.Render(cmd.Context(), campaign, req)
	if err != nil {
		return asUsage(err)
	}
	return c.printMail(r, m, &mail)
}

func (c *cli) printMail(r *remote, m *render, mail *api.Mail) error {
	if r.json {
		return c.printJSON(mail)
	}
	for _, w := range mail.Warnings {
		fmt.Fprintf(c.stderr, "warning: %s\n", w.Text)
	}
	content := mail.EML
	if m.eml == "" {
		content = []byte(mail.HTML + mail.Text)
		for _, name := range []string{"List-Unsubscribe", "List-Unsubscribe-Post"} {
			fmt.Fprintf(c.stderr, "header %s: %s\n", name, mail.Headers[name])
		}
	}
	fmt.Fprintf(c.stderr, "opens measured: %s, clicks measured: %s (%d links)%s\n",
		yes(mail.Tracking.Opens), yes(mail.Tracking.Clicks), mail.Links, because(mail))
	if m.out != "" {
		if err := os.WriteFile(m.out, content, 0o600); err != nil {
			return fmt.Errorf("write the mail: %w", err)
		}
		return nil
	}
	_, err := c.stdout.Write(content)
	return err
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// because is why a mail measures less than it could, after what it measures.
func because(mail *api.Mail) string {
	switch t := mail.Tracking; {
	case t.Reason == "":
		return ""
	case t.Opens || t.Clicks: // both may be there, and still not measure their reader in full
		return ", though not in full: " + t.Reason
	default:
		return ", because: " + t.Reason
	}
}

// maxFile bounds a file that is sent whole.
const maxFile = 32 << 20

// readFile reads a file, or stdin for "-", or nothing for "".
func (c *cli) readFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	in := c.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage(err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(name), err)
	}
	if len(b) > maxFile {
		return nil, usagef("%s is larger than 32 MiB", filepath.Base(name))
	}
	return b, nil
}

func newMessageRecipients(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "recipients CAMPAIGN",
		Short: "Mint in bulk: a line of JSON in for each person, a line out",
		Long: `Mint in bulk, for mailers that put mail together by themselves. Each line of stdin is an object as
{"to":"anna@example.com"}; each is answered by a line on stdout with the person's pixel, links and
unsubscribe address, as far as the person agreed. A line that can't be used is answered by its number
and a reason; the exit code is 1 then.`,
		Example: "  mailbeacon message recipients spring < people.ndjson > minted.ndjson",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			sum, err := cl.Recipients(cmd.Context(), args[0], c.stdin, c.stdout)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "%d lines, %d people minted, %d lines that can't be used\n", sum.Lines, sum.Minted, sum.Bad)
			if sum.Bad > 0 {
				return errors.New("some lines can't be used; what was written says which, and why")
			}
			return nil
		},
	}
}
