package rewrite

import (
	"fmt"
	"net/url"
	"strings"
)

// edit replaces the bytes [start, end) of a text; with start = end it inserts.
type edit struct {
	span
	text []byte
	// name and close are places around the edit where a line break means nothing, -1 for none.
	name, close int
}

// apply appends src with the edits, which are in order and do not overlap.
func apply(dst, src []byte, edits []edit) []byte {
	grow := len(src)
	for i := range edits {
		grow += len(edits[i].text)
	}
	if free := cap(dst) - len(dst); free < grow {
		dst = append(make([]byte, 0, len(dst)+grow), dst...)
	}
	at := 0
	for i := range edits {
		dst = append(dst, src[at:edits[i].start]...)
		dst = append(dst, edits[i].text...)
		at = edits[i].end
	}
	return append(dst, src[at:]...)
}

// grown is the length of src after the edits.
func grown(n int, edits []edit) int {
	for i := range edits {
		n += len(edits[i].text) - (edits[i].end - edits[i].start)
	}
	return n
}

// html decides what changes in a document; the edits' places are in t.raw.
func (j *job) html(t *text) ([]edit, error) {
	p := makePlan(t.scan)
	if p.amp {
		j.result.warn(WarnAMP)
		return nil, nil
	}
	var base *url.URL
	if p.base.set {
		base = parseBase(unescapeAttr(t.string(p.base.span)))
	}
	var edits []edit
	pixel := p.pixel
	if j.o.Pixel == "" {
		pixel = -1
	} else if pixel < 0 {
		j.result.warn(WarnNoPlace)
	}
	for i := range p.hits {
		h := &p.hits[i]
		if pixel >= 0 && pixel <= h.value.start {
			edits = append(edits, j.pixel(t, pixel))
			pixel = -1
		}
		to, err := j.decide(h, p, t, base)
		if err != nil {
			return nil, err
		}
		if to != "" {
			edits = append(edits, edit{
				span: span{h.value.start * t.width, h.value.end * t.width}, text: t.bytes(quoted(to, h.quote)),
				name: h.name * t.width, close: h.close * t.width,
			})
		}
	}
	if pixel >= 0 {
		edits = append(edits, j.pixel(t, pixel))
	}
	if grown(len(t.raw), edits) > clipSize*t.width {
		j.result.warn(WarnClipped)
	}
	return edits, nil
}

// decide returns the new address of a link, "" if it stays.
func (j *job) decide(h *hit, p *plan, t *text, base *url.URL) (string, error) {
	if h.off {
		j.result.keep(KeptOff)
		return "", nil
	}
	a := resolve(unescapeAttr(t.string(h.value)), base, t)
	if a.kept != "" {
		j.result.keep(a.kept)
		return "", nil
	}
	return j.ask(a.url, func() string { return label(p.pieces[h.first:h.end], t) })
}

// ask asks for a link's new address, "" if it stays.
func (j *job) ask(url string, label func() string) (string, error) {
	switch {
	case j.o.Keep != nil && j.o.Keep(url):
		j.result.keep(KeptExcluded)
		return "", nil
	case j.o.Href == nil:
		j.result.keep(KeptUnasked)
		return "", nil
	}
	j.position++
	to, ok, err := j.o.Href(Link{URL: url, Label: label(), Position: j.position})
	if err != nil {
		return "", fmt.Errorf("link %d: %w", j.position, err)
	}
	if !ok {
		j.result.keep(KeptDeclined)
		return "", nil
	}
	if err := checkURL(to); err != nil {
		return "", fmt.Errorf("new address of link %d: %w", j.position, err)
	}
	j.result.Rewritten++
	return to, nil
}

// pixel is the edit that puts the pixel in at a place of t.scan.
func (j *job) pixel(t *text, at int) edit {
	j.result.Pixel = true
	at *= t.width
	return edit{span: span{at, at}, text: t.bytes(pixelTag(j.o.Pixel)), name: at, close: at}
}

// pixelTag is the image. alt="" tells screen readers that there is nothing to tell; the style
// outdoes a mail's own "img { width: 100% !important }".
func pixelTag(url string) string {
	return `<img src=` + quote(url, '"') + ` width="1" height="1" alt="" border="0" style="display:block!important;` +
		`width:1px!important;height:1px!important;border:0!important;margin:0!important;padding:0!important;">`
}

func quote(url string, q byte) string { return string(q) + quoted(url, q) + string(q) }

// quoted makes a URL the value of an attribute in quotes q. Without quotes in the source it gets
// some, unless it means the same without.
func quoted(url string, q byte) string {
	if q == 0 {
		if bare(url) {
			return url
		}
		return quote(url, '"')
	}
	if !strings.ContainsAny(url, `&"'<>`) {
		return url
	}
	return escaper.Replace(url)
}

var escaper = strings.NewReplacer("&", "&amp;", `"`, "&quot;", "'", "&#39;", "<", "&lt;", ">", "&gt;")

// bare says whether a URL can stand without quotes: not with what ends such a value, not with what
// is an error in one, and not with an end that could be taken for "/>" or "-->".
func bare(url string) bool {
	return !strings.ContainsAny(url, "&\"'<>=`") && !strings.HasSuffix(url, "/") && !strings.HasSuffix(url, "-")
}
