package rewrite

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

type sample struct {
	name string
	data []byte
}

// corpus is the mails of testdata/corpus whose names end so.
func corpus(t testing.TB, suffix string) []sample {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "corpus", "*"+suffix))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	var all []sample
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{filepath.Base(p), data})
	}
	return all
}

func corpusFile(t testing.TB, name string) []byte { return corpus(t, name)[0].data }

// TestCorpus rewrites each mail and compares what was asked, what was said and every edit with the
// golden file, and the whole with what must be true of any.
func TestCorpus(t *testing.T) {
	t.Parallel()
	samples := append(corpus(t, ".html"), corpus(t, ".eml")...)
	if len(samples) < 25 {
		t.Errorf("only %d mails", len(samples))
	}
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", "golden", s.name+".txt")
			got := describe(t, s)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// describe rewrites a mail and writes down what happened.
func describe(t *testing.T, s sample) []byte {
	var b bytes.Buffer
	o := Options{
		Pixel: testPixel, TextLinks: strings.Contains(s.name, "textlinks"),
		Keep: func(url string) bool { return strings.HasPrefix(url, "https://t.example/u/") },
		Href: func(l Link) (string, bool, error) {
			fmt.Fprintf(&b, "link %d %s %q\n", l.Position, l.URL, l.Label)
			return numbered(l)
		},
	}
	j := job{o: o}
	var edits []edit
	var err error
	if strings.HasSuffix(s.name, ".eml") {
		edits, err = j.message(s.data)
	} else {
		checkHTML(t, s.data)
		edits, err = j.html(plainText(s.data))
	}
	if err != nil {
		t.Fatal(err)
	}
	out := apply(nil, s.data, edits)
	if diff := restored(s.data, out, edits); diff != "" {
		t.Error(diff)
	}
	if strings.HasSuffix(s.name, ".eml") && !o.TextLinks {
		sameParts(t, s.data, out)
	}
	fmt.Fprintf(&b, "rewritten %d, kept %v, pixel %v, warnings %v\n", j.result.Rewritten, j.result.Kept, j.result.Pixel, j.result.Warnings)
	for _, e := range edits {
		fmt.Fprintf(&b, "%d\n", e.start)
		writeLines(&b, "- ", s.data[e.start:e.end])
		writeLines(&b, "+ ", bytes.ReplaceAll(e.text, []byte(pixelHTML), []byte("(pixel)")))
	}
	return b.Bytes()
}

func writeLines(b *bytes.Buffer, mark string, text []byte) {
	for line := range bytes.Lines(text) {
		fmt.Fprintf(b, "%s%q\n", mark, line)
	}
}
