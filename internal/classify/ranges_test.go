package classify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// manyRanges are n networks of either family that do not touch each other.
func manyRanges(n int) *Ranges {
	var networks []netip.Prefix
	for i := range n {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], uint32(i)<<9)
		six := [16]byte{0x20, 0x01}
		binary.BigEndian.PutUint32(six[3:], uint32(i))
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4(four), 24), netip.PrefixFrom(netip.AddrFrom16(six), 64))
	}
	return NewRanges(networks)
}

func drawAddr(r *rapid.T, label string) netip.Addr {
	// Few values, so that addresses and networks meet; and the ends of the space.
	b := rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 255})
	if rapid.Bool().Draw(r, label+" is IPv4") {
		return netip.AddrFrom4([4]byte{b.Draw(r, label), b.Draw(r, label), b.Draw(r, label), b.Draw(r, label)})
	}
	var raw [16]byte
	for _, i := range []int{0, 1, 7, 8, 14, 15} {
		raw[i] = b.Draw(r, label)
	}
	if rapid.Bool().Draw(r, label+" ends in ones") {
		copy(raw[8:], bytes.Repeat([]byte{255}, 8))
	}
	return netip.AddrFrom16(raw)
}

func TestRangesHoldTheirNetworks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var networks []netip.Prefix
		for i := range rapid.IntRange(0, 12).Draw(r, "networks") {
			a := drawAddr(r, fmt.Sprint("network ", i))
			networks = append(networks, netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(r, "bits")))
		}
		set := NewRanges(networks)
		if set.Len() > len(networks) {
			r.Fatalf("%d ranges of %d networks", set.Len(), len(networks))
		}
		for i := range 20 {
			a := drawAddr(r, fmt.Sprint("address ", i))
			want := false
			for _, n := range networks {
				want = want || n.Contains(a)
			}
			if got := set.Contains(a); got != want {
				r.Fatalf("Contains(%v) is %v, want %v of %v", a, got, want, networks)
			}
			if a.Is4() && set.Contains(netip.AddrFrom16(a.As16())) != want {
				r.Fatalf("%v is another as an IPv6 address", a)
			}
		}
	})
}

func TestRangesMerge(t *testing.T) {
	t.Parallel()
	var networks []netip.Prefix
	for i := range 256 {
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(255 - i), 0}), 24))
	}
	networks = append(networks,
		netip.MustParsePrefix("10.0.7.0/25"),
		netip.MustParsePrefix("::ffff:10.1.0.0/112"),
		netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("2001:db8:0:1::/64"), netip.MustParsePrefix("2001:db8:0:3::/64"),
		netip.Prefix{})
	if got := NewRanges(networks).Len(); got != 3 {
		t.Errorf("%d ranges, want 3", got)
	}
	if (*Ranges)(nil).Contains(netip.MustParseAddr("10.0.0.1")) || (*Ranges)(nil).Len() != 0 {
		t.Error("no list holds something")
	}
	if NewRanges(networks).Contains(netip.Addr{}) {
		t.Error("a list holds no address")
	}
}

func TestReadEgress(t *testing.T) {
	t.Parallel()
	const list = "\ufeff172.224.224.0/27,GB,GB-EN,London,\r\n\n# comment\n2a02:26f7:b000::/45,US,US-CA,Los Angeles,\n172.224.224.32/31,,,,\n"
	got, err := ReadEgress(strings.NewReader(list))
	if err != nil || got.Len() != 2 {
		t.Fatalf("%d ranges, %v", got.Len(), err)
	}
	for ip, want := range map[string]bool{"172.224.224.33": true, "172.224.224.34": false, "2a02:26f7:b000::1": true} {
		if got.Contains(netip.MustParseAddr(ip)) != want {
			t.Errorf("Contains(%s) is %v", ip, !want)
		}
	}
}

func TestReadNetworks(t *testing.T) {
	t.Parallel()
	const list = "# clouds\n192.0.2.0/24\n  198.51.100.7 # one\n2001:db8::/32\r\n2001:db9::1\n\n  # end"
	got, err := ReadNetworks(strings.NewReader(list))
	if err != nil || got.Len() != 4 {
		t.Fatalf("%d ranges, %v", got.Len(), err)
	}
	for ip, want := range map[string]bool{"192.0.2.9": true, "198.51.100.7": true, "198.51.100.8": false, "2001:db9::1": true, "2001:db9::2": false} {
		if got.Contains(netip.MustParseAddr(ip)) != want {
			t.Errorf("Contains(%s) is %v", ip, !want)
		}
	}
}

func TestListsThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		read func(io.Reader) (*Ranges, error)
		list string
		want string
	}{
		{"empty", ReadNetworks, "", "holds no network"},
		{"comments only", ReadEgress, "# x\n\n", "holds no network"},
		{"not a network", ReadNetworks, "192.0.2.0/24\nexample.com\n", "line 2: not a network"},
		{"no IPv4", ReadNetworks, "192.0.2.256\n", "line 1: not a network"},
		{"long prefix", ReadNetworks, "192.0.2.0/33\n", "line 1: not a network"},
		{"zone", ReadNetworks, "fe80::1%eth0\n", "line 1: not a network"},
		{"bits behind the prefix", ReadNetworks, "\n\n192.0.2.1/24\n", "line 3: the network has bits set"},
		{"everything", ReadNetworks, "0.0.0.0/0\n", "line 1: the network is wider than /8"},
		{"everything, IPv6", ReadNetworks, "::/0\n", "line 1: the network is wider than /16"},
		{"wide", ReadNetworks, "2.0.0.0/7\n", "line 1: the network is wider than /8"},
		{"IPv4 in IPv6", ReadNetworks, "::ffff:0.0.0.0/96\n", "line 1: the network is wider than /104"},
		{"two on a line", ReadNetworks, "192.0.2.0/24 198.51.100.0/24\n", "line 1: not a network"},
		{"networks as egress", ReadEgress, "192.0.2.0/24\n", "line 1: no comma"},
		{"egress as networks", ReadNetworks, "192.0.2.0/24,GB,GB-EN,London,\n", "line 1: not a network"},
		{"another CSV", ReadEgress, "192.0.2.0/24,AWS-EU,x\n", "line 1: its second field"},
		{"empty network", ReadEgress, ",GB,,,\n", "line 1: no network"},
		{"long line", ReadNetworks, "192.0.2.0/24\n" + strings.Repeat("#", maxListLine+1) + "\n", "line 2: longer than 4096 bytes"},
		{"too many lines", ReadNetworks, strings.Repeat("\n", maxListLines+1), "more than 5000000 lines"},
	}
	for _, tt := range tests {
		r, err := tt.read(strings.NewReader(tt.list))
		if r != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := ReadNetworks(io.MultiReader(strings.NewReader("192.0.2.0/24\n"), iotest.ErrReader(fs.ErrPermission))); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a failing reader: %v", err)
	}
}

// endless gives the same line again and again.
type endless struct{ line []byte }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.line) <= len(p) {
		n += copy(p[n:], e.line)
	}
	if n == 0 {
		n = copy(p, "\n")
	}
	return n, nil
}

func TestListWithoutEnd(t *testing.T) {
	t.Parallel()
	if _, err := ReadNetworks(endless{[]byte(strings.Repeat("#", 1000) + "\n")}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%v, want an end", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	if _, err := LoadEgress(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("192.0.2.0/24,GB,,,\nx,GB,,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadEgress(path); err == nil || !strings.Contains(err.Error(), path+": line 2:") {
		t.Errorf("%v, want the path and the line", err)
	}
	if err := os.WriteFile(path, []byte("192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := LoadNetworks(path); err != nil || r.Len() != 1 {
		t.Errorf("%d ranges, %v", r.Len(), err)
	}
}

func TestContainsDoesNotAllocate(t *testing.T) {
	r := manyRanges(1000)
	for _, s := range []string{"0.0.2.1", "::ffff:0.0.2.1", "2001::1", "2001:0:0:700::1"} {
		a := netip.MustParseAddr(s)
		if n := testing.AllocsPerRun(100, func() { r.Contains(a) }); n != 0 {
			t.Errorf("%s: allocates %v times", s, n)
		}
	}
}

func FuzzReadLists(f *testing.F) {
	f.Add([]byte("172.224.224.0/27,GB,GB-EN,London,\n"))
	f.Add([]byte("192.0.2.0/24 # x\n2001:db8::1\n"))
	f.Add([]byte("::ffff:10.0.0.0/104\n"))
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, read := range []func(io.Reader) (*Ranges, error){ReadEgress, ReadNetworks} {
			r, err := read(bytes.NewReader(list))
			if (r == nil) == (err == nil) {
				t.Fatalf("%v, %v", r, err)
			}
			if r != nil && r.Len() == 0 {
				t.Fatal("a list of nothing")
			}
		}
	})
}

func BenchmarkContains(b *testing.B) {
	r := manyRanges(200_000)
	for name, s := range map[string]string{"v4": "3.4.5.6", "v6": "2001:0:1234:5600::1"} {
		a := netip.MustParseAddr(s)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Contains(a)
			}
		})
	}
}

// The size of Apple's list.
func BenchmarkReadEgress(b *testing.B) {
	var list bytes.Buffer
	for i := range 290_000 {
		fmt.Fprintf(&list, "2a02:26f7:%x:%x::/64,US,US-CA,Los Angeles,\n", i>>15, i<<1&0xffff)
	}
	b.SetBytes(int64(list.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadEgress(bytes.NewReader(list.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
