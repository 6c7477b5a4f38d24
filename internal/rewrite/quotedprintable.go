package rewrite

import (
	"bytes"
	"sort"
)

// quotedPrintable edits a part in quoted-printable (RFC 2045, 6.7): only lines in which something
// changes are written anew.
type quotedPrintable struct {
	raw     []byte
	eol     string
	content []byte
	lines   []qpLine // in order; the last is empty if the part ends in a line break
	last    *qpPlace // nil before the first
}

// qpPlace is where place left off: without it, each edit of a long line would read that line anew.
type qpPlace struct {
	line        int
	code, eol   span
	raw, behind int // a place in the code, and how much of the content stands before it
}

// qpLine is where a line starts, in the encoded part and in its content.
type qpLine struct{ raw, content int }

func newQuotedPrintable(raw []byte, eol string) *quotedPrintable {
	q := &quotedPrintable{raw: raw, eol: eol, content: make([]byte, 0, len(raw))}
	for at := 0; ; {
		q.lines = append(q.lines, qpLine{at, len(q.content)})
		end := lineEnd(raw, at, len(raw))
		code, eol := splitLine(raw, at, end)
		for i := code.start; i < code.end; {
			c, n := qpToken(raw, i, code.end)
			q.content = append(q.content, c)
			i += n
		}
		q.content = append(q.content, raw[eol.start:eol.end]...)
		if end == len(raw) && (end == at || raw[end-1] != '\n') {
			return q
		}
		at = end
	}
}

// splitLine returns what a line encodes: its code, without the soft break and the white space that
// mail programs may have added, and its line break, empty after a soft one.
func splitLine(raw []byte, start, end int) (code, eol span) {
	eol = span{end, end}
	if eol.start > start && raw[eol.start-1] == '\n' {
		if eol.start--; eol.start > start && raw[eol.start-1] == '\r' {
			eol.start--
		}
	}
	code = span{start, start + len(bytes.TrimRight(raw[start:eol.start], " \t"))}
	if code.end > start && raw[code.end-1] == '=' {
		code.end--
		eol.start = eol.end
	}
	return code, eol
}

// qpToken decodes one byte at i, and says how many it takes up. What is no "=XX" stands for itself.
func qpToken(raw []byte, i, end int) (c byte, n int) {
	if raw[i] == '=' && i+2 < end && hexadecimal(raw[i+1]) && hexadecimal(raw[i+2]) {
		return unhex(raw[i+1])<<4 | unhex(raw[i+2]), 3
	}
	return raw[i], 1
}

func unhex(c byte) byte {
	if c = lower(c); c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func (q *quotedPrintable) decoded() []byte { return q.content }

// place returns where the byte of the content at at is encoded. It is cheap if at only grows.
func (q *quotedPrintable) place(at int) span {
	n := sort.Search(len(q.lines), func(i int) bool { return q.lines[i].content > at }) - 1
	if q.last == nil || q.last.line != n || q.last.behind > at {
		whole := q.lineSpan(n)
		code, eol := splitLine(q.raw, whole.start, whole.end)
		q.last = &qpPlace{line: n, code: code, eol: eol, raw: code.start, behind: q.lines[n].content}
	}
	p := q.last
	for ; p.raw < p.code.end; p.behind++ {
		_, size := qpToken(q.raw, p.raw, p.code.end)
		if p.behind == at {
			return span{p.raw, p.raw + size}
		}
		p.raw += size
	}
	left := at - p.behind
	return span{p.eol.start + left, p.eol.start + left + 1}
}

// line returns the line in which a place of the encoded part is.
func (q *quotedPrintable) line(at int) int {
	return sort.Search(len(q.lines), func(i int) bool { return q.lines[i].raw > at }) - 1
}

// lineSpan is a line with its line break.
func (q *quotedPrintable) lineSpan(n int) span {
	if n+1 < len(q.lines) {
		return span{q.lines[n].raw, q.lines[n+1].raw}
	}
	return span{q.lines[n].raw, len(q.raw)}
}

func (q *quotedPrintable) encode(edits []edit) ([]edit, bool) {
	encoded := make([]edit, len(edits))
	for i, e := range edits {
		encoded[i] = edit{text: e.text, name: -1, close: -1}
		if e.start > 0 {
			encoded[i].start = q.place(e.start - 1).end
		}
		encoded[i].end = encoded[i].start
		if e.end > e.start {
			encoded[i].start = q.place(e.start).start
			encoded[i].end = q.place(e.end - 1).end
		}
	}
	var out []edit
	for i := 0; i < len(encoded); {
		first := q.line(encoded[i].start)
		last := q.lastLine(encoded[i].span)
		n := i + 1
		for n < len(encoded) && q.line(encoded[n].start) <= last {
			last = max(last, q.lastLine(encoded[n].span))
			n++
		}
		out = append(out, q.rewrap(q.lineSpan(first).start, last, encoded[i:n]))
		i = n
	}
	return out, false
}

// lastLine is the line in which a span ends.
func (q *quotedPrintable) lastLine(s span) int {
	if s.end > s.start {
		return q.line(s.end - 1)
	}
	return q.line(s.end)
}

// rewrap writes the lines from start to the last one anew, with the edits in them. What stands at
// the end of the last line (a soft break, a line break) stays.
func (q *quotedPrintable) rewrap(start, last int, edits []edit) edit {
	line := q.lineSpan(last)
	code, _ := splitLine(q.raw, line.start, line.end)
	w := qpWriter{eol: q.eol}
	at := start
	for _, e := range edits {
		w.copy(q.raw[at:e.start])
		for _, c := range e.text {
			w.byte(c)
		}
		at = e.end
	}
	if at < code.end {
		w.copy(q.raw[at:code.end])
		at = code.end
	} else if n := len(w.out) - 1; n >= 0 && w.out[n] == ' ' {
		w.out = w.out[:n] // would not count at the end of a line
		w.column--
		w.token(hexCode(' '))
	}
	return edit{span: span{start, at}, text: w.out, name: -1, close: -1}
}

// qpLineLimit is the longest line, with the "=" of a soft break.
const qpLineLimit = 76

// qpWriter writes lines of quoted-printable.
type qpWriter struct {
	out    []byte
	column int
	eol    string
}

// token writes what must stay together. At the start of a line of ours no byte stands that
// somebody on the way could take for something else: a dot (SMTP), "--" (a boundary), "From " (mbox).
func (w *qpWriter) token(t []byte) {
	if w.column+len(t) > qpLineLimit-1 {
		w.out = append(append(w.out, '='), w.eol...)
		w.column = 0
		if len(t) == 1 && (t[0] == '.' || t[0] == '-' || t[0] == 'F') {
			t = hexCode(t[0])
		}
	}
	w.out = append(w.out, t...)
	w.column += len(t)
}

// copy writes code that stood in one line of the source.
func (w *qpWriter) copy(code []byte) {
	for i := 0; i < len(code); {
		_, n := qpToken(code, i, len(code))
		w.token(code[i : i+n])
		i += n
	}
}

// byte encodes a byte.
func (w *qpWriter) byte(c byte) {
	if c == '=' || c < ' ' || c >= 0x7f {
		w.token(hexCode(c))
		return
	}
	w.token([]byte{c})
}

func hexCode(c byte) []byte {
	const hex = "0123456789ABCDEF"
	return []byte{'=', hex[c>>4], hex[c&15]}
}
