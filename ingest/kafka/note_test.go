package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/event"
)

// TestShippedEventsLeave: what a quiet edge has shipped leaves its disk by itself, and with a stop, though the block is not full.
func TestShippedEventsLeave(t *testing.T) {
	t.Parallel()
	if most := 10 * time.Minute; noteEvery+6*time.Minute > most { // a spool is renewed within 5 minutes and a half
		t.Errorf("noted every %v: events may stay longer than %v", noteEvery, most)
	}
	r := newRig(t, shared(t), 2)
	must(t, r.spool.Close())
	r.noteEvery, r.renew = 100*time.Millisecond, 200*time.Millisecond
	r.openSpool()
	const person = 0x0123456789abcdef
	held := func() bool { return r.spoolHolds(binary.LittleEndian.AppendUint64(nil, person)) }
	opened := func() {
		t.Helper()
		must(t, r.spool.Append(&event.Event{Time: time.Now().UnixMilli(), Subject: person, Campaign: 1, Kind: event.Open}))
		r.acked[0].Add(1)
	}
	opened()
	if !held() {
		t.Fatal("this test looks in the wrong place")
	}
	r.fold()
	s, stop := r.ship()
	for range 3 {
		r.awaitShipped(s)
		eventually(t, "the person's number has left the spool", func() bool { return !held() })
		opened()
	}
	r.awaitShipped(s)
	must(t, stop())
	must(t, r.spool.Close())
	if held() {
		t.Error("after a stop the person's number is in the spool")
	}
	r.openSpool()
	r.append(1000)
	must(t, os.Remove(r.cursor()))
	r.shipAll()
	r.awaitFolded()
	r.check()
	if _, again := r.repeated(); again != 0 {
		t.Errorf("%d events were shipped again", again)
	}
}

// spoolHolds says whether any file of the spool holds some bytes.
func (r *rig) spoolHolds(what []byte) bool {
	r.t.Helper()
	all, err := filepath.Glob(filepath.Join(r.dir, "spool", "*"))
	must(r.t, err)
	for _, name := range all {
		b, err := os.ReadFile(name)
		if !errors.Is(err, fs.ErrNotExist) {
			must(r.t, err)
		}
		if bytes.Contains(b, what) {
			return true
		}
	}
	return false
}

// TestCursorIsLostWithinABlock: where the spool was trimmed within a block, numbering goes on from the note.
func TestCursorIsLostWithinABlock(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 3)
	must(t, r.spool.Close())
	r.noteEvery, r.renew = time.Millisecond, 50*time.Millisecond
	r.openSpool()
	r.fold()
	within := 0
	for range 8 {
		r.append(1000 + rand.IntN(20_000))
		s, stop := r.ship()
		r.awaitShipped(s)
		time.Sleep(100 * time.Millisecond)
		r.append(rand.IntN(3000))
		must(t, stop())
		must(t, r.spool.Close())
		r.openSpool()
		if r.spool.Stats().First%BlockEvents > 1 {
			within++
		}
		must(t, os.Remove(r.cursor()))
	}
	if within == 0 {
		t.Error("the spool never began within a block: this tests nothing")
	}
	r.shipAll()
	r.awaitFolded()
	r.check()
}

// TestBothCursorsAreLost: nobody knows which numbers were given, so nothing is shipped until a file is back, or a person says so.
func TestBothCursorsAreLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	r.append(30_000)
	r.shipAll()
	must(t, r.spool.Close())
	r.openSpool()
	if first := r.spool.Stats().First; first != 30_000 {
		t.Fatalf("the spool begins at %d", first)
	}
	kept, err := os.ReadFile(divisionFile(r.cursor()))
	must(t, err)
	lose := func() {
		must(t, os.Remove(r.cursor()))
		must(t, os.Remove(divisionFile(r.cursor())))
	}
	options := ShipperOptions{Client: r.client(), Topic: r.topic, Spool: OfSpool(r.spool), Cursor: r.cursor(), Consent: everybody{}, Campaigns: anyCampaign{}, Fresh: r.fresh.Load}
	lose()
	if _, err := NewShipper(options); err == nil || !strings.Contains(err.Error(), acceptFile(r.cursor())) {
		t.Fatalf("%v", err)
	}
	must(t, os.WriteFile(divisionFile(r.cursor()), kept, 0o600))
	r.fold()
	r.append(10_000)
	r.shipAll()
	r.awaitFolded()
	r.check()

	lose()
	must(t, r.spool.Close())
	r.openSpool()
	must(t, os.WriteFile(acceptFile(r.cursor()), nil, 0o600))
	options.Spool = OfSpool(r.spool)
	if _, err := NewShipper(options); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(acceptFile(r.cursor())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it says so for ever: %v", err)
	}
}

// TestCameAt: the age of what waits, though the time of what is suppressed is its hour's.
func TestCameAt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 8, 40, 0, 0, time.UTC)
	hour := now.Truncate(time.Hour).UnixMilli()
	at := func(ago time.Duration, r event.Reason) event.Event {
		ev := event.Event{Time: now.Add(-ago).UnixMilli(), Subject: 1, Campaign: 1, Kind: event.Open}
		if r != event.Counted {
			ev.Suppress(r)
		}
		return ev
	}
	for name, c := range map[string]struct {
		events []event.Event
		want   int64
	}{
		"nothing":                   {nil, 0},
		"counted":                   {[]event.Event{at(time.Minute, event.Counted), at(time.Second, event.Counted)}, now.Add(-time.Minute).UnixMilli()},
		"suppressed, then counted":  {[]event.Event{at(2*time.Minute, event.GPC), at(time.Minute, event.Counted)}, now.Add(-time.Minute).UnixMilli()},
		"suppressed, of this hour":  {[]event.Event{at(2*time.Minute, event.GPC)}, now.UnixMilli()},
		"suppressed, of long ago":   {[]event.Event{at(5*time.Hour, event.GPC)}, hour - 4*time.Hour.Milliseconds()},
		"a clock that was set back": {[]event.Event{at(-time.Hour, event.Counted)}, now.UnixMilli()},
	} {
		if got := cameAt(c.events, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, time.UnixMilli(got).UTC(), time.UnixMilli(c.want).UTC())
		}
	}
}
