package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry makes the entry of a record at a place.
func entry(pos control.Position, kind control.Kind, key, body string) control.Entry {
	return control.Entry{Position: pos, Record: control.Record{Kind: kind, Key: key, Time: time.UnixMilli(0), Body: []byte(body)}}
}

func campaignJSON(number uint32, title string, key byte) string {
	b, _ := json.Marshal(campaignBody{Number: number, Title: title, Created: time.UnixMilli(5).UTC(), HashKey: hexKey{key}})
	return string(b)
}

func linkJSON(id, url string, hidden bool) string {
	b, _ := json.Marshal(linkBody{ID: id, URL: url, Hidden: hidden})
	return string(b)
}

func apply(t testing.TB, r *Registry, kind control.Kind, key, body string) {
	t.Helper()
	must(t, r.Apply(entry(1, kind, key, body)))
}

func TestRegistryAnswers(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	apply(t, r, control.KindCampaign, "b", campaignJSON(1, "B", 1))
	apply(t, r, control.KindCampaign, "a", campaignJSON(5000, "A", 2))
	apply(t, r, control.KindLink, "a/1", linkJSON("x", "http://one.example", false))
	apply(t, r, control.KindLink, "a/2", linkJSON("y", "http://two.example", true))
	apply(t, r, control.KindDelivery, "a/first", `{"delivered":10,"bounced":2}`)
	apply(t, r, control.KindDelivery, "a/second", `{"delivered":5}`)
	apply(t, r, control.KindDelivery, "a/first", `{"delivered":7,"bounced":3}`)

	if url, ok := r.Destination(5000, 1); !ok || string(url) != "http://one.example" {
		t.Errorf("destination %q, %v", url, ok)
	}
	for _, c := range [][2]uint32{{5000, 0}, {5000, 3}, {5000, 65535}, {1, 1}, {0, 1}, {2, 1}, {4999, 1}, {MaxNumber, 1}, {MaxNumber + 1, 1}, {1<<32 - 1, 1}} {
		if url, ok := r.Destination(c[0], uint16(c[1])); ok || url != nil {
			t.Errorf("campaign %d, link %d leads to %q", c[0], c[1], url)
		}
	}
	if r.Hidden(5000, 1) || !r.Hidden(5000, 2) || r.Hidden(5000, 3) || r.Hidden(1, 1) {
		t.Error("hidden")
	}
	if r.LinkCount(5000) != 1 || r.LinkCount(1) != 0 || r.LinkCount(9) != 0 {
		t.Errorf("%d links to be seen, want 1", r.LinkCount(5000))
	}
	if k, ok := r.HashKey(5000); !ok || k != [16]byte{2} {
		t.Errorf("hash key %x, %v", k, ok)
	}
	if _, ok := r.HashKey(2); ok {
		t.Error("a hash key of no campaign")
	}
	want := Campaign{Name: "a", Number: 5000, Title: "A", Created: time.UnixMilli(5).UTC(), Links: 2, Delivered: 12, Bounced: 3}
	if c, ok := r.ByName("a"); !ok || c != want {
		t.Errorf("by name: %+v", c)
	}
	if c, ok := r.ByNumber(5000); !ok || c != want {
		t.Errorf("by number: %+v", c)
	}
	if _, ok := r.ByName("c"); ok {
		t.Error("a campaign that is not")
	}
	links := []Link{{Number: 1, URL: "http://one.example"}, {Number: 2, URL: "http://two.example", Hidden: true}}
	if got := r.Links(5000); !slices.Equal(got, links) {
		t.Errorf("links %+v", got)
	}
	if l, ok := r.Link(5000, 2); !ok || l != links[1] {
		t.Errorf("link %+v, %v", l, ok)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	for _, n := range []uint32{9, 3, 7, 1} {
		apply(t, r, control.KindCampaign, fmt.Sprint("c", n), campaignJSON(n, "", byte(n)))
	}
	for _, c := range []struct {
		after uint32
		limit int
		want  []uint32
	}{{0, 10, []uint32{1, 3, 7, 9}}, {0, 2, []uint32{1, 3}}, {3, 2, []uint32{7, 9}}, {2, 1, []uint32{3}}, {9, 5, nil}, {100, 5, nil}, {0, 0, nil}, {0, -1, nil}} {
		var got []uint32
		for _, x := range r.List(c.after, c.limit) {
			got = append(got, x.Number)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("after %d, limit %d: %v, want %v", c.after, c.limit, got, c.want)
		}
	}
	for _, c := range []struct {
		before uint32
		limit  int
		want   []uint32
	}{{0, 10, []uint32{9, 7, 3, 1}}, {0, 2, []uint32{9, 7}}, {7, 2, []uint32{3, 1}}, {8, 1, []uint32{7}}, {1, 5, nil}, {100, 5, []uint32{9, 7, 3, 1}}, {0, 0, nil}, {0, -1, nil}} {
		var got []uint32
		for _, x := range r.Latest(c.before, c.limit) {
			got = append(got, x.Number)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("before %d, limit %d: %v, want %v", c.before, c.limit, got, c.want)
		}
	}
}

// TestRivals: of two records that claim the same, the first in the log holds.
func TestRivals(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	apply(t, r, control.KindCampaign, "a", campaignJSON(1, "first", 1))
	apply(t, r, control.KindLink, "a/1", linkJSON("first", "http://first.example", false))
	for name, e := range map[string]control.Entry{
		"name":            entry(2, control.KindCampaign, "a", campaignJSON(2, "second", 2)),
		"name and number": entry(2, control.KindCampaign, "a", campaignJSON(1, "second", 2)),
		"number":          entry(2, control.KindCampaign, "b", campaignJSON(1, "second", 2)),
		"link":            entry(2, control.KindLink, "a/1", linkJSON("second", "http://second.example", false)),
	} {
		if err := r.Apply(e); err == nil {
			t.Errorf("%s: the second was taken", name)
		}
	}
	if c, _ := r.ByNumber(1); c.Name != "a" || c.Title != "first" || c.Links != 1 {
		t.Errorf("%+v", c)
	}
	if _, ok := r.ByName("b"); ok {
		t.Error("b is there without a number")
	}
	if url, _ := r.Destination(1, 1); string(url) != "http://first.example" {
		t.Errorf("link 1 leads to %s", url)
	}
	apply(t, r, control.KindCampaign, "a", campaignJSON(1, "new title", 1))
	apply(t, r, control.KindLink, "a/1", linkJSON("first", "http://mended.example", false))
	if c, _ := r.ByName("a"); c.Title != "new title" {
		t.Errorf("%+v", c)
	}
	if url, _ := r.Destination(1, 1); string(url) != "http://mended.example" {
		t.Errorf("mended link leads to %s", url)
	}
}

// TestCompactedOrder: in a compacted log a campaign may come after its links.
func TestCompactedOrder(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	apply(t, r, control.KindLink, "a/3", linkJSON("z", "http://three.example", false))
	apply(t, r, control.KindDelivery, "a/x", `{"delivered":4,"bounced":1}`)
	apply(t, r, control.KindLink, "a/1", linkJSON("x", "http://one.example", false))
	if _, ok := r.ByName("a"); ok || len(r.List(0, 9)) != 0 {
		t.Error("known before it is announced")
	}
	b, err := r.Snapshot()
	must(t, err)
	r = NewRegistry()
	must(t, r.Restore(b))
	apply(t, r, control.KindCampaign, "a", campaignJSON(8, "", 1))
	if c, ok := r.ByName("a"); !ok || c.Links != 2 || c.Delivered != 4 || c.Bounced != 1 {
		t.Errorf("%+v, %v", c, ok)
	}
	if url, ok := r.Destination(8, 3); !ok || string(url) != "http://three.example" {
		t.Errorf("%s, %v", url, ok)
	}
	if _, ok := r.Destination(8, 2); ok {
		t.Error("a link in the gap")
	}
	if r.LinkCount(8) != 2 {
		t.Errorf("%d links", r.LinkCount(8))
	}
}

func TestApplyPassesOverWhatItCannotRead(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	for _, e := range []control.Entry{
		entry(1, control.KindCampaign, "A", campaignJSON(1, "", 1)),
		entry(1, control.KindCampaign, "a", campaignJSON(0, "", 1)),
		entry(1, control.KindCampaign, "a", campaignJSON(MaxNumber+1, "", 1)),
		entry(1, control.KindCampaign, "a", `{"number":1,"hash_key":"00"}`),
		entry(1, control.KindCampaign, "a", `nonsense`),
		entry(1, control.KindLink, "a", linkJSON("x", "http://x.example", false)),
		entry(1, control.KindLink, "a/0", linkJSON("x", "http://x.example", false)),
		entry(1, control.KindLink, "a/01", linkJSON("x", "http://x.example", false)),
		entry(1, control.KindLink, "a/65535", linkJSON("x", "http://x.example", false)),
		entry(1, control.KindLink, "a/1", linkJSON("x", "javascript:alert(1)", false)),
		entry(1, control.KindLink, "a/1", linkJSON("x", "http://x.example/\r\nX: y", false)),
		entry(1, control.KindLink, "a/1", `[]`),
		entry(1, control.KindDelivery, "a/", `{}`),
		entry(1, control.KindDelivery, "a/x", `{"delivered":-1}`),
		entry(1, control.KindDelivery, "a/x", `{"delivered":18446744073709551615}`),
	} {
		if err := r.Apply(e); err == nil {
			t.Errorf("%s %s %s was taken", e.Kind, e.Key, e.Body)
		}
	}
	must(t, r.Apply(entry(1, control.KindConsent, "whatever", "x")))
	apply(t, r, control.KindCampaign, "a", `{"number":1,"title":"","created":"2026-01-01T00:00:00Z","hash_key":"00000000000000000000000000000001","of a newer version":[1]}`)
	if c, ok := r.ByName("a"); !ok || c.Links != 0 || c.Delivered != 0 {
		t.Errorf("%+v, %v", c, ok)
	}
}

func TestWaitDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		type answer struct {
			url string
			ok  bool
		}
		ask := func(campaign uint32, link uint16) chan answer {
			c := make(chan answer, 1)
			go func() {
				url, ok := r.WaitDestination(t.Context(), campaign, link)
				c <- answer{string(url), ok}
			}()
			return c
		}
		start := time.Now()
		waiting := ask(1, 1)
		time.Sleep(100 * time.Millisecond)
		apply(t, r, control.KindCampaign, "a", campaignJSON(1, "", 1))
		synctest.Wait()
		apply(t, r, control.KindLink, "a/1", linkJSON("x", "http://x.example", false))
		if a := <-waiting; !a.ok || a.url != "http://x.example" || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%+v after %v", a, time.Since(start))
		}
		start = time.Now()
		if a := <-ask(1, 2); a.ok || time.Since(start) != patience {
			t.Errorf("what does not come: %+v after %v", a, time.Since(start))
		}
		start = time.Now()
		for _, c := range [][2]uint32{{0, 1}, {1, 0}, {MaxNumber + 1, 1}, {1, 65535}} {
			if a := <-ask(c[0], uint16(c[1])); a.ok {
				t.Errorf("%v: %+v", c, a)
			}
		}
		if time.Since(start) != 0 {
			t.Error("waited for what can't be")
		}

		// The flood: all places are taken, and one more is answered at once.
		var flood []chan answer
		for range maxWaiting {
			flood = append(flood, ask(7, 7))
		}
		synctest.Wait()
		if a := <-ask(7, 7); a.ok || time.Since(start) != 0 {
			t.Errorf("one too many: %+v after %v", a, time.Since(start))
		}
		if a := <-ask(1, 1); !a.ok { // what is known needs no place
			t.Errorf("%+v", a)
		}
		for _, c := range flood {
			<-c
		}
		if len(r.waiting) != 0 {
			t.Errorf("%d places are not given back", len(r.waiting))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		if _, ok := r.WaitDestination(ctx, 7, 7); ok || time.Since(start) != 0 {
			t.Error("waited beyond the context")
		}
	})
}

// TestReadersWhileFolding is for the race detector, and for the promise that a destination that was
// there stays there.
func TestReadersWhileFolding(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	apply(t, r, control.KindCampaign, "a", campaignJSON(1, "", 1))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			seen := 0
			for {
				n := 0
				for ; ; n++ {
					url, ok := r.Destination(1, uint16(n+1))
					if !ok {
						break
					}
					if !bytes.HasPrefix(url, []byte("http://")) {
						t.Errorf("link %d leads to %q", n+1, url)
						return
					}
				}
				if n < seen {
					t.Errorf("%d links after %d", n, seen)
					return
				}
				seen = n
				r.LinkCount(1)
				r.Links(1)
				r.ByName("a")
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for n := range 2000 {
		apply(t, r, control.KindLink, linkKey("a", uint16(n+1)), linkJSON("x", fmt.Sprint("http://x.example/", n), n%2 == 0))
		apply(t, r, control.KindLink, linkKey("a", uint16(n/2+1)), linkJSON("x", fmt.Sprint("http://mended.example/", n), n%3 == 0))
	}
	b, err := r.Snapshot()
	must(t, err)
	must(t, r.Restore(b))
	close(stop)
	readers.Wait()
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	r := NewRegistry()
	apply(t, r, control.KindCampaign, "a", campaignJSON(70_000, "", 1))
	apply(t, r, control.KindLink, "a/1", linkJSON("x", "http://x.example", false))
	n := testing.AllocsPerRun(100, func() {
		_, known := r.Destination(70_000, 1)
		_, unknown := r.Destination(70_000, 2)
		_, key := r.HashKey(70_000)
		if !known || unknown || !key || r.Hidden(70_000, 1) || r.LinkCount(70_000) != 1 {
			t.Fatal("wrong answers")
		}
		if _, ok := r.WaitDestination(context.Background(), 70_000, 1); !ok {
			t.Fatal("wrong answer")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const (
	benchCampaigns = 20_000
	benchLinks     = 20
)

func benchRegistry(b *testing.B) *Registry {
	r := NewRegistry()
	for c := range uint32(benchCampaigns) {
		name := fmt.Sprint("campaign-", c)
		apply(b, r, control.KindCampaign, name, campaignJSON(c+1, "a title", 1))
		for l := range uint16(benchLinks) {
			apply(b, r, control.KindLink, linkKey(name, l+1), linkJSON("0123456789abcdef", fmt.Sprintf("https://example.com/%d/%d", c, l), false))
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return r
}

func BenchmarkDestination(b *testing.B) {
	r := benchRegistry(b)
	b.RunParallel(func(pb *testing.PB) {
		for i := uint32(0); pb.Next(); i += 7919 {
			if _, ok := r.Destination(i%benchCampaigns+1, uint16(i%benchLinks+1)); !ok {
				b.Error("not found")
				return
			}
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	r := benchRegistry(b)
	snapshot, err := r.Snapshot()
	must(b, err)
	b.ReportMetric(float64(len(snapshot)), "bytes")
	for b.Loop() {
		must(b, r.Restore(snapshot))
	}
}

func BenchmarkApply(b *testing.B) {
	r := NewRegistry()
	apply(b, r, control.KindCampaign, "a", campaignJSON(1, "", 1))
	var es []control.Entry
	for n := range 1000 {
		es = append(es, entry(1, control.KindLink, linkKey("a", uint16(n+1)), linkJSON("0123456789abcdef", fmt.Sprint("https://example.com/", n), false)))
	}
	must(b, r.Restore(nil))
	for i := 0; b.Loop(); i++ {
		if i%len(es) == 0 {
			must(b, r.Restore(nil))
		}
		must(b, r.Apply(es[i%len(es)]))
	}
}

var _ control.Folder = (*Registry)(nil)

func TestLatest(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	if r.Len() != 0 || len(r.Latest(0, 5)) != 0 || len(r.Latest(9, 5)) != 0 {
		t.Error("campaigns of nobody")
	}
	for i, n := range []uint32{7, 1, 5000, 12} {
		apply(t, r, control.KindCampaign, fmt.Sprint("c", n), campaignJSON(n, "", byte(i)))
	}
	apply(t, r, control.KindLink, "unannounced/1", linkJSON("x", "http://one.example", false))
	for _, c := range []struct {
		before uint32
		limit  int
		want   []uint32
	}{
		{0, 9, []uint32{5000, 12, 7, 1}}, {0, 2, []uint32{5000, 12}}, {12, 2, []uint32{7, 1}}, {13, 1, []uint32{12}},
		{1, 3, nil}, {2, 3, []uint32{1}}, {1<<32 - 1, 1, []uint32{5000}}, {0, 0, nil}, {0, -1, nil},
	} {
		var got []uint32
		for _, found := range r.Latest(c.before, c.limit) {
			got = append(got, found.Number)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("before %d, at most %d: %d, want %d", c.before, c.limit, got, c.want)
		}
	}
	if r.Len() != 4 {
		t.Errorf("%d campaigns, want 4", r.Len())
	}
}
