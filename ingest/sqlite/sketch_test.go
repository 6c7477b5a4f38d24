package sqlite

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// The examples in FORMAT.md are what is stored, and are read back.
func TestFormatExamples(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	// Two hashes that share their first 14 bits, one whose next 11 are zero, and one of them twice.
	few := []uint64{0xFFFC_8000_0000_0001, 0xFFFD_0000_0000_0000, 0x0004_0000_2000_0000, 0xFFFD_0000_0000_0000}
	many := make([]uint64, 100_000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(many); i++ {
		many[i] = r.Uint64()
	}
	for name, c := range map[string]struct {
		hashes []uint64
		count  uint64
		bytes  int // in all
		shown  int
	}{
		"Nobody":       {nil, 0, 21, 21},
		"Three people": {few, 3, 30, 30},
		"Many people":  {many, 100_000, 9 + 1<<14, 25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSketch()
			s.add(c.hashes)
			stored, err := s.append(nil)
			must(t, err)
			shown := example(t, string(content), name)
			if len(shown) != c.shown || len(stored) != c.bytes || !bytes.HasPrefix(stored, shown) {
				t.Fatalf("shown as % X, stored as %d bytes % X", shown, len(stored), stored[:min(64, len(stored))])
			}
			back, err := parseSketch(stored)
			must(t, err)
			if n := back.count(); n < c.count*98/100 || n > c.count*102/100 {
				t.Errorf("%d people were read back, %d were stored", n, c.count)
			}
			if again, err := back.append(nil); err != nil || !bytes.Equal(again, stored) {
				t.Errorf("stored again it is another: %v", err)
			}
		})
	}
}

// example is the hex dump below a heading, without what is said beside it.
func example(t *testing.T, text, heading string) []byte {
	t.Helper()
	_, section, _ := strings.Cut(text, "### "+heading+"\n")
	_, section, _ = strings.Cut(section, "```\n")
	section, _, found := strings.Cut(section, "\n```")
	if !found {
		t.Fatalf("FORMAT.md has no example %q", heading)
	}
	var all []byte
	for line := range strings.Lines(section) {
		digits, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		must(t, err)
		all = append(all, b...)
	}
	return all
}
