package preferences

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"mailbeacon/internal/consent"
)

// inspect renders the page in each state and after each outcome, so that a template that fails there
// fails at the start; wants the choices to be there, each in a form that works; and returns the styles, which are the same in each.
func (p *page) inspect() (styles []string, err error) {
	first := true
	for _, sample := range samples() {
		receipt := ""
		if sample.o == Saved || sample.o == Soon {
			receipt = sampleReceipt
		}
		body, err := p.render(sample.o, sample.s, first, receipt)
		if err != nil {
			return nil, err
		}
		found, err := look(body, choicesOn(sample))
		if err != nil {
			return nil, err
		}
		if !first && !slices.Equal(found, styles) {
			return nil, errors.New("a <style> element differs from one answer to another, which the policy of its hash forbids")
		}
		styles, first = found, false
	}
	return styles, nil
}

// sampleReceipt has every kind of character that a receipt has.
const sampleReceipt = "mailbeacon consent receipt\nsubject: 0123456789abcdef\nsignature: AZaz09+/==\n"

// sample is one thing that a page shows.
type sample struct {
	o Outcome
	s state
}

// samples have every value of everything in them, though not beside every other.
func samples() []sample {
	var all []sample
	for o := range Outcome(outcomes) {
		all = append(all, sample{o, state{}})
	}
	for i := range 3 * 4 * 2 {
		said, counts, gone := i%3, i/3%4, i/12 == 1
		all = append(all, sample{Shown, state{
			Choice:     consent.Choice{Opens: consent.State(said), Clicks: consent.State(said), Format: consent.Format(said), Unsubscribed: gone},
			OpensCount: counts%3 > 0, ClicksCount: counts%3 > 0, OpensUnnamed: counts == 2, ClicksUnnamed: counts == 2,
			OpensDate: counts == 3, ClicksDate: counts == 3,
		}})
	}
	return all
}

// offer is a control's name and value, as a form sends it.
type offer [2]string

// choicesOn are the choices that a page must offer.
func choicesOn(shown sample) []offer {
	if shown.o == Nobody {
		return nil
	}
	mail := offer{"mail", "unsubscribed"}
	if shown.s.Unsubscribed {
		mail[1] = "subscribed"
	}
	return []offer{{"opens", "granted"}, {"opens", "refused"}, {"clicks", "granted"}, {"clicks", "refused"}, {"format", "html"}, {"format", "plain"}, mail}
}

// look goes through a rendered page, which has to offer these choices. What the policy would keep from working, and a
// form that would not be taken, is an error.
func look(body []byte, wanted []offer) (styles []string, err error) {
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	offered := map[offer]bool{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "iframe", "object", "embed", "base", "link":
			return nil, fmt.Errorf("<%s> is forbidden by the page's policy", n.Data)
		case "style":
			var text strings.Builder
			for c := range n.ChildNodes() {
				text.WriteString(c.Data)
			}
			styles = append(styles, text.String())
		case "input", "button", "select", "textarea", "option":
			name, value := sent(n)
			if name == "" || len(wanted) == 0 {
				continue
			}
			if err := fits(n, name); err != nil {
				return nil, err
			}
			offered[offer{name, value}] = true
		}
		for _, a := range n.Attr {
			if err := lookAttribute(n.Data, a); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range wanted {
		if !offered[c] {
			return nil, fmt.Errorf("there is no control named %s with the value %s", c[0], c[1])
		}
	}
	return styles, nil
}

func lookAttribute(element string, a html.Attribute) error {
	switch {
	case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
		return fmt.Errorf("the attribute %s of <%s> is forbidden by the page's policy", a.Key, element)
	case (a.Key == "src" || a.Key == "poster" || a.Key == "background" || a.Key == "href" && element != "a") && !strings.HasPrefix(a.Val, "data:image/") && !strings.HasPrefix(a.Val, "#"),
		a.Key == "srcset":
		return fmt.Errorf("<%s %s=%q> is forbidden by the page's policy: it may load nothing", element, a.Key, a.Val)
	case element == "meta" && a.Key == "http-equiv" && strings.EqualFold(a.Val, "refresh"):
		return fmt.Errorf("<meta http-equiv=%q> leads away from the page", a.Val)
	case a.Key == "action" || strings.HasPrefix(a.Key, "form") && a.Key != "form" && a.Key != "formnovalidate":
		return fmt.Errorf("a <%s> must have no %s: forms are posted to the page's own address", element, a.Key)
	case a.Key == "enctype" && strings.EqualFold(a.Val, "text/plain"):
		return fmt.Errorf("<%s %s=%q>: such forms are not read", element, a.Key, a.Val)
	}
	return nil
}

// sent is what an element sends, name "" for nothing.
func sent(n *html.Node) (name, value string) {
	value = attribute(n, "value")
	for ; n != nil && n.Data == "option"; n = n.Parent {
		if n.Parent != nil && n.Parent.Data == "optgroup" {
			n = n.Parent
		}
	}
	if n == nil {
		return "", ""
	}
	return attribute(n, "name"), value
}

// fits says whether what a control of this name sends is taken.
func fits(n *html.Node, name string) error {
	switch name {
	case "opens", "clicks", "format", "mail", "shown":
	default:
		return fmt.Errorf("a control is named %s, and a form with such is refused; right would be opens, clicks, format, mail or shown, or no name", name)
	}
	form := n
	for form != nil && form.Data != "form" {
		form = form.Parent
	}
	if form == nil || !strings.EqualFold(attribute(form, "method"), "post") {
		return fmt.Errorf("the control named %s is not in a <form method=\"post\">: it would change nothing", name)
	}
	return nil
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// policy lets a page have its own styles and its logo, send its form to a source, and nothing else. The
// hashes are of what the template engine makes of the styles, not of their source.
func policy(styles []string, logo bool, form string) []byte {
	p := []byte("default-src 'none'; ")
	if len(styles) > 0 {
		p = append(p, "style-src"...)
		for _, s := range styles {
			sum := sha256.Sum256([]byte(s))
			p = fmt.Appendf(p, " 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
		}
		p = append(p, "; "...)
	}
	if logo {
		p = append(p, "img-src data:; "...)
	}
	return append(p, "form-action "+form+"; base-uri 'none'; frame-ancestors 'none'"...)
}
