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
// fails at the start; wants the choices to be there; and returns the styles, which are the same in each.
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
		controls := needed
		if sample.o == Nobody {
			controls = nil
		}
		found, err := look(body, controls)
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

// needed are the controls that a page for somebody must have, by name.
var needed = []string{"opens", "clicks", "format", "mail"}

// look goes through a rendered page, which has to have controls of these names. What the policy would keep from
// working is an error.
func look(body []byte, controls []string) (styles []string, err error) {
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
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
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
				return nil, fmt.Errorf("the attribute %s of <%s> is forbidden by the page's policy", a.Key, n.Data)
			case a.Key == "src" && !strings.HasPrefix(a.Val, "data:image/") || a.Key == "srcset":
				return nil, fmt.Errorf("<%s %s=%q> is forbidden by the page's policy: it may load nothing", n.Data, a.Key, a.Val)
			case a.Key == "action":
				return nil, fmt.Errorf("a <%s> must have no action: it is posted to the page's own address", n.Data)
			case a.Key == "name" && (n.Data == "input" || n.Data == "button" || n.Data == "select"):
				named[a.Val] = true
			}
		}
	}
	for _, name := range controls {
		if !named[name] {
			return nil, fmt.Errorf("there is no control named %s", name)
		}
	}
	return styles, nil
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
