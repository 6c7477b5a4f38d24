package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/config"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/datadir"
)

// TestCountedEventsLeave runs the spool, the fold and the counts of `serve` for a while in which little happens: a person's
// number leaves the spool within six minutes, and with a stop.
func TestCountedEventsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := filepath.Join(t.TempDir(), "data")
		dir, err := datadir.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		cfg := &config.Config{Data: root, Basis: consent.BasisSubject, ClassifyWindow: 15 * time.Second, CommitInterval: time.Second}
		logger := slog.New(slog.DiscardHandler)
		state, err := openState(t.Context(), dir, cfg, logger)
		if err != nil {
			t.Fatal(err)
		}
		events, err := openEvents(t.Context(), dir, cfg, state, logger)
		if err != nil {
			t.Fatal(err)
		}
		fold, err := newFold(cfg, state, events, logger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- fold.runner.Run(ctx) }()

		const person = 0x0123456789abcdef
		number := binary.LittleEndian.AppendUint64(nil, person)
		for range 3 {
			ev := &event.Event{Time: time.Now().UnixMilli(), Subject: person, Campaign: 1, Kind: event.Open}
			if err := events.spool.Append(ev); err != nil {
				t.Fatal(err)
			}
			if !spoolHolds(t, root, number) {
				t.Fatal("this test looks in the wrong place")
			}
			time.Sleep(6 * time.Minute)
			if left := events.left(fold); left != 0 {
				t.Fatalf("%d events are not counted", left)
			}
			if spoolHolds(t, root, number) {
				t.Error("the person's number is in the spool 6 minutes after the event")
			}
		}
		// And one that a stop comes soon after.
		if err := events.spool.Append(&event.Event{Time: time.Now().UnixMilli(), Subject: person, Campaign: 1, Kind: event.Open}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		cancel()
		if err := errors.Join(<-ended, events.close(), state.close(), dir.Close()); err != nil {
			t.Fatal(err)
		}
		if spoolHolds(t, root, number) {
			t.Error("after a stop the person's number is in the spool")
		}
	})
}

// spoolHolds says whether any file of the spool holds some bytes.
func spoolHolds(t *testing.T, data string, what []byte) bool {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(data, spoolFolder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(b, what) {
			return true
		}
	}
	return false
}
