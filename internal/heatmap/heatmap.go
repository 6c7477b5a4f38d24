// Package heatmap shows a mail as it was designed, with what share of its clicks each link met drawn on it. What it makes
// is somebody else's HTML, so nothing active is left in it, nothing that is loaded from elsewhere, and nowhere to go: an
// allowed list of elements and attributes stays. It is to be sent with Policy all the same.
package heatmap

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"mailbeacon/internal/rewrite"
)

// Policy is the Content-Security-Policy that a heat map is to be sent with: a frame of its own origin, without scripts, that
// loads nothing.
const Policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Link is a link of the campaign.
type Link struct {
	URL    string // as it was registered
	Label  string
	Clicks uint64
}

// MaxDepth bounds how deep elements may stand in each other.
const MaxDepth = 400

// Render draws the shares on a mail. A link of the mail is the registered one with its URL and label, or else the first with its
// URL; those that were not registered, or are not counted, look as they are. Shares are of the clicks on all of links. It keeps
// nothing of its arguments. An error is of rewrite.HTML, or of HTML that is nested deeper than the parser goes.
func Render(mail []byte, links []Link) ([]byte, error) {
	var all, most uint64
	for _, l := range links {
		all += l.Clicks
		most = max(most, l.Clicks)
	}
	// Where links lead in between: nothing that the mail itself can have put there.
	place := "https://" + strings.ToLower(rand.Text()) + ".invalid/"
	numbered, _, err := rewrite.HTML(nil, mail, rewrite.Options{Href: func(l rewrite.Link) (string, bool, error) {
		i, ok := find(links, l)
		return place + strconv.Itoa(i), ok, nil
	}})
	if err != nil {
		return nil, fmt.Errorf("find the links of a mail: %w", err)
	}
	root, err := html.Parse(bytes.NewReader(numbered))
	if err != nil {
		return nil, fmt.Errorf("read a mail: %w", err)
	}
	d := drawing{place: place, links: links, all: all, most: most}
	d.clean(root, 0)
	if head := first(root, atom.Head); head != nil {
		head.AppendChild(styles())
	}
	var out bytes.Buffer
	if err := html.Render(&out, root); err != nil {
		return nil, fmt.Errorf("write a heat map: %w", err)
	}
	return out.Bytes(), nil
}

// find is the registered link that one of the mail is counted as.
func find(links []Link, l rewrite.Link) (int, bool) {
	found := -1
	for i := range links {
		switch {
		case links[i].URL != l.URL:
		case links[i].Label == l.Label:
			return i, true
		case found < 0:
			found = i
		}
	}
	return max(found, 0), found >= 0
}

type drawing struct {
	place     string
	links     []Link
	all, most uint64
}

// clean leaves of what is below n what is allowed, and draws on links.
func (d *drawing) clean(n *html.Node, depth int) {
	for c := n.FirstChild; c != nil; {
		next := c.NextSibling
		switch {
		case c.Type == html.TextNode, c.Type == html.DoctypeNode:
		case c.Type != html.ElementNode || c.Namespace != "" || depth > MaxDepth || !elements[c.DataAtom]:
			n.RemoveChild(c)
		case c.DataAtom == atom.Img:
			n.InsertBefore(instead(c), c)
			n.RemoveChild(c)
		default:
			number := d.numberOf(c)
			c.Attr = allowed(c.Attr)
			d.clean(c, depth+1)
			if number >= 0 && number < len(d.links) {
				d.draw(c, d.links[number].Clicks)
			}
		}
		c = next
	}
}

// numberOf is which registered link an element is; -1 for none.
func (d *drawing) numberOf(n *html.Node) int {
	for _, a := range n.Attr {
		if rest, ok := strings.CutPrefix(a.Val, d.place); ok && a.Namespace == "" && strings.EqualFold(a.Key, "href") {
			if number, err := strconv.Atoi(rest); err == nil {
				return number
			}
		}
	}
	return -1
}

// steps is how many shades there are.
const steps = 5

// draw marks a link: a shade by how it compares with the one that met most, and its share of all clicks in words.
func (d *drawing) draw(n *html.Node, clicks uint64) {
	shade := 0
	if d.most > 0 {
		shade = int((clicks*steps + d.most - 1) / d.most)
	}
	told := "0 %"
	if d.all > 0 {
		told = strconv.FormatFloat(100*float64(clicks)/float64(d.all), 'f', 1, 64) + " %"
	}
	n.Attr = append(n.Attr, html.Attribute{Key: "data-heat", Val: strconv.Itoa(shade)})
	badge := &html.Node{
		Type: html.ElementNode, Data: "span", DataAtom: atom.Span,
		Attr: []html.Attribute{{Key: "data-heat-share", Val: ""}, {Key: "title", Val: strconv.FormatUint(clicks, 10) + " clicks"}},
	}
	badge.AppendChild(&html.Node{Type: html.TextNode, Data: told})
	n.AppendChild(badge)
}

// instead is what stands where an image was: a box of its size, with its words.
func instead(img *html.Node) *html.Node {
	box := &html.Node{Type: html.ElementNode, Data: "span", DataAtom: atom.Span, Attr: []html.Attribute{{Key: "data-heat-image", Val: ""}}}
	style := ""
	for _, a := range img.Attr {
		switch strings.ToLower(a.Key) {
		case "alt":
			box.AppendChild(&html.Node{Type: html.TextNode, Data: a.Val})
		case "width", "height":
			if px, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(a.Val), "px"), 10, 16); err == nil {
				style += strings.ToLower(a.Key) + ":" + strconv.FormatUint(min(px, 4000), 10) + "px;"
			}
		}
	}
	if style != "" {
		box.Attr = append(box.Attr, html.Attribute{Key: "style", Val: style})
	}
	return box
}

// styles are the heat map's own, behind the mail's.
func styles() *html.Node {
	n := &html.Node{Type: html.ElementNode, Data: "style", DataAtom: atom.Style}
	n.AppendChild(&html.Node{Type: html.TextNode, Data: sheet})
	return n
}

func first(n *html.Node, a atom.Atom) *html.Node {
	for c := range n.Descendants() {
		if c.DataAtom == a {
			return c
		}
	}
	return nil
}
