package rewrite

import (
	"bytes"
	"slices"
)

// bodyFinder finds where the pixel goes: behind the first real <body> tag, or without one where a
// browser would open the body by itself (13.2.6.4, the modes "initial" to "after head").
type bodyFinder struct {
	src  []byte
	done bool // the place is known, or there is none
	at   int  // -1 while unknown
	// first is where the first content stands, in case that no <body> comes.
	first    int
	noscript int // where the open noscript of the head starts, -1 for none
	frames   bool
	// swallowed says that an element came before any <body> in which a <body> is none and no image
	// loads; where it ends is not always clear.
	swallowed bool
	// revealed says that a conditional that others than Outlook see is open; slide that <body>
	// stood in one, so that the pixel goes behind the end of it.
	revealed, slide bool
}

func (b *bodyFinder) init(src []byte) {
	*b = bodyFinder{src: src, at: -1, first: -1, noscript: -1}
}

// place returns where the pixel goes once s has come to its end, -1 if there is no place.
func (b *bodyFinder) place(s *scanner, st *stack) int {
	switch {
	case b.at >= 0:
		return b.at
	case b.frames:
		return -1
	case b.first >= 0:
		return b.first
	case s.unclosed >= 0 || st.open[template.id] > 0:
		return -1 // what came behind it would be swallowed
	}
	return len(b.src)
}

func (b *bodyFinder) text(t *token, st *stack) {
	if b.done || b.at < 0 && (b.first >= 0 || st.open[template.id] > 0) {
		return
	}
	at := t.start
	if at == 0 && bytes.HasPrefix(b.src, []byte("\xef\xbb\xbf")) {
		at = 3
	}
	for at < t.end && spaces[b.src[at]] {
		at++
	}
	if at < t.end {
		b.content(at)
	}
}

// content notes that something that shows stands at a place.
func (b *bodyFinder) content(at int) {
	if b.at >= 0 {
		b.done = true
		return
	}
	if b.first < 0 {
		if b.noscript >= 0 {
			at = b.noscript
		}
		b.first = at
	}
}

func (b *bodyFinder) startTag(t *token, n tagName, st *stack) {
	if b.done {
		return
	}
	if b.at < 0 && st.open[template.id] > 0 {
		return // inert: neither content nor a body
	}
	switch {
	case b.at < 0 && n.el == bodyElement && !b.swallowed:
		b.at = t.end
		b.slide, b.done = b.revealed, !b.revealed
	case b.at < 0 && n.el == framesetElement && b.first < 0:
		b.frames, b.done = true, true
	case b.at < 0 && n.el == noscriptElement && b.first < 0:
		b.noscript = t.start
	case b.at < 0 && n.is(headContent):
	default:
		b.swallowed = b.swallowed || slices.Contains(swallowing, n.el)
		b.content(t.start)
	}
}

func (b *bodyFinder) endTag(t *token, n tagName, st *stack) {
	switch {
	case b.done || b.at < 0 && st.open[template.id] > 0:
	case b.at >= 0:
		b.done = true
	case n.el == noscriptElement:
		b.noscript = -1
	case n.el == bodyElement || n.el == htmlElement || n.el == breakElement:
		b.content(t.start)
	}
}

// comment takes a comment or another "<! >" and watches for conditionals.
func (b *bodyFinder) comment(t *token) {
	if b.done {
		return
	}
	opens, closes := revealing(b.src[t.start:t.end])
	switch {
	case opens && b.slide:
		b.done = true
	case opens:
		b.revealed = true
	case closes:
		b.revealed = false
	}
	if b.slide && !b.revealed {
		b.at = t.end
	}
}

// revealing says whether a comment opens or closes a downlevel-revealed conditional, which comes
// in two forms: "<![if !mso]> ... <![endif]>" and "<!--[if !mso]><!--> ... <!--<![endif]-->".
func revealing(text []byte) (opens, closes bool) {
	if in, ok := bytes.CutPrefix(text, []byte("<!--")); ok {
		if opensConditional(in) {
			_, hidden := conditional(text, span{0, len(text)})
			return !hidden, false
		}
		return false, closesConditional(in)
	}
	if in, ok := bytes.CutPrefix(text, []byte("<!")); ok && opensConditional(in) {
		return true, false
	}
	return false, closesConditional(text)
}

var (
	bodyElement     = elements["body"]
	breakElement    = elements["br"]
	framesetElement = elements["frameset"]
	noscriptElement = elements["noscript"]
	swallowing      = []*element{elements["select"], elements["object"], svg, math}
)
