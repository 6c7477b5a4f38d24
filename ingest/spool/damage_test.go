package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// perFrame is what an event takes that is appended alone.
const perFrame = event.FrameHeaderSize + event.Size

// perSegment is how many such events fit into the segments of these tests.
const perSegment = (4<<10 - spool.HeaderSize) / perFrame

// filled is a disk with n events, one per frame, from a spool that was killed. Segments start at 0 and
// at every multiple of perSegment, apart from the first ones, which may be short.
func filled(t *testing.T, n int) *faultfs.FS {
	t.Helper()
	disk := faultfs.New(1)
	s, _ := open(t, modelOptions(disk))
	for i := range n {
		if err := s.Append(numbered(uint64(i))); err != nil {
			t.Fatal(err)
		}
	}
	next := disk.Kill()
	_ = s.Close()
	return next
}

// segments lists the first numbers of the segments on a disk.
func segments(t *testing.T, disk *faultfs.FS) (firsts []uint64, names []string) {
	t.Helper()
	all, err := disk.ReadDir(modelDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		var first uint64
		if _, err := fmt.Sscanf(name, "%016x.seg", &first); err == nil && strings.HasSuffix(name, ".seg") {
			firsts, names = append(firsts, first), append(names, name)
		}
	}
	return firsts, names
}

func at(name string) string { return filepath.Join(modelDir, name) }

// edit changes bytes of a file on a disk.
func edit(disk *faultfs.FS, name string, change func(b []byte) []byte) {
	disk.Put(at(name), change(disk.Bytes(at(name))))
}

// wantOnly reads all there is and expects every event but those of a range, which must have been skipped.
func wantOnly(t *testing.T, s *spool.Spool, total, lostFrom, lostTo uint64) {
	t.Helper()
	events, _, skipped := readAll(t, s, 0)
	var want []uint64
	for i := range total {
		if i < lostFrom || i >= lostTo {
			want = append(want, i)
		}
	}
	var got []uint64
	for _, e := range events {
		got = append(got, e.Subject)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("read %v\nwant %v", got, want)
	}
	if skipped < lostTo-lostFrom {
		t.Fatalf("skipped %d, lost were %d", skipped, lostTo-lostFrom)
	}
}

// Each kind of damage in each kind of segment: what is lost is exactly what was hit, it is told, the bytes are
// kept, and later events get numbers of their own.
func TestDamage(t *testing.T) {
	t.Parallel()
	const total = 3*perSegment + 20
	frame := func(i int) int { return spool.HeaderSize + i*perFrame }
	tests := []struct {
		name     string
		segment  int // from the end: 0 is the last
		change   func(b []byte) []byte
		from, to uint64 // which events of the segment are lost; to 0 means up to its end
	}{
		{"bit in a body", 1, func(b []byte) []byte { b[frame(3)+60] ^= 4; return b }, 3, 4},
		{"bit in a frame header", 1, func(b []byte) []byte { b[frame(3)+33] ^= 4; return b }, 3, 4},
		{"bit in a body of the last segment", 0, func(b []byte) []byte { b[frame(3)+60] ^= 4; return b }, 3, 4},
		{"first frame", 1, func(b []byte) []byte { clear(b[frame(0):frame(1)]); return b }, 0, 1},
		{"zeros over many frames", 1, func(b []byte) []byte { clear(b[frame(5)+7 : frame(9)+7]); return b }, 5, 10},
		{"zeros over many frames of the last segment", 0, func(b []byte) []byte { clear(b[frame(5)+7 : frame(9)+7]); return b }, 5, 10},
		{"end cut off", 1, func(b []byte) []byte { return b[:frame(30)+5] }, 30, 0},
		{"header", 1, func(b []byte) []byte { b[9] ^= 1; return b }, 0, 0xffff},
		{"header of the last segment", 0, func(b []byte) []byte { b[9] ^= 1; return b }, 0, 0xffff},
		{"whole segment is noise", 1, func(b []byte) []byte { return bytes.Repeat([]byte("noise"), 800) }, 0, 0},
		{"whole segment is empty", 1, func(b []byte) []byte { return nil }, 0, 0},
		{"whole last segment is noise", 0, func(b []byte) []byte { return bytes.Repeat([]byte("noise"), 800) }, 0, 0},
		{"frames swapped", 1, func(b []byte) []byte {
			f3 := bytes.Clone(b[frame(3):frame(4)])
			copy(b[frame(3):], b[frame(4):frame(5)])
			copy(b[frame(4):], f3)
			return b
		}, 4, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			disk := filled(t, total)
			firsts, names := segments(t, disk)
			i := len(firsts) - 1 - tt.segment
			hit, end := firsts[i], uint64(total)
			if tt.segment > 0 {
				end = firsts[i+1]
			}
			edit(disk, names[i], tt.change)
			damaged := disk.Bytes(at(names[i]))
			s, rec := open(t, modelOptions(disk))
			from, to := hit+tt.from, hit+tt.to
			switch tt.to {
			case 0:
				to = end
			case 0xffff:
				to = from
			}
			if rec.Next < total {
				t.Fatalf("next number is %d, %d were given out", rec.Next, total)
			}
			if tt.segment == 0 && len(rec.Damage) == 0 {
				t.Fatal("Open did not tell")
			}
			wantOnly(t, s, total, from, to)
			if err := s.Append(numbered(rec.Next)); err != nil {
				t.Fatal(err)
			}
			if last, first, _ := readAll(t, s, rec.Next); len(last) != 1 || first != rec.Next || last[0] != *numbered(rec.Next) {
				t.Fatalf("the event behind it reads as %v at %d", last, first)
			}
			if s.Stats().Damaged == 0 {
				t.Fatal("not counted")
			}
			// A trim of everything takes the segment away, and leaves the bytes.
			if err := s.Trim(rec.Next + 1); err != nil {
				t.Fatal(err)
			}
			kept := false
			all, err := disk.ReadDir(modelDir)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range all {
				kept = kept || strings.HasSuffix(name, ".bad") && bytes.Equal(disk.Bytes(at(name)), damaged)
			}
			if !kept {
				t.Fatalf("the damaged bytes are gone: %v", all)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			// And the next life agrees.
			s, rec2 := open(t, modelOptions(disk))
			if rec2.Next != rec.Next+1 || rec2.NewEpoch {
				t.Fatalf("next life: %+v", rec2)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Only the end of the last segment can be torn, and cutting it off is not damage.
// TestDamagedBytesOutlastPower: a loss of power in the midst of a trim leaves the damaged segment under one name or the other.
func TestDamagedBytesOutlastPower(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		disk := filled(t, 3*perSegment)
		_, names := segments(t, disk)
		edit(disk, names[0], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		damaged := disk.Bytes(at(names[0]))
		s, rec := open(t, modelOptions(disk))
		readAll(t, s, 0)
		if s.Stats().Damaged == 0 {
			t.Fatal("not noticed")
		}
		for range seed { // another course of the loss
			disk.Clone()
		}
		disk.Inject(faultfs.Fault{Op: faultfs.SyncDir, Err: syscall.EIO})
		if err := s.Trim(rec.Next); err == nil {
			t.Fatal("the folder can't be synced, and the trim says nothing")
		}
		disk = disk.Crash()
		_ = s.Close() // of a process that is dead
		all, err := disk.ReadDir(modelDir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(name string) bool { return bytes.Equal(disk.Bytes(at(name)), damaged) }) {
			t.Fatalf("the damaged bytes are gone: %v", all)
		}
	}
}

func TestTornEnd(t *testing.T) {
	t.Parallel()
	const total = perSegment + 20
	whole := filled(t, total)
	_, names := segments(t, whole)
	name := names[len(names)-1]
	b := bytes.TrimRight(whole.Bytes(at(name)), "\x00")
	for cut := 1; cut < perFrame; cut++ {
		disk := whole.Clone()
		torn := append(bytes.Clone(b[:len(b)-cut]), make([]byte, 500)...)
		disk.Put(at(name), torn)
		s, rec := open(t, modelOptions(disk))
		if len(rec.Damage) != 0 || rec.Next != total-1 {
			t.Fatalf("cut by %d: %+v", cut, rec)
		}
		if want := int64(len(bytes.TrimRight(torn, "\x00"))%perFrame) > 0; cut < event.Size && want && rec.TornBytes == 0 {
			t.Fatalf("cut by %d: torn bytes not told", cut)
		}
		wantOnly(t, s, total-1, 0, 0)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingSegment(t *testing.T) {
	t.Parallel()
	const total = 4 * perSegment
	disk := filled(t, total)
	firsts, names := segments(t, disk)
	i := len(firsts) - 2
	disk.Delete(at(names[i]))
	s, _ := open(t, modelOptions(disk))
	wantOnly(t, s, total, firsts[i], firsts[i+1])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A frame whose sums are right and that holds a record which nobody may store costs that record alone.
func TestBadRecordInGoodFrame(t *testing.T) {
	t.Parallel()
	disk := filled(t, perSegment+20)
	edge, epoch := identityOf(t, disk)
	_, names := segments(t, disk)
	firsts, _ := segments(t, disk)
	i := len(firsts) - 2
	edit(disk, names[i], func(b []byte) []byte {
		frame := b[spool.HeaderSize+2*perFrame : spool.HeaderSize+3*perFrame]
		frame[event.FrameHeaderSize+24] = 77
		event.SealFrame(frame, edge, epoch, firsts[i]+2)
		return b
	})
	s, _ := open(t, modelOptions(disk))
	wantOnly(t, s, perSegment+20, firsts[i]+2, firsts[i]+3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func identityOf(t *testing.T, disk *faultfs.FS) (edge, epoch uint64) {
	t.Helper()
	s, _ := open(t, modelOptions(disk.Clone()))
	defer func() { _ = s.Close() }()
	return s.Identity()
}

// A folder of a newer version is refused as it is.
func TestNewerVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]func(disk *faultfs.FS, name string){
		"segment":  func(d *faultfs.FS, name string) { d.Put(at(name), spool.SegmentHeader(1, 2, 3, 2)) },
		"identity": func(d *faultfs.FS, _ string) { d.Put(at(spool.IdentityName), spool.IdentityFile(1, 2, 2)) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := filled(t, perSegment+20)
			_, names := segments(t, disk)
			spoil(disk, names[0])
			disk.Put(at("next.tmp"), []byte("x"))
			before := contents(t, disk)
			if _, _, err := spool.Open(modelOptions(disk)); !errors.Is(err, spool.ErrNewer) {
				t.Fatalf("Open = %v", err)
			}
			if after := contents(t, disk); after != before {
				t.Fatalf("the folder was changed from\n%s to\n%s", before, after)
			}
		})
	}
}

func contents(t *testing.T, disk *faultfs.FS) string {
	t.Helper()
	names, err := disk.ReadDir(modelDir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s %x\n", name, disk.Bytes(at(name)))
	}
	return b.String()
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	type result struct{ sameEdge, same, newEpoch bool } // the edge; edge and epoch
	tests := []struct {
		name  string
		spoil func(d *faultfs.FS, names []string)
		want  result
		kept  bool // something must be kept as .bad
		lost  bool // it is refused unless the loss is accepted
	}{
		{"untouched", func(*faultfs.FS, []string) {}, result{true, true, false}, false, false},
		{"identity gone", func(d *faultfs.FS, _ []string) { d.Delete(at(spool.IdentityName)) }, result{true, true, false}, false, false},
		{"identity damaged", func(d *faultfs.FS, _ []string) { d.Put(at(spool.IdentityName), []byte("?")) }, result{true, true, false}, true, false},
		{"identity of no version", func(d *faultfs.FS, _ []string) { d.Put(at(spool.IdentityName), spool.IdentityFile(1, 2, 0)) }, result{true, true, false}, true, false},
		{"segments gone", func(d *faultfs.FS, names []string) {
			for _, n := range names {
				d.Delete(at(n))
			}
		}, result{true, false, true}, false, true},
		{"segments gone and identity damaged", func(d *faultfs.FS, names []string) {
			for _, n := range names {
				d.Delete(at(n))
			}
			d.Put(at(spool.IdentityName), []byte("?"))
		}, result{false, false, true}, true, true},
		{"everything gone", func(d *faultfs.FS, names []string) {
			for _, n := range append(names, spool.IdentityName) {
				d.Delete(at(n))
			}
		}, result{false, false, true}, false, true},
		{"a stranger's segment", func(d *faultfs.FS, _ []string) {
			d.Put(at(spool.SegmentName(9000)), spool.SegmentHeader(1, 2, 9000, 1))
		}, result{true, true, false}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			disk := filled(t, perSegment+20)
			edge, epoch := identityOf(t, disk)
			_, names := segments(t, disk)
			tt.spoil(disk, names)
			o := modelOptions(disk)
			o.Next, o.Known = perSegment+20, true
			if err := spool.CheckLost(disk, modelDir, true); errors.Is(err, spool.ErrLost) != tt.lost {
				t.Fatalf("CheckLost = %v", err)
			}
			if before := contents(t, disk); tt.lost {
				if _, _, err := spool.Open(o); !errors.Is(err, spool.ErrLost) {
					t.Fatalf("Open = %v", err)
				}
				if after := contents(t, disk); after != before {
					t.Fatalf("the refused folder was changed from\n%s to\n%s", before, after)
				}
				o.AcceptLoss = true
			}
			s, rec := open(t, o)
			gotEdge, gotEpoch := s.Identity()
			if got := (result{gotEdge == edge, gotEdge == edge && gotEpoch == epoch, rec.NewEpoch}); got != tt.want {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
			if gotEpoch < epoch && gotEdge == edge {
				t.Fatalf("epoch went back from %d to %d", epoch, gotEpoch)
			}
			if rec.Next != perSegment+20 {
				t.Fatalf("next number is %d", rec.Next)
			}
			if kept := strings.Contains(contents(t, disk), ".bad"); kept != tt.kept {
				t.Fatalf("kept as .bad: %v, want %v", kept, tt.kept)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStrayFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	disk := filled(t, 10)
	disk.Put(at("notes.txt"), []byte("mine"))
	disk.Put(at("ffffffffffffffff.seg"), []byte("no number of ours"))
	s, rec := open(t, modelOptions(disk))
	if want := []string{"ffffffffffffffff.seg", "notes.txt"}; !slices.Equal(rec.Stray, want) {
		t.Fatalf("stray: %v", rec.Stray)
	}
	if string(disk.Bytes(at("notes.txt"))) != "mine" {
		t.Fatal("stray file was touched")
	}
	wantOnly(t, s, 10, 0, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{syscall.EROFS, syscall.EACCES} {
		for _, ops := range [][]faultfs.Op{{faultfs.Create, faultfs.OpenWrite, faultfs.Rename, faultfs.Link, faultfs.Remove}, {faultfs.Create}} {
			disk := filled(t, 10)
			for _, op := range ops {
				disk.Inject(faultfs.Fault{Op: op, Err: errno, Times: -1})
			}
			_, _, err := spool.Open(modelOptions(disk))
			if !errors.Is(err, errno) || !strings.Contains(err.Error(), "writ") {
				t.Fatalf("Open = %v", err)
			}
		}
	}
}

// A place that the disk can't read is an error at first, and passed over in the end.
func TestUnreadablePlace(t *testing.T) {
	t.Parallel()
	const total = 2 * perSegment
	disk := filled(t, total)
	s, _ := open(t, modelOptions(disk))
	defer func() { _ = s.Close() }()
	_, names := segments(t, disk)
	disk.Inject(faultfs.Fault{Op: faultfs.ReadAt, Name: names[0], Err: syscall.EIO, Times: -1})
	r, err := s.Reader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	firsts, _ := segments(t, disk)
	buf := make([]event.Event, 10)
	for try := 1; ; try++ {
		first, n, skipped, err := r.Next(t.Context(), buf)
		if errors.Is(err, syscall.EIO) && try <= 5 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if first != firsts[1] || skipped != firsts[1] || try != 6 {
			t.Fatalf("try %d: %d events at %d, %d skipped", try, n, first, skipped)
		}
		break
	}
}

func TestJump(t *testing.T) {
	t.Parallel()
	disk := filled(t, 10)
	o := modelOptions(disk)
	o.Next = 100
	s, rec := open(t, o)
	defer func() { _ = s.Close() }()
	if rec.Next != 100 || rec.Jumped != 90 {
		t.Fatalf("%+v", rec)
	}
	if err := s.Append(numbered(100)); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, s, 101, 10, 100)
}
