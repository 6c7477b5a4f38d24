package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mailbeacon/internal/slotfile"
)

// dumpedCursor is a line of Dump.
type dumpedCursor struct {
	Type       string   `json:"type"`
	Generation uint64   `json:"generation"`
	Edge       string   `json:"edge"`
	Epoch      uint64   `json:"epoch"`
	Next       uint64   `json:"next"`
	Counts     []uint32 `json:"counts"`
}

// Dump prints what a shipper's cursor, its division or the file of topics' ids holds, as text or as a JSON object. It only reads,
// and may look at a file that is in use. ok is false, and nothing printed, where the file is none of these.
func Dump(w io.Writer, path string, asJSON bool) (ok bool, err error) {
	f, err := slotfile.Open(path)
	if err != nil {
		return false, err
	}
	b, err := f.Content()
	if err != nil {
		return true, err
	}
	c, err := parseCursor(b)
	var topics remembered
	switch {
	case err == nil:
		err = c.dump(w, f.Generation(), asJSON)
	case errors.Is(err, errNewerCursor):
		err = fmt.Errorf("%s: %w", path, err)
	case json.Unmarshal(b, &topics) == nil && topics.Version > 0:
		_, err = w.Write(b)
	case len(b) == 0 && f.Generation() > 0:
		_, err = fmt.Fprintf(w, "%s: nothing was written to it yet\n", path)
	default:
		return false, nil
	}
	return true, err
}

func (c *cursor) dump(w io.Writer, generation uint64, asJSON bool) error {
	d := dumpedCursor{"cursor", generation, fmt.Sprintf("%016x", c.edge), c.epoch, c.next, c.counts}
	if asJSON {
		return json.NewEncoder(w).Encode(d)
	}
	_, err := fmt.Fprintf(w, "cursor, generation %d: edge %s, epoch %d, next %d, %d partitions, of whose block they have %v\n", d.Generation, d.Edge, d.Epoch, d.Next, len(d.Counts), d.Counts)
	return err
}
