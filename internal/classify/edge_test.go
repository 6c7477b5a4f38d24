package classify

import (
	"net/netip"
	"strings"
	"testing"

	"mailbeacon/ingest/event"
)

// User-Agents as they are sent.
const (
	uaGoogleProxy   = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
	uaGmailPrefetch = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
	uaYahooProxy    = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
	uaHey           = "hey.com/imageproxy Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36"
	uaChrome        = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
	uaEdge12        = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246"
	uaAppleMail     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
)

var agentTests = []struct {
	ua     string
	want   event.Signals
	client event.Client
}{
	{"", event.NoAgent, event.OtherClient},
	{" \t ", event.NoAgent, event.OtherClient},
	{"Mozilla/5.0", event.BareMozilla, event.AppleMail},
	{" Mozilla/5.0 ", event.BareMozilla, event.AppleMail},
	{"Mozilla/5.0;", 0, event.OtherClient},
	{"mozilla/5.0", 0, event.OtherClient},
	{"Mozilla/4.0", 0, event.OtherClient},
	{uaGmailPrefetch, event.GmailPrefetch, event.Gmail},
	{uaEdge12, 0, event.Edge},
	{uaGoogleProxy, event.GoogleProxy, event.Gmail},
	{strings.ToUpper(uaGoogleProxy), event.GoogleProxy, event.Gmail},
	{uaYahooProxy, event.YahooProxy, event.YahooMail},
	{uaHey, event.OtherProxy, event.OtherClient},
	{"github-camo (c006e452)", event.OtherProxy, event.OtherClient},

	// People.
	{uaAppleMail, 0, event.AppleMail},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", 0, event.AppleMail},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", 0, event.Safari},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15", 0, event.Safari},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1", 0, event.Chrome},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/126.0 Mobile/15E148 Safari/605.1.15", 0, event.Firefox},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0]", 0, event.OtherClient},
	{uaChrome, 0, event.Chrome},
	{uaChrome + " Edg/131.0.0.0", 0, event.Edge},
	{uaChrome + " OPR/116.0.0.0", 0, event.Opera},
	{uaChrome + " Vivaldi/7.0", 0, event.OtherClient},
	{uaChrome + " Avast/131.0", 0, event.Chrome},
	{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36", 0, event.Chrome},
	{"Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36", 0, event.Chrome},
	{"Mozilla/5.0 (Linux; Android 9; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36", 0, event.Chrome},
	{"Mozilla/5.0 (Linux; Android 13; SM-G991B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36", 0, event.OtherClient},
	{"Mozilla/5.0 (Linux; Android 13; SM-G991B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0 Mobile Safari/537.36 SamsungEmail/6.1", 0, event.SamsungMail},
	{"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", 0, event.Firefox},
	{"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0", 0, event.Thunderbird},
	{"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0 SeaMonkey/2.53", 0, event.OtherClient},
	{"Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; x64; Trident/7.0; .NET4.0C; Microsoft Outlook 16.0.17726; ms-office; MSOffice 16)", 0, event.Outlook},
	{"Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17726; Pro)", 0, event.Outlook},
	{"Outlook-iOS/729.3286197.prod.iphone (4.24.0)", 0, event.Outlook},
	{"Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18", 0, event.Opera},
	{"Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B)", 0, event.OtherClient},
	{"okhttp/4.12.0", 0, event.OtherClient},
	{"Mail/3774.600.62 CFNetwork/1568.200.51 Darwin/24.1.0", 0, event.OtherClient},
	{"Some Mail Reader 1.0", 0, event.OtherClient},

	// Machines.
	{"curl/8.5.0", event.Automaton, event.OtherClient},
	{"CURL/8.5.0", event.Automaton, event.OtherClient},
	{"Wget/1.21.4", event.Automaton, event.OtherClient},
	{"python-requests/2.32.3", event.Automaton, event.OtherClient},
	{"Python/3.11 aiohttp/3.9.1", event.Automaton, event.OtherClient},
	{"Go-http-client/2.0", event.Automaton, event.OtherClient},
	{"Java/17.0.2", event.Automaton, event.OtherClient},
	{"Apache-HttpClient/4.5.14 (Java/17.0.2)", event.Automaton, event.OtherClient},
	{"node", event.Automaton, event.OtherClient},
	{"Barracuda Sentinel (EE)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (compatible; Something/1.0; +https://something.example)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b", event.Automaton, event.OtherClient},
	{"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (compatible; Baiduspider/2.0)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (compatible; archive.org_bot)", event.Automaton, event.OtherClient},
	{"Mozilla/5.0 (compatible; Yahoo! Slurp)", event.Automaton, event.OtherClient},
}

func TestAgents(t *testing.T) {
	t.Parallel()
	var e Edge
	for _, tt := range agentTests {
		s, client := e.Signals(Request{UserAgent: []byte(tt.ua)})
		if s != tt.want || client != tt.client {
			t.Errorf("%q: signals %b, client %v; want %b, %v", tt.ua, s, client, tt.want, tt.client)
		}
	}
}

func TestLongAgents(t *testing.T) {
	t.Parallel()
	var e Edge
	long := strings.Repeat("x ", 1<<20)
	for _, tt := range []struct {
		ua   string
		want event.Signals
	}{
		{"curl/8 " + long, event.Automaton},
		{long + "curl/8", 0},
		{long[:maxHeader-5] + " curl", event.Automaton},
		{long[:maxHeader-4] + " curl", 0},
		{strings.Repeat(" ", maxHeader) + "Mozilla/5.0", event.NoAgent},
	} {
		if s, _ := e.Signals(Request{UserAgent: []byte(tt.ua)}); s != tt.want {
			t.Errorf("%d bytes: signals %b, want %b", len(tt.ua), s, tt.want)
		}
	}
}

func TestPrefetchHeaders(t *testing.T) {
	t.Parallel()
	var e Edge
	fields := map[string]func(*Request, string){
		"Sec-Purpose": func(r *Request, v string) { r.SecPurpose = []byte(v) },
		"Purpose":     func(r *Request, v string) { r.Purpose = []byte(v) },
		"X-Moz":       func(r *Request, v string) { r.XMoz = []byte(v) },
		"X-Purpose":   func(r *Request, v string) { r.XPurpose = []byte(v) },
	}
	for name, set := range fields {
		for value, want := range map[string]event.Signals{
			"": 0, "prefetch": event.Prefetch, "PreFetch": event.Prefetch, "preview": event.Prefetch,
			"prefetch;prerender": event.Prefetch, "prefetch; anonymous-client-ip": event.Prefetch, "prerender": event.Prefetch,
			"nonprefetch": 0, "prefetches": 0, "navigate": 0, strings.Repeat(" ", maxHeader) + "prefetch": 0,
		} {
			r := Request{UserAgent: []byte(uaChrome)}
			set(&r, value)
			if s, client := e.Signals(r); s != want || client != event.Chrome {
				t.Errorf("%s: %.20q: signals %b, client %v; want %b", name, value, s, client, want)
			}
		}
	}
}

func TestAddressSignals(t *testing.T) {
	t.Parallel()
	prefixes := func(s ...string) *Ranges {
		var p []netip.Prefix
		for _, n := range s {
			p = append(p, netip.MustParsePrefix(n))
		}
		return NewRanges(p)
	}
	e := NewEdge(prefixes("172.224.224.0/27", "2a02:26f7::/32"), prefixes("192.0.2.0/24", "172.224.224.0/28"))
	for ip, want := range map[string]event.Signals{
		"172.224.224.20":        event.AppleEgress,
		"::ffff:172.224.224.20": event.AppleEgress,
		"172.224.224.1":         event.AppleEgress | event.DataCentre,
		"2a02:26f7:1::1":        event.AppleEgress,
		"192.0.2.255":           event.DataCentre,
		"192.0.3.0":             0,
		"2a02:26f8::":           0,
	} {
		if s, _ := e.Signals(Request{UserAgent: []byte(uaChrome), IP: netip.MustParseAddr(ip)}); s != want {
			t.Errorf("%s: signals %b, want %b", ip, s, want)
		}
	}
	if s, _ := e.Signals(Request{UserAgent: []byte("Mozilla/5.0")}); s != event.BareMozilla {
		t.Errorf("no address: signals %b", s)
	}
}

// edgeRequest is one that costs as much as real ones do.
func edgeRequest(ua string) Request {
	return Request{UserAgent: []byte(ua), SecPurpose: []byte("prefetch"), IP: netip.MustParseAddr("203.0.113.9")}
}

func TestSignalsDoNotAllocate(t *testing.T) {
	e := NewEdge(manyRanges(1000), manyRanges(1000))
	for _, tt := range agentTests {
		r := edgeRequest(tt.ua)
		if n := testing.AllocsPerRun(100, func() { e.Signals(r) }); n != 0 {
			t.Fatalf("%q allocates %v times", tt.ua, n)
		}
	}
}

// Whatever a request says, signals are of the set, nothing is changed, and letter case means
// nothing but in the one agent that is told by its exact form.
func FuzzSignals(f *testing.F) {
	for _, tt := range agentTests {
		f.Add([]byte(tt.ua), []byte(""))
	}
	f.Add([]byte(uaChrome), []byte("prefetch"))
	var e Edge
	f.Fuzz(func(t *testing.T, ua, purpose []byte) {
		before := string(ua) + "|" + string(purpose)
		s, client := e.Signals(Request{UserAgent: ua, XMoz: purpose})
		if string(ua)+"|"+string(purpose) != before {
			t.Fatal("the request was changed")
		}
		if s&^allSignals != 0 || s&(event.HiddenLink|event.AppleEgress|event.DataCentre) != 0 {
			t.Fatalf("signals %b", s)
		}
		if client.String() == "invalid" {
			t.Fatalf("client %d", client)
		}
		if s&event.NoAgent != 0 && s&^(event.NoAgent|event.Prefetch) != 0 {
			t.Fatalf("no agent, and yet signals %b", s)
		}
		folded := lower(ua)
		again, _ := e.Signals(Request{UserAgent: folded, XMoz: lower(purpose)})
		if s&event.BareMozilla == 0 && again != s {
			t.Fatalf("signals %b, in lower case %b", s, again)
		}
	})
}

func lower(b []byte) []byte {
	folded := make([]byte, len(b))
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		folded[i] = c
	}
	return folded
}

func BenchmarkSignals(b *testing.B) {
	e := NewEdge(manyRanges(100_000), manyRanges(10_000))
	for _, bb := range []struct{ name, ua string }{
		{"bare", "Mozilla/5.0"},
		{"google_proxy", uaGoogleProxy},
		{"apple_mail", uaAppleMail},
		{"chrome", uaChrome},
		{"curl", "curl/8.5.0"},
		{"longest", strings.Repeat("Mozilla/5.0 (compatible) ", 1000)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := edgeRequest(bb.ua)
			r.SecPurpose = nil
			b.ReportAllocs()
			for b.Loop() {
				e.Signals(r)
			}
		})
	}
}
