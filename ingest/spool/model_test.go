package spool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// fate is what Append said of an event.
type fate struct {
	group int // appends of one group ran at once; groups ran one after the other
	life  int // of the process
	acked bool
	seq   uint64 // where it was read, if seen
	seen  bool
}

// model knows what a spool was told, and what it may therefore answer.
type model struct {
	fs    *faultfs.FS
	s     *spool.Spool
	life  int
	group int
	fates map[uint64]*fate  // by the event's subject
	bySeq map[uint64]uint64 // acknowledged events that were read: number to subject
	first uint64            // all below was trimmed, or lost its file to a trim that a crash undid
	freed uint64            // all below was released in this life
	pends int               // read faults that may still strike
}

const modelDir = "/spool"

func modelOptions(f *faultfs.FS) spool.Options {
	return spool.Options{Dir: modelDir, FS: f, SegmentBytes: 4 << 10, Linger: -1, Stall: time.Minute}.WithRetry(time.Millisecond)
}

// append runs n appends at once.
func (m *model) append(n int) {
	m.group++
	var wg sync.WaitGroup
	for range n {
		subject := uint64(len(m.fates) + 1)
		f := &fate{group: m.group, life: m.life}
		m.fates[subject] = f
		wg.Go(func() { f.acked = m.s.Append(numbered(subject)) == nil })
	}
	wg.Wait()
}

// verify reads all there is and compares.
func (m *model) verify(t *rapid.T) {
	m.fs.Heal()
	m.pends = 0
	_ = m.s.Trim(0) // what is released goes now, and not while it is read here
	st := m.s.Stats()
	r, err := m.s.Reader(st.First)
	if err != nil {
		t.Fatalf("Reader(%d): %v", st.First, err)
	}
	defer func() { _ = r.Close() }()
	buf := make([]event.Event, 7)
	here := map[uint64]bool{}
	lastGroup := 0
	for pos := st.First; pos < st.Next; {
		first, n, skipped, err := r.Next(context.Background(), buf)
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if first != pos+skipped {
			t.Fatalf("run starts at %d, with %d skipped after %d", first, skipped, pos)
		}
		for q := pos; q < first; q++ {
			if subject, ok := m.bySeq[q]; ok {
				t.Fatalf("acknowledged event %d, number %d, was skipped", subject, q)
			}
		}
		for i, e := range buf[:n] {
			m.see(t, e, first+uint64(i), here, &lastGroup)
		}
		pos = first + uint64(n)
	}
	for subject, f := range m.fates {
		if f.acked && !here[subject] && (!f.seen || f.seq >= st.First) {
			t.Fatalf("acknowledged event %d (life %d, number %d, seen %v) is lost; the spool holds %d to %d",
				subject, f.life, f.seq, f.seen, st.First, st.Next)
		}
	}
	m.first = st.First
}

// see checks one event that was read.
func (m *model) see(t *rapid.T, e event.Event, seq uint64, here map[uint64]bool, lastGroup *int) {
	f := m.fates[e.Subject]
	switch {
	case f == nil || e != *numbered(e.Subject):
		t.Fatalf("event was never appended: %+v", e)
	case here[e.Subject]:
		t.Fatalf("event %d was read twice", e.Subject)
	case !f.acked && f.life == m.life:
		t.Fatalf("event %d was read, though its Append failed in this life", e.Subject)
	case f.acked && f.seen && f.seq != seq:
		t.Fatalf("event %d had number %d and now has %d", e.Subject, f.seq, seq)
	}
	here[e.Subject] = true
	if other, ok := m.bySeq[seq]; ok && other != e.Subject {
		t.Fatalf("number %d was event %d and is now event %d", seq, other, e.Subject)
	}
	f.seen, f.seq = true, seq
	if f.acked {
		m.bySeq[seq] = e.Subject
		if f.group < *lastGroup {
			t.Fatalf("event %d of group %d comes after one of group %d", e.Subject, f.group, *lastGroup)
		}
		*lastGroup = f.group
	}
}

// reopen starts the next life on the disk that is left. Faults may keep it from opening, but never for good.
func (m *model) reopen(t *rapid.T, next *faultfs.FS) {
	_ = m.s.Close() // its disk is dead: this only ends its goroutines
	m.life++
	m.pends, m.freed = 0, 0
	faulty := rapid.IntRange(0, 3).Draw(t, "faults while opening")
	for range faulty {
		next.Inject(m.drawFault(t))
	}
	s, rec, err := spool.Open(modelOptions(next))
	if err != nil {
		next = next.Kill()
		if s, rec, err = spool.Open(modelOptions(next)); err != nil {
			t.Fatalf("Open on a sound disk: %v", err)
		}
	}
	if len(rec.Damage) > 0 {
		t.Fatalf("a crash was taken for damage: %v", &rec)
	}
	m.fs, m.s = next, s
}

func (m *model) drawFault(t *rapid.T) faultfs.Fault {
	f := faultfs.Fault{
		Op:    rapid.SampledFrom(faultfs.Ops).Draw(t, "op"),
		Skip:  rapid.IntRange(0, 3).Draw(t, "skip"),
		Times: rapid.IntRange(1, 3).Draw(t, "times"),
		Err:   rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC, syscall.EINTR}).Draw(t, "error"),
		After: rapid.Bool().Draw(t, "after"),
	}
	switch f.Op {
	case faultfs.WriteAt:
		f.Short = rapid.Bool().Draw(t, "short")
	case faultfs.ReadAt, faultfs.Open:
		// Five failures in a row are loss by design.
		f.Times = 1
		if m.pends++; m.pends > 4 {
			f.Op = faultfs.Datasync
		}
	}
	return f
}

// TestModel appends, reads, trims, renews, kills, cuts the power and injects errors in any order. Whatever
// was acknowledged is read once, in order, under one number; what failed is not read in the same life.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		disk := faultfs.New(rapid.Uint64().Draw(t, "seed"))
		m := &model{fs: disk, fates: map[uint64]*fate{}, bySeq: map[uint64]uint64{}}
		s, _, err := spool.Open(modelOptions(disk))
		if err != nil {
			t.Fatal(err)
		}
		m.s = s
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append one":  func(*rapid.T) { m.append(1) },
			"append many": func(t *rapid.T) { m.append(rapid.IntRange(2, 40).Draw(t, "n")) },
			"inject": func(t *rapid.T) {
				m.fs.Inject(m.drawFault(t))
			},
			"heal": func(t *rapid.T) {
				m.fs.Heal()
				m.pends = 0
				waitHealthy(t, m.s)
				m.group++
				m.fates[uint64(len(m.fates)+1)] = &fate{group: m.group, life: m.life, acked: true}
				if err := m.s.Append(numbered(uint64(len(m.fates)))); err != nil {
					t.Fatalf("Append on a healed disk: %v", err)
				}
			},
			"read": m.verify,
			"trim": func(t *rapid.T) {
				m.verify(t)
				st := m.s.Stats()
				before := rapid.Uint64Range(st.First, st.Next).Draw(t, "before")
				_ = m.s.Trim(before)
				m.freed = max(m.freed, before)
				if after := m.s.Stats().First; after > max(m.freed, st.First) {
					t.Fatalf("Trim(%d) left %d as the first", before, after)
				}
			},
			"renew": func(t *rapid.T) {
				before := m.s.Stats().First
				m.s.RenewNow()
				if after := m.s.Stats().First; after > max(m.freed, before) {
					t.Fatalf("a renewal left %d as the first", after)
				}
			},
			"kill":  func(t *rapid.T) { m.reopen(t, m.fs.Kill()) },
			"crash": func(t *rapid.T) { m.reopen(t, m.fs.Crash()) },
			"crash while appending": func(t *rapid.T) {
				var wg sync.WaitGroup
				wg.Go(func() { m.append(20) })
				for range rapid.IntRange(0, 200).Draw(t, "delay") {
					m.fs.Calls(faultfs.Datasync)
				}
				disk := m.fs.Crash()
				wg.Wait()
				m.reopen(t, disk)
			},
			"close": func(t *rapid.T) {
				_ = m.s.Close()
				m.reopen(t, m.fs.Kill())
			},
			"close with all released": func(t *rapid.T) {
				m.verify(t) // heals the disk
				waitHealthy(t, m.s)
				err := m.s.Trim(m.s.Stats().Next)
				if err = errors.Join(err, m.s.Close()); err != nil {
					t.Fatalf("Close of a healthy spool: %v", err)
				}
				// What was damaged is kept aside for a person to look at.
				left := slices.DeleteFunc(eventBytes(m.fs), func(name string) bool { return strings.Contains(name, ".bad") })
				if len(left) > 0 {
					t.Fatalf("events are left on the disk: %v", left)
				}
				m.reopen(t, m.fs.Kill())
			},
		})
		m.verify(t)
	})
}

func waitHealthy(t interface{ Fatalf(string, ...any) }, s *spool.Spool) {
	for end := time.Now().Add(10 * time.Second); s.Healthy() != nil; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("not healed: %v", s.Healthy())
		}
	}
}

// TestEveryFault strikes every call at every place where it is made in a small story, before and after it took effect,
// once and for a while, and holds the spool to its word each time.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	for _, op := range faultfs.Ops {
		for _, after := range []bool{false, true} {
			for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
				t.Run(fmt.Sprintf("%s/after=%v/%v", op, after, err), func(t *testing.T) {
					t.Parallel()
					for skip := range 12 {
						for _, times := range []int{1, 3} {
							if struck := story(t, faultfs.Fault{Op: op, After: after, Err: err, Skip: skip, Times: times}); !struck && times == 1 {
								return // the story makes no more such calls
							}
						}
					}
				})
			}
		}
	}
}

// story is a life of a spool on a disk with one fault: some appends, a trim, a renewal, a crash, a look at what is left.
func story(t *testing.T, fault faultfs.Fault) (struck bool) {
	t.Helper()
	disk := faultfs.New(uint64(fault.Skip))
	disk.Inject(fault)
	s, _, err := spool.Open(modelOptions(disk))
	for err != nil {
		if !errors.Is(err, fault.Err) {
			t.Fatalf("Open = %v, which hides %v", err, fault.Err)
		}
		if disk.Heal(); fault.Times > 1 {
			disk = disk.Crash()
		}
		s, _, err = spool.Open(modelOptions(disk))
	}
	var acked []uint64
	appendSome := func(n uint64) {
		for i := range n {
			subject := uint64(len(acked))<<8 | i
			switch err := s.Append(numbered(subject)); {
			case err == nil:
				acked = append(acked, subject)
			case errors.Is(err, fault.Err):
				waitHealthy(t, s)
			default:
				t.Fatalf("Append = %v, which hides %v", err, fault.Err)
			}
		}
	}
	check := func() {
		disk.Heal()
		all, first, skipped := readAll(t, s, s.Stats().First)
		want := acked
		if uint64(len(all)) < uint64(len(acked)) {
			want = acked[len(acked)-len(all):]
		}
		if skipped != 0 || len(all) != len(want) || uint64(len(acked)) != first+uint64(len(all)) {
			t.Fatalf("%+v: read %d from %d with %d skipped, acknowledged were %d", fault, len(all), first, skipped, len(acked))
		}
		for i, e := range all {
			if e.Subject != want[i] {
				t.Fatalf("%+v: event %d is %d, want %d", fault, i, e.Subject, want[i])
			}
		}
	}
	appendSome(150) // beyond one segment
	if err := s.Trim(uint64(len(acked)) / 2); err != nil && !errors.Is(err, fault.Err) {
		t.Fatalf("Trim = %v", err)
	}
	appendSome(5)
	s.RenewNow()
	appendSome(5)
	struck = disk.Hits() > 0
	check()
	next := disk.Crash()
	_ = s.Close()
	disk = next
	s, rec, err := spool.Open(modelOptions(disk))
	if err != nil || len(rec.Damage) > 0 || rec.TornBytes > 0 {
		t.Fatalf("%+v: Open after a crash: %v, %v", fault, err, &rec)
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return struck
}
