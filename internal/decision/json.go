package decision

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// json reads an object. The common form is read here: no escapes, each field once; everything else, right
// or wrong, goes the long way.
func (r *Reader) json(text []byte, row *Row) error {
	if r.plain(text, row) {
		return nil
	}
	*row = Row{Line: row.Line}
	return r.any(text, row)
}

// plain reads the common form, and returns false for any other.
func (r *Reader) plain(text []byte, row *Row) bool {
	s := scanner{text: text}
	if !s.take('{') {
		return false
	}
	var seen uint
	for first := true; ; first = false {
		if !first && !s.take(',') {
			return s.take('}') && s.ended()
		}
		name, ok := s.text1()
		if !ok || !s.take(':') {
			return false
		}
		c, known := columnOf(string(name))
		if !known || seen&(1<<c) != 0 {
			return false
		}
		seen |= 1 << c
		var value []byte
		if c == unsubscribed {
			value, ok = s.word()
		} else {
			value, ok = s.text1()
		}
		if !ok || r.set(row, c, value) != nil {
			return false
		}
	}
}

// scanner goes over a line.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t') {
		s.at++
	}
}

func (s *scanner) take(c byte) bool {
	s.space()
	if s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) ended() bool {
	s.space()
	return s.at == len(s.text)
}

// text1 reads a string without escapes.
func (s *scanner) text1() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	for start := s.at; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1], true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// word reads true or false.
func (s *scanner) word() ([]byte, bool) {
	s.space()
	for _, w := range []string{"true", "false"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(w)) {
			s.at += len(w)
			return s.text[s.at-len(w) : s.at], true
		}
	}
	return nil, false
}

// any reads whatever JSON says, or tells what is wrong with it.
func (r *Reader) any(text []byte, row *Row) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errNotObject
	}
	seen := map[column]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return errNotObject
		}
		key, ok := name.(string)
		c, known := columnOf(key)
		switch {
		case !ok || !known:
			return errUnknown
		case seen[c]:
			return errTwice
		}
		seen[c] = true
		value, err := d.Token()
		if err != nil {
			return errNotObject
		}
		if err := r.setToken(row, c, value); err != nil {
			return err
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return errNotObject
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errNotObject
	}
	return nil
}

// setToken puts a JSON value into a row; null is as if the field were not there.
func (r *Reader) setToken(row *Row, c column, value json.Token) error {
	switch v := value.(type) {
	case nil:
		return nil
	case bool:
		if c != unsubscribed {
			return errNotText
		}
		row.Change.Unsubscribed = isFalse
		if v {
			row.Change.Unsubscribed = isTrue
		}
		return nil
	case string:
		if c == unsubscribed {
			return errNotBool
		}
		return r.set(row, c, []byte(v))
	}
	if c == unsubscribed {
		return errNotBool
	}
	return errNotText
}
