package campaign

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mailbeacon/internal/control"
)

// drawEntry draws records as writers, rivals and accidents would leave them.
func drawEntry(t *rapid.T) control.Entry {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	number := rapid.Uint32Range(1, 4).Draw(t, "number")
	if rapid.Bool().Draw(t, "far") {
		number += 4096 * 3
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		text := campaignJSON(number, rapid.String().Draw(t, "title"), byte(rapid.IntRange(1, 2).Draw(t, "key")))
		if rapid.Bool().Draw(t, "date only") {
			text = strings.TrimSuffix(text, "}") + `,"date_only":true}`
		}
		return entry(1, control.KindCampaign, name, text)
	case 1:
		d := deliveryBody{rapid.Uint64Range(0, MaxCount).Draw(t, "delivered"), rapid.Uint64Range(0, 9).Draw(t, "bounced")}
		b, _ := json.Marshal(d)
		return entry(1, control.KindDelivery, deliveryKey(name, rapid.SampledFrom([]string{"x", "y/z", "0"}).Draw(t, "id")), string(b))
	}
	b, _ := json.Marshal(linkBody{
		ID: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "id"), URL: "https://example.com/" + rapid.StringMatching(`[a-z?&=ü]{0,20}`).Draw(t, "path"),
		Label: rapid.String().Draw(t, "label"), Advertiser: rapid.SampledFrom([]string{"", "Acme"}).Draw(t, "advertiser"), Hidden: rapid.Bool().Draw(t, "hidden"),
	})
	return entry(1, control.KindLink, linkKey(name, uint16(rapid.IntRange(1, 40).Draw(t, "link"))), string(b))
}

// TestSnapshotRoundTrip: whatever is folded, a snapshot carries all of it, and folding on from it
// is folding on.
func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := NewRegistry()
		restored := NewRegistry()
		same := func() {
			a, err := r.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			b, err := restored.Snapshot()
			if err != nil || !bytes.Equal(a, b) {
				t.Fatalf("snapshots differ: %v\n%q\n%q", err, a, b)
			}
			if !slices.Equal(r.List(0, 99), restored.List(0, 99)) {
				t.Fatalf("%+v\n%+v", r.List(0, 99), restored.List(0, 99))
			}
			for _, c := range r.List(0, 99) {
				if !slices.Equal(r.Links(c.Number), restored.Links(c.Number)) || r.LinkCount(c.Number) != restored.LinkCount(c.Number) {
					t.Fatalf("links of %s differ", c.Name)
				}
				k1, _ := r.HashKey(c.Number)
				if k2, ok := restored.HashKey(c.Number); !ok || k1 != k2 {
					t.Fatalf("keys of %s differ", c.Name)
				}
			}
		}
		for range rapid.IntRange(0, 30).Draw(t, "before") {
			_ = r.Apply(drawEntry(t)) // some are void, as they should be
		}
		b, err := r.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := restored.Restore(b); err != nil {
			t.Fatal(err)
		}
		clear(b) // stays the caller's
		same()
		for range rapid.IntRange(0, 10).Draw(t, "after") {
			e := drawEntry(t)
			if (r.Apply(e) == nil) != (restored.Apply(e) == nil) {
				t.Fatalf("only one took %s %s", e.Key, e.Body)
			}
		}
		same()
	})
}

// TestCounts holds the sums that are kept against those counted anew.
func TestCounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := NewRegistry()
		for range rapid.IntRange(0, 60).Draw(t, "entries") {
			_ = r.Apply(drawEntry(t))
		}
		for _, c := range r.state.Load().byName {
			count, visible := 0, 0
			for _, l := range c.set().all {
				if l != nil {
					count++
					if !l.hidden {
						visible++
					}
				}
			}
			if s := c.set(); s.count != count || s.visible != visible {
				t.Fatalf("%d links, %d visible; counted as %d, %d", count, visible, s.count, s.visible)
			}
			var delivered, bounced uint64
			for _, d := range c.deliveries {
				delivered, bounced = delivered+d.Delivered, bounced+d.Bounced
			}
			if c.delivered != delivered || c.bounced != bounced {
				t.Fatalf("delivered %d, bounced %d; summed as %d, %d", delivered, bounced, c.delivered, c.bounced)
			}
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	apply(t, r, control.KindCampaign, "a", campaignJSON(1, "t", 1))
	apply(t, r, control.KindLink, "a/1", linkJSON("x", "http://x.example", false))
	apply(t, r, control.KindDelivery, "a/1", `{"delivered":1}`)
	good, err := r.Snapshot()
	must(t, err)
	for at := 1; at < len(good); at++ {
		if NewRegistry().Restore(good[:at]) == nil {
			t.Errorf("the first %d of %d bytes were taken", at, len(good))
		}
	}
	for name, b := range map[string][]byte{
		"newer":    append([]byte{registryVersion + 1}, good[1:]...),
		"trailing": append(bytes.Clone(good), 0),
		"url":      bytes.Replace(good, []byte("http://x"), []byte("data://x"), 1),
		"name":     bytes.Replace(good, []byte{1, 'a'}, []byte{1, 'A'}, 1),
	} {
		if err := r.Restore(b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if url, ok := r.Destination(1, 1); !ok || string(url) != "http://x.example" {
		t.Error("a refused snapshot changed the state")
	}
	must(t, r.Restore(nil))
	if _, ok := r.ByName("a"); ok || len(r.List(0, 1)) != 0 {
		t.Error("restored from nothing, and not empty")
	}
}

func FuzzRestore(f *testing.F) {
	r := NewRegistry()
	apply(f, r, control.KindCampaign, "a", campaignJSON(1, "t", 1))
	apply(f, r, control.KindLink, "a/1", linkJSON("x", "http://x.example", false))
	apply(f, r, control.KindLink, "b/3", linkJSON("y", "http://y.example", true))
	apply(f, r, control.KindDelivery, "a/1", `{"delivered":1}`)
	good, _ := r.Snapshot()
	f.Add([]byte{})
	f.Add([]byte{registryVersion, 0})
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewRegistry()
		if r.Restore(b) != nil {
			return
		}
		once, err := r.Snapshot()
		must(t, err)
		again := NewRegistry()
		must(t, again.Restore(once))
		if twice, _ := again.Snapshot(); !bytes.Equal(once, twice) {
			t.Error("a snapshot of a snapshot differs")
		}
	})
}

func FuzzApply(f *testing.F) {
	f.Add("campaign", "a", campaignJSON(1, "t", 1))
	f.Add("link", "a/1", linkJSON("x", "http://x.example", false))
	f.Add("delivery", "a/1", `{"delivered":1,"bounced":2}`)
	f.Fuzz(func(t *testing.T, kind, key, body string) {
		r := NewRegistry()
		apply(t, r, control.KindCampaign, "a", campaignJSON(1, "t", 1))
		_ = r.Apply(entry(2, control.Kind(kind), key, body))
		for _, l := range r.Links(1) {
			if !safe(l.URL) {
				t.Errorf("a link to %q", l.URL)
			}
		}
		b, err := r.Snapshot()
		must(t, err)
		must(t, NewRegistry().Restore(b))
	})
}

// Once a campaign keeps dates alone, no later record of it changes that, and a snapshot says it.
func TestDateOnlyStays(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	plain := campaignJSON(5, "A", 1)
	apply := func(text string) {
		t.Helper()
		if err := r.Apply(entry(1, control.KindCampaign, "a", text)); err != nil {
			t.Fatal(err)
		}
	}
	apply(plain)
	if r.DateOnly(5) || r.DateOnly(6) {
		t.Error("a campaign of which nothing was said keeps dates alone")
	}
	apply(strings.TrimSuffix(plain, "}") + `,"date_only":true}`)
	apply(plain)
	b, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again := NewRegistry()
	if err := again.Restore(b); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Registry{r, again} {
		if c, ok := r.ByName("a"); !r.DateOnly(5) || !ok || !c.DateOnly {
			t.Errorf("%+v", c)
		}
	}
}
