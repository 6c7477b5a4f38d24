package clickhouse

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

func ledgerEntry(position uint64, key, body string) control.Entry {
	return control.Entry{Position: control.Position(position), Record: control.Record{
		Kind: control.KindConsent, Key: key, Time: time.UnixMilli(1795556921123 + int64(position)).UTC(), Body: []byte(body),
	}}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	a, b := open(t, o), open(t, o)
	if end, err := a.End(t.Context()); err != nil || end != 0 {
		t.Errorf("the end of nothing: %d, %v", end, err)
	}
	must(t, a.Add(t.Context(), nil, nil))
	var all []control.Entry
	var of [][]uint64
	for i := range uint64(10) {
		all = append(all, ledgerEntry(2*i+1, fmt.Sprintf("%016x/opens", i%3+1), `{"value":"refused","source":"ü \u0000 \n\n"}`))
		of = append(of, []uint64{i%3 + 1})
	}
	all = append(all, ledgerEntry(1<<40, "bulk/00", "{\n\n}"))
	of = append(of, []uint64{1, 1<<64 - 1})
	must(t, a.Add(t.Context(), all[:6], of[:6]))
	must(t, b.Add(t.Context(), all[:8], of[:8])) // another admin, which began where this one did
	must(t, a.Add(t.Context(), all[6:], of[6:]))

	if end, err := b.End(t.Context()); err != nil || end != 1<<40 {
		t.Errorf("end %d, %v", end, err)
	}
	got, err := b.Read(t.Context(), 0, 100)
	if must(t, err); !reflect.DeepEqual(got, all) {
		t.Errorf("%+v\nwant %+v", got, all)
	}
	got, err = b.Read(t.Context(), 3, 4)
	if must(t, err); !reflect.DeepEqual(got, all[2:6]) {
		t.Errorf("%+v\nwant %+v", got, all[2:6])
	}
	for subject, want := range map[uint64][]control.Entry{1: {all[0], all[3], all[6], all[9], all[10]}, 1<<64 - 1: all[10:], 9: nil} {
		if got, err := a.Of(t.Context(), subject); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %+v, %v\nwant %+v", subject, got, err, want)
		}
	}
	// People without their entry, as a failure leaves them, lead to nothing.
	must(t, a.insert(t.Context(), "ledger_people_add", &ledgerPeople{[]uint64{9}, []uint64{7777}}, ""))
	if got, err := a.Of(t.Context(), 9); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLedgerOfACompactedLog: two admins copy, the log forgets all but the newest, and either tells every change.
func TestLedgerOfACompactedLog(t *testing.T) {
	t.Parallel()
	o := database(t, clickhousetest.Start(t))
	log := control.NewMemory()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var writers []*consent.Writer
	for range 2 {
		s, table := open(t, o), consent.NewTable(consent.BasisSubject)
		writers = append(writers, consent.NewWriter(log, controltest.Follow(t, log, table), table).Archived(s, nil))
		running.Go(func() { must(t, consent.NewCopier(log, s, nil).Run(ctx)) })
	}
	// Conflicting changes at once, on either: all are in the ledger, and the last in the log holds.
	var changing sync.WaitGroup
	for i, w := range writers {
		changing.Go(func() {
			for n := range 20 {
				_, _, err := w.Change(t.Context(), consent.Change{Subject: 7, Opens: consent.Granted + consent.State((n+i)%2), Source: fmt.Sprint(i, " ", n), By: fmt.Sprint("key:", i)})
				must(t, err)
				_, _, err = w.Import(t.Context(), []consent.Change{{Subject: 8, Clicks: consent.Refused, Source: fmt.Sprint(i, n)}, {Subject: 9, Opens: consent.Refused}})
				must(t, err)
			}
		})
	}
	changing.Wait()
	head, err := log.Head(t.Context())
	must(t, err)
	s := open(t, o)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		end, err := s.End(t.Context())
		if must(t, err); end == head {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("copied up to %d of %d", end, head)
		}
	}
	stop()
	running.Wait()
	p, err := writers[1].Lookup(t.Context(), 7)
	must(t, err)
	if len(p.History) != 40 || p.Choice.Opens != p.History[39].Opens || !slices.IsSortedFunc(p.History, func(a, b consent.Recorded) int { return int(a.Position) - int(b.Position) }) {
		t.Errorf("%d changes, %+v holds", len(p.History), p.Choice)
	}
	if p, err := writers[0].Lookup(t.Context(), 8); err != nil || len(p.History) != 40 {
		t.Errorf("%d changes, %v", len(p.History), err)
	}
}
