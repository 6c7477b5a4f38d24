package mint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// MaxLine bounds a line of the stream of recipients, in bytes without its end.
const MaxLine = 4 << 10

// What can be wrong with a line. None of these holds anything of the line but the name of a field
// that is too plain to be an address.
var (
	errLineLong    = fmt.Errorf("the line is longer than %d bytes", MaxLine)
	errNotUTF8     = errors.New("the line is not UTF-8")
	errNotObject   = errors.New(`the line is not an object as {"to":"somebody@example.com"}`)
	errNoTo        = errors.New("to is missing")
	errToTwice     = errors.New("to is given twice")
	errToNotString = errors.New("to is not a string")
	errUnknown     = errors.New("there is a field other than to")
)

// parseLine reads one recipient. raw is the address as the line's own JSON string, with its quotes,
// to be written back as it came; address is what it says. Both may point into line.
func parseLine(line []byte) (raw, address []byte, err error) {
	if raw, ok := parsePlain(line); ok {
		return raw, raw[1 : len(raw)-1], nil
	}
	return parseAny(line)
}

var toField = []byte(`"to"`)

// parsePlain reads the common form: an object of that one field and an address in printable ASCII
// without escapes. It refuses everything else, valid or not, and never accepts what parseAny would
// read in another way.
func parsePlain(line []byte) (raw []byte, ok bool) {
	i := skipSpace(line, 0)
	if i >= len(line) || line[i] != '{' {
		return nil, false
	}
	i = skipSpace(line, i+1)
	if !bytes.HasPrefix(line[i:], toField) {
		return nil, false
	}
	i = skipSpace(line, i+len(toField))
	if i >= len(line) || line[i] != ':' {
		return nil, false
	}
	start := skipSpace(line, i+1)
	if start >= len(line) || line[start] != '"' {
		return nil, false
	}
	i = start + 1
	for i < len(line) && line[i] != '"' {
		if c := line[i]; c < ' ' || c > '~' || c == '\\' {
			return nil, false
		}
		i++
	}
	if i >= len(line) {
		return nil, false
	}
	raw = line[start : i+1]
	i = skipSpace(line, i+1)
	if i >= len(line) || line[i] != '}' || skipSpace(line, i+1) != len(line) {
		return nil, false
	}
	return raw, true
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func isBlank(line []byte) bool { return skipSpace(line, 0) == len(line) }

// parseAny reads any JSON that says the same, or tells what is wrong with it.
func parseAny(line []byte) (raw, address []byte, err error) {
	if !utf8.Valid(line) {
		return nil, nil, errNotUTF8
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, errNotObject
	}
	var to string
	seen := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, nil, errNotObject
		}
		if key != "to" {
			return nil, nil, unknownField(key)
		}
		if seen {
			return nil, nil, errToTwice
		}
		seen = true
		value, err := d.Token()
		if err != nil {
			return nil, nil, errNotObject
		}
		var ok bool
		if to, ok = value.(string); !ok {
			return nil, nil, errToNotString
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, nil, errNotObject
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errNotObject
	}
	if !seen {
		return nil, nil, errNoTo
	}
	raw, err = json.Marshal(to)
	if err != nil {
		return nil, nil, errNotObject
	}
	return raw, []byte(to), nil
}

// unknownField names the field, where the name can't be somebody's address put in the wrong place.
func unknownField(key json.Token) error {
	name, ok := key.(string)
	if !ok || name == "" || len(name) > 32 {
		return errUnknown
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && c != '_' {
			return errUnknown
		}
	}
	return fmt.Errorf("field %s is unknown; to is the only one", name)
}

// appendJSON appends s as a JSON string with its quotes.
func appendJSON(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a form
		return append(dst, `""`...)
	}
	return append(dst, b...)
}
