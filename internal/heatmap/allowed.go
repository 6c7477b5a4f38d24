package heatmap

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// elements are those that stay, with what is in them; all others go, with all that is in them. Images are replaced.
var elements = func() map[atom.Atom]bool {
	set := map[atom.Atom]bool{}
	for _, a := range []atom.Atom{
		atom.Html, atom.Head, atom.Title, atom.Style, atom.Body,
		atom.A, atom.Abbr, atom.Address, atom.Article, atom.Aside, atom.B, atom.Bdi, atom.Bdo, atom.Big, atom.Blockquote, atom.Br,
		atom.Caption, atom.Center, atom.Cite, atom.Code, atom.Col, atom.Colgroup, atom.Dd, atom.Del, atom.Dfn, atom.Div, atom.Dl, atom.Dt,
		atom.Em, atom.Figcaption, atom.Figure, atom.Font, atom.Footer, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Header,
		atom.Hr, atom.I, atom.Img, atom.Ins, atom.Kbd, atom.Li, atom.Main, atom.Mark, atom.Nav, atom.Ol, atom.P, atom.Pre, atom.Q, atom.S,
		atom.Samp, atom.Section, atom.Small, atom.Span, atom.Strike, atom.Strong, atom.Sub, atom.Sup, atom.Table, atom.Tbody, atom.Td,
		atom.Tfoot, atom.Th, atom.Thead, atom.Time, atom.Tr, atom.Tt, atom.U, atom.Ul, atom.Var, atom.Wbr,
	} {
		set[a] = true
	}
	return set
}()

// attributes are those that stay: how it looks and reads. None has an address that is loaded or led to; what a style would load
// the policy forbids.
var attributes = map[string]bool{
	"abbr": true, "align": true, "alt": true, "bgcolor": true, "border": true, "cellpadding": true, "cellspacing": true, "class": true,
	"color": true, "colspan": true, "dir": true, "face": true, "height": true, "hspace": true, "id": true, "lang": true, "nowrap": true,
	"role": true, "rowspan": true, "scope": true, "size": true, "start": true, "style": true, "title": true, "type": true, "valign": true,
	"value": true, "vspace": true, "width": true,
}

func allowed(all []html.Attribute) []html.Attribute {
	var stay []html.Attribute
	for _, a := range all {
		if a.Namespace == "" && attributes[strings.ToLower(a.Key)] {
			stay = append(stay, a)
		}
	}
	return stay
}

// sheet draws links by their share: five shades of one colour, which differ in lightness, and the number beside. Dark text on each.
const sheet = `
[data-heat]{outline:2px solid #8a4b00 !important;outline-offset:2px;color:#1a1200 !important;text-decoration:none !important;cursor:default}
[data-heat="0"]{background:#f4f1ea !important}
[data-heat="1"]{background:#fdebc8 !important}
[data-heat="2"]{background:#fcd590 !important}
[data-heat="3"]{background:#f9bb55 !important}
[data-heat="4"]{background:#f2a024 !important}
[data-heat="5"]{background:#e58a00 !important}
[data-heat-share]{display:inline-block !important;margin:0 0 0 .4em;padding:0 .4em;border-radius:.6em;background:#1a1200 !important;color:#fff !important;font:bold 12px/1.5 system-ui,sans-serif !important;white-space:nowrap}
[data-heat-image]{display:inline-block;min-width:1em;min-height:1em;max-width:100%;overflow:hidden;background:repeating-linear-gradient(45deg,#eee,#eee 6px,#f8f8f8 6px,#f8f8f8 12px);color:#444;font:12px/1.4 system-ui,sans-serif;vertical-align:middle}
`
