package aggregate

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
)

// BenchmarkFold is a busy partition: 1000 campaigns of 20 links, 100,000 people, four opens to a
// click, a tenth of the opens prefetched, 100,000 events a second of event time, committed every
// 250,000 events. One operation is one event.
func BenchmarkFold(b *testing.B) {
	const ring = 1 << 20
	rnd := rand.New(rand.NewPCG(1, 2))
	events := make([]event.Event, ring)
	for i := range events {
		ev := event.Event{
			Time:     int64(i) / 100,
			Subject:  0x9e3779b97f4a7c15 * (1 + rnd.Uint64N(100_000)),
			Campaign: 1 + uint32(rnd.ExpFloat64()*100)%1000,
			Kind:     event.Open,
			Client:   event.Client(rnd.IntN(6)),
		}
		switch {
		case rnd.IntN(5) == 0:
			ev.Kind, ev.Link = event.Click, 1+uint16(rnd.IntN(20))
		case rnd.IntN(10) == 0:
			ev.Signals = event.BareMozilla | event.AppleEgress
		case rnd.IntN(3) == 0:
			ev.Signals = event.GoogleProxy
		}
		events[i] = ev
	}
	table := consent.NewTable(consent.BasisSubject)
	f, err := NewFold(Progress{}, FoldOptions{Consent: table, Campaigns: campaigns(1000)})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	const size = 4096
	buf := make([]event.Event, size)
	at := uint64(0)
	step := func() {
		copy(buf, events[at%ring:])
		lap := int64(at/ring) * (ring / 100)
		for i := range buf {
			buf[i].Time += lap
		}
		f.Add(Batch{Edge: 1, Epoch: 1, First: at, Offset: at, Events: buf}, now)
		at += size
		if f.Ready() >= 250_000 && f.Take(now) == nil {
			b.Fatal("nothing to commit")
		}
	}
	for at < 4_000_000 { // until the window is full and events leave it as they come
		step()
	}
	b.ReportAllocs()
	b.ResetTimer()
	busy := processorTime(b)
	for n := 0; n < b.N; n += size {
		step()
	}
	busy = processorTime(b) - busy
	b.StopTimer()
	b.ReportMetric(float64(b.N)/busy.Seconds(), "events/core-s")
	b.ReportMetric(float64(f.Held()), "held")
}

// processorTime is what the process has used so far: unlike the time on the wall it does not grow
// with what else the machine does.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
