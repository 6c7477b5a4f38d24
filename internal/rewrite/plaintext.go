package rewrite

import (
	"bytes"
	"strings"
)

// plain decides what changes in a plain text; the edits' places are in t.raw. Without TextLinks
// nothing does.
func (j *job) plain(t *text) ([]edit, error) {
	if !j.o.TextLinks {
		return nil, nil
	}
	var edits []edit
	for at := 0; ; {
		s, ok := nextURL(t.scan, at)
		if !ok {
			return edits, nil
		}
		at = s.end
		to, err := j.decideText(t, s)
		if err != nil {
			return nil, err
		}
		if to != "" {
			edits = append(edits, edit{
				span: span{s.start * t.width, s.end * t.width}, text: t.bytes(to), name: -1, close: -1,
			})
		}
	}
}

func (j *job) decideText(t *text, s span) (string, error) {
	raw := t.string(s)
	if placeholder(raw) {
		j.result.keep(KeptPlaceholder)
		return "", nil
	}
	rest, _ := httpURL(raw)
	a := encode(raw, rest, t)
	if a.kept != "" {
		j.result.keep(a.kept)
		return "", nil
	}
	return j.ask(a.url, func() string { return "" })
}

// nextURL finds the next http or https URL from at on: up to white space, a quote or an angle
// bracket, without the punctuation of the sentence it stands in. A merge tag in it may hold all of these.
func nextURL(src []byte, at int) (span, bool) {
	for {
		i := bytes.Index(src[at:], []byte("://"))
		if i < 0 {
			return span{}, false
		}
		colon := at + i
		at = colon + 3
		start := colon
		for _, scheme := range []string{"https", "http"} {
			if from := colon - len(scheme); from >= 0 && isFold(src[from:colon], scheme) {
				start = from
				break
			}
		}
		if start == colon || start > 0 && (alphanumeric(src[start-1]) || bytes.IndexByte([]byte("+-."), src[start-1]) >= 0) {
			continue
		}
		end := urlEnd(src, at)
		if end > at {
			return span{start, end}, true
		}
	}
}

// urlEnd returns where a URL ends of which from is behind the "://".
func urlEnd(src []byte, from int) int {
	end := from
	for end < len(src) && src[end] > ' ' && src[end] != 0x7f && !strings.ContainsRune(`<>"`, rune(src[end])) {
		if i := tagEnd(src[end:]); i > 0 {
			end += i
			continue
		}
		end++
	}
	// A closing bracket belongs to the URL if it opened in it.
	open := [3]int{}
	const brackets = "()[]{}"
	for _, c := range src[from:end] {
		if i := strings.IndexByte(brackets, c); i >= 0 {
			open[i/2] += 1 - 2*(i%2)
		}
	}
	for end > from {
		c := src[end-1]
		if i := strings.IndexByte(brackets, c); i%2 == 1 && open[i/2] < 0 {
			open[i/2]++
		} else if i >= 0 || !strings.ContainsRune(".,;:!?'*", rune(c)) {
			break
		}
		end--
	}
	return end
}

// tagEnd returns how long the merge tag is that b begins with, 0 if it begins with none. Merge tags
// do not span lines and are short.
func tagEnd(b []byte) int {
	for _, m := range [...][2]string{{"{{", "}}"}, {"{%", "%}"}, {"${", "}"}, {"*|", "|*"}, {"[[", "]]"}, {"<%", "%>"}} {
		if len(b) < 2 || b[0] != m[0][0] || b[1] != m[0][1] {
			continue
		}
		b = b[:min(len(b), 200)]
		i := bytes.Index(b, []byte(m[1]))
		if i < 0 || bytes.IndexByte(b[:i], '\n') >= 0 {
			return 0
		}
		return i + len(m[1])
	}
	return 0
}
