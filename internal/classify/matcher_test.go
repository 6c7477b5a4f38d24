package classify

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// findSlowly says in the plainest way what find must find.
func findSlowly(all []pattern, text string) (found marks) {
	folded := string(lower([]byte(text)))
	word := func(i int) bool {
		if i < 0 || i >= len(folded) {
			return false
		}
		c := folded[i]
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 0x80
	}
	for end := 1; end <= len(folded); end++ {
		var here marks
		for _, p := range all {
			start := end - len(p.text)
			if !strings.HasSuffix(folded[:end], p.text) || word(start-1) && !p.openHead || word(end) && !p.openTail {
				continue
			}
			if p.except {
				// It is longer than whatever it takes back.
				here = 0
				for _, q := range all {
					if !q.except && len(q.text) > len(p.text) && strings.HasSuffix(folded[:end], q.text) {
						panic("an exception shorter than a pattern")
					}
				}
				break
			}
			here |= p.mark
		}
		found |= here
	}
	return found
}

func TestMatcherFindsWhatTheSlowOneFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var all []pattern
		seen := map[string]bool{}
		for i, s := range rapid.SliceOfN(rapid.StringMatching(`\*?[ab1/]{2,5}\*?`), 1, 8).Draw(r, "patterns") {
			p, err := parsePattern(s, 1<<i)
			if err != nil || seen[s] {
				continue
			}
			seen[s] = true
			all = append(all, p)
		}
		text := rapid.StringMatching(`[abAB1/ é]{0,40}`).Draw(r, "text")
		if got, want := newMatcher(all).find([]byte(text)), findSlowly(all, text); got != want {
			r.Fatalf("found %b in %q, want %b of %+v", got, text, want, all)
		}
	})
}

// The real list, over texts made of its own pieces.
func TestAgentsFindWhatTheSlowWayFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(0, 6).Draw(r, "pieces") {
			piece := rapid.SampledFrom(agents.all).Draw(r, "name").text
			b.WriteString(piece[:rapid.IntRange(1, len(piece)).Draw(r, "length")])
			b.WriteString(rapid.SampledFrom([]string{"", " ", "/1.0 ", "x", "-", "é"}).Draw(r, "between"))
		}
		if got, want := agents.find([]byte(b.String())), findSlowly(agents.all, b.String()); got != want {
			r.Fatalf("found %b in %q, want %b", got, b.String(), want)
		}
	})
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "a", "*", "**", "*a*", "Curl", "cürl", "a*b", "tab\t"} {
		if p, err := parsePattern(bad, 1); err == nil {
			t.Errorf("%q is accepted as %+v", bad, p)
		}
	}
	tests := []struct {
		pattern string
		in, out []string
	}{
		{"curl", []string{"curl", "curl/8", "(curl)", "lib-curl", "CURL", "x curl"}, []string{"curly", "libcurl", "curl8", "cur", "écurl", ""}},
		{"*bot", []string{"bot", "Googlebot/2", "a_bot"}, []string{"bots", "botany", "Googlebot2"}},
		{"bot*", []string{"bot", "bots", "Botany"}, []string{"robots"}},
		{"*bot*", []string{"robots", "bot"}, []string{"bo t"}},
	}
	for _, tt := range tests {
		p, err := parsePattern(tt.pattern, 1)
		if err != nil {
			t.Fatal(err)
		}
		m := newMatcher([]pattern{p})
		for _, s := range tt.in {
			if m.find([]byte(s)) == 0 {
				t.Errorf("%q does not find %q", tt.pattern, s)
			}
		}
		for _, s := range tt.out {
			if m.find([]byte(s)) != 0 {
				t.Errorf("%q finds %q", tt.pattern, s)
			}
		}
	}
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	bot, _ := parsePattern("*bot", 1)
	cubot, _ := parsePattern("!cubot", 1)
	m := newMatcher([]pattern{bot, cubot})
	for text, want := range map[string]marks{"cubot": 0, "CUBOT_X": 0, "focubot": 1, "cubot bot": 1, "bot cubot": 1} {
		if got := m.find([]byte(text)); got != want {
			t.Errorf("%q: %b, want %b", text, got, want)
		}
	}
}

func TestAgentListFaults(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"# x\n\ncurl\nCurl\n": "line 4",
		"curl\nwget\ncurl\n":  "line 3",
		"curl\nx\n":           "line 2",
	} {
		if _, err := parseAgents(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", list, err, want)
		}
	}
	all, err := parseAgents(agentList)
	if err != nil || len(all) < 100 {
		t.Errorf("agents.txt has %d names, %v", len(all), err)
	}
}
