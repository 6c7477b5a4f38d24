package campaign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// office is a writer with its own registry and follower, on a log that others may share.
func office(tb testing.TB, log control.Log) (*Writer, *Registry) {
	tb.Helper()
	r := NewRegistry()
	return early(NewWriter(log, controltest.Follow(tb, log, r), r)), r
}

func head(t testing.TB, log control.Log) control.Position {
	t.Helper()
	p, err := log.Head(t.Context())
	must(t, err)
	return p
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w, r := office(t, control.NewMemory())
	for n, name := range []string{"a", "b", "c"} {
		c, err := w.Create(t.Context(), name, "Title of "+name)
		must(t, err)
		if c.Number != uint32(n+1) || c.Name != name || c.Title != "Title of "+name || !c.Created.Equal(numbersBegin) || c.Created.Location() != time.UTC {
			t.Errorf("%+v", c)
		}
		if got, ok := r.ByName(name); !ok || got != c {
			t.Errorf("%+v, created as %+v", got, c)
		}
	}
	ka, _ := r.HashKey(1)
	kb, _ := r.HashKey(2)
	if ka == kb || ka == [16]byte{} {
		t.Errorf("hash keys %x and %x", ka, kb)
	}
	if _, err := w.Create(t.Context(), "b", "again"); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	_, err := w.Create(t.Context(), "B", "")
	refused(t, "upper case", err, "name")
	_, err = w.Create(t.Context(), "d", "\n")
	refused(t, "a title of two lines", err, "title")
}

func TestLinks(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, r := office(t, log)
	_, err := w.Create(t.Context(), "a", "")
	must(t, err)
	add := func(l Link) Link {
		t.Helper()
		got, err := w.AddLink(t.Context(), "a", l)
		must(t, err)
		want := l
		if want.Number = got.Number; want.Advertiser == "" {
			want.Advertiser = got.Advertiser
		}
		if got != want {
			t.Errorf("added %+v, got %+v", l, got)
		}
		return got
	}
	for _, c := range []struct {
		link Link
		want uint16
	}{
		{Link{URL: "http://x.example"}, 1},
		{Link{URL: "http://x.example/"}, 2}, // another URL, byte for byte
		{Link{URL: "http://x.example"}, 1},
		{Link{URL: "http://x.example", Number: 77}, 1},
		{Link{URL: "http://x.example", Label: "footer"}, 3},
		{Link{URL: "http://x.example", Label: "footer", Advertiser: "Acme"}, 4},
		{Link{URL: "http://x.example", Label: "footer"}, 3},
		{Link{URL: "http://x.example", Label: "footer", Advertiser: "Acme"}, 4},
		{Link{URL: "http://ad.example", Advertiser: "Acme"}, 5},
		{Link{URL: "http://ad.example"}, 5},
		{Link{URL: "http://x.example", Hidden: true}, 6},
		{Link{URL: "http://x.example"}, 1},
	} {
		c.link.Number = 0
		if got := add(c.link); got.Number != c.want {
			t.Errorf("%+v is link %d, want %d", c.link, got.Number, c.want)
		}
	}
	if len(r.Links(1)) != 6 || r.LinkCount(1) != 5 {
		t.Errorf("%d links", len(r.Links(1)))
	}

	// Several at once, known and unknown and twice: one append.
	before := head(t, log)
	got, err := w.AddLinks(t.Context(), "a", []Link{{URL: "http://new.example"}, {URL: "http://x.example"}, {URL: "http://new.example"}, {URL: "http://newer.example"}})
	must(t, err)
	var numbers []uint16
	for _, l := range got {
		numbers = append(numbers, l.Number)
	}
	if !slices.Equal(numbers, []uint16{7, 1, 7, 8}) || head(t, log) != before+2 {
		t.Errorf("links %v in %d entries", numbers, head(t, log)-before)
	}
	if none, err := w.AddLinks(t.Context(), "a", nil); err != nil || len(none) != 0 {
		t.Errorf("no links: %v, %v", none, err)
	}

	if _, err = w.AddLink(t.Context(), "b", Link{URL: "http://x.example"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no campaign: %v", err)
	}
	for field, l := range map[string]Link{
		"url": {URL: "javascript:alert(1)"}, "label": {URL: "http://x.example", Label: "\n"}, "advertiser": {URL: "http://x.example", Advertiser: "a/b"},
	} {
		_, err := w.AddLink(t.Context(), "a", l)
		refused(t, field, err, field)
		_, err = w.SetLink(t.Context(), "a", 1, l)
		refused(t, field, err, field)
	}
}

func TestSetLink(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, r := office(t, log)
	_, err := w.Create(t.Context(), "a", "")
	must(t, err)
	_, err = w.AddLinks(t.Context(), "a", []Link{{URL: "http://one.example"}, {URL: "http://two.example", Label: "l", Advertiser: "Acme"}})
	must(t, err)
	before, _ := r.Destination(1, 1)
	l, err := w.SetLink(t.Context(), "a", 1, Link{URL: "http://mended.example", Label: "m", Hidden: true})
	must(t, err)
	want := Link{Number: 1, URL: "http://mended.example", Label: "m", Hidden: true}
	if got, _ := r.Link(1, 1); l != want || got != want {
		t.Errorf("%+v, %+v", l, got)
	}
	if string(before) != "http://one.example" {
		t.Errorf("bytes that were handed out became %s", before)
	}
	if got, _ := r.Link(1, 2); got.URL != "http://two.example" || got.Advertiser != "Acme" {
		t.Errorf("its neighbour became %+v", got)
	}
	at := head(t, log)
	if _, err := w.SetLink(t.Context(), "a", 1, want); err != nil || head(t, log) != at {
		t.Errorf("no change: %v, %d entries", err, head(t, log)-at)
	}
	// The old destination is free again, the new one is found.
	if l, err := w.AddLink(t.Context(), "a", Link{URL: "http://one.example"}); err != nil || l.Number != 3 {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := w.AddLink(t.Context(), "a", Link{URL: "http://mended.example", Label: "m", Hidden: true}); err != nil || l.Number != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	for _, number := range []uint16{0, 4, 65535} {
		if _, err := w.SetLink(t.Context(), "a", number, Link{URL: "http://x.example"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("link %d: %v", number, err)
		}
	}
	if _, err := w.SetLink(t.Context(), "b", 1, Link{URL: "http://x.example"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no campaign: %v", err)
	}
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, r := office(t, log)
	_, err := w.Create(t.Context(), "a", "")
	must(t, err)
	for _, c := range []struct {
		d                  Delivery
		delivered, bounced uint64
	}{
		{Delivery{"x", 100, 3}, 100, 3},
		{Delivery{"y", 50, 0}, 150, 3},
		{Delivery{"x", 100, 3}, 150, 3},
		{Delivery{"x", 90, 13}, 140, 13},
		{Delivery{"y", 0, 0}, 90, 13},
	} {
		must(t, w.Deliver(t.Context(), "a", c.d))
		if got, _ := r.ByName("a"); got.Delivered != c.delivered || got.Bounced != c.bounced {
			t.Errorf("after %+v: %+v", c.d, got)
		}
	}
	if n := head(t, log); n != 5 {
		t.Errorf("%d entries, want 5: what was said already is not said again", n)
	}
	if err := w.Deliver(t.Context(), "b", Delivery{ID: "x"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no campaign: %v", err)
	}
	refused(t, "an address", w.Deliver(t.Context(), "a", Delivery{ID: "a@b.example"}), "id")
}

func TestNumbersRunOut(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, r := office(t, log)
	last := linkKey("a", MaxLinks)
	_, err := log.Append(t.Context(),
		control.Record{Kind: control.KindCampaign, Key: "a", Body: []byte(campaignJSON(MaxNumber, "", 1))},
		control.Record{Kind: control.KindLink, Key: last, Body: []byte(linkJSON("x", "http://x.example", false))})
	must(t, err)
	must(t, w.follower.WaitApplied(t.Context(), 2))
	if _, err := w.Create(t.Context(), "b", ""); !errors.Is(err, ErrFull) {
		t.Errorf("one campaign too many: %v", err)
	}
	if _, err := w.AddLink(t.Context(), "a", Link{URL: "http://y.example"}); !errors.Is(err, ErrFull) {
		t.Errorf("one link too many: %v", err)
	}
	if l, err := w.AddLink(t.Context(), "a", Link{URL: "http://x.example"}); err != nil || l.Number != MaxLinks {
		t.Errorf("%+v, %v", l, err)
	}
	if url, ok := r.Destination(MaxNumber, MaxLinks); !ok || string(url) != "http://x.example" {
		t.Errorf("%s, %v", url, ok)
	}
}

// Who asks for more links than there are numbers left gets those numbers, and is told.
func TestLinksGetWhatNumbersAreLeft(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, r := office(t, log)
	_, err := log.Append(t.Context(),
		control.Record{Kind: control.KindCampaign, Key: "a", Body: []byte(campaignJSON(1, "", 1))},
		control.Record{Kind: control.KindLink, Key: linkKey("a", MaxLinks-2), Body: []byte(linkJSON("x", "http://x.example", false))})
	must(t, err)
	must(t, w.follower.WaitApplied(t.Context(), 2))
	links := []Link{{URL: "http://a.example"}, {URL: "http://x.example"}, {URL: "http://b.example"}, {URL: "http://c.example"}, {URL: "http://a.example"}}
	for range 2 { // the second time there is none left at all
		got, err := w.AddLinks(t.Context(), "a", links)
		if !errors.Is(err, ErrFull) || len(got) != len(links) {
			t.Fatalf("%+v, %v", got, err)
		}
		for i, want := range []uint16{MaxLinks - 1, MaxLinks - 2, MaxLinks, 0, MaxLinks - 1} {
			if got[i].Number != want || got[i].URL != links[i].URL {
				t.Errorf("%d: %+v, want number %d", i, got[i], want)
			}
		}
	}
	if n := head(t, log); n != 4 || len(r.Links(1)) != 3 {
		t.Errorf("%d entries, links %+v", n, r.Links(1))
	}
}

// ambush lets a rival be first: before runs once, ahead of the next append.
type ambush struct {
	control.Log
	before func()
}

func (a *ambush) Append(ctx context.Context, rs ...control.Record) (control.Position, error) {
	if f := a.before; f != nil {
		a.before = nil
		f()
	}
	return a.Log.Append(ctx, rs...)
}

// compact keeps the newest record of every key, as a compacted log does.
func compact(t testing.TB, log control.Log) *Registry {
	t.Helper()
	es, err := log.Read(t.Context(), 0, 1_000_000)
	must(t, err)
	type key struct {
		kind control.Kind
		key  string
	}
	newest := map[key]control.Position{}
	for _, e := range es {
		newest[key{e.Kind, e.Key}] = e.Position
	}
	r := NewRegistry()
	for _, e := range es {
		if newest[key{e.Kind, e.Key}] == e.Position {
			must(t, r.Apply(e))
		}
	}
	return r
}

// agree checks that registries, one of them folded from the compacted log, hold the same.
func agree(t testing.TB, log control.Log, rs ...*Registry) {
	t.Helper()
	want, err := compact(t, log).Snapshot()
	must(t, err)
	for i, r := range rs {
		if got, err := r.Snapshot(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("registry %d differs from that of the compacted log:\n%q\n%q", i, got, want)
		}
	}
}

func TestWriterMeetsRivals(t *testing.T) {
	t.Parallel()
	// Each case: what the rival does at the worst moment, what we do, and what we must get.
	for name, c := range map[string]struct {
		rival func(t *testing.T, w *Writer)
		ours  func(t *testing.T, w *Writer)
	}{
		"another name": {
			func(t *testing.T, w *Writer) { _, err := w.Create(t.Context(), "theirs", ""); must(t, err) },
			func(t *testing.T, w *Writer) {
				if c, err := w.Create(t.Context(), "ours", ""); err != nil || c.Number != 3 {
					t.Errorf("%+v, %v", c, err)
				}
			},
		},
		"the same name": {
			func(t *testing.T, w *Writer) { _, err := w.Create(t.Context(), "ours", "rival"); must(t, err) },
			func(t *testing.T, w *Writer) {
				if _, err := w.Create(t.Context(), "ours", "mine"); !errors.Is(err, ErrExists) {
					t.Errorf("%v", err)
				}
				if c, _ := w.registry.ByName("ours"); c.Title != "rival" {
					t.Errorf("%+v", c)
				}
			},
		},
		"another link": {
			func(t *testing.T, w *Writer) {
				_, err := w.AddLink(t.Context(), "a", Link{URL: "http://theirs.example"})
				must(t, err)
			},
			func(t *testing.T, w *Writer) {
				got, err := w.AddLinks(t.Context(), "a", []Link{{URL: "http://x.example"}, {URL: "http://y.example"}})
				if err != nil || got[0].Number == got[1].Number {
					t.Fatalf("%+v, %v", got, err)
				}
				for _, l := range append(got, Link{Number: 1, URL: "http://theirs.example"}) {
					if url, _ := w.registry.Destination(1, l.Number); string(url) != l.URL {
						t.Errorf("link %d leads to %s, not to %s", l.Number, url, l.URL)
					}
				}
			},
		},
		"the same link": {
			func(t *testing.T, w *Writer) {
				_, err := w.AddLink(t.Context(), "a", Link{URL: "http://x.example"})
				must(t, err)
			},
			func(t *testing.T, w *Writer) {
				if l, err := w.AddLink(t.Context(), "a", Link{URL: "http://x.example"}); err != nil || l.Number != 1 {
					t.Errorf("%+v, %v", l, err)
				}
				if n := len(w.registry.Links(1)); n != 1 {
					t.Errorf("%d links", n)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := control.NewMemory()
			theirs, r1 := office(t, log)
			_, err := theirs.Create(t.Context(), "a", "")
			must(t, err)
			r2 := NewRegistry()
			// Our fold sees the log only where our own append lets it: the rival's record is unknown
			// to us at the moment we propose.
			trap := &ambush{Log: log, before: func() { c.rival(t, theirs) }}
			ours := early(NewWriter(trap, controltest.Follow(t, log, r2), r2))
			c.ours(t, ours)
			must(t, theirs.follower.WaitApplied(t.Context(), head(t, log)))
			must(t, ours.follower.WaitApplied(t.Context(), head(t, log)))
			agree(t, log, r1, r2)
		})
	}
}

// TestWritersAtOnce: several goroutines of two offices, each adding what the others add too. Every
// answer is true for everybody, and nothing is there twice within an office.
func TestWritersAtOnce(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w1, r1 := office(t, log)
	w2, r2 := office(t, log)
	type promise struct {
		campaign string
		link     Link
	}
	var mu sync.Mutex
	var promises []promise
	var group sync.WaitGroup
	for g := range 6 {
		group.Go(func() {
			w := []*Writer{w1, w2}[g%2]
			for i := range 12 {
				name := fmt.Sprint("c", i%4)
				if _, err := w.Create(t.Context(), name, ""); err != nil && !errors.Is(err, ErrExists) {
					t.Error(err)
					return
				}
				links, err := w.AddLinks(t.Context(), name, []Link{{URL: fmt.Sprint("http://x.example/", i)}, {URL: fmt.Sprint("http://x.example/", i%3)}})
				if errors.Is(err, errRivals) {
					continue // possible, and said
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, l := range links {
					promises = append(promises, promise{name, l})
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	must(t, w1.follower.WaitApplied(t.Context(), head(t, log)))
	must(t, w2.follower.WaitApplied(t.Context(), head(t, log)))
	for _, p := range promises {
		for _, r := range []*Registry{r1, r2} {
			c, ok := r.ByName(p.campaign)
			if url, _ := r.Destination(c.Number, p.link.Number); !ok || string(url) != p.link.URL {
				t.Errorf("%s, link %d leads to %q and was promised as %s", p.campaign, p.link.Number, url, p.link.URL)
			}
		}
	}
	if len(r1.List(0, 99)) != 4 {
		t.Errorf("%d campaigns", len(r1.List(0, 99)))
	}
	agree(t, log, r1, r2)
}

func TestOneWriterAddsNothingTwice(t *testing.T) {
	t.Parallel()
	w, r := office(t, control.NewMemory())
	_, err := w.Create(t.Context(), "a", "")
	must(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 20 {
				if _, err := w.AddLink(t.Context(), "a", Link{URL: fmt.Sprint("http://x.example/", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := len(r.Links(1)); n != 20 {
		t.Errorf("%d links, want 20", n)
	}
}

// deaf is a log that takes appends and tells nobody.
type deaf struct{ control.Log }

func (d deaf) Read(context.Context, control.Position, int) ([]control.Entry, error) { return nil, nil }
func (d deaf) Wait(ctx context.Context, _ control.Position) error                   { <-ctx.Done(); return ctx.Err() }

func TestWriterDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := control.NewMemory()
		r := NewRegistry()
		w := early(NewWriter(log, controltest.Follow(t, deaf{control.NewMemory()}, r), r))
		start := time.Now()
		first := make(chan error, 1)
		go func() { _, err := w.Create(t.Context(), "a", ""); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Create(ctx, "b", ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("waiting for the turn: %v after %v", err, time.Since(start))
		}
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != writePatience {
			t.Errorf("waiting for the fold: %v after %v", err, time.Since(start))
		}
		if _, err := w.Create(t.Context(), "c", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the turn was not given back: %v", err)
		}
	})
}

func TestWriterTellsTheLogsError(t *testing.T) {
	t.Parallel()
	log := control.NewMemory()
	w, _ := office(t, log)
	_, err := w.Create(t.Context(), "a", "")
	must(t, err)
	broken := errors.New("disk full")
	w.log = failing{log, broken}
	if _, err := w.Create(t.Context(), "b", ""); !errors.Is(err, broken) {
		t.Errorf("create: %v", err)
	}
	if _, err := w.AddLink(t.Context(), "a", Link{URL: "http://x.example"}); !errors.Is(err, broken) {
		t.Errorf("add: %v", err)
	}
	if err := w.Deliver(t.Context(), "a", Delivery{ID: "x"}); !errors.Is(err, broken) {
		t.Errorf("deliver: %v", err)
	}
	w.log = log
	if l, err := w.AddLink(t.Context(), "a", Link{URL: "http://x.example"}); err != nil || l.Number != 1 {
		t.Errorf("afterwards: %+v, %v", l, err)
	}
}

type failing struct {
	control.Log
	err error
}

func (f failing) Append(context.Context, ...control.Record) (control.Position, error) {
	return 0, f.err
}

func BenchmarkFindLinks(b *testing.B) {
	w, _ := office(b, control.NewMemory())
	_, err := w.Create(b.Context(), "a", "")
	must(b, err)
	var links []Link
	for i := range 20 {
		links = append(links, Link{URL: fmt.Sprint("https://shop.example/products/", i)})
	}
	for b.Loop() {
		if _, err := w.AddLinks(b.Context(), "a", links); err != nil {
			b.Fatal(err)
		}
	}
}

// early is a writer in the first minute there is: its numbers are 1, 2, 3.
func early(w *Writer) *Writer {
	w.now = func() time.Time { return numbersBegin }
	return w
}
