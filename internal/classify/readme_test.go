package classify

import (
	"flag"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of README.md")

// The README's tables are the code's.
func TestREADMEHoldsTheTables(t *testing.T) {
	content, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := string(content)
	for name, table := range map[string]string{"alone": ruleTable(alone), "window": ruleTable(inWindow), "families": familyTable()} {
		start := "<!-- " + name + " -->\n"
		before, rest, found := strings.Cut(want, start)
		_, after, ended := strings.Cut(rest, "<!-- end -->")
		if !found || !ended {
			t.Fatalf("README.md has no place for the table %s", name)
		}
		want = before + start + table + "<!-- end -->" + after
	}
	if want == string(content) {
		return
	}
	if !*update {
		t.Fatal("README.md differs from the code's tables; run the test with -update and read what changed")
	}
	if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ruleTable(rules []Rule) string {
	var b strings.Builder
	b.WriteString("| sign | class | confidence |\n|---|---|---|\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.Sign, r.Class, r.Confidence)
	}
	return b.String()
}

var markNames = map[marks]string{automaton: "a name of an automaton", gmailPrefetch: "Gmail's prefetch"}

func familyTable() string {
	var b strings.Builder
	b.WriteString("| client | User-Agent has one of | and all of | and none of |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.client, names(f.any, ", "), names(f.all, "; "), names(f.none, ", "))
	}
	return b.String()
}

// names writes marks by the names that make them.
func names(m marks, separator string) string {
	var all []string
	for ; m != 0; m &= m - 1 {
		one := marks(1) << bits.TrailingZeros32(uint32(m))
		if name, ok := markNames[one]; ok {
			all = append(all, name)
			continue
		}
		for _, group := range agentPatterns {
			if group.mark == one {
				all = append(all, "`"+strings.Join(group.names, "`, `")+"`")
			}
		}
	}
	return strings.Join(all, separator)
}
