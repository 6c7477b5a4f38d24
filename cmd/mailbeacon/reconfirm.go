package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/reconfirm"
	"mailbeacon/internal/subject"
	"mailbeacon/internal/token"
)

func newReconfirmCommand(c *cli) *cobra.Command {
	j := &joining{c: c}
	var inactive, addresses, keyring string
	cmd := &cobra.Command{
		Use:   "reconfirm",
		Short: "List the people to ask whether they wish to go on getting mail",
		Long: `List the people whose last open or click is long ago, by the date alone: nothing else is kept of it. Who
refuses opens or clicks, reads plain text, left, is not measured by name, or decided anything since, is never on the
list: their silence says nothing. An activity counts from the moment it is in the reports.

Without --addresses it prints numbers of people and dates. With it, it reads your own file, CSV with a line of names
first, and prints those of its rows whose people are to be asked, with the column last_active. The addresses do not
leave this command: it works out their numbers with the keyring, and asks the server about numbers.

The server does not know who was sent anything, so nobody without a date is on the list, unless --never says so: that
everybody in your file was sent measured mail for as long as that.`,
		Example: `  mailbeacon reconfirm --inactive 180d
  mailbeacon reconfirm --inactive 180d --addresses members.csv > ask.csv
  mailbeacon reconfirm --inactive 365d --addresses members.csv --never`,
		Args: cobra.NoArgs,
	}
	r := remoteFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := api.InactiveQuery(inactive); err != nil {
			return usagef("--inactive %w", err)
		}
		if addresses == "" && (j.never || j.column != "" || keyring != "") {
			return usagef("--never, --column and --keyring are about --addresses, which is missing")
		}
		cl, err := c.connect(r)
		if err != nil {
			return err
		}
		defer cl.Close()
		if addresses == "" {
			return c.listInactive(cmd.Context(), cl, inactive, r.json)
		}
		j.json = r.json
		if j.ring, err = c.peoplesKeys(r, keyring); err != nil {
			return err
		}
		in := c.stdin
		if addresses != "-" {
			f, err := os.Open(addresses)
			if err != nil {
				return usage(err)
			}
			defer f.Close()
			in = f
		}
		return j.run(cmd.Context(), cl, inactive, in)
	}
	fs := cmd.Flags()
	fs.StringVar(&inactive, "inactive", "", "how long ago the last activity must be, as 180d (required)")
	fs.StringVar(&addresses, "addresses", "", "your own `FILE` of addresses, CSV; \"-\" is stdin")
	fs.StringVar(&j.column, "column", "", "the file's column with the address (else address, email or subject)")
	fs.BoolVar(&j.never, "never", false, "list also who never was active: all of the file got measured mail for so long")
	fs.StringVar(&keyring, "keyring", "", "the server's keyring (or MAILBEACON_KEYRING; else the data folder's keyring.json)")
	required(cmd, "inactive")
	return cmd
}

// peoplesKeys opens the keyring that numbers people.
func (c *cli) peoplesKeys(r *remote, path string) (*token.Ring, error) {
	if path == "" {
		path = c.env("MAILBEACON_KEYRING")
	}
	if path == "" {
		path = filepath.Join(c.dataDir(r.data), keyringFile)
	}
	ring, err := token.OpenRing(path)
	if err != nil {
		return nil, usage(fmt.Errorf("the keyring, which --keyring names: %w", err))
	}
	return ring, nil
}

// listInactive prints numbers and dates as they come, JSON as a line each: there may be millions.
func (c *cli) listInactive(ctx context.Context, cl *client.Client, inactive string, asJSON bool) error {
	lines := json.NewEncoder(c.stdout)
	if !asJSON {
		fmt.Fprintln(c.stdout, "subject,last_active")
	}
	return asUsage(cl.Inactive(ctx, inactive, func(one api.Inactive) error {
		if asJSON {
			return lines.Encode(one)
		}
		_, err := fmt.Fprintf(c.stdout, "%s,%s\n", one.Subject, one.LastActive)
		return err
	}))
}

// joining is a list that is joined with a file of addresses.
type joining struct {
	c      *cli
	ring   *token.Ring
	column string
	never  bool
	json   bool

	names   []string // of the columns
	address int      // the column
	asked   chan askedRow
	bad     int
}

// askedRow is a row whose person was asked about.
type askedRow struct {
	cells  []string
	number string
}

// underWay is how many rows may wait for their answers: more than the server takes in before it answers.
const underWay = 4 * reconfirm.Page

func (j *joining) run(ctx context.Context, cl *client.Client, inactive string, in io.Reader) error {
	rows := csv.NewReader(in)
	if err := j.header(rows); err != nil {
		return err
	}
	check, err := j.number(api.KeyringAddress)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, write := j.printer()
	pipe, feed := io.Pipe()
	j.asked = make(chan askedRow, underWay)
	sent := make(chan error, 1)
	go func() {
		err := j.send(ctx, rows, bufio.NewWriter(feed))
		feed.CloseWithError(err) // nil ends it well
		sent <- err
	}()
	err = cl.Standings(ctx, inactive, check, pipe, func(s api.Stands) error {
		row := <-j.asked
		if row.number != s.Subject {
			return errors.New("the server's answers are not in the order of the questions")
		}
		if s.Standing == string(reconfirm.Inactive) || j.never && s.Standing == string(reconfirm.Never) {
			return write(row, s)
		}
		return nil
	})
	cancel()
	pipe.CloseWithError(context.Canceled) // whoever still sends stops
	if serr := <-sent; err == nil || serr != nil && !errors.Is(serr, context.Canceled) {
		err = serr
	}
	if err != nil {
		return asUsage(err)
	}
	out.Flush()
	switch {
	case out.Error() != nil:
		return out.Error()
	case len(j.asked) > 0:
		return errors.New("the server left people unanswered; the list is not whole")
	case j.bad > 0:
		return fmt.Errorf("%d rows can't be used", j.bad)
	}
	return nil
}

// header finds the column with the addresses.
func (j *joining) header(rows *csv.Reader) error {
	names, err := rows.Read()
	if err != nil {
		return usagef("the file of addresses has no line of names: %w", err)
	}
	names[0] = strings.TrimPrefix(names[0], "\ufeff")
	j.names = names
	wanted := []string{j.column}
	if j.column == "" {
		wanted = []string{"address", "email", "subject"}
	}
	for _, name := range wanted {
		if j.address = slices.IndexFunc(names, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), name) }); j.address >= 0 {
			return nil
		}
	}
	return usagef("the file of addresses has no column %s; --column names another", strings.Join(wanted, ", "))
}

func (j *joining) number(address string) (string, error) {
	normal, err := subject.Normalise(address)
	if err != nil {
		return "", err
	}
	return subject.Number(j.ring.Subject([]byte(normal))).String(), nil
}

// send sends the numbers of the file's people, and notes the rows.
func (j *joining) send(ctx context.Context, rows *csv.Reader, to *bufio.Writer) error {
	for {
		cells, err := rows.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return to.Flush()
		case errors.As(err, &broken):
			j.refuse(broken.Line, broken.Err)
			continue
		case err != nil:
			return fmt.Errorf("read the file of addresses: %w", err)
		}
		number, err := j.number(cells[j.address])
		if err != nil {
			line, _ := rows.FieldPos(j.address)
			j.refuse(line, err)
			continue
		}
		select {
		case j.asked <- askedRow{cells, number}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := fmt.Fprintf(to, "{\"subject\":\"%s\"}\n", number); err != nil {
			return err
		}
	}
}

func (j *joining) refuse(line int, err error) {
	j.bad++
	fmt.Fprintf(j.c.stderr, "line %d: %v\n", line, err)
}

// printer is how a row is printed. What it returns is to be flushed.
func (j *joining) printer() (*csv.Writer, func(askedRow, api.Stands) error) {
	out := csv.NewWriter(j.c.stdout)
	if !j.json {
		_ = out.Write(append(slices.Clone(j.names), "last_active")) // its error stays
		return out, func(r askedRow, s api.Stands) error { return out.Write(append(r.cells, s.LastActive)) }
	}
	lines := json.NewEncoder(j.c.stdout)
	return out, func(r askedRow, s api.Stands) error {
		return lines.Encode(map[string]string{"address": r.cells[j.address], "subject": s.Subject, "last_active": s.LastActive})
	}
}
