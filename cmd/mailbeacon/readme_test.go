package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"mailbeacon/internal/config"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func testRoot() *cobra.Command {
	return newRootCommand(&cli{stdout: io.Discard, stderr: io.Discard, stdin: strings.NewReader(""), env: func(string) string { return "" }})
}

// TestReadmeSettings holds the README's table of settings to the program's.
func TestReadmeSettings(t *testing.T) {
	t.Parallel()
	_, rest, ok := strings.Cut(readme(t), "<!-- settings -->\n")
	table, _, closed := strings.Cut(rest, "<!-- /settings -->")
	if !ok || !closed {
		t.Fatal("the README has no table of settings between its markers")
	}
	if table != config.Doc() {
		t.Errorf("the README's settings are not the program's; right would be:\n%s", config.Doc())
	}
}

// commandLines are the calls of mailbeacon in a text: in blocks of code and in backquotes.
func commandLines(text string) [][]string {
	var calls [][]string
	for _, m := range regexp.MustCompile("(?m)(?:^|`|/)(?:mailbeacon|cmd/mailbeacon) ([^`\n]*)").FindAllStringSubmatch(text, -1) {
		line, _, _ := strings.Cut(m[1], " #")
		for _, cut := range []string{" > ", " < ", " | "} {
			line, _, _ = strings.Cut(line, cut)
		}
		calls = append(calls, strings.Fields(line))
	}
	return calls
}

// TestReadmeCommands finds every command and flag that the README names.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	calls := commandLines(readme(t))
	if len(calls) < 8 {
		t.Fatalf("only %d commands found", len(calls))
	}
	for _, words := range calls {
		root := testRoot()
		cmd, rest, err := root.Find(words)
		if err != nil || cmd == root {
			t.Errorf("mailbeacon %v: there is no such command: %v", words, err)
			continue
		}
		for _, word := range rest {
			if name, ok := strings.CutPrefix(word, "--"); ok && cmd.Flag(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
				t.Errorf("mailbeacon %v: there is no flag %s", words, word)
			}
		}
	}
}

// TestReadmeTargets finds every make target that the README names.
func TestReadmeTargets(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\bmake ([a-z][a-z-]*)`).FindAllStringSubmatch(readme(t), -1)
	found := 0
	for _, m := range named {
		if regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			found++
		} else if regexp.MustCompile("`make "+m[1]).MatchString(readme(t)) || strings.Contains(readme(t), "\nmake "+m[1]) {
			t.Errorf("there is no target %s", m[1])
		}
	}
	if found < 2 {
		t.Errorf("only %d targets found", found)
	}
}

// TestExamples parses every example of every command's help.
func TestExamples(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Runnable() && cmd.HasParent() && cmd.Name() != "help" && cmd.Name() != "version" && !strings.Contains(cmd.CommandPath(), "completion") && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for _, words := range commandLines(regexp.MustCompile(`(?m)^ +(.*\| )?`).ReplaceAllString(cmd.Example, "")) {
			found, rest, err := testRoot().Find(words)
			if err != nil || found.CommandPath() != cmd.CommandPath() {
				t.Errorf("example of %s: %v is %s, %v", cmd.CommandPath(), words, found.CommandPath(), err)
				continue
			}
			for _, word := range rest {
				name, ok := strings.CutPrefix(word, "--")
				name, _, _ = strings.Cut(name, "=")
				if ok && found.Flag(name) == nil && found.InheritedFlags().Lookup(name) == nil {
					t.Errorf("example of %s: there is no flag %s", cmd.CommandPath(), word)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(testRoot())
}
