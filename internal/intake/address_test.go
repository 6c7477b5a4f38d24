package intake

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// from is a request from a peer, with header lines of the given name.
func from(peer, name string, lines ...string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	var remote net.Addr = &net.UnixAddr{Name: "x"}
	if peer != "" {
		remote = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(peer), 4711))
	}
	ctx.Init(&fasthttp.Request{}, remote, nil)
	for _, line := range lines {
		ctx.Request.Header.Add(name, line)
	}
	return ctx
}

func proxies(t testing.TB, header Header, networks ...string) Proxies {
	t.Helper()
	var trusted []netip.Prefix
	for _, n := range networks {
		trusted = append(trusted, netip.MustParsePrefix(n))
	}
	p, err := NewProxies(trusted, header)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientBehindXForwardedFor(t *testing.T) {
	t.Parallel()
	p := proxies(t, "", "10.0.0.0/8", "127.0.0.1/32", "fd00::/8")
	for _, tc := range []struct {
		name, peer string
		lines      []string
		want       string // "" is the zero Addr
	}{
		{"direct", "192.0.2.1", nil, "192.0.2.1"},
		{"direct, header forged", "192.0.2.1", []string{"203.0.113.9"}, "192.0.2.1"},
		{"mapped", "::ffff:192.0.2.1", nil, "192.0.2.1"},
		{"mapped proxy", "::ffff:10.1.1.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"no TCP", "", nil, ""},
		{"no TCP, header", "", []string{"203.0.113.9"}, ""},
		{"proxy without header", "10.1.1.1", nil, "10.1.1.1"},
		{"proxy with empty header", "10.1.1.1", []string{""}, "10.1.1.1"},
		{"one hop", "10.1.1.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"IPv6", "fd00::1", []string{"2001:db8::9"}, "2001:db8::9"},
		{"mapped hop", "fd00::1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"nearest untrusted", "10.1.1.1", []string{"198.51.100.1, 203.0.113.9, 10.2.2.2"}, "203.0.113.9"},
		{"forged on the left", "10.1.1.1", []string{"127.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"two lines", "10.1.1.1", []string{"198.51.100.1", "203.0.113.9,10.2.2.2"}, "203.0.113.9"},
		{"two lines, last all trusted", "10.1.1.1", []string{"198.51.100.1, 203.0.113.9", "10.2.2.2"}, "203.0.113.9"},
		{"all trusted", "10.1.1.1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"blanks and tabs", "10.1.1.1", []string{" \t203.0.113.9 ,\t 10.2.2.2  "}, "203.0.113.9"},
		{"empty elements", "10.1.1.1", []string{",203.0.113.9,,"}, "203.0.113.9"},
		{"port", "10.1.1.1", []string{"203.0.113.9:1234"}, "203.0.113.9"},
		{"brackets", "10.1.1.1", []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"brackets and port", "10.1.1.1", []string{"[2001:db8::9]:1"}, "2001:db8::9"},
		{"unknown", "10.1.1.1", []string{"198.51.100.1, unknown"}, ""},
		{"unknown beyond trusted", "10.1.1.1", []string{"unknown, 10.2.2.2"}, ""},
		{"garbage", "10.1.1.1", []string{"\x7f,;\"="}, ""},
		{"zone", "10.1.1.1", []string{"fe80::1%eth0"}, ""},
		{"bad port", "10.1.1.1", []string{"203.0.113.9:x"}, ""},
		{"long port", "10.1.1.1", []string{"203.0.113.9:123456"}, ""},
		{"open bracket", "10.1.1.1", []string{"[2001:db8::9"}, ""},
		{"text after bracket", "10.1.1.1", []string{"[2001:db8::9]x"}, ""},
		{"too long", "10.1.1.1", []string{strings.Repeat("1", 300)}, ""},
		{"the other header", "10.1.1.1", nil, "10.1.1.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := from(tc.peer, "X-Forwarded-For", tc.lines...)
			if tc.name == "the other header" {
				ctx.Request.Header.Set("Forwarded", "for=203.0.113.9")
			}
			expect(t, p.Client(ctx), tc.want)
		})
	}
}

func TestClientBehindForwarded(t *testing.T) {
	t.Parallel()
	p := proxies(t, Forwarded, "10.0.0.0/8")
	for header, want := range map[string]string{
		`for=203.0.113.9`:                                 "203.0.113.9",
		`For="203.0.113.9:80";proto=https`:                "203.0.113.9",
		`proto=https; for="[2001:db8::9]:4711"`:           "2001:db8::9",
		`for="[2001:db8::9]:_port"`:                       "2001:db8::9",
		`for=198.51.100.1, for=203.0.113.9, for=10.2.2.2`: "203.0.113.9",
		`for=203.0.113.9;by="a,b";host=x`:                 "203.0.113.9",
		`for=_hidden`:                                     "",
		`for=unknown`:                                     "",
		`for=198.51.100.1, proto=https`:                   "",
		`203.0.113.9`:                                     "",
		`for=`:                                            "",
		`for="`:                                           "",
		`for=""`:                                          "",
		`for=203.0.113.9"`:                                "",
		`fort=203.0.113.9`:                                "",
	} {
		ctx := from("10.1.1.1", "Forwarded", header)
		ctx.Request.Header.Set("X-Forwarded-For", "192.0.2.55")
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			expect(t, p.Client(ctx), want)
		})
	}
}

func expect(t *testing.T, got netip.Addr, want string) {
	t.Helper()
	if want == "" && got.IsValid() || want != "" && got != netip.MustParseAddr(want) {
		t.Errorf("got %v, want %q", got, want)
	}
}

func TestNewProxiesRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewProxies(nil, "X-Real-IP"); err == nil || !strings.Contains(err.Error(), "X-Real-IP") {
		t.Errorf("another header: %v", err)
	}
	if _, err := NewProxies([]netip.Prefix{{}}, ""); err == nil {
		t.Error("an invalid network was taken")
	}
	p := proxies(t, "", "10.9.9.9/8")
	if !p.Trusts(netip.MustParseAddr("10.1.1.1")) || (Proxies{}).Trusts(netip.MustParseAddr("10.1.1.1")) {
		t.Error("wrong trust")
	}
}

func TestClientDoesNotAllocate(t *testing.T) {
	p := proxies(t, "", "10.0.0.0/8")
	f := proxies(t, Forwarded, "10.0.0.0/8")
	plain := from("192.0.2.1", "X-Forwarded-For")
	behind := from("10.1.1.1", "X-Forwarded-For", "2001:db8::1, 203.0.113.9", "10.2.2.2")
	standard := from("10.1.1.1", "Forwarded", `for="[2001:db8::1]:80";proto=https, for=10.2.2.2`)
	for name, fn := range map[string]func(){
		"direct":    func() { p.Client(plain) },
		"forwarded": func() { p.Client(behind) },
		"standard":  func() { f.Client(standard) },
	} {
		if n := testing.AllocsPerRun(1000, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzClient(f *testing.F) {
	for _, s := range []string{"203.0.113.9, 10.1.1.1", `for="[2001:db8::1]:80"`, ",,", `"`, "[::1", ":", "1:2", "fe80::1%x"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	trusting := map[bool]Proxies{true: proxies(f, Forwarded, "10.0.0.0/8"), false: proxies(f, XForwardedFor, "10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, value string, standard bool) {
		p := trusting[standard]
		ctx := from("10.1.1.1", string(p.header), value)
		addr := p.Client(ctx)
		if addr.Is4In6() || addr.Zone() != "" {
			t.Fatalf("%q: %v is not in its plain form", value, addr)
		}
		if got := p.Client(from("192.0.2.1", string(p.header), value)); got != netip.MustParseAddr("192.0.2.1") {
			t.Fatalf("%q from anybody: %v", value, got)
		}
	})
}
