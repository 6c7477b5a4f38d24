package consent

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/internal/control"
)

// crowd is how many people the measurements are made with; MAILBEACON_PEOPLE asks for more.
func crowd(tb testing.TB) (people int, long bool) {
	tb.Helper()
	v := os.Getenv("MAILBEACON_PEOPLE")
	if v == "" {
		return 300_000, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		tb.Fatalf("MAILBEACON_PEOPLE is %q, no number", v)
	}
	return n, true
}

// Bounds of the long form.
const (
	worstLook  = 100 * time.Nanosecond
	worstStart = 2 * time.Second
	worstStall = 20 * time.Millisecond // of a writer, by growth
)

// TestGrowth fills a table from nothing while somebody looks people up without a pause: the longest that a
// look-up took, and the longest that a change took, growth and all. A look-up may also be kept waiting by the
// machine, so its share above a millisecond is what counts.
func TestGrowth(t *testing.T) {
	people, long := crowd(t)
	table := NewTable(BasisSubject)
	var done atomic.Bool
	var looks, slow int
	var longest time.Duration
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r := rand.New(rand.NewPCG(1, 1))
		for !done.Load() {
			begin := time.Now()
			for range 64 {
				table.Look(r.Uint64())
			}
			took := time.Since(begin)
			longest = max(longest, took)
			if looks += 64; took > time.Millisecond {
				slow++
			}
		}
	}()
	r := rand.New(rand.NewPCG(7, 7))
	var stall time.Duration
	begin := time.Now()
	for range people {
		one := time.Now()
		table.set(r.Uint64()|1, Choice{Opens: Refused})
		stall = max(stall, time.Since(one))
	}
	took := time.Since(begin)
	done.Store(true)
	<-ended
	t.Logf("%d people in %v; %d look-ups beside it: 64 of them took %v at most, and over 1ms %d times; the longest change took %v; %.2f bytes a person",
		people, took.Round(time.Millisecond), looks, longest.Round(time.Microsecond), slow, stall.Round(time.Microsecond), float64(table.Bytes())/float64(table.Len()))
	if long && stall > worstStall {
		t.Errorf("a change took %v, want at most %v", stall, worstStall)
	}
	if b := float64(table.Bytes()) / float64(table.Len()); b > 16 {
		t.Errorf("%.2f bytes a person, want at most 16", b)
	}
}

// TestBytesOfAHundredMillion fills one part of the table as far as it is with that many, and counts it for all.
func TestBytesOfAHundredMillion(t *testing.T) {
	t.Parallel()
	const people = 100_000_000
	h, worst := newShard(leastSlots), 0.0 // one of the parts, filled as far as it is then
	r := rand.New(rand.NewPCG(8, 8))
	for n := range people / shards {
		if h.full() {
			h = h.grown()
		}
		v := r.Uint64()
		at, _ := h.find(v)
		h.words[at] = v<<8 | present
		h.used++
		if n > 1000 {
			worst = max(worst, 8*float64(len(h.words))/float64(n+1))
		}
	}
	t.Logf("100 million people take %d MB, %.2f bytes each; on the way there %.2f at most, %.0f MB of as many", 8*len(h.words)*shards>>20, 8*float64(len(h.words))/float64(h.used), worst, worst*people/(1<<20))
	if worst*people >= 2e9 || worst > 16 {
		t.Errorf("%.2f bytes a person, want less than 2 GB in all", worst)
	}
}

// TestSnapshotAndStart writes a snapshot and starts again with it, files and all.
func TestSnapshotAndStart(t *testing.T) {
	people, long := crowd(t)
	file := filepath.Join(t.TempDir(), "control.snapshot")
	table := NewTable(BasisSubject)
	log := control.NewMemory()
	r := rand.New(rand.NewPCG(7, 7))
	known := make([]uint64, 1000)
	for i := range people {
		s := r.Uint64() | 1
		table.set(s, Choice{Opens: Refused})
		known[i%len(known)] = s
	}
	open := func(into *Table) *control.Follower {
		f, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{into}, Snapshot: file})
		must(t, err)
		return f
	}
	w := open(table)
	_, err := log.Append(t.Context(), control.Record{Kind: control.KindConsent, Key: keyOf(1, fieldOpens), Time: time.Now(), Body: []byte(`{"value":"refused"}`)})
	must(t, err)
	must(t, w.CatchUp(t.Context()))
	begin := time.Now()
	must(t, w.Save())
	saved := time.Since(begin)
	begin = time.Now()
	again := NewTable(BasisSubject)
	must(t, open(again).CatchUp(t.Context()))
	started := time.Since(begin)
	st, err := os.Stat(file)
	must(t, err)
	t.Logf("%d people: snapshot of %d MB in %v, start with it in %v", again.Len(), st.Size()>>20, saved.Round(time.Millisecond), started.Round(time.Millisecond))
	for _, s := range known {
		if again.Look(s).Opens != Refused {
			t.Fatalf("%#x is lost", s)
		}
	}
	if again.Len() != table.Len() {
		t.Errorf("%d people, want %d", again.Len(), table.Len())
	}
	if long && saved+started > worstStart {
		t.Errorf("snapshot and start took %v, want at most %v", saved+started, worstStart)
	}
}
