package rewrite

import "slices"

// trait is what the rules of nesting need to know of an element.
type trait uint32

const (
	voidElement  trait = 1 << iota // has no content and no end tag
	special                        // "special" in 13.2.4.2: end tags of other elements do not reach past it
	barrier                        // ends the scope in which an end tag looks for its start tag
	tableBarrier                   // ends the scope for the parts of a table
	listBarrier                    // ends the scope of </li>
	tablePart                      // looks in table scope
	closesP                        // its start tag closes an open p
	heading                        // h1 to h6
	headContent                    // does not open the body
	rawContent                     // its content is text: never on the stack, but for the title of SVG
	breakout                       // its start tag leaves SVG and MathML
	foreignRoot                    // svg, math
	htmlInSVG                      // HTML again, within SVG
	htmlInMath                     // the same within MathML
	transparent                    // special, but an li or dd start tag looks past it
	structural                     // html, body: open to the end, whatever the tags say
)

// element is a known element. Unknown ones have none.
type element struct {
	traits trait
	id     int        // of its open elements, in stack.open
	closes []*element // elements that its start tag closes, up to a limit
	upTo   trait      // that limit
}

// elements are those for which nesting has a rule. It is never written to.
var elements = makeElements()

var (
	paragraph = elements["p"]
	listItem  = elements["li"]
	head      = elements["head"]
	svg       = elements["svg"]
	math      = elements["math"]
)

func makeElements() map[string]*element {
	all := make(map[string]*element)
	mark := func(t trait, names ...string) {
		for _, n := range names {
			if all[n] == nil {
				all[n] = &element{id: len(all)}
			}
			all[n].traits |= t
		}
	}
	mark(voidElement, "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "image", "input",
		"keygen", "link", "meta", "param", "source", "track", "wbr")
	mark(special, "address", "applet", "article", "aside", "blockquote", "body", "button", "caption", "center", "colgroup",
		"dd", "details", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "h1",
		"h2", "h3", "h4", "h5", "h6", "head", "header", "hgroup", "html", "li", "listing", "main", "marquee", "menu", "nav",
		"object", "ol", "p", "pre", "search", "section", "select", "summary", "table", "tbody", "td", "template", "tfoot",
		"th", "thead", "tr", "ul", "foreignobject", "desc", "title", "mi", "mo", "mn", "ms", "mtext")
	mark(barrier, "applet", "caption", "html", "table", "td", "th", "marquee", "object", "template", "foreignobject", "desc",
		"title", "mi", "mo", "mn", "ms", "mtext", "button")
	mark(tableBarrier, "html", "table", "template")
	mark(listBarrier, "ol", "ul")
	mark(tablePart, "table", "caption", "colgroup", "tbody", "thead", "tfoot", "tr", "td", "th")
	mark(closesP, "address", "article", "aside", "blockquote", "center", "details", "dialog", "dir", "div", "dl", "dd", "dt",
		"fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "li",
		"listing", "main", "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "ul")
	mark(heading, "h1", "h2", "h3", "h4", "h5", "h6")
	mark(headContent, "html", "head", "base", "basefont", "bgsound", "link", "meta", "title", "noframes", "style", "script",
		"template", "noscript")
	mark(rawContent, "style", "script", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "plaintext")
	mark(breakout, "b", "big", "blockquote", "body", "br", "center", "code", "dd", "div", "dl", "dt", "em", "embed", "h1", "h2",
		"h3", "h4", "h5", "h6", "head", "hr", "i", "img", "li", "listing", "menu", "meta", "nobr", "ol", "p", "pre", "ruby",
		"s", "small", "span", "strong", "strike", "sub", "sup", "table", "tt", "u", "ul", "var")
	mark(foreignRoot, "svg", "math")
	mark(htmlInSVG, "foreignobject", "desc", "title")
	mark(htmlInMath, "mi", "mo", "mn", "ms", "mtext")
	mark(structural, "html", "body")
	mark(transparent, "address", "div", "p")
	mark(0, "a", "font")

	closes := func(upTo trait, names []string, closed ...string) {
		for _, n := range names {
			for _, c := range closed {
				all[n].closes = append(all[n].closes, all[c])
			}
			all[n].upTo = upTo
		}
	}
	closes(special, []string{"li"}, "li")
	closes(special, []string{"dd", "dt"}, "dd", "dt")
	closes(special, []string{"a"}, "a")
	closes(tableBarrier, []string{"td", "th"}, "td", "th", "caption")
	closes(tableBarrier, []string{"tr"}, "tr", "td", "th", "caption")
	closes(tableBarrier, []string{"tbody", "thead", "tfoot", "caption", "colgroup"},
		"tbody", "thead", "tfoot", "tr", "td", "th", "caption", "colgroup")
	return all
}

// maxDepth is how deep elements nest before the stack trusts the end tags to match; browsers
// stop nesting at 512 as well.
const maxDepth = 512

// stack is the open elements, as far as needed to know which data-mailbeacon="off" reaches a link.
// Where a browser's repair of broken nesting and this one differ, an element stays open too long
// rather than too short: in doubt a link is left alone.
type stack struct {
	entries []entry
	open    [192]int // open elements by element.id, for unknown ones by a hash
	over    int      // how far beyond maxDepth
	overOff int      // at which of those an "off" was met, 0 for none
	off     bool     // what stands outside is off
}

type entry struct {
	el      *element
	hash    uint32 // of the name, for unknown elements
	off     bool   // this one or one it stands in
	foreign bool   // its content is SVG or MathML
}

// tagName is a tag's element, or the hash of its name if it is not a known one.
type tagName struct {
	el   *element
	hash uint32
}

var noElement = &element{}

func nameOf(name []byte) tagName {
	var low [16]byte
	if len(name) <= len(low) {
		for i, c := range name {
			low[i] = lower(c)
		}
		if el := elements[string(low[:len(name)])]; el != nil {
			return tagName{el: el}
		}
	}
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(lower(c))) * 16777619
	}
	return tagName{el: noElement, hash: h}
}

func (n tagName) is(t trait) bool { return n.el.traits&t != 0 }

// slot is the name's place in stack.open.
func (n tagName) slot() int {
	if n.el == noElement {
		return 128 + int(n.hash%64)
	}
	return n.el.id
}

func (e *entry) named(n tagName) bool { return e.el == n.el && e.hash == n.hash }

func (s *stack) reset(off bool) {
	s.entries = s.entries[:0]
	clear(s.open[:])
	s.over, s.overOff, s.off = 0, 0, off
}

// isOff says whether what stands here is to be left alone.
func (s *stack) isOff() bool {
	if n := len(s.entries); n > 0 && s.entries[n-1].off {
		return true
	}
	return s.off || s.overOff > 0
}

// foreign says whether what stands here is SVG or MathML.
func (s *stack) foreign() bool {
	n := len(s.entries)
	return n > 0 && s.entries[n-1].foreign
}

// truncate closes all elements from the i-th on.
func (s *stack) truncate(i int) {
	for j := i; j < len(s.entries); j++ {
		e := &s.entries[j]
		s.open[tagName{e.el, e.hash}.slot()]--
	}
	s.entries = s.entries[:i]
}

// start opens an element, after closing those that its start tag closes. childless says that the
// tag was closed by "/>" where that counts.
func (s *stack) start(n tagName, off, childless bool) {
	if s.over > 0 {
		if !childless && s.nests(n) {
			s.push(n, off)
		}
		return
	}
	if n.is(breakout) {
		s.breakOut()
	}
	if !s.foreign() {
		s.closeFor(n)
	}
	if !childless && s.nests(n) {
		s.push(n, off)
	}
}

// breakOut closes the elements of SVG and MathML that stand around.
func (s *stack) breakOut() {
	for s.foreign() {
		s.truncate(len(s.entries) - 1)
	}
}

// closeFor closes the elements that a start tag of HTML closes.
func (s *stack) closeFor(n tagName) {
	if n.is(closesP) && s.open[paragraph.id] > 0 {
		s.closeParagraph()
	}
	if n.is(heading) {
		if top := len(s.entries) - 1; top >= 0 && s.entries[top].el.traits&heading != 0 {
			s.truncate(top)
		}
	}
	if n.el.closes != nil {
		s.closeAll(n.el)
	}
}

// nests says whether an element that is opened here has content in which others stand. No link stands
// in a head, and it ends before its end tag where content comes: it is as if there were none.
func (s *stack) nests(n tagName) bool {
	return !n.is(voidElement) && n.el != head && (!n.is(rawContent) || n.is(htmlInSVG) && s.foreign())
}

func (s *stack) push(n tagName, off bool) {
	if len(s.entries) >= maxDepth {
		s.over++
		if off && s.overOff == 0 {
			s.overOff = s.over
		}
		return
	}
	foreign := n.is(foreignRoot) || s.foreign() &&
		(!n.is(htmlInSVG) || s.open[math.id] > 0) && (!n.is(htmlInMath) || s.open[svg.id] > 0)
	s.entries = append(s.entries, entry{el: n.el, hash: n.hash, off: off || s.isOff(), foreign: foreign})
	s.open[n.slot()]++
}

// closeParagraph closes the open p, if it is in scope.
func (s *stack) closeParagraph() {
	for i := len(s.entries) - 1; i >= 0; i-- {
		if e := &s.entries[i]; e.el == paragraph {
			s.truncate(i)
			return
		} else if e.el.traits&barrier != 0 {
			return
		}
	}
}

// closeAll closes the outermost of the elements that el's start tag closes, up to its limit.
func (s *stack) closeAll(el *element) {
	open := 0
	for _, c := range el.closes {
		open += s.open[c.id]
	}
	if open == 0 {
		return
	}
	at := -1
	for i := len(s.entries) - 1; i >= 0; i-- {
		e := &s.entries[i]
		if e.isOneOf(el.closes) {
			at = i
			if el.upTo == special {
				break
			}
		} else if e.el.traits&el.upTo != 0 && e.el.traits&transparent == 0 {
			break
		}
	}
	if at >= 0 {
		s.truncate(at)
	}
}

func (e *entry) isOneOf(els []*element) bool { return slices.Contains(els, e.el) }

// end closes the element that an end tag closes, if it closes any.
func (s *stack) end(n tagName) {
	if s.over > 0 {
		if s.over--; s.over < s.overOff {
			s.overOff = 0
		}
		return
	}
	if n.el == paragraph || n.el == breakElement {
		s.breakOut()
	}
	if n.is(structural) || !n.is(heading) && s.open[n.slot()] == 0 {
		return
	}
	limit := special
	switch {
	case n.is(tablePart):
		limit = tableBarrier
	case n.el == listItem:
		limit = barrier | listBarrier
	case n.is(special):
		limit = barrier
	}
	for i := len(s.entries) - 1; i >= 0; i-- {
		e := &s.entries[i]
		if e.named(n) || n.is(heading) && e.el.traits&heading != 0 {
			s.truncate(i)
			return
		}
		if e.el.traits&limit != 0 {
			return
		}
	}
}
