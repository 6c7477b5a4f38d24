package rewrite

import (
	"bytes"
	"strings"
)

// plan is what the scan of one document found: everything that might change, by place, in the
// order of the text. Nothing is decided yet, since a <base> may stand behind the links it is for.
type plan struct {
	hits   []hit
	pieces []piece // of all labels, see hit.label
	pixel  int     // where the pixel goes, -1 if nowhere
	base   value   // of the first <base href>
	amp    bool    // the document is AMP for email
}

// hit is a link.
type hit struct {
	value      span // of the address, without the white space around it in quotes
	quote      byte
	name       int // behind the tag's name: white space follows, a line may be broken here
	close      int // at the tag's ">" or "/>": a line may be broken here too
	off        bool
	first, end int // its label: pieces[first:end]
}

// piece is a piece of a label.
type piece struct {
	span
	kind pieceKind
}

type pieceKind uint8

const (
	textPiece  pieceKind = iota // characters
	attrPiece                   // an attribute's value
	spacePiece                  // the border of a block: words do not run together
)

// maxLabelBytes bounds what is gathered of a link's text, maxLabel (in characters) what is used.
const (
	maxLabelBytes = 400
	maxLabel      = 100
)

// planner walks over the tokens of a document.
type planner struct {
	plan
	src   []byte
	stack stack
	inner *planner // for the content of conditional comments; made once

	conditional bool // this planner is such an inner one
	label       int  // the hit whose label is being gathered, -1 for none
	labelEnd    tagName
	labelLeft   int

	body bodyFinder
}

// makePlan scans a document.
func makePlan(src []byte) *plan {
	p := &planner{src: src, label: -1}
	p.body.init(src)
	p.stack.reset(false)
	s := newScanner(src, 0)
	p.walk(&s)
	p.pixel = p.body.place(&s, &p.stack)
	return &p.plan
}

func (p *planner) walk(s *scanner) {
	for {
		s.foreign = p.stack.foreign()
		if !s.next() {
			return
		}
		t := &s.tok
		switch t.kind {
		case textToken:
			p.text(t)
		case startToken:
			n := nameOf(p.src[t.name.start:t.name.end])
			p.startTag(t, n)
			p.body.startTag(t, n, &p.stack)
		case endToken:
			n := nameOf(p.src[t.name.start:t.name.end])
			p.endTag(n)
			p.body.endTag(t, n, &p.stack)
			p.stack.end(n)
		case commentToken:
			p.body.comment(t)
			p.comment(t)
		case markupToken:
			p.body.comment(t)
		}
	}
}

func (p *planner) text(t *token) {
	p.body.text(t, &p.stack)
	if p.label >= 0 {
		p.addPiece(t.span, textPiece)
	}
}

func (p *planner) startTag(t *token, n tagName) {
	off := t.attrs[offAttr].set && isOff(p.src[t.attrs[offAttr].start:t.attrs[offAttr].end])
	name := p.src[t.name.start:t.name.end]
	vml := len(name) > 2 && lower(name[0]) == 'v' && name[1] == ':'
	childless := t.slash && (p.stack.foreign() || n.is(foreignRoot) || bytes.IndexByte(name, ':') > 0)
	p.stack.start(n, off, childless)
	off = off || p.stack.isOff()

	switch {
	case n.el == anchor || n.el == area || vml:
		if n.el == anchor {
			p.label = -1 // an open link ends where the next begins
		}
		if t.attrs[hrefAttr].set {
			p.addHit(t, n, off, childless)
		}
	case n.el == baseElement:
		if t.attrs[hrefAttr].set && !p.base.set && !p.conditional && p.stack.open[template.id] == 0 {
			p.base = t.attrs[hrefAttr]
		}
	case n.el == htmlElement:
		p.amp = p.amp || t.attrs[ampAttr].set
	case p.label < 0:
	case n.el == image && t.attrs[altAttr].set:
		p.addPiece(t.attrs[altAttr].span, attrPiece)
	case n.is(special | closesP | voidElement):
		p.addPiece(span{}, spacePiece)
	}
}

func (p *planner) endTag(n tagName) {
	if p.label < 0 {
		return
	}
	if n == p.labelEnd {
		p.label = -1
	} else if n.is(special | closesP) {
		p.addPiece(span{}, spacePiece)
	}
}

// addHit notes a link and, unless its tag names it, begins to gather its label.
func (p *planner) addHit(t *token, n tagName, off, childless bool) {
	v := t.attrs[hrefAttr]
	h := hit{value: v.span, quote: v.quote, name: t.name.end, close: t.end - 1, off: off}
	if v.quote != 0 { // quotes that a bare value gets must stand around all of it
		h.value = trim(p.src, v.span)
	}
	if t.slash {
		h.close--
	}
	h.first, h.end = len(p.pieces), len(p.pieces)
	p.hits = append(p.hits, h)
	p.label, p.labelEnd, p.labelLeft = len(p.hits)-1, n, maxLabelBytes
	switch {
	case t.attrs[labelAttr].set:
		p.addPiece(t.attrs[labelAttr].span, attrPiece)
		p.label = -1
	case n.el == area:
		if t.attrs[altAttr].set {
			p.addPiece(t.attrs[altAttr].span, attrPiece)
		}
		p.label = -1
	case off || childless:
		p.label = -1
	}
}

// addPiece adds to the label of the current link, as long as that is short.
func (p *planner) addPiece(s span, k pieceKind) {
	if k == spacePiece {
		if n := len(p.pieces); n > p.hits[p.label].first && p.pieces[n-1].kind == spacePiece {
			return
		}
	}
	s.end = min(s.end, s.start+p.labelLeft)
	p.pieces = append(p.pieces, piece{s, k})
	p.hits[p.label].end = len(p.pieces)
	if p.labelLeft -= s.end - s.start + 1; p.labelLeft <= 0 {
		p.label = -1
	}
}

// comment looks into a downlevel-hidden conditional comment: Outlook for Windows reads what
// stands in it, links and all, with its own notion of what is open.
func (p *planner) comment(t *token) {
	if p.conditional {
		return
	}
	content, ok := conditional(p.src, t.span)
	if !ok {
		return
	}
	if p.inner == nil {
		p.inner = &planner{src: p.src, conditional: true}
		p.inner.body.done = true
	}
	in := p.inner
	in.stack.reset(p.stack.isOff())
	in.hits, in.pieces, in.label = p.hits, p.pieces, -1
	s := newScanner(p.src[:content.end], content.start)
	in.walk(&s)
	p.hits, p.pieces, in.hits, in.pieces = in.hits, in.pieces, nil, nil
	// The pieces of one label stand next to each other: a link around the comment ends its label.
	if p.label >= 0 && len(p.pieces) > p.hits[p.label].end {
		p.label = -1
	}
}

// conditional returns what stands between "<!--[if ...]>" and "<![endif]-->".
func conditional(src []byte, comment span) (span, bool) {
	text := src[comment.start:comment.end]
	if !opensConditional(text[len("<!--"):]) {
		return span{}, false
	}
	from := bytes.Index(text, []byte("]>"))
	to := bytes.LastIndex(text, []byte("<!["))
	if from < 0 || to < from+2 || !closesConditional(text[to:]) {
		return span{}, false
	}
	return span{comment.start + from + 2, comment.start + to}, true
}

// opensConditional says whether b begins with "[if".
func opensConditional(b []byte) bool {
	return len(b) > 3 && isFold(b[:3], "[if") && (spaces[b[3]] || b[3] == '(' || b[3] == '!')
}

// closesConditional says whether b begins with "<![endif]".
func closesConditional(b []byte) bool {
	return len(b) >= len("<![endif]") && isFold(b[:len("<![endif]")], "<![endif]")
}

var (
	anchor      = elements["a"]
	area        = elements["area"]
	baseElement = elements["base"]
	htmlElement = elements["html"]
	image       = elements["img"]
	template    = elements["template"]
)

// isOff reads the value of data-mailbeacon.
func isOff(v []byte) bool { return strings.EqualFold(string(bytes.TrimSpace(v)), "off") }

// trim takes away what a browser strips from the ends of an address: white space and controls.
func trim(src []byte, s span) span {
	for s.start < s.end && src[s.start] <= ' ' {
		s.start++
	}
	for s.start < s.end && src[s.end-1] <= ' ' {
		s.end--
	}
	return s
}
