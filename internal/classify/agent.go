package classify

import (
	_ "embed"
	"fmt"
	"strings"

	"mailbeacon/ingest/event"
)

// marks are what was found in a User-Agent, one bit each.
type marks uint32

const (
	automaton marks = 1 << iota
	googleProxy
	yahooProxy
	otherProxy
	gmailPrefetch
	outlook
	thunderbird
	samsungMail
	yahooApp
	appleDevice
	webKit
	safari
	chrome
	firefox
	edge
	opera
	otherBrowser // of a family of its own, though it calls itself Chrome or Safari too
	announced    // prefetch or preview, in the headers that say so

	allMarks = announced<<1 - 1 // no more of them than memo has room for: markBits
)

// agentPatterns are the names other than automata's, in the syntax of agents.txt.
var agentPatterns = []struct {
	mark  marks
	names []string
}{
	{gmailPrefetch, []string{"chrome/42.0.2311.135 safari/537.36 edge/12.246 mozilla/5.0"}},
	{googleProxy, []string{"ggpht.com googleimageproxy", "googleimageproxy"}},
	{yahooProxy, []string{"yahoomailproxy"}},
	{otherProxy, []string{"*imageproxy", "*image-proxy", "*mailproxy", "*mail-proxy", "github-camo"}},
	{outlook, []string{"*outlook", "outlook-*", "microsoft office", "ms-office", "msoffice"}},
	{thunderbird, []string{"thunderbird", "betterbird"}},
	{samsungMail, []string{"samsungemail", "samsung email", "com.samsung.android.email*"}},
	{yahooApp, []string{"yahoomobilemail", "yahoo mail"}},
	{appleDevice, []string{"macintosh", "iphone", "ipad", "ipod"}},
	{webKit, []string{"applewebkit"}},
	{safari, []string{"safari"}},
	{chrome, []string{"chrome", "crios", "chromium"}},
	{firefox, []string{"firefox", "fxios"}},
	{edge, []string{"edg", "edge", "edga", "edgios"}},
	{opera, []string{"opr", "opera", "opios", "opt", "opx"}},
	{otherBrowser, []string{"samsungbrowser", "yabrowser", "vivaldi", "ucbrowser", "miuibrowser", "huaweibrowser",
		"seamonkey", "qqbrowser", "micromessenger", "fban", "fbav", "fb_iab", "instagram", "line", "pinterest", "gsa"}},
}

// family is a client and what its User-Agent holds: one of any, all of all, none of none.
type family struct {
	client         event.Client
	any, all, none marks
}

// families are tried in order; the first that fits is it. Most browsers name others before
// themselves, so the one that is named by nobody else comes first.
var families = []family{
	{event.OtherClient, automaton, 0, 0},
	{event.Gmail, googleProxy | gmailPrefetch, 0, 0},
	{event.YahooMail, yahooProxy | yahooApp, 0, 0},
	{event.OtherClient, otherProxy, 0, 0},
	{event.Outlook, outlook, 0, 0},
	{event.Thunderbird, thunderbird, 0, 0},
	{event.SamsungMail, samsungMail, 0, 0},
	{event.OtherClient, otherBrowser, 0, 0},
	{event.Edge, edge, 0, 0},
	{event.Opera, opera, 0, 0},
	{event.Firefox, firefox, 0, 0},
	{event.Chrome, chrome, 0, 0},
	{event.Safari, safari, webKit | appleDevice, 0},
	// Apple's mail apps send the engine's name and no browser's.
	{event.AppleMail, webKit, appleDevice, safari},
}

func clientOf(m marks) event.Client {
	for i := range families {
		if f := &families[i]; m&f.any != 0 && m&f.all == f.all && m&f.none == 0 {
			return f.client
		}
	}
	return event.OtherClient
}

// signalsOf are the marks that are signals too.
func signalsOf(m marks) (s event.Signals) {
	if m&automaton != 0 {
		s |= event.Automaton
	}
	if m&gmailPrefetch != 0 {
		s |= event.GmailPrefetch
	}
	switch { // the names of the first two are of the third's kind
	case m&googleProxy != 0:
		s |= event.GoogleProxy
	case m&yahooProxy != 0:
		s |= event.YahooProxy
	case m&otherProxy != 0:
		s |= event.OtherProxy
	}
	return s
}

//go:embed agents.txt
var agentList string

// agents finds in a User-Agent what there is to know of it.
var agents = newMatcher(mustParse(agentList))

// knownAgents are the User-Agents that came lately.
var knownAgents = newMemo()

// announcements are found in the headers that announce a prefetch.
var announcements = newMatcher([]pattern{
	{text: "prefetch", mark: announced},
	{text: "prerender", mark: announced},
	{text: "preview", mark: announced},
})

// mustParse reads the names of automata and adds the others. The lists are part of the program: a
// fault in them is one of the build, which no test lets pass.
func mustParse(list string) []pattern {
	all, err := parseAgents(list)
	if err != nil {
		panic("classify: agents.txt: " + err.Error())
	}
	for _, group := range agentPatterns {
		for _, name := range group.names {
			p, err := parsePattern(name, group.mark)
			if err != nil {
				panic("classify: " + err.Error())
			}
			all = append(all, p)
		}
	}
	return all
}

func parseAgents(list string) (all []pattern, err error) {
	seen := map[string]bool{}
	line := 0
	for name := range strings.SplitSeq(list, "\n") {
		line++
		if name == "" || name[0] == '#' {
			continue
		}
		p, err := parsePattern(name, automaton)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if seen[name] {
			return nil, fmt.Errorf("line %d: %q stands there twice", line, name)
		}
		seen[name] = true
		all = append(all, p)
	}
	return all, nil
}
