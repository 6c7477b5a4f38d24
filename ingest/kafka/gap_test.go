package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// asked is how many fetches fn takes.
func asked(k *Client, fn func()) uint64 {
	before := k.fetches.Load()
	fn()
	return k.fetches.Load() - before
}

// TestWideGap: of a large batch compaction takes away all but the first records, and says nowhere how far the batch went. Getting
// behind it takes a few fetches, and not one for each record that was there.
func TestWideGap(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	spec := compactedAtOnce(t, k)
	log := OpenControlLog(k, spec.Name, testLogger(t))
	defer log.Close()
	const wide, kept = 20_000, 10
	all := make([]control.Record, wide)
	for i := range all {
		all[i] = controltest.Record(i)
		all[i].Key = fmt.Sprint(i)
	}
	_, err := log.Append(t.Context(), all...)
	must(t, err)
	_, err = log.Append(t.Context(), all[kept:]...)
	must(t, err)
	at := place{spec.Name, 0, kept}
	// Only the first batch is fetched, as where it is as large as what is fetched at once.
	first := func() *fetched {
		f, err := k.fetch(t.Context(), at, fetchLimits{bytes: 1, wait: time.Millisecond})
		must(t, err)
		return f
	}
	eventually(t, "the first batch has lost its end", func() bool {
		_, err := log.Append(t.Context(), controltest.Record(wide)) // ends a segment
		must(t, err)
		f := first()
		defer f.close()
		rec, err := f.next()
		must(t, err)
		return rec == nil
	})
	f := first()
	defer f.close()
	rec, err := f.next()
	must(t, err)
	if batches := f.batches(); rec != nil || len(batches) != 1 || batches[0] != 0 {
		t.Fatalf("record %+v of batches %v: this tests nothing", rec, batches)
	}
	began := time.Now()
	n := asked(k, func() {
		next, err := k.behind(t.Context(), f)
		if err != nil || next != wide {
			t.Errorf("the gap ends at %d, %v; want %d", next, err, wide)
		}
	})
	t.Logf("behind %d offsets by %d fetches in %v", wide-kept, n, time.Since(began).Round(time.Millisecond))
	if n > 40 {
		t.Errorf("%d fetches", n)
	}
}

// TestManyForeignRecords: what is not ours at the end of the log is passed at once, and is not looked at again each time that
// somebody waits there.
func TestManyForeignRecords(t *testing.T) {
	t.Parallel()
	k := sharedClient(t)
	topic := ensure(t, k, ControlTopic(newTopic(t), 0))
	log := OpenControlLog(k, topic.Name, testLogger(t))
	defer log.Close()
	last, err := log.Append(t.Context(), controltest.Record(0))
	must(t, err)
	const foreign = 200
	for range foreign {
		writeForeign(t, k, topic.Name)
	}
	endTransaction(t, k, topic.Name)
	wait := func() uint64 {
		return asked(k, func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := log.Wait(ctx, last); err == nil {
				t.Error("waiting at the end is over, without an entry")
			}
		})
	}
	// As a context's end comes nearer, fetches become shorter, and more.
	if n := wait(); n > foreign/4 {
		t.Errorf("%d fetches behind %d records", n, foreign)
	}
	before := log.Foreign()
	if n := wait(); n > foreign/4 {
		t.Errorf("%d fetches to wait again", n)
	}
	if again := log.Foreign() - before; again > 0 {
		t.Errorf("%d foreign records were looked at again", again)
	}
	waited := make(chan error, 1)
	go func() { waited <- log.Wait(t.Context(), last) }()
	_, err = log.Append(t.Context(), controltest.Record(1))
	must(t, err)
	must(t, <-waited)
	es, err := log.Read(t.Context(), last, 10)
	if err != nil || len(es) != 1 {
		t.Errorf("%d entries behind the foreign ones, %v", len(es), err)
	}
}
