package spool_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
)

const (
	wakeWaiters = 256
	wakeFile    = 16 << 20
)

// gate is a way to wake the waiters of a batch; README.md compares some. Each batch has one, used again and again.
type gate interface {
	arm()  // before the batch is filled
	join() // by each waiter, under the lock that fills the batch
	wait() // by each waiter, without it
	open() // by the committer
}

type groupGate struct{ sync.WaitGroup }

func (g *groupGate) arm()  { g.Add(1) }
func (g *groupGate) join() {}
func (g *groupGate) wait() { g.Wait() }
func (g *groupGate) open() { g.Done() }

type rwGate struct{ sync.RWMutex }

func (g *rwGate) arm()  { g.Lock() }
func (g *rwGate) join() {}
func (g *rwGate) wait() { g.RLock(); g.RUnlock() } //nolint:staticcheck // the lock is the gate
func (g *rwGate) open() { g.Unlock() }

type closeGate struct{ c chan struct{} }

func (g *closeGate) arm()  { g.c = make(chan struct{}) }
func (g *closeGate) join() {}
func (g *closeGate) wait() { <-g.c }
func (g *closeGate) open() { close(g.c) }

type condGate struct {
	mu   sync.Mutex
	cond sync.Cond
	done bool
}

func (g *condGate) arm()  { g.cond.L, g.done = &g.mu, false }
func (g *condGate) join() {}
func (g *condGate) wait() {
	g.mu.Lock()
	for !g.done {
		g.cond.Wait()
	}
	g.mu.Unlock()
}
func (g *condGate) open() {
	g.mu.Lock()
	g.done = true
	g.mu.Unlock()
	g.cond.Broadcast()
}

// semaphoreGate is one channel with room for every waiter, the cheapest form of a channel for each of them.
type semaphoreGate struct {
	c chan struct{}
	n int
}

func (g *semaphoreGate) arm() {
	if g.c == nil {
		g.c = make(chan struct{}, wakeWaiters)
	}
	g.n = 0
}
func (g *semaphoreGate) join() { g.n++ }
func (g *semaphoreGate) wait() { <-g.c }
func (g *semaphoreGate) open() {
	for range g.n {
		g.c <- struct{}{}
	}
}

// wakeBatch is what one commit of a wakeRig wakes. Whoever looks at it last gives it back.
type wakeBatch struct {
	gate
	n    int
	refs atomic.Int32
}

// wakeRig is a group commit stripped to its bones: real writes, no format.
type wakeRig struct {
	mu      sync.Mutex
	cur     *wakeBatch
	kick    chan struct{}
	free    chan *wakeBatch
	make    func() gate
	yields  int
	commits int
}

func (r *wakeRig) batch() *wakeBatch {
	var b *wakeBatch
	select {
	case b = <-r.free:
	default:
		b = &wakeBatch{gate: r.make()}
	}
	b.n = 0
	b.arm()
	return b
}

func (r *wakeRig) append() {
	r.mu.Lock()
	b := r.cur
	b.n++
	b.join()
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
	b.wait()
	if b.refs.Add(-1) == 0 {
		r.free <- b
	}
}

// run commits until kick is closed: one write and one sync for each batch, over and over the same file.
func (r *wakeRig) run(b *testing.B, f spool.File) {
	buf := make([]byte, event.FrameHeaderSize+wakeWaiters*event.Size)
	off := int64(0)
	for range r.kick {
		for range r.yields {
			runtime.Gosched()
		}
		fresh := r.batch()
		r.mu.Lock()
		batch := r.cur
		r.cur = fresh
		r.mu.Unlock()
		if batch.n == 0 { // its waiters went with the batch before
			batch.open()
			r.free <- batch
			continue
		}
		n := event.FrameHeaderSize + batch.n*event.Size
		if off+int64(n) > wakeFile {
			off = 0
		}
		if _, err := f.WriteAt(buf[:n], off); err != nil {
			b.Error(err)
		}
		off += int64(n)
		if err := f.Datasync(); err != nil {
			b.Error(err)
		}
		r.commits++
		batch.refs.Store(int32(batch.n))
		batch.open()
	}
}

// work keeps the compiler from leaving the other work out.
var work atomic.Uint64

// BenchmarkWake compares ways to wake 256 waiters, with and without other work for the processors between two appends,
// and with and without the committer stepping back before it takes a batch. One operation is one append.
func BenchmarkWake(b *testing.B) {
	gates := []struct {
		name string
		make func() gate
	}{
		{"waitgroup", func() gate { return new(groupGate) }},
		{"rwmutex", func() gate { return new(rwGate) }},
		{"closedchannel", func() gate { return new(closeGate) }},
		{"cond", func() gate { return new(condGate) }},
		{"channel", func() gate { return new(semaphoreGate) }},
	}
	for _, spin := range []int{0, 5000} {
		for _, yields := range []int{0, 2} {
			for _, g := range gates {
				b.Run(fmt.Sprintf("work=%d/yields=%d/gate=%s", spin, yields, g.name), func(b *testing.B) {
					benchmarkWake(b, g.make, spin, yields)
				})
			}
		}
	}
}

func benchmarkWake(b *testing.B, newGate func() gate, spin, yields int) {
	f := writtenFile(b)
	r := &wakeRig{kick: make(chan struct{}, 1), free: make(chan *wakeBatch, 2*wakeWaiters), make: newGate, yields: yields}
	r.cur = r.batch()
	var committer, waiters sync.WaitGroup
	committer.Go(func() { r.run(b, f) })
	latencies := make([][]time.Duration, wakeWaiters)
	for w := range latencies {
		latencies[w] = make([]time.Duration, 0, b.N/wakeWaiters+1)
	}
	b.ResetTimer()
	for w := range wakeWaiters {
		n := b.N / wakeWaiters
		if w < b.N%wakeWaiters {
			n++
		}
		waiters.Go(func() {
			for range n {
				start := time.Now()
				r.append()
				latencies[w] = append(latencies[w], time.Since(start))
				x := uint64(spin)
				for range spin {
					x = x*6364136223846793005 + 1
				}
				work.Store(x)
			}
		})
	}
	waiters.Wait()
	b.StopTimer()
	close(r.kick)
	committer.Wait()
	all := slices.Concat(latencies...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(len(all))/float64(r.commits), "events/commit")
}

// writtenFile is a file whose blocks were written before, as those of a prepared segment are.
func writtenFile(b *testing.B) spool.File {
	b.Helper()
	f, err := spool.OS.Create(filepath.Join(benchDir(b), "wake"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := f.WriteAt(make([]byte, wakeFile), 0); err != nil {
		b.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		b.Fatal(err)
	}
	return f
}
