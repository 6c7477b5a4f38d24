package campaign

import (
	"fmt"
	"reflect"
	"testing"
)

// advertised is a registry of campaigns with links, every fifth of which is somebody's.
func advertised(tb testing.TB, campaigns, links int) *Registry {
	tb.Helper()
	r := NewRegistry()
	s := r.state.Load()
	for n := range campaigns {
		name := fmt.Sprintf("c%d", n)
		if err := s.announce(name, about{number: uint32(n + 1)}); err != nil {
			tb.Fatal(err)
		}
		for i := range links {
			l := &link{id: fmt.Sprintf("%d-%d", n, i), url: []byte("https://example.com/")}
			if i%5 == 2 {
				l.advertiser = fmt.Sprintf("advertiser %d", n%100)
			}
			if err := s.link(name, uint16(i+1), l); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return r
}

func TestAdvertisers(t *testing.T) {
	t.Parallel()
	r := advertised(t, 250, 10)
	all := r.Advertisers()
	if len(all) != 100 || all[0] != (Advertiser{"advertiser 0", 3, 6}) || all[99] != (Advertiser{"advertiser 99", 2, 4}) {
		t.Errorf("%d advertisers: %+v", len(all), all)
	}
	by := r.AdvertisedBy("advertiser 7")
	if len(by) != 3 || by[0].Campaign.Name != "c7" || by[1].Campaign.Name != "c107" || by[2].Campaign.Number != 208 || !reflect.DeepEqual(by[2].Links, []uint16{3, 8}) {
		t.Errorf("%+v", by)
	}
	for _, name := range []string{"", "advertiser", "Advertiser 7", "nobody"} {
		if by := r.AdvertisedBy(name); len(by) != 0 {
			t.Errorf("%q has %+v", name, by)
		}
	}
	// A link whose campaign is not announced yet is nobody's to see.
	s := r.state.Load()
	if err := s.link("later", 1, &link{id: "x", advertiser: "early"}); err != nil {
		t.Fatal(err)
	}
	if len(r.AdvertisedBy("early")) != 0 || len(r.Advertisers()) != 100 {
		t.Error("a campaign that is not announced is shown")
	}
}

// BenchmarkAdvertisedBy is what a report asks at 20,000 campaigns of 10 links.
func BenchmarkAdvertisedBy(b *testing.B) {
	r := advertised(b, 20_000, 10)
	for b.Loop() {
		if len(r.AdvertisedBy("advertiser 7")) != 200 {
			b.Fatal("not 200")
		}
	}
}
