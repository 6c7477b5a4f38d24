package demo

import "mailbeacon/internal/classify"

// agent is what a program says of itself.
type agent struct {
	name   string // User-Agent
	header string // one more line, or nothing
}

// Agents, as they are seen in mail.
const (
	applePrivacy = iota
	iPhone
	macSafari
	appleMail
	gmailProxy
	gmailPrefetch
	androidChrome
	windowsChrome
	yahooProxy
	outlook
	windowsEdge
	linuxFirefox
	thunderbird
	samsungMail
	operaBrowser
	barracuda
	linkPrefetch
)

var agents = [...]agent{
	applePrivacy:  {name: "Mozilla/5.0"},
	iPhone:        {name: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"},
	macSafari:     {name: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"},
	appleMail:     {name: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"},
	gmailProxy:    {name: "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"},
	gmailPrefetch: {name: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"},
	androidChrome: {name: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"},
	windowsChrome: {name: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"},
	yahooProxy:    {name: "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"},
	outlook:       {name: "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; x64; Trident/7.0; .NET4.0C; .NET4.0E; Microsoft Outlook 16.0.17726; ms-office; MSOffice 16)"},
	windowsEdge:   {name: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"},
	linuxFirefox:  {name: "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"},
	thunderbird:   {name: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.3.0"},
	samsungMail:   {name: "Mozilla/5.0 (Linux; Android 15; SM-S921B Build/AP3A.240905.015; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36 SamsungEmail/6.1.90"},
	operaBrowser:  {name: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/123.0.0.0"},
	barracuda:     {name: "BarracudaSentinel (EE)"},
	linkPrefetch:  {name: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36", header: "Sec-Purpose: prefetch;anonymous-client-ip"},
}

// none is no agent: nobody loads that.
const none = -1

// client is what people read mail with.
type client struct {
	share    int // of a thousand people
	loads    int // the image, once somebody reads; none: it was loaded before
	class    classify.Class
	retries  int // how often it may load again at once
	prefetch int // the image, whether somebody reads or not
	often    float64
	follows  int // links
	browser  bool
}

var clients = [...]client{
	{share: 310, loads: none, prefetch: applePrivacy, often: 0.96, follows: iPhone},
	{share: 60, loads: appleMail, class: classify.Human, prefetch: none, follows: macSafari},
	{share: 270, loads: gmailProxy, class: classify.Proxied, prefetch: gmailPrefetch, often: 0.03, follows: androidChrome},
	{share: 60, loads: yahooProxy, class: classify.Proxied, retries: 3, prefetch: none, follows: windowsChrome},
	{share: 100, loads: outlook, class: classify.Human, prefetch: none, follows: windowsEdge},
	{share: 60, loads: windowsChrome, class: classify.Human, prefetch: none, follows: windowsChrome, browser: true},
	{share: 35, loads: linuxFirefox, class: classify.Human, prefetch: none, follows: linuxFirefox, browser: true},
	{share: 25, loads: windowsEdge, class: classify.Human, prefetch: none, follows: windowsEdge, browser: true},
	{share: 30, loads: thunderbird, class: classify.Human, prefetch: none, follows: linuxFirefox},
	{share: 40, loads: samsungMail, class: classify.Human, prefetch: none, follows: androidChrome},
	{share: 10, loads: operaBrowser, class: classify.Human, prefetch: none, follows: operaBrowser, browser: true},
}

// The ways of scanners, by Person.scanner.
const (
	unscanned  = iota
	sandbox    // a browser that loads the image and follows each link that can be seen
	byName     // says who it is, and follows the first links
	headFirst  // asks for each link with HEAD, and loads the image
	everything // a sandbox that follows what people do not see, too
)

// scanners are the shares of people with each, of a thousand.
var scanners = [...]int{unscanned: 930, sandbox: 35, byName: 15, headFirst: 10, everything: 10}
