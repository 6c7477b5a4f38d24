package spool_test

import (
	"bytes"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// soundEvents lists the events of all frames with right sums in b, the most that may ever be handed out of it.
func soundEvents(b []byte) map[event.Event]int {
	sound := map[event.Event]int{}
	for at := range b {
		f, err := event.ParseFrame(b[at:])
		if err != nil {
			continue
		}
		for i := range int(f.Count) {
			if e, err := f.At(i); err == nil {
				sound[e]++
			}
		}
	}
	return sound
}

// FuzzSegment opens a folder whose segments hold any bytes, as the only one, and in front of another.
func FuzzSegment(f *testing.F) {
	header := spool.SegmentHeader(1, 2, 5, 1)
	frames := func(firsts ...uint64) []byte {
		b := bytes.Clone(header)
		for _, first := range firsts {
			frame := make([]byte, event.FrameHeaderSize+2*event.Size)
			numbered(first).Put(frame[event.FrameHeaderSize:])
			numbered(first + 1).Put(frame[event.FrameHeaderSize+event.Size:])
			event.SealFrame(frame, 1, 2, first)
			b = append(b, frame...)
		}
		return b
	}
	f.Add([]byte{}, true)
	f.Add(header, false)
	f.Add(frames(5, 7, 9), true)
	f.Add(frames(5, 7, 9), false)
	f.Add(frames(5, 9, 7), false)
	f.Add(frames(5, 1<<61), false)
	f.Add(append(frames(5, 7), make([]byte, 200)...), true)
	f.Add(append(frames(5), frames(7, 9)[30:]...), true)
	f.Fuzz(func(t *testing.T, b []byte, last bool) {
		disk := faultfs.New(1)
		disk.Put(at(spool.IdentityName), spool.IdentityFile(1, 2, 1))
		disk.Put(at(spool.SegmentName(5)), b)
		if !last {
			disk.Put(at(spool.SegmentName(20)), spool.SegmentHeader(1, 2, 20, 1))
		}
		if _, err := spool.Dump(&bytes.Buffer{}, disk, modelDir, spool.DumpOptions{}); err != nil {
			t.Fatalf("Dump: %v", err)
		}
		o := modelOptions(disk)
		s, rec, err := spool.Open(o)
		if err != nil {
			if len(b) > 4 && b[4] > 1 {
				return // passes for a newer version
			}
			t.Fatalf("Open: %v", err)
		}
		defer func() { _ = s.Close() }()
		if rec.Next < 5 || !last && rec.Next < 20 || rec.Next > 20+uint64(len(b)) {
			t.Fatalf("%+v", rec)
		}
		sound := soundEvents(b)
		r, err := s.Reader(rec.First)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		buf := make([]event.Event, 3)
		for pos := rec.First; pos < rec.Next; {
			first, n, skipped, err := r.Next(t.Context(), buf)
			if err != nil || first != pos+skipped || n == 0 && skipped == 0 || first+uint64(n) > rec.Next {
				t.Fatalf("Next at %d = %d, %d, %d, %v", pos, first, n, skipped, err)
			}
			for _, e := range buf[:n] {
				if sound[e]--; sound[e] < 0 {
					t.Fatalf("event %+v is in no sound frame", e)
				}
			}
			pos = first + uint64(n)
		}
		deadline := time.Now().Add(5 * time.Second)
		for s.Append(numbered(1)) != nil {
			if time.Now().After(deadline) {
				t.Fatal("no append works")
			}
		}
	})
}
