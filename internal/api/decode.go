package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decode reads a body, one flat JSON object, into the struct that into points to. It is strict:
// names must be known, spelled exactly and given once, types must fit, nothing may follow. A field
// without omitempty in its tag must be there. What is wrong comes back as a *Problem that names the
// field or the byte, and nothing of the content.
//
// Fields can be string, bool, uint64, []byte (in base64), and pointers to the first three.
func decode(body []byte, into any) error {
	if at := invalidUTF8(body); at >= 0 {
		return malformed(at, "is not UTF-8")
	}
	if err := syntax(body); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return newProblem(http.StatusUnprocessableEntity, "the body is not a JSON object", Field{"body", "is not an object"})
	}
	v := reflect.ValueOf(into).Elem()
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	var wrong []Field
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return malformed(int(d.InputOffset()), "is no JSON")
		}
		name, _ := t.(string)
		i, known := fields[name]
		switch {
		case !known:
			wrong = append(wrong, unknownField(name))
			err = skip(d)
		case seen[name]:
			wrong = append(wrong, Field{"body." + name, "is given twice"})
			err = skip(d)
		default:
			seen[name] = true
			var reason string
			if reason, err = value(d, v.Field(i.index), i.optional); reason != "" {
				wrong = append(wrong, Field{"body." + name, reason})
			}
		}
		if err != nil {
			return malformed(int(d.InputOffset()), "is no JSON")
		}
		if len(wrong) >= maxWrong {
			break
		}
	}
	return unfit(append(wrong, missing(v.Type(), seen, len(wrong) >= maxWrong)...))
}

// maxWrong bounds how many mistakes are listed.
const maxWrong = 10

func unfit(wrong []Field) error {
	if len(wrong) == 0 {
		return nil
	}
	p := newProblem(http.StatusUnprocessableEntity, strings.TrimPrefix(wrong[0].Location, "body.")+" "+wrong[0].Message, wrong...)
	if more := len(wrong) - 1; more > 0 {
		p.Detail += fmt.Sprintf(", and %d more", more)
	}
	return p
}

func unknownField(name string) Field {
	if !plainName.MatchString(name) {
		return Field{"body", "has an unknown field, whose name is not repeated here"}
	}
	return Field{"body." + name, "is unknown"}
}

// missing lists the fields that must be there and are not.
func missing(t reflect.Type, seen map[string]bool, enough bool) []Field {
	var wrong []Field
	for i := 0; i < t.NumField() && !enough; i++ {
		if name, optional := tagOf(t.Field(i)); !optional && !seen[name] {
			wrong = append(wrong, Field{"body." + name, "is missing"})
		}
	}
	return wrong
}

func malformed(at int, what string) *Problem {
	return newProblem(http.StatusBadRequest, fmt.Sprintf("malformed JSON: the body %s at byte %d", what, at))
}

// syntax checks the whole body, so that nothing is read of one that is no JSON.
func syntax(body []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(body, &raw)
	var s *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &s):
		return newProblem(http.StatusBadRequest, "malformed JSON")
	case s.Offset >= int64(len(body)) && strings.Contains(s.Error(), "unexpected end"):
		return malformed(len(body), "breaks off")
	case strings.Contains(s.Error(), "after top-level value"):
		return malformed(int(s.Offset-1), "goes on after its end")
	}
	return malformed(int(max(s.Offset-1, 0)), "is no JSON")
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

// place is where a field of the body goes.
type place struct {
	index    int
	optional bool
}

func tagOf(f reflect.StructField) (name string, optional bool) {
	name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, strings.Contains(rest, "omitempty")
}

func fieldsOf(t reflect.Type) map[string]place {
	fields := make(map[string]place, t.NumField())
	for i := range t.NumField() {
		name, optional := tagOf(t.Field(i))
		fields[name] = place{i, optional}
	}
	return fields
}

// value reads a field's value into v, or passes over it and says why it does not fit.
func value(d *json.Decoder, v reflect.Value, optional bool) (reason string, err error) {
	t, err := d.Token()
	if err != nil {
		return "", err
	}
	if delim, nested := t.(json.Delim); nested {
		if err := skipNested(d); err != nil {
			return "", err
		}
		if delim == '[' {
			return "is a list; right would be " + kindOf(v), nil
		}
		return "is an object; right would be " + kindOf(v), nil
	}
	if t == nil {
		if optional {
			return "", nil
		}
		return "is null; right would be " + kindOf(v), nil
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	return assign(t, v), nil
}

func assign(t json.Token, v reflect.Value) (reason string) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := t.(string); ok {
			v.SetString(s)
			return ""
		}
	case reflect.Bool:
		if b, ok := t.(bool); ok {
			v.SetBool(b)
			return ""
		}
	case reflect.Uint64:
		if n, ok := t.(json.Number); ok {
			if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
				v.SetUint(u)
				return ""
			}
		}
	case reflect.Slice: // of bytes
		s, ok := t.(string)
		if !ok {
			break
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err == nil {
			v.SetBytes(b)
			return ""
		}
	}
	return "is not " + kindOf(v)
}

func kindOf(v reflect.Value) string {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Uint64:
		return "a whole number from 0"
	case reflect.Slice:
		return "a string in base64"
	default:
		return "a string"
	}
}

// skip passes over one value.
func skip(d *json.Decoder) error {
	t, err := d.Token()
	if _, nested := t.(json.Delim); err == nil && nested {
		return skipNested(d)
	}
	return err
}

// skipNested passes over the rest of a list or an object that was begun.
func skipNested(d *json.Decoder) error {
	for depth := 1; depth > 0; {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}
