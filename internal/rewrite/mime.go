package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// walk goes through the parts of a mail and gathers the edits, whose places are in eml.
type walk struct {
	*job
	eml   []byte
	eol   string // its line break, "" if it has none
	edits []edit
	parts int
	html  int // HTML parts that are shown as the body
	// pixel says that the pixel has its place: in what is shown together it is wanted once.
	pixel bool
}

// message decides what changes in a mail.
func (j *job) message(eml []byte) ([]edit, error) {
	w := walk{job: j, eml: eml, eol: lineBreak(eml)}
	top := parseEntity(eml, span{0, len(eml)})
	if err := w.entity(top, "text/plain", 0); err != nil {
		return nil, err
	}
	if len(w.edits) > 0 && top.dkim {
		j.result.warn(WarnDKIM)
	}
	if w.html == 0 {
		j.result.warn(WarnNoHTML)
	}
	slices.SortStableFunc(w.edits, func(a, b edit) int { return a.start - b.start })
	return w.edits, nil
}

// entity goes into a mail or a part. implied is its media type if it names none.
func (w *walk) entity(e entity, implied string, depth int) error {
	if w.parts++; w.parts > MaxParts {
		return fmt.Errorf("%w: the limit is %d", ErrTooManyParts, MaxParts)
	}
	if depth > MaxDepth {
		return fmt.Errorf("%w: the limit is %d", ErrTooDeep, MaxDepth)
	}
	if e.mediaType == "" {
		e.mediaType = implied
	}
	before := len(w.edits)
	if err := w.content(&e, depth); err != nil {
		return err
	}
	if len(w.edits) == before {
		return nil
	}
	if e.digest {
		w.result.warn(WarnDigest)
	}
	if e.length.end > e.length.start {
		n := grown(e.body.end-e.body.start, w.edits[before:])
		w.edits = append(w.edits, edit{span: e.length, text: strconv.AppendInt(nil, int64(n), 10)})
	}
	return nil
}

func (w *walk) content(e *entity, depth int) error {
	switch {
	case e.attached, strings.HasPrefix(e.mediaType, "message/"):
		return nil // a thing of its own, not the mail
	case e.mediaType == "multipart/signed":
		w.result.warn(WarnSigned)
	case e.mediaType == "multipart/encrypted":
		w.result.warn(WarnEncrypted)
	case e.mediaType == "application/pkcs7-mime", e.mediaType == "application/x-pkcs7-mime":
		if e.params["smime-type"] == "signed-data" {
			w.result.warn(WarnSigned)
		} else {
			w.result.warn(WarnEncrypted)
		}
	case e.mediaType == "text/x-amp-html":
		w.result.warn(WarnAMP)
	case e.ambiguous:
		w.result.warn(WarnAmbiguous)
	case strings.HasPrefix(e.mediaType, "multipart/"):
		return w.multipart(e, depth)
	case e.mediaType == "text/html":
		w.html++
		if e.hasBody {
			return w.leaf(e, true)
		}
	case e.mediaType == "text/plain" && e.hasBody && w.o.TextLinks:
		return w.leaf(e, false)
	}
	return nil
}

// multipart goes through the parts that are shown as the mail's body.
func (w *walk) multipart(e *entity, depth int) error {
	boundary := strings.TrimRight(e.params["boundary"], " \t")
	if boundary == "" || !identity(e.encoding) {
		w.result.warn(WarnBroken)
		return nil
	}
	spans := split(w.eml, e.body, boundary, MaxParts-w.parts+1)
	if len(spans) == 0 {
		w.result.warn(WarnBroken)
		return nil
	}
	implied := "text/plain"
	if e.mediaType == "multipart/digest" {
		implied = "message/rfc822"
	}
	parts := make([]entity, len(spans))
	for i, s := range spans {
		parts[i] = parseEntity(w.eml, s)
	}
	switch e.mediaType {
	case "multipart/related":
		w.parts += len(parts) - 1
		return w.entity(parts[root(parts, e.params["start"])], implied, depth+1)
	case "multipart/alternative":
		return w.alternative(parts, implied, depth+1)
	}
	for _, part := range parts {
		if err := w.entity(part, implied, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// alternative goes through parts of which one is shown: each wants its pixel.
func (w *walk) alternative(parts []entity, implied string, depth int) error {
	before, placed := w.pixel, false
	for _, part := range parts {
		w.pixel = before
		if err := w.entity(part, implied, depth); err != nil {
			return err
		}
		placed = placed || w.pixel
	}
	w.pixel = placed
	return nil
}

// root is the part of a multipart/related that is shown; the others are resources of it. It is the
// one that start names, else the first, unless that can't be a body (a program's error).
func root(parts []entity, start string) int {
	if start = strings.Trim(start, "<> "); start != "" {
		for i := range parts {
			if parts[i].id == start {
				return i
			}
		}
	}
	for i := range parts {
		t := parts[i].mediaType
		if t == "" || t == "text/html" || strings.HasPrefix(t, "multipart/") {
			return i
		}
	}
	return 0
}

// split returns the parts of a multipart body, at most limit. A part ends before the line break
// that stands before the next boundary; the last one at the end if the closing boundary is missing.
func split(eml []byte, body span, boundary string, limit int) []span {
	delimiter := []byte("--" + boundary)
	var parts []span
	start := -1
	for at := body.start; at < body.end; {
		i := bytes.Index(eml[at:body.end], delimiter)
		if i < 0 {
			break
		}
		at += i
		behind := at + len(delimiter)
		if at > body.start && eml[at-1] != '\n' {
			at = behind
			continue
		}
		end := lineEnd(eml, behind, body.end)
		rest := bytes.TrimRight(eml[behind:end], " \t\r\n")
		if closing := string(rest) == "--"; !closing && len(rest) > 0 {
			at = behind // a longer boundary that begins like this one
			continue
		}
		if start >= 0 {
			parts = append(parts, span{start, max(start, withoutBreak(eml, at))})
		}
		if start = end; len(rest) > 0 || len(parts) >= limit {
			return parts
		}
		at = end
	}
	if start >= 0 && start < body.end {
		parts = append(parts, span{start, body.end})
	}
	return parts
}

// withoutBreak returns where the line break before at begins.
func withoutBreak(eml []byte, at int) int {
	if at > 0 && eml[at-1] == '\n' {
		at--
	}
	if at > 0 && eml[at-1] == '\r' {
		at--
	}
	return at
}

func identity(encoding string) bool {
	switch encoding {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// leaf rewrites a text part.
func (w *walk) leaf(e *entity, isHTML bool) error {
	raw := w.eml[e.body.start:e.body.end]
	c, ok := newCodec(e.encoding, raw, w.eol)
	if c == nil {
		w.result.warn(WarnEncoding)
		return nil
	}
	if !ok {
		w.result.warn(WarnBroken)
		return nil
	}
	decoded := c.decoded()
	t, ok := newText(decoded, e.params["charset"], isHTML)
	if !ok {
		w.result.warn(WarnCharset)
		return nil
	}
	if bytes.Contains(t.scan, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		w.result.warn(WarnSigned)
		return nil
	}
	edits, err := w.document(t, isHTML)
	if err != nil || len(edits) == 0 {
		return err
	}
	if plain, ok := c.(*identityCodec); ok && t.width > 1 {
		plain.binary = true // has no lines
	}
	edits, long := c.encode(edits)
	if long {
		w.result.warn(WarnLongLine)
	}
	for i := range edits {
		edits[i].start += e.body.start
		edits[i].end += e.body.start
	}
	w.edits = append(w.edits, edits...)
	return nil
}

// document decides what changes in a part, and wants the pixel only where it is still missing.
func (w *walk) document(t *text, isHTML bool) ([]edit, error) {
	if !isHTML {
		return w.plain(t)
	}
	pixel := w.o.Pixel
	if w.pixel {
		w.o.Pixel = ""
	}
	placed := w.result.Pixel
	w.result.Pixel = false
	edits, err := w.job.html(t)
	w.pixel = w.pixel || w.result.Pixel
	w.result.Pixel = placed || w.result.Pixel
	w.o.Pixel = pixel
	return edits, err
}
