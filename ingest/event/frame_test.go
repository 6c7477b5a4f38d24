package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// frameOf builds a sealed frame of events.
func frameOf(edge, epoch, first uint64, events ...Event) []byte {
	b := make([]byte, FrameHeaderSize+len(events)*Size)
	for i := range events {
		events[i].Put(b[FrameHeaderSize+i*Size:])
	}
	SealFrame(b, edge, epoch, first)
	return b
}

// resum makes a header's sum right again after an edit.
func resum(b []byte) {
	binary.LittleEndian.PutUint32(b[offHeadSum:], crc32.Checksum(b[:offHeadSum], castagnoli))
}

var sample = []Event{{Time: 1, Subject: 2, Campaign: 3, Kind: Open}, {Time: 4, Subject: 5, Campaign: 6, Link: 7, Kind: Click}}

func TestFrameRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(genEvent), 1, 40).Draw(t, "events")
		edge, epoch := rapid.Uint64().Draw(t, "edge"), rapid.Uint64().Draw(t, "epoch")
		first := rapid.Uint64Max(math.MaxUint64-uint64(len(events))).Draw(t, "first")
		b := frameOf(edge, epoch, first, events...)
		f, err := ParseFrame(append(b, 1, 2, 3))
		if err != nil {
			t.Fatalf("ParseFrame: %v", err)
		}
		if f.Edge != edge || f.Epoch != epoch || f.First != first || int(f.Count) != len(events) || f.Len() != len(b) ||
			f.Next() != first+uint64(len(events)) {
			t.Fatalf("header is %+v", f.FrameHeader)
		}
		from := rapid.IntRange(0, len(events)).Draw(t, "from")
		dst := make([]Event, rapid.IntRange(0, len(events)+3).Draw(t, "room"))
		n, err := f.Decode(dst, from)
		if err != nil || n != min(len(dst), len(events)-from) {
			t.Fatalf("Decode = %d, %v", n, err)
		}
		for i, e := range dst[:n] {
			if e != events[from+i] {
				t.Fatalf("event %d is %+v, want %+v", from+i, e, events[from+i])
			}
		}
	})
}

// Every single bit of a frame is covered by one of the two sums.
func TestFrameNoticesEveryBit(t *testing.T) {
	t.Parallel()
	b := frameOf(1, 2, 3, sample...)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := ParseFrame(b); err == nil {
			t.Fatalf("bit %d flipped and not noticed", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range len(b) {
		if _, err := ParseFrame(b[:n]); !errors.Is(err, ErrFrameShort) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestFrameFaultsHaveOneName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(b []byte)
		want error
	}{
		{"magic", func(b []byte) { b[0] = 0 }, ErrFrameMagic},
		{"header sum", func(b []byte) { b[offEdge]++ }, ErrFrameHeader},
		{"newer version", func(b []byte) { b[offVersion]++; b[offCount] = 0; resum(b) }, ErrFrameVersion},
		{"reserved after version", func(b []byte) { b[7] = 1; resum(b) }, ErrFrameInvalid},
		{"reserved before sum", func(b []byte) { b[offHeadUnused] = 1; resum(b) }, ErrFrameInvalid},
		{"no events", func(b []byte) { b[offCount] = 0; resum(b) }, ErrFrameInvalid},
		{"too many events", func(b []byte) { binary.LittleEndian.PutUint32(b[offCount:], MaxFrameCount+1); resum(b) }, ErrFrameInvalid},
		{"numbers overflow", func(b []byte) { binary.LittleEndian.PutUint64(b[offFirst:], math.MaxUint64-1); resum(b) }, ErrFrameInvalid},
		{"cut short", func(b []byte) { b[offCount]++; resum(b) }, ErrFrameShort},
		{"body", func(b []byte) { b[len(b)-1]++ }, ErrFrameBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := frameOf(1, 2, 3, sample...)
			tt.edit(b)
			if _, err := ParseFrame(b); !errors.Is(err, tt.want) {
				t.Fatalf("ParseFrame = %v, want %v", err, tt.want)
			}
		})
	}
}

// A frame whose sums are right can still hold a record that nobody may store.
func TestDecodeStopsAtBadRecord(t *testing.T) {
	t.Parallel()
	b := frameOf(1, 2, 3, sample[0], Event{Kind: 99}, sample[1])
	f, err := ParseFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	var dst [3]Event
	if n, err := f.Decode(dst[:], 0); n != 1 || !errors.Is(err, ErrKind) {
		t.Fatalf("Decode = %d, %v", n, err)
	}
	if n, err := f.Decode(dst[:], 2); n != 1 || err != nil || dst[0] != sample[1] {
		t.Fatalf("Decode behind the bad record = %d, %v", n, err)
	}
	if _, err := f.At(1); !errors.Is(err, ErrKind) {
		t.Fatalf("At(1) = %v", err)
	}
}

func TestSealFrameRefusesBadLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, Size - 1, Size + 1, (MaxFrameCount + 1) * Size} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("SealFrame of %d body bytes did not panic", n)
				}
			}()
			SealFrame(make([]byte, FrameHeaderSize+n), 1, 2, 3)
		}()
	}
}

// Resync finds every frame that damage left whole, wherever the reader's chunks end.
func TestResync(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var starts []int
		noise := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, magic[0], magic[1], magic[2], magic[3]}), 0, 90)
		for range rapid.IntRange(1, 4).Draw(t, "frames") {
			stream = append(stream, noise.Draw(t, "noise")...)
			starts = append(starts, len(stream))
			stream = append(stream, frameOf(1, 2, 3, sample...)...)
		}
		var found []int
		chunk := rapid.IntRange(FrameHeaderSize, len(stream)+1).Draw(t, "chunk")
		for at := 0; at < len(stream); {
			end := min(at+chunk, len(stream))
			skip, ok := Resync(stream[at:end])
			if skip > end-at || end-at-skip < FrameHeaderSize && ok || !ok && end-at-skip >= FrameHeaderSize {
				t.Fatalf("Resync of %d bytes = %d, %v", end-at, skip, ok)
			}
			at += skip
			switch {
			case ok:
				found = append(found, at)
				at++
			case end == len(stream):
				at = end
			}
		}
		if len(found) != len(starts) {
			t.Fatalf("found %v, want %v", found, starts)
		}
		for i := range found {
			if found[i] != starts[i] {
				t.Fatalf("found %v, want %v", found, starts)
			}
		}
	})
}

func TestCodecDoesNotAllocate(t *testing.T) {
	b := frameOf(1, 2, 3, sample...)
	bad := bytes.Clone(b)
	bad[60]++
	dst := make([]Event, 2)
	allocs := testing.AllocsPerRun(100, func() {
		f, err := ParseFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.Decode(dst, 0); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := ParseFrame(bad); err == nil {
			t.Fatal("bad frame accepted")
		}
		if _, found := Resync(bad[1:]); found {
			t.Fatal("frame found where none is")
		}
		dst[0].Put(b[FrameHeaderSize:])
		SealFrame(b, 1, 2, 3)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func FuzzFrame(f *testing.F) {
	b := frameOf(1, 2, 3, sample...)
	f.Add(b)
	f.Add(append([]byte{0xF5, 'M'}, b...))
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, in []byte) {
		if frame, err := ParseFrame(in); err == nil {
			again := bytes.Clone(in[:frame.Len()])
			SealFrame(again, frame.Edge, frame.Epoch, frame.First)
			if !bytes.Equal(again, in[:frame.Len()]) {
				t.Fatal("an accepted frame is not what SealFrame writes")
			}
			for i := range int(frame.Count) {
				_, _ = frame.At(i) // must not panic
			}
		}
		skip, found := Resync(in)
		if skip < 0 || skip > len(in) || !found && len(in)-skip >= FrameHeaderSize {
			t.Fatalf("Resync of %d bytes = %d, %v", len(in), skip, found)
		}
		if found {
			if _, err := ParseFrameHeader(in[skip:]); err != nil {
				t.Fatalf("Resync stopped where there is no header: %v", err)
			}
		}
	})
}

func BenchmarkFrameDecode(b *testing.B) {
	events := make([]Event, 256)
	for i := range events {
		events[i] = sample[i%2]
	}
	raw := frameOf(1, 2, 3, events...)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		f, err := ParseFrame(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Decode(events, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*256/b.Elapsed().Seconds()/1e6, "Mevents/s")
}
