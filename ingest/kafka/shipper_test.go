package kafka

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

func shared(t *testing.T) Config { return Config{Brokers: []string{kafkatest.Start(t)}} }

func TestLine(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 4)
	r.fold()
	must(t, Reserve(r.cursor(), filepath.Join(r.dir, "topics")))
	reserved := r.cursorFiles()
	r.append(200_000) // several blocks
	r.shipAll()
	r.append(1000)
	r.shipAll()
	for i, file := range r.cursorFiles() {
		if !os.SameFile(file, reserved[i]) || file.Size() != reserved[i].Size() {
			t.Errorf("%s is another file, or has another size: it would want room on the disk", file.Name())
		}
	}
	r.awaitFolded()
	r.check()
	if records, again := r.repeated(); again != 0 {
		t.Errorf("%d records, %d events shipped again", records, again)
	}
	// Whole segments go, of some 8,000 events.
	if first, next := r.spool.Stats().First, r.spool.Stats().Next; first < next/BlockEvents*BlockEvents-10_000 || first > next {
		t.Errorf("the spool is trimmed up to %d of %d", first, next)
	}
}

// cursorFiles are the cursor's and its division's.
func (r *rig) cursorFiles() (files []os.FileInfo) {
	r.t.Helper()
	for _, path := range []string{r.cursor(), divisionFile(r.cursor())} {
		info, err := os.Stat(path)
		must(r.t, err)
		files = append(files, info)
	}
	return files
}

// TestShipperDiesAtEachStep ends the shipper at a random moment before or after a step, again and again. What is
// shipped again must be known as such, however it is cut into records.
func TestShipperDiesAtEachStep(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"before produce", "after produce", "before save", "after save", "after trim", "before note", "after note"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shared(t), 3)
			r.fold()
			r.noteEvery = time.Duration(1+rand.IntN(50)) * time.Millisecond
			deaths := 0
			for range 12 {
				r.append(1000 + rand.IntN(10_000))
				var left atomic.Int64
				left.Store(1 + rand.Int64N(4))
				if strings.HasSuffix(step, "produce") {
					left.Store(1 + rand.Int64N(30))
				}
				r.fail = func(s string) error {
					if s == step && left.Add(-1) == 0 {
						return &crashError{s}
					}
					return nil
				}
				s := r.newShipper(r.client())
				// Rounds of any size, and a cursor that may be many rounds late.
				s.buf = s.buf[:200+rand.IntN(4000)]
				s.o.SaveEvery = time.Duration(1+rand.IntN(100)) * time.Millisecond
				ended := make(chan error, 1)
				go func() { ended <- s.Run(t.Context()) }()
				select {
				case err := <-ended:
					var crash *crashError
					if !errors.As(err, &crash) {
						t.Fatal(err)
					}
					deaths++
				case <-time.After(300 * time.Millisecond):
					// It had less to do than steps to live.
					left.Store(1)
					if r.append(100); step == "after trim" {
						r.append(BlockEvents)
					}
					<-ended
					deaths++
				}
				if rand.IntN(4) == 0 { // the edge died too
					must(t, r.spool.Close())
					r.openSpool()
				}
				if rand.IntN(4) == 0 {
					if err := os.Remove(r.cursor()); !errors.Is(err, fs.ErrNotExist) {
						must(t, err)
					}
				}
			}
			r.fail = nil
			r.shipAll()
			r.awaitFolded()
			r.check()
			records, again := r.repeated()
			t.Logf("%d deaths, %d records, %d events shipped again", deaths, records, again)
			if step == "after produce" && again == 0 {
				t.Error("nothing was shipped again: this test tests nothing")
			}
		})
	}
}

// TestCursorIsLost: without its cursor the shipper starts at the spool's beginning, and nothing is counted
// twice.
func TestCursorIsLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string) error{
		"missing": os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte("not a cursor"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shared(t), 3)
			r.noteEvery = -1
			r.fold()
			for range 3 {
				r.append(50_000)
				r.shipAll()
				must(t, lose(r.cursor()))
			}
			r.append(10)
			r.shipAll()
			r.awaitFolded()
			r.check()
			if _, again := r.repeated(); again < 50_000 {
				t.Errorf("%d events were shipped again only", again)
			}
			_, err := os.Stat(r.cursor() + ".bad")
			if kept := err == nil; kept != (name == "damaged") {
				t.Errorf("kept as .bad: %v", kept)
			}
		})
	}
}

// TestMorePartitions: the number of partitions changes only at the start of a block and with nothing in
// doubt, also with crashes around it.
func TestMorePartitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	r.append(70_000)
	r.shipAll()
	k := client(t, r.config)
	more(t, k, r.topic.Name, 5)
	r.topic = ensure(t, k, EventsTopic(r.topic.Name, 5, 0, 0))
	r.fold()
	for try := range 4 {
		r.append(20_000)
		var left atomic.Int64
		left.Store(1 + int64(try)%3)
		r.fail = func(s string) error {
			if s == "after produce" && left.Add(-1) == 0 {
				return &crashError{s}
			}
			return nil
		}
		s := r.newShipper(client(t, r.config))
		var crash *crashError
		if err := s.Run(t.Context()); !errors.As(err, &crash) {
			t.Fatal(err)
		}
	}
	r.fail = nil
	s, stop := r.ship()
	r.awaitShipped(s)
	if n := s.Stats().Partitions; n != 2 {
		t.Errorf("%d partitions, with everything in doubt", n)
	}
	r.append(2 * BlockEvents)
	r.awaitShipped(s)
	if n := s.Stats().Partitions; n != 5 {
		t.Errorf("%d partitions after more than a block", n)
	}
	must(t, stop())
	r.awaitFolded()
	r.check()
	for p := range 5 {
		if _, next, err := k.bounds(t.Context(), r.topic.Name, p); err != nil || next == 0 {
			t.Errorf("partition %d is empty: %v", p, err)
		}
	}
}

// TestNothingLeavesWhileStale: what is known of consent must be fresh, and is asked at the last moment.
func TestNothingLeavesWhileStale(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	var refused atomic.Bool
	r.consent = refusing{&refused}
	r.fresh.Store(false)
	s, stop := r.ship()
	r.append(1000)
	eventually(t, "the gate holds a record back", func() bool { return s.Stats().Held > 0 })
	time.Sleep(100 * time.Millisecond)
	if st := s.Stats(); st.Shipped != 0 || st.Err == nil {
		t.Errorf("shipped with an old control log: %+v", st)
	}
	refused.Store(true) // all of them, while their events waited
	r.fresh.Store(true)
	r.awaitShipped(s)
	must(t, stop())
	r.fold()
	r.awaitFolded()
	r.check()
	r.expectReason(event.OptedOut)
}

// TestOnlyDatesLeave: of who chose date-only while their events waited no more leaves than the day, and not that of who
// refused since.
func TestOnlyDatesLeave(t *testing.T) {
	t.Parallel()
	const dates, refused = event.DateOnly, event.OptedOut
	r := newRig(t, shared(t), 2)
	chosen := oneReason{&atomic.Int32{}}
	r.consent = chosen
	r.fresh.Store(false)
	s, stop := r.ship()
	r.append(1000)
	click := event.Event{Time: time.Now().UnixMilli(), Subject: 7, Campaign: 1, Link: 3, Kind: event.Click, Signals: event.Automaton}
	must(t, r.spool.Append(&click))
	r.acked[0].Add(1)
	chosen.reason.Store(int32(dates))
	r.fresh.Store(true)
	r.awaitShipped(s)
	must(t, stop())
	people := map[uint64]bool{}
	for _, ev := range r.shipped() {
		if ev.Reason != dates || ev.Check() != nil || ev.Dated() && ev.Kind == event.Click && ev.Signals != event.Automaton {
			t.Fatalf("%+v left; %v", ev, ev.Check())
		}
		people[ev.Subject] = true
	}
	if len(people) < 800 {
		t.Errorf("%d people's days left", len(people))
	}

	// Dates that wait in the spool, and whose people refuse meanwhile.
	first := s.Stats().Next
	r.fresh.Store(false)
	s, stop = r.ship()
	date := event.Event{Time: time.Now().UnixMilli(), Subject: 9, Campaign: 1, Kind: event.Open}
	date.SuppressToDate()
	must(t, r.spool.Append(&date))
	r.acked[0].Add(1)
	chosen.reason.Store(int32(refused))
	r.fresh.Store(true)
	r.awaitShipped(s)
	must(t, stop())
	all := r.shipped()
	if s.Stats().Next != first+1 || len(all) != 1002 {
		t.Errorf("%d events left", len(all))
	}
	for _, ev := range all {
		if ev.Subject == 9 {
			t.Errorf("%+v left", ev)
		}
	}
	r.fold()
	r.awaitFolded()
	r.check()
	r.expectReason(dates)
}

// TestOnlyDatesOfACampaignLeave: of a campaign that keeps dates alone, and that the edge learned of while its events waited, no
// time, link, client or signal goes over the wire; of others all does.
func TestOnlyDatesOfACampaignLeave(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	var dates atomic.Uint32
	r.campaigns = datesOf{of: &dates}
	r.fresh.Store(false)
	s, stop := r.ship()
	r.append(1000)
	at := time.Now().UnixMilli()
	click := event.Event{Time: at, Subject: 7, Campaign: 2, Link: 3, Kind: event.Click, Client: event.Gmail, Signals: event.DataCentre}
	for range 10 {
		must(t, r.spool.Append(&click))
		r.acked[1].Add(1)
	}
	eventually(t, "the gate holds a record back", func() bool { return s.Stats().Held > 0 })
	dates.Store(2)
	r.fresh.Store(true)
	r.awaitShipped(s)
	must(t, stop())
	var whole, dated, ofNobody int
	for _, ev := range r.shipped() {
		switch {
		case ev.Check() != nil, (ev.Campaign == 2) != (ev.Reason == event.DateOnly):
			t.Fatalf("%+v left; %v", ev, ev.Check())
		case ev.Reason == event.Counted:
			whole++
		case ev.Link != 0 || ev.Client != 0 || ev.Signals != 0 || ev.Time%3_600_000 != 0 || ev.Subject != 0 && ev.Time%86_400_000 != 0:
			t.Fatalf("%+v of a campaign of dates left", ev)
		case ev.Subject != 0:
			dated++
		default:
			ofNobody++
		}
	}
	if whole != 800 || dated < 150 || dated+ofNobody != 210 {
		t.Errorf("%d left whole, %d with the day, %d without a person", whole, dated, ofNobody)
	}
	r.fold()
	r.awaitFolded()
	r.check()
}

// datesOf has dates alone of the campaign that it names.
type datesOf struct {
	anyCampaign
	of *atomic.Uint32
}

func (d datesOf) DateOnly(campaign uint32) bool { return campaign == d.of.Load() }

// TestNamesStayInTheSpool: who counts without a name, and was named in the spool by an edge that had no leave, is not named
// in Kafka; and refuses in time, though the refusal came to the edge after the event.
func TestNamesStayInTheSpool(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	table := consent.NewTable(consent.BasisAggregate)
	log := control.NewMemory()
	writer := consent.NewWriter(log, controltest.Follow(t, log, table), table)
	var below atomic.Uint64
	r.consent = table
	r.late = func(_ event.Kind, subject, number uint64) event.Reason {
		if subject == 8 && number < below.Load() {
			return event.OptedOut
		}
		return event.Counted
	}
	r.fresh.Store(false)
	s, stop := r.ship()
	for subject := uint64(7); subject < 10; subject++ {
		must(t, r.spool.Append(&event.Event{Time: time.Now().UnixMilli(), Subject: subject, Campaign: 1, Kind: event.Open}))
		r.acked[0].Add(1)
	}
	if _, _, err := writer.Change(t.Context(), consent.Change{Subject: 7, Opens: consent.Refused, Source: "test"}); err != nil {
		t.Fatal(err)
	}
	below.Store(r.spool.Stats().Next) // 8 refused and granted again
	r.fresh.Store(true)
	r.awaitShipped(s)
	must(t, stop())
	got := map[event.Reason]int{}
	for _, ev := range r.shipped() {
		if got[ev.Reason]++; ev.Subject != 0 {
			t.Errorf("%+v left", ev)
		}
	}
	if got[event.OptedOut] != 2 || got[event.Counted] != 1 {
		t.Errorf("%v", got)
	}
	r.fold()
	r.awaitFolded()
	r.check()
}

// oneReason is one verdict for everybody, who may be named as far as it goes.
type oneReason struct{ reason *atomic.Int32 }

func (o oneReason) Verdict(event.Kind, uint64) event.Reason { return event.Reason(o.reason.Load()) }
func (o oneReason) Attributed(k event.Kind, s uint64) bool  { return o.Verdict(k, s) != event.OptedOut }
func (o oneReason) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return o.Verdict(k, s), s != 0 && o.Attributed(k, s)
}

// shipped is every event in the topic.
func (r *rig) shipped() (all []event.Event) {
	r.t.Helper()
	r.eachRecord(func(value []byte) {
		f, err := event.ParseFrame(value)
		must(r.t, err)
		for i := range int(f.Count) {
			ev, err := f.At(i)
			must(r.t, err)
			all = append(all, ev)
		}
	})
	return all
}

// TestLateRefusals: what may have been recorded before a refusal was known does not count, event by event.
func TestLateRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, shared(t), 2)
	var below atomic.Uint64
	r.late = func(_ event.Kind, _, number uint64) event.Reason {
		if number < below.Load() {
			return event.OptedOut
		}
		return event.Counted
	}
	r.append(1000)
	below.Store(r.spool.Stats().Next)
	r.append(500)
	r.shipAll()
	r.fold()
	r.awaitFolded()
	r.check()
	suppressed := map[event.Reason]uint64{}
	for c := range campaigns {
		all, err := r.store.Counts(t.Context(), uint32(c)+1)
		must(t, err)
		for _, n := range all {
			suppressed[n.Reason] += n.N
		}
	}
	if suppressed[event.OptedOut] != 1000 || suppressed[event.Counted] != 500 {
		t.Errorf("%v", suppressed)
	}
}

// expectReason: all that is counted stands under one reason.
func (r *rig) expectReason(want event.Reason) {
	r.t.Helper()
	for c := range campaigns {
		all, err := r.store.Counts(r.t.Context(), uint32(c)+1)
		must(r.t, err)
		for _, n := range all {
			if n.Reason != want {
				r.t.Errorf("campaign %d: %d events with reason %v, want %v", c+1, n.N, n.Reason, want)
			}
		}
	}
}

type refusing struct{ on *atomic.Bool }

func (r refusing) Verdict(event.Kind, uint64) event.Reason {
	if r.on.Load() {
		return event.OptedOut
	}
	return event.Counted
}

func (r refusing) Attributed(event.Kind, uint64) bool { return !r.on.Load() }
func (r refusing) Allows(k event.Kind, s uint64) (event.Reason, bool) {
	return r.Verdict(k, s), s != 0 && r.Attributed(k, s)
}

// TestPartitionOf: a subject has one partition, and the partitions have about the same share.
func TestPartitionOf(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 2, 3, 12, 64} {
		for _, nobody := range []bool{false, true} {
			count := make([]int, partitions)
			const n = 100_000
			for i := range uint64(n) {
				ev := event.Event{Subject: rand.Uint64()}
				if nobody {
					ev.Subject = 0
				}
				p := partitionOf(&ev, i, partitions)
				if again := partitionOf(&ev, i, partitions); again != p || !nobody && partitionOf(&ev, i+1, partitions) != p {
					t.Fatal("a subject has two partitions")
				}
				count[p]++
			}
			for p, c := range count {
				if want := n / partitions; c < want*8/10 || c > want*12/10 {
					t.Errorf("%d partitions, nobody %v: partition %d has %d of %d", partitions, nobody, p, c, n)
				}
			}
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	for _, c := range []Compression{Snappy, LZ4, Zstd} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shared(t), 1)
			r.append(5000)
			s := r.newShipper(client(t, r.config))
			s.o.Compression = c
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			r.awaitShipped(s)
			stop()
			must(t, <-ended)
			r.fold()
			r.awaitFolded()
			r.check()
		})
	}
	o := ShipperOptions{Compression: "brotli"}
	if err := o.complete(); err == nil {
		t.Error("taken")
	}
}
