package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
)

func newConsentImport(c *cli, r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Record decisions from a file, CSV or one JSON object per line",
		Long: `Record decisions from a file ("-" is stdin). It holds one JSON object per line with the fields of
POST /v1/consent, or CSV with the same names in its first line: subject (the address), and any of
opens, clicks, format, unsubscribed (true or false), tracking, source, text_version. An empty cell stays as it is.
Other columns are refused: what is not needed is not to be sent.

Rows that can't be used are told by their number and the cause, and the rest is recorded; the exit code
is 1 then. An import that was cut short, by a kill of this command or of the server, is taken up by
importing the file again: what was recorded is known again, and is not recorded twice. Each decision that is
recorded has a receipt, which mailbeacon consent export prints.`,
		Example: "  mailbeacon consent import refusals.csv\n  mailbeacon consent import - < refusals.ndjson",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, size := c.stdin, int64(0)
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usage(err)
				}
				defer f.Close()
				if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
					size = st.Size()
				}
				in = f
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			defer cl.Close()
			return c.importConsent(cmd.Context(), r, cl, in, size)
		},
	}
}

// counted counts what is read of a file.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (f *counted) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	f.n.Add(int64(n))
	return n, err
}

func (c *cli) importConsent(ctx context.Context, r *remote, cl *client.Client, in io.Reader, size int64) error {
	file := &counted{Reader: in}
	csv, whole, err := isCSV(file)
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	type refusal struct {
		Line  uint64 `json:"line"`
		Error string `json:"error"`
	}
	refused := []refusal{}
	bar := newBar(c.stderr, size, "rows")
	sum, err := cl.ImportConsent(ctx, whole, csv, func(line api.Imported) {
		switch {
		case line.Error == "":
			bar.draw(file.n.Load(), line.Line)
		case r.json:
			refused = append(refused, refusal{line.Line, line.Error})
		default:
			bar.clear()
			fmt.Fprintf(c.stderr, "line %d: %s\n", line.Line, line.Error)
		}
	})
	bar.clear()
	if err != nil {
		return asUsage(err)
	}
	if r.json {
		err = c.printJSON(map[string]any{
			"recorded": sum.Recorded, "stood": sum.Stood, "bad": sum.Bad, "receipts": sum.Receipts, "effective": sum.Effective, "position": sum.Position, "refused": refused,
		})
	} else {
		_, err = fmt.Fprintln(c.stdout, summed(&sum))
		if err == nil && sum.Receipts > 0 {
			_, err = fmt.Fprintf(c.stdout, "%s: mailbeacon consent export ADDRESS prints each\n", number(sum.Receipts, "receipt", "receipts"))
		}
	}
	if err == nil && sum.Bad > 0 {
		err = fmt.Errorf("%s can't be used", number(sum.Bad, "line", "lines"))
	}
	return err
}

func summed(sum *api.Imported) string {
	said := []string{number(sum.Recorded, "decision", "decisions") + " recorded"}
	if sum.Stood > 0 {
		said = append(said, number(sum.Stood, "was", "were")+" recorded already, or would have taken back a refusal")
	}
	if sum.Bad > 0 {
		said = append(said, number(sum.Bad, "line", "lines")+" can't be used")
	}
	if !sum.Effective {
		said = append(said, "soon in effect")
	}
	return strings.Join(said, ", ")
}

// isCSV looks at a file's beginning, and returns all of it.
func isCSV(in io.Reader) (csv bool, whole io.Reader, err error) {
	b := bufio.NewReaderSize(in, 64<<10)
	start, err := b.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, nil, err
	}
	start = bytes.TrimSpace(bytes.TrimPrefix(start, []byte("\ufeff")))
	return len(start) > 0 && start[0] != '{', b, nil
}
