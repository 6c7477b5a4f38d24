// Package controltest is the conformance suite that every control.Log passes, and what tests of
// folders need to have one followed.
package controltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbeacon/internal/control"
)

// Backend is a Log under test.
type Backend struct {
	// Open opens the log that lives at a place, an empty folder at first. After Close, opening the
	// same place again must find everything.
	Open func(t *testing.T, place string) control.Log
	// Volatile says that nothing outlives Close.
	Volatile bool
}

// patience bounds what must happen soon; a test that runs into it has failed.
const patience = 10 * time.Second

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, log control.Log)
	}{
		{"empty", empty},
		{"order", order},
		{"round trip", roundTrip},
		{"batch is consecutive", consecutive},
		{"all or none", allOrNone},
		{"limits", limits},
		{"read in pieces", pieces},
		{"history", history},
		{"entries are the caller's", ownership},
		{"wait is woken", waitWoken},
		{"wait sees what is there", waitThere},
		{"wait ends with its context", waitContext},
		{"ended context", endedContext},
		{"concurrent", concurrent},
		{"close", closing},
		{"heartbeats prove freshness", heartbeats},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log := b.Open(t, t.TempDir())
			t.Cleanup(func() {
				if err := log.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.run(t, log)
		})
	}
	if !b.Volatile {
		t.Run("reopen", func(t *testing.T) { t.Parallel(); reopen(t, b) })
	}
}

// Record makes a record whose content follows from n.
func Record(n int) control.Record {
	return control.Record{
		Kind: control.KindCampaign, Key: fmt.Sprintf("key-%d", n),
		Time: time.UnixMilli(1_700_000_000_000 + int64(n)).UTC(), Body: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

func records(from, to int) []control.Record {
	var rs []control.Record
	for n := from; n < to; n++ {
		rs = append(rs, Record(n))
	}
	return rs
}

func appendAll(t *testing.T, log control.Log, rs ...control.Record) control.Position {
	t.Helper()
	pos, err := log.Append(t.Context(), rs...)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return pos
}

func readAll(t *testing.T, log control.Log) []control.Entry {
	t.Helper()
	var all []control.Entry
	after := control.Position(0)
	for {
		es, err := log.Read(t.Context(), after, 1000)
		if err != nil {
			t.Fatalf("read after %d: %v", after, err)
		}
		if len(es) == 0 {
			return all
		}
		all = append(all, es...)
		after = es[len(es)-1].Position
	}
}

func sameRecord(a, b control.Record) bool {
	return a.Kind == b.Kind && a.Key == b.Key && a.Time.Equal(b.Time) && bytes.Equal(a.Body, b.Body)
}

// expect compares the whole log with records, and the positions with their order.
func expect(t *testing.T, log control.Log, want []control.Record) {
	t.Helper()
	got := readAll(t, log)
	if len(got) != len(want) {
		t.Fatalf("log holds %d entries, want %d", len(got), len(want))
	}
	last := control.Position(0)
	for i := range got {
		if !sameRecord(got[i].Record, want[i]) {
			t.Fatalf("entry %d is %+v, want %+v", i, got[i].Record, want[i])
		}
		if got[i].Position <= last {
			t.Fatalf("position %d after %d", got[i].Position, last)
		}
		last = got[i].Position
	}
	head, err := log.Head(t.Context())
	if err != nil || head != last {
		t.Fatalf("head is %d (%v), want %d", head, err, last)
	}
}

func empty(t *testing.T, log control.Log) {
	expect(t, log, nil)
	es, err := log.History(t.Context(), control.KindCampaign, "nothing")
	if err != nil || len(es) != 0 {
		t.Fatalf("history of nothing: %v, %v", es, err)
	}
}

func order(t *testing.T, log control.Log) {
	var want []control.Record
	for n := range 30 {
		pos := appendAll(t, log, Record(n))
		if n == 0 && pos != 1 {
			t.Fatalf("first position is %d, want 1", pos)
		}
		want = append(want, Record(n))
	}
	expect(t, log, want)
}

func roundTrip(t *testing.T, log control.Log) {
	zone := time.FixedZone("east", 3*3600)
	rs := []control.Record{
		{Kind: "k", Key: "sub-millisecond, local", Time: time.Date(2026, 3, 1, 1, 2, 3, 4_999_999, zone), Body: []byte("{}")},
		{Kind: "k", Key: "before 1970", Time: time.Date(1931, 1, 1, 0, 0, 0, 0, time.UTC), Body: []byte("{}")},
		{Kind: "k", Key: "no body", Time: time.UnixMilli(1)},
		{Kind: "k", Key: "empty body", Time: time.UnixMilli(1), Body: []byte{}},
		{Kind: "k", Key: "bytes", Time: time.UnixMilli(1), Body: []byte{0, 0xff, '\n', '\'', 0}},
		{Kind: "k", Key: "quote ' \" ; -- % ü \u2028 \n", Time: time.UnixMilli(1), Body: []byte("1")},
		{Kind: control.Kind(strings.Repeat("k", control.MaxKind)), Key: strings.Repeat("ü", control.MaxKey/2), Time: time.UnixMilli(1), Body: bytes.Repeat([]byte{7}, control.MaxBody)},
	}
	appendAll(t, log, rs...)
	want := slices.Clone(rs)
	for i := range want {
		want[i].Time = want[i].Time.Truncate(time.Millisecond)
	}
	expect(t, log, want)
	for _, e := range readAll(t, log) {
		if e.Time.Location() != time.UTC {
			t.Errorf("%q: time in %v, want UTC", e.Key, e.Time.Location())
		}
	}
	es, err := log.History(t.Context(), "k", rs[5].Key)
	if err != nil || len(es) != 1 {
		t.Errorf("history of an odd key: %d entries, %v", len(es), err)
	}
}

func consecutive(t *testing.T, log control.Log) {
	appendAll(t, log, Record(0))
	pos := appendAll(t, log, records(1, 6)...)
	es, err := log.Read(t.Context(), 1, 10)
	if err != nil || len(es) != 5 {
		t.Fatalf("%d entries, %v; want 5", len(es), err)
	}
	for i, e := range es {
		if want := es[0].Position + control.Position(i); e.Position != want {
			t.Errorf("entry %d of the batch at %d, want %d", i, e.Position, want)
		}
	}
	if es[4].Position != pos {
		t.Errorf("append answered %d, the last entry is at %d", pos, es[4].Position)
	}
}

func allOrNone(t *testing.T, log control.Log) {
	appendAll(t, log, Record(0))
	bad := Record(2)
	bad.Key = ""
	if _, err := log.Append(t.Context(), Record(1), bad, Record(3)); err == nil {
		t.Fatal("a batch with a bad record was taken")
	}
	expect(t, log, records(0, 1))
	appendAll(t, log, records(1, 3)...)
	expect(t, log, records(0, 3))
}

func limits(t *testing.T, log control.Log) {
	with := func(change func(r *control.Record)) control.Record {
		r := Record(1)
		change(&r)
		return r
	}
	for field, r := range map[string]control.Record{
		"body": with(func(r *control.Record) { r.Body = make([]byte, control.MaxBody+1) }),
		"key":  with(func(r *control.Record) { r.Key = strings.Repeat("k", control.MaxKey+1) }),
		"kind": with(func(r *control.Record) { r.Kind = "" }),
	} {
		_, err := log.Append(t.Context(), r)
		var invalid *control.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("bad %s: %v, want an InvalidError of that field", field, err)
		}
	}
	for _, key := range []string{"", "\xff"} {
		if _, err := log.Append(t.Context(), with(func(r *control.Record) { r.Key = key })); err == nil {
			t.Errorf("key %q was taken", key)
		}
	}
	if _, err := log.Append(t.Context()); err == nil {
		t.Error("an append of nothing was taken")
	}
	expect(t, log, nil)
}

func pieces(t *testing.T, log control.Log) {
	appendAll(t, log, records(0, 10)...)
	for _, size := range []int{1, 3, 10, 11} {
		after, n := control.Position(0), 0
		for {
			es, err := log.Read(t.Context(), after, size)
			if err != nil {
				t.Fatal(err)
			}
			if len(es) == 0 {
				break
			}
			if len(es) > size {
				t.Fatalf("%d entries, asked for %d", len(es), size)
			}
			for _, e := range es {
				if !sameRecord(e.Record, Record(n)) {
					t.Fatalf("pieces of %d: entry %d is %+v", size, n, e)
				}
				n++
			}
			after = es[len(es)-1].Position
		}
		if n != 10 {
			t.Fatalf("pieces of %d gave %d entries", size, n)
		}
	}
	if es, err := log.Read(t.Context(), 0, 0); err != nil || len(es) != 0 {
		t.Errorf("asked for none: %d entries, %v", len(es), err)
	}
	if es, err := log.Read(t.Context(), 1<<62, 5); err != nil || len(es) != 0 {
		t.Errorf("far beyond the end: %d entries, %v", len(es), err)
	}
}

func history(t *testing.T, log control.Log) {
	for n := range 12 {
		r := Record(n)
		r.Key = []string{"a", "b", "c"}[n%3]
		r.Kind = []control.Kind{control.KindLink, control.KindConsent}[n%2]
		appendAll(t, log, r)
	}
	es, err := log.History(t.Context(), control.KindLink, "a")
	if err != nil {
		t.Fatal(err)
	}
	var got []control.Position
	for _, e := range es {
		got = append(got, e.Position)
		if e.Kind != control.KindLink || e.Key != "a" {
			t.Errorf("history of link a holds %s %s", e.Kind, e.Key)
		}
	}
	if want := []control.Position{1, 7}; !slices.Equal(got, want) {
		t.Errorf("history at %v, want %v", got, want)
	}
	if es, err := log.History(t.Context(), control.KindLink, "A"); err != nil || len(es) != 0 {
		t.Errorf("keys differ in case and are taken as one: %v, %v", es, err)
	}
}

func ownership(t *testing.T, log control.Log) {
	r := Record(1)
	appendAll(t, log, r)
	for i := range r.Body {
		r.Body[i] = 'x' // the caller's again after Append
	}
	es := readAll(t, log)
	for i := range es[0].Body {
		es[0].Body[i] = 'y'
	}
	expect(t, log, records(1, 2))
}

func waitWoken(t *testing.T, log control.Log) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	after := control.Position(0)
	for n := range 20 {
		woken := make(chan error, 3)
		for range cap(woken) {
			go func() { woken <- log.Wait(ctx, after) }()
		}
		pos := appendAll(t, log, Record(n))
		for range cap(woken) {
			if err := <-woken; err != nil {
				t.Fatalf("wait after %d: %v", after, err)
			}
		}
		after = pos
	}
}

func waitThere(t *testing.T, log control.Log) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pos := appendAll(t, log, records(0, 3)...)
	for after := range pos {
		if err := log.Wait(ctx, after); err != nil {
			t.Errorf("wait after %d of %d: %v", after, pos, err)
		}
	}
}

func waitContext(t *testing.T, log control.Log) {
	pos := appendAll(t, log, Record(0))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- log.Wait(ctx, pos) }()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("wait answered %v, want its context's error", err)
		}
	case <-time.After(patience):
		t.Error("wait goes on without its context")
	}
}

func endedContext(t *testing.T, log control.Log) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := log.Append(ctx, Record(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	if _, err := log.Read(ctx, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	expect(t, log, nil)
}

// concurrent appends from many sides: each batch stays together and in its order, positions are
// those that were answered, and readers see only prefixes.
func concurrent(t *testing.T, log control.Log) {
	const writers, batches, size = 8, 10, 3
	answered := make([][]control.Position, writers)
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	reading.Go(func() {
		seen := 0
		for {
			es, err := log.Read(t.Context(), 0, writers*batches*size)
			if err != nil || len(es) < seen || len(es)%size != 0 {
				t.Errorf("a reader saw %d entries after %d, %v", len(es), seen, err)
				return
			}
			seen = len(es)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for w := range writers {
		writing.Go(func() {
			for b := range batches {
				from := (w*batches + b) * size
				pos, err := log.Append(t.Context(), records(from, from+size)...)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				answered[w] = append(answered[w], pos)
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()

	at := map[control.Position]control.Record{}
	for _, e := range readAll(t, log) {
		at[e.Position] = e.Record
	}
	if len(at) != writers*batches*size {
		t.Fatalf("log holds %d entries, want %d", len(at), writers*batches*size)
	}
	for w := range writers {
		if !slices.IsSorted(answered[w]) {
			t.Errorf("one writer's positions are not ascending: %v", answered[w])
		}
		for b, pos := range answered[w] {
			for i := range size {
				p := pos - control.Position(size-1-i)
				if want := Record((w*batches+b)*size + i); !sameRecord(at[p], want) {
					t.Fatalf("at %d: %q, want %q", p, at[p].Key, want.Key)
				}
			}
		}
	}
}

func closing(t *testing.T, log control.Log) {
	// Many who wait, each of them woken once before, so that some certainly wait when the log closes.
	const waiters = 8
	ready, ended := make(chan struct{}, waiters), make(chan error, waiters)
	for range waiters {
		go func() {
			err := log.Wait(context.Background(), 0)
			ready <- struct{}{}
			if err == nil {
				err = log.Wait(context.Background(), 1)
			}
			ended <- err
		}()
	}
	appendAll(t, log, Record(0))
	for range waiters {
		<-ready
	}
	if err := log.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	tooLate := time.After(patience)
	for range waiters {
		select {
		case err := <-ended:
			if !errors.Is(err, control.ErrClosed) {
				t.Errorf("a wait under way answered %v", err)
			}
		case <-tooLate:
			t.Fatal("a wait outlives the log")
		}
	}
	_, err := log.Append(t.Context(), Record(1))
	check := func(what string, err error) {
		if !errors.Is(err, control.ErrClosed) {
			t.Errorf("%s after close: %v", what, err)
		}
	}
	check("append", err)
	_, err = log.Read(t.Context(), 0, 1)
	check("read", err)
	_, err = log.History(t.Context(), control.KindLink, "a")
	check("history", err)
	_, err = log.Head(t.Context())
	check("head", err)
	check("wait", log.Wait(t.Context(), 0))
}

func reopen(t *testing.T, b Backend) {
	place := t.TempDir()
	for round := range 4 {
		log := b.Open(t, place)
		expect(t, log, records(0, round*5))
		if pos := appendAll(t, log, records(round*5, round*5+5)...); pos != control.Position(round*5+5) {
			t.Errorf("round %d: position %d", round, pos)
		}
		if round > 0 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := log.Wait(ctx, 3); err != nil {
				t.Errorf("wait for what an earlier process wrote: %v", err)
			}
			cancel()
		}
		if err := log.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
}
