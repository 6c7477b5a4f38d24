package rewrite

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// hides are the elements in which a pixel would not load.
var hides = map[string]bool{
	"head": true, "title": true, "style": true, "script": true, "textarea": true, "template": true, "select": true, "noframes": true, "noembed": true,
	"iframe": true, "xmp": true, "plaintext": true, "svg": true, "math": true, "object": true,
}

// beyondTree says whether a document has what the other reader sees differently, or a frameset, which
// takes the body away even when it comes late.
func beyondTree(src []byte) bool { return mentions(src, "<frameset", "<script", "\x00", "\x1b") }

// mentions says whether a document holds one of the words, whatever their case.
func mentions(src []byte, words ...string) bool {
	low := bytes.ToLower(src)
	return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(low, []byte(w)) })
}

// treeProblem reads a rewritten document as a browser does, tree and all, and says what is wrong
// with it: a pixel that does not show or, if links are looked at, one that was overlooked; "" if nothing is.
func treeProblem(out []byte, pixel, links bool) string {
	root, err := html.ParseWithOptions(bytes.NewReader(out), html.ParseOptionEnableScripting(false))
	if err != nil {
		return "" // nested too deeply for this reader
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch {
		case n.Data == "img" && attribute(n, "src") == testPixel:
			for a := range n.Ancestors() {
				if hides[a.Data] {
					return "the pixel is in a " + a.Data
				}
			}
			pixel = false
		case links && (n.Data == "a" || n.Data == "area"):
			if url := overlooked(n); url != "" {
				return "left " + url
			}
		}
	}
	if pixel {
		return "the pixel is not in the tree"
	}
	return ""
}

// overlooked is the address of a link that should have been rewritten, "" if it is in order.
func overlooked(n *html.Node) string {
	a := resolve(attribute(n, "href"), nil, nil)
	if a.kept != "" || strings.HasPrefix(a.url, "https://t.example/c/") {
		return ""
	}
	return a.url
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name && a.Namespace == "" {
			return a.Val
		}
	}
	return ""
}

// The tree is right in places where the tokens alone do not tell.
func TestTree(t *testing.T) {
	t.Parallel()
	const link = `<a href="https://e.org/">x</a>`
	for _, src := range []string{
		link, "<select><body>" + link, "<select><option>" + link, "<p><select><body></select>" + link, "<table><body><tr><td>" + link, "<table><select><body><td>" + link,
		"<svg><body>" + link, "<svg><title><body>" + link, "<svg><desc><body>" + link, "<svg><foreignObject><body>" + link, "<math><mi><body>" + link, "<math><annotation-xml><body>" + link,
		"<head><noscript><body>" + link, "<noscript><title></noscript><body></title>" + link, "<head><template><body></template></head>" + link, "<template><body>" + link + "</template><body>",
		"<title></title><body>" + link, "<title/><body></title>" + link, "<textarea><body></textarea>" + link, "<style><!--</style><body>-->" + link, "<script><!--<script></script><body></script>" + link,
		"<svg><style><body></style></svg>" + link, "<svg><style>" + link, "<math><title>" + link + "</title>", "<svg><![CDATA[<body>]]></svg>" + link, "<![CDATA[<body>]]>" + link,
		"<svg><![CDATA[>" + link + "]]></svg>", "<svg><p><style><body></style>" + link, "<svg></p><style>" + link + "</style>", "<svg></br><style>" + link + "</style>",
		"<svg><font><style>" + link + "</style>", "<svg><font color=x><style>" + link + "</style>", "<svg><desc><style>" + link + "</style>", "<svg><a><style>" + link + "</style></a></svg>",
		"<svg><foreignObject><svg></foreignObject><style>" + link, "<math><mi><style>" + link + "</style>", "<math><annotation-xml encoding=text/html><style>" + link + "</style>",
		"<svg></svg><style>" + link + "</style>", "<svg><svg></svg><style>" + link, "<svg><g></svg><style>" + link + "</style>", "<svg/><style>" + link + "</style>", "<table><svg><td><style>" + link + "</style>",
		"<svg><td><style>" + link, "<frameset><body>" + link, "<body><frameset>" + link, "<html><body/>" + link, "</body><body>" + link, "</html><p>" + link, "</head><body>" + link,
		"<form><body>" + link, "<button><body>" + link, "<dialog><body>" + link, "<iframe><body></iframe>" + link, "<object><body>" + link, "<body a='>'>" + link, "<!--><body>-->" + link, "<!--->" + link,
		"<?x <body>?>" + link, "<!x <body>>" + link, "</ <body>>" + link, "<a b='" + link + "'>" + link, "<area href=https://e.org/>", "<svg><a href=https://e.org/></svg>", "<x:a href=https://e.org/>",
	} {
		out, res, err := HTML(nil, []byte(src), everything)
		if err != nil {
			t.Fatal(err)
		}
		if problem := treeProblem(out, res.Pixel, true); problem != "" {
			t.Errorf("%s\nbecame %s\n%s", src, out, problem)
		}
	}
}
