package mint

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// The fast reader says what the thorough one says, or nothing; and what either accepts is JSON for
// encoding/json too.
func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{
		`{"to":"anna@example.com"}`, ` { "to" : "a@b" } `, `{"to":"\u0061@b"}`, `{"to":"a","to":"b"}`, `{"to":1}`,
		`{"to":"a"}x`, `{"to":"a\\"}`, `{"to":"\""}`, `{"t\u006f":"a"}`, "{\"to\":\"\xff\"}", `{"to":"é"}`, `[]`, `{`, `{"to":"<a>&"}`,
		`{"to":"a"`, "{\"to\":\"\x7f\"}", `{"to":{"a":[1]}}`, `{"":"a"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.ContainsRune(line, '\n') {
			return // it ends the line
		}
		before := bytes.Clone(line)
		raw, address, err := parseLine(line)
		slowRaw, slowAddress, slowErr := parseAny(line)
		if (err == nil) != (slowErr == nil) || !bytes.Equal(address, slowAddress) {
			t.Fatalf("%q: %q %v, and thoroughly %q %v", line, address, err, slowAddress, slowErr)
		}
		if !bytes.Equal(line, before) {
			t.Fatal("the line was changed")
		}
		if err != nil {
			if strings.Contains(err.Error(), "@") && !strings.Contains(err.Error(), "somebody@example.com") {
				t.Fatalf("the error repeats something: %v", err)
			}
			return
		}
		var said, slowSaid string
		if json.Unmarshal(raw, &said) != nil || json.Unmarshal(slowRaw, &slowSaid) != nil || said != string(address) || slowSaid != said {
			t.Fatalf("%q comes back as %s and %s", address, raw, slowRaw)
		}
		var v struct{ To *string }
		if json.Unmarshal(line, &v) != nil || v.To == nil || *v.To != said || !utf8.ValidString(said) {
			t.Fatalf("%q is read as %q", line, said)
		}
	})
}
