package rewrite

import "bytes"

// kind is what a token is.
type kind uint8

const (
	textToken    kind = iota // characters
	rawToken                 // the content of a raw text element
	startToken               // <name ...>
	endToken                 // </name ...>
	commentToken             // <!-- ... -->
	markupToken              // doctype, bogus comment, CDATA section: <! ... >, <? ... >, </? ... >
)

// attr numbers the attributes that matter here; a tag's others are passed over.
type attr uint8

const (
	hrefAttr  attr = iota
	altAttr        // label of an image or an area
	offAttr        // data-mailbeacon
	labelAttr      // data-mailbeacon-label
	ampAttr        // ⚡4email or amp4email: the whole document is AMP
	attrCount
)

// span is a range of bytes, [start, end).
type span struct{ start, end int }

// value is the first occurrence of an attribute in a tag. The span is what stands between the
// quotes; quote is '"', '\” or 0. An attribute without a value is set and empty.
type value struct {
	span
	quote byte
	set   bool
}

// token is a piece of the text. All places are offsets into the scanner's text.
type token struct {
	kind  kind
	span       // of the whole token
	name  span // tags only
	slash bool // the tag ends in "/>"
	attrs [attrCount]value
}

// scanner cuts a text into tokens as the tokenizer of the WHATWG HTML standard does (13.2.5),
// errors and all, but by offset only: nothing is decoded, normalised or copied. It knows just as
// much of the tree as the caller tells it by foreign.
//
// A construct that the text ends in (a comment, a tag, a raw text element that is never closed)
// is no token: next returns false before it and unclosed is where it starts.
type scanner struct {
	src []byte
	pos int
	// foreign says that the next token stands in SVG or MathML, where no element's content is
	// raw text and CDATA sections exist.
	foreign  bool
	unclosed int    // -1 while nothing is
	raw      string // the raw text element being read, in lower case
	rawStart int
	tok      token
}

func newScanner(src []byte, start int) scanner {
	return scanner{src: src, pos: start, unclosed: -1}
}

// next reads the next token into s.tok and says whether there was one.
func (s *scanner) next() bool {
	if s.unclosed >= 0 {
		return false
	}
	if s.raw != "" {
		return s.rawText()
	}
	if s.pos >= len(s.src) {
		return false
	}
	if s.src[s.pos] == '<' && s.markup() {
		return s.unclosed < 0
	}
	s.text()
	return true
}

// text reads characters up to the next thing that opens markup.
func (s *scanner) text() {
	start := s.pos
	at := start + 1
	for {
		i := bytes.IndexByte(s.src[at:], '<')
		if i < 0 {
			at = len(s.src)
			break
		}
		at += i
		if at+1 < len(s.src) && opens[s.src[at+1]] {
			break
		}
		at++
	}
	s.emit(textToken, start, at)
}

// opens marks the bytes that make a "<" before them the start of markup.
var opens = func() (t [256]bool) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	t['/'], t['!'], t['?'] = true, true, true
	return t
}()

// spaces marks the white space of HTML.
var spaces = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, '\f': true}

// delims marks what ends a tag's name and the name of an attribute (that one at "=" too).
var delims = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, '\f': true, '/': true, '>': true}

func (s *scanner) emit(k kind, start, end int) {
	s.tok.kind, s.tok.start, s.tok.end = k, start, end
	s.pos = end
}

// markup reads what starts at a "<". It returns false when the "<" is a character.
func (s *scanner) markup() bool {
	start := s.pos
	if start+1 >= len(s.src) {
		return false
	}
	switch c := s.src[start+1]; {
	case c == '!':
		s.declaration(start)
	case c == '?':
		s.upTo('>', start)
	case c == '/':
		if start+2 >= len(s.src) {
			return false
		}
		if c = s.src[start+2]; c == '/' || c == '!' || c == '?' || !opens[c] {
			s.upTo('>', start)
		} else {
			s.tag(endToken, start, start+2)
		}
	case opens[c]:
		s.tag(startToken, start, start+1)
	default:
		return false
	}
	return true
}

// upTo reads a doctype or a bogus comment, which a ">" ends wherever it stands.
func (s *scanner) upTo(c byte, start int) {
	i := bytes.IndexByte(s.src[start:], c)
	if i < 0 {
		s.unclosed = start
		return
	}
	s.emit(markupToken, start, start+i+1)
}

func (s *scanner) declaration(start int) {
	rest := s.src[start:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		end := commentEnd(s.src, start+4)
		if end < 0 {
			s.unclosed = start
			return
		}
		s.emit(commentToken, start, end)
	case s.foreign && bytes.HasPrefix(rest, []byte("<![CDATA[")):
		i := bytes.Index(rest, []byte("]]>"))
		if i < 0 {
			s.unclosed = start
			return
		}
		s.emit(markupToken, start, start+i+3)
	default:
		s.upTo('>', start)
	}
}

// commentEnd returns where the comment ends whose content starts at at, -1 if it never does. Every
// byte is looked at once, however many half-closed comments there are.
func commentEnd(src []byte, at int) int {
	switch rest := src[at:]; {
	case len(rest) > 0 && rest[0] == '>':
		return at + 1
	case len(rest) > 1 && rest[0] == '-' && rest[1] == '>':
		return at + 2
	}
	for {
		i := bytes.Index(src[at:], []byte("--"))
		if i < 0 {
			return -1
		}
		at += i
		switch rest := src[at+2:]; {
		case len(rest) > 0 && rest[0] == '>':
			return at + 3
		case len(rest) > 1 && rest[0] == '!' && rest[1] == '>':
			return at + 4
		}
		at++
	}
}

// tag reads a start or an end tag whose name begins at at.
func (s *scanner) tag(k kind, start, at int) {
	src := s.src
	s.tok.name.start = at
	for at < len(src) && !delims[src[at]] {
		at++
	}
	s.tok.name.end = at
	s.tok.slash = false
	s.tok.attrs = [attrCount]value{}
	for {
		for at < len(src) && spaces[src[at]] {
			at++
		}
		if at >= len(src) {
			s.unclosed = start
			return
		}
		switch src[at] {
		case '>':
			s.emit(k, start, at+1)
			if k == startToken {
				s.openRaw()
			}
			return
		case '/':
			at++
			s.tok.slash = at < len(src) && src[at] == '>'
		default:
			if at = s.attribute(at); at < 0 {
				s.unclosed = start
				return
			}
		}
	}
}

// attribute reads one attribute at at and returns where it ends, -1 if the text does before.
func (s *scanner) attribute(at int) int {
	src := s.src
	name := span{at, at + 1} // a "=" in first place belongs to the name
	for name.end < len(src) && !delims[src[name.end]] && src[name.end] != '=' {
		name.end++
	}
	at = name.end
	for at < len(src) && spaces[src[at]] {
		at++
	}
	v := value{span: span{name.end, name.end}, set: true}
	if at >= len(src) {
		return -1
	}
	if src[at] == '=' {
		at++
		for at < len(src) && spaces[src[at]] {
			at++
		}
		if at >= len(src) {
			return -1
		}
		switch c := src[at]; c {
		case '"', '\'':
			i := bytes.IndexByte(src[at+1:], c)
			if i < 0 {
				return -1
			}
			v.span, v.quote = span{at + 1, at + 1 + i}, c
			at += i + 2
		case '>':
			v.span = span{at, at}
		default:
			v.start = at
			for at < len(src) && src[at] != '>' && !spaces[src[at]] {
				at++
			}
			v.end = at
		}
	}
	if id := attrOf(src[name.start:name.end]); id < attrCount && !s.tok.attrs[id].set {
		s.tok.attrs[id] = v
	}
	return at
}

// attrOf is the number of the attribute with a name, attrCount for one that does not matter.
func attrOf(name []byte) attr {
	switch len(name) {
	case len("alt"):
		if isFold(name, "alt") {
			return altAttr
		}
	case len("href"):
		if isFold(name, "href") {
			return hrefAttr
		}
	case len("amp4email"):
		if isFold(name, "amp4email") || isFold(name, "⚡4email") {
			return ampAttr
		}
	case len("data-mailbeacon"):
		if isFold(name, "data-mailbeacon") {
			return offAttr
		}
	case len("data-mailbeacon-label"):
		if isFold(name, "data-mailbeacon-label") {
			return labelAttr
		}
	}
	return attrCount
}

// isFold compares b with a lower-case word, ASCII letters without regard to case.
func isFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if lower(c) != word[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// openRaw prepares for the content of a raw text element, if the start tag just read opens one.
// noscript is none of them: mail is read with scripting off.
func (s *scanner) openRaw() {
	n := s.tok.name
	if s.foreign || n.end-n.start < 3 || n.end-n.start > 9 {
		return
	}
	for _, word := range rawNames[lower(s.src[n.start])-'a'] {
		if isFold(s.src[n.start:n.end], word) {
			s.raw, s.rawStart = word, s.tok.start
			return
		}
	}
}

var rawNames = [26][]string{
	'i' - 'a': {"iframe"}, 'n' - 'a': {"noembed", "noframes"}, 'p' - 'a': {"plaintext"},
	's' - 'a': {"style", "script"}, 't' - 'a': {"title", "textarea"}, 'x' - 'a': {"xmp"},
}

// rawText reads the content of a raw text element, up to its end tag.
func (s *scanner) rawText() bool {
	end := -1
	switch s.raw {
	case "plaintext": // nothing ends it
	case "script":
		end = scriptEnd(s.src, s.pos)
	default:
		end = endTag(s.src, s.pos, s.raw)
	}
	if end < 0 {
		s.unclosed = s.rawStart
		return false
	}
	s.raw = ""
	if end == s.pos {
		return s.next()
	}
	s.emit(rawToken, s.pos, end)
	return true
}

// endTag returns where the end tag of a raw text element starts, -1 if there is none.
func endTag(src []byte, at int, name string) int {
	for {
		i := bytes.Index(src[at:], []byte("</"))
		if i < 0 {
			return -1
		}
		at += i
		if named(src[at+2:], name) {
			return at
		}
		at += 2
	}
}

// named says whether b begins with the name of a tag.
func named(b []byte, name string) bool {
	return len(b) > len(name) && isFold(b[:len(name)], name) && delims[b[len(name)]]
}

// scriptEnd returns where the end tag of a script starts that begins at at, -1 if there is none:
// in "<!--" a "<script" hides the next "</script" (13.2.5.15 to 13.2.5.31).
func scriptEnd(src []byte, at int) int {
	const plain, escaped, double = 0, 1, 2
	state, dashes := plain, 0
	for ; at < len(src); at++ {
		switch src[at] {
		case '-':
			dashes++
			continue
		case '>':
			if dashes >= 2 {
				state = plain
			}
		case '<':
			rest := src[at+1:]
			switch {
			case state == plain && bytes.HasPrefix(rest, []byte("!--")):
				state, dashes = escaped, 2
				at += 3
				continue
			case len(rest) > 0 && rest[0] == '/' && named(rest[1:], "script"):
				if state != double {
					return at
				}
				state = escaped
			case state == escaped && named(rest, "script"):
				state = double
			}
		}
		dashes = 0
	}
	return -1
}
