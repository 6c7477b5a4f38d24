package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
)

// importWorkers is how many decisions are under way at once; those of one address stay in order.
const importWorkers = 8

// maxRefusals is how many lines that were refused are told one by one.
const maxRefusals = 20

func newConsentImport(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Record decisions from a file, CSV or one JSON object per line",
		Long: `Record decisions from a file ("-" is stdin). It holds one JSON object per line with the fields of
POST /v1/consent, or CSV with the same names in its first line: subject (the address), and any of
opens, clicks, format, unsubscribed (true or false), source, text_version. An empty cell stays as it is.

Lines that can't be used are told by their number, and the rest is recorded; the exit code is 1 then.
Importing the same file again changes nothing.`,
		Example: "  mailbeacon consent import refusals.csv\n  mailbeacon consent import - < refusals.ndjson",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := c.stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usage(err)
				}
				defer f.Close()
				in = f
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			return c.importConsent(cmd.Context(), r, cl, in)
		},
	}
}

// told is a decision of the file, or what is wrong with its line.
type told struct {
	line     int
	decision api.Decision
	err      error
}

// importer records decisions side by side.
type importer struct {
	client *client.Client
	mu     sync.Mutex
	done   int
	bad    []told // by line in the end
	fatal  error
}

func (c *cli) importConsent(ctx context.Context, r *remote, cl *client.Client, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	im := &importer{client: cl}
	queues := make([]chan told, importWorkers)
	var workers sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan told, 64)
		workers.Go(func() {
			for t := range queues[i] {
				if im.record(ctx, t) != nil {
					cancel()
				}
			}
		})
	}
	seed := maphash.MakeSeed()
	readErr := readDecisions(in, func(t told) error {
		queue := queues[maphash.String(seed, strings.ToLower(strings.TrimSpace(t.decision.Subject)))%importWorkers]
		select {
		case queue <- t:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	for _, q := range queues {
		close(q)
	}
	workers.Wait()
	if im.fatal != nil {
		readErr = im.fatal
	}
	return errors.Join(readErr, c.tellImport(r, im))
}

// record sends one decision; the error is one that ends the import.
func (im *importer) record(ctx context.Context, t told) error {
	err := t.err
	if err == nil {
		_, err = im.client.SetConsent(ctx, t.decision)
	}
	var refused *client.Error
	im.mu.Lock()
	defer im.mu.Unlock()
	switch {
	case err == nil:
		im.done++
		return nil
	case t.err != nil || errors.As(err, &refused) && (refused.Status == 400 || refused.Status == 422):
		im.bad = append(im.bad, told{line: t.line, err: err})
		return nil
	}
	if im.fatal == nil {
		im.fatal = fmt.Errorf("line %d: %w", t.line, err)
	}
	return err
}

func (c *cli) tellImport(r *remote, im *importer) error {
	slices.SortFunc(im.bad, func(a, b told) int { return a.line - b.line })
	if r.json {
		type refusal struct {
			Line  int    `json:"line"`
			Error string `json:"error"`
		}
		list := []refusal{}
		for _, b := range im.bad {
			list = append(list, refusal{b.line, reason(b.err)})
		}
		if err := c.printJSON(map[string]any{"recorded": im.done, "refused": list}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.stdout, "%d decisions recorded\n", im.done)
		for i, b := range im.bad {
			if i == maxRefusals {
				fmt.Fprintf(c.stderr, "... and %d more; --json lists all\n", len(im.bad)-i)
				break
			}
			fmt.Fprintf(c.stderr, "line %d: %s\n", b.line, reason(b.err))
		}
	}
	if len(im.bad) > 0 {
		return fmt.Errorf("%d lines can't be used", len(im.bad))
	}
	return nil
}

// reason is an error in one line.
func reason(err error) string {
	var refused *client.Error
	if errors.As(err, &refused) {
		return refused.Detail
	}
	return err.Error()
}

// readDecisions reads either form and calls fn for every line that says something.
func readDecisions(in io.Reader, fn func(told) error) error {
	b := bufio.NewReaderSize(in, 64<<10)
	for {
		r, _, err := b.ReadRune()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		if r == '\ufeff' {
			continue
		}
		if err := b.UnreadRune(); err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		if r == '{' || unicode.IsSpace(r) {
			return readJSONLines(b, fn)
		}
		return readCSV(b, fn)
	}
}

func readJSONLines(in io.Reader, fn func(told) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4<<10), 64<<10)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		t := told{line: n}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&t.decision); err != nil || d.More() {
			t.err = errors.New("is not an object with the fields of POST /v1/consent")
		}
		if err := fn(t); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	return nil
}

func readCSV(in io.Reader, fn func(told) error) error {
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	head, err := rows.Read()
	if err != nil {
		return fmt.Errorf("read the file's first line: %w", err)
	}
	columns := make([]func(*api.Decision, string) error, len(head))
	subject := false
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		if columns[i] = columnOf(name); columns[i] == nil {
			return usagef("column %d of the file is not one of subject, opens, clicks, format, unsubscribed, source, text_version", i+1)
		}
		subject = subject || name == "subject"
	}
	if !subject {
		return usagef("the file has no column subject")
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var t told
		var wrong *csv.ParseError
		switch {
		case err == nil:
			t.line, _ = rows.FieldPos(0)
		case errors.As(err, &wrong):
			t.line, t.err = wrong.StartLine, wrong.Err
		default:
			return fmt.Errorf("read the file: %w", err)
		}
		for i := 0; i < len(row) && t.err == nil; i++ {
			t.err = columns[i](&t.decision, strings.TrimSpace(row[i]))
		}
		if err := fn(t); err != nil {
			return err
		}
	}
}

// columnOf says where a column goes; nil for an unknown one.
func columnOf(name string) func(*api.Decision, string) error {
	text := func(to func(*api.Decision) *string) func(*api.Decision, string) error {
		return func(d *api.Decision, v string) error { *to(d) = v; return nil }
	}
	switch name {
	case "subject":
		return text(func(d *api.Decision) *string { return &d.Subject })
	case "opens":
		return text(func(d *api.Decision) *string { return &d.Opens })
	case "clicks":
		return text(func(d *api.Decision) *string { return &d.Clicks })
	case "format":
		return text(func(d *api.Decision) *string { return &d.Format })
	case "source":
		return text(func(d *api.Decision) *string { return &d.Source })
	case "text_version":
		return text(func(d *api.Decision) *string { return &d.TextVersion })
	case "unsubscribed":
		return func(d *api.Decision, v string) error {
			switch v {
			case "":
			case "true", "false":
				d.Unsubscribed = new(v == "true")
			default:
				return errors.New("unsubscribed is not true or false")
			}
			return nil
		}
	}
	return nil
}
