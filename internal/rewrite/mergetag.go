package rewrite

import (
	"net/netip"
	"strings"
)

// marks are what opens a merge tag in the template languages of mail, and what must follow
// somewhere behind it for the sign to count ("" for nothing: the sign alone is telling). No valid URL
// holds any of them.
var marks = []struct{ open, close string }{
	{"{{", ""}, {"{%", ""}, {"{#", "#}"}, {"{!", "}"}, {"{$", "}"}, {"${", ""}, {"#{", "}"}, {"<%", ""}, {"<?", ""},
	{"*|", ""}, {"|*", ""}, {"%%", "%%"}, {"[[", "]]"}, {"@{", "}"}, {"%recipient", "%"}, {"%%=", ""}, {"}}", ""}, {"%}", ""},
	{"||", "||"}, {"##", "##"}, {"~~eloqua", "~~"},
}

// placeholder says whether an address holds a merge tag, as it is or percent-encoded by an editor.
func placeholder(s string) bool {
	if !strings.ContainsAny(s, "{%*|[<@}$~#") {
		return false
	}
	for _, m := range marks {
		if i := strings.Index(s, m.open); i >= 0 && strings.Contains(s[i+len(m.open):], m.close) {
			return true
		}
	}
	low := strings.ToLower(s)
	return strings.Contains(low, "%7b%7b") || strings.Contains(low, "%7b%25") || strings.Contains(low, "*%7c") || signed(s)
}

// maxTag is how long the name in a tag of single signs can be.
const maxTag = 80

// closing are the single signs around a merge tag: what opens it, and what closes it.
var closing = [256]byte{'{': '}', '[': ']', '%': '%', '$': '$', '@': '@', '~': '~'}

// signed says whether an address holds a merge tag of single signs, such as [UNSUBSCRIBE], {name} or
// %FNAME%. Most of these signs stand in real addresses too, hence a rule for each; README.md has the list.
func signed(s string) bool {
	for i := range len(s) {
		end := closing[s[i]]
		if end == 0 {
			continue
		}
		rest := s[i+1 : min(len(s), i+2+maxTag)]
		n := strings.IndexByte(rest, end)
		if n < 1 {
			continue
		}
		before := byte(' ')
		if i > 0 {
			before = s[i-1]
		}
		if isTag(s[i], before, rest[:n], s[i+1+n:]) {
			return true
		}
	}
	return false
}

// isTag says whether name is one between a sign and its counterpart, with which behind begins.
func isTag(sign, before byte, name, behind string) bool {
	first := lower(name[0])
	word := 'a' <= first && first <= 'z' || first == '_'
	switch sign {
	case '{': // in no valid URL; in careless ones JSON and GUIDs
		return word && !strings.ContainsAny(name, `{"<>`) && !isGUID(name)
	case '[': // a[b]=c is the parameter of an array, [fe80::1] a host
		if alphanumeric(before) || before == '_' || before == ']' || !word && first != '%' || strings.ContainsAny(name, `["<>`) {
			return false
		}
		_, err := netip.ParseAddr(name)
		return err != nil
	case '%': // %C3%A9 is two bytes; in a valid URL each sign begins such a one
		return isTagName(name) && (!isEscape(name) || !isEscape(behind[1:]))
	case '$':
		return !alphanumeric(before) && isTagName(name)
	case '@': // @anna@example.org is somebody
		return !alphanumeric(before) && isTagName(name) && name == strings.ToUpper(name)
	default: // ~Contact.Id~; /~anna~ may be a folder
		return isTagName(name) && strings.Contains(name, ".")
	}
}

// isTagName says whether s is a variable's name, perhaps with a filter or a part behind it.
func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !alphanumeric(c) && c != '_' && (i == 0 || strings.IndexByte(".-:|", c) < 0) || i == 0 && decimal(c) {
			return false
		}
	}
	return s != ""
}

// isEscape says whether s, which stands behind a "%", makes it a percent-encoded byte.
func isEscape(s string) bool { return len(s) >= 2 && hexadecimal(s[0]) && hexadecimal(s[1]) }

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !hexadecimal(s[i]) {
			return false
		}
	}
	return true
}
