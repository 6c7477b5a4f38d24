package heatmap

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

func render(t testing.TB, mail string, links ...Link) string {
	t.Helper()
	b, err := Render([]byte(mail), links)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drawn is what stands on the links of a heat map: shade and share, in order.
func drawn(t testing.TB, page string) (all []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if shade := attr(n, "data-heat"); shade != "" {
			all = append(all, shade+" "+n.LastChild.FirstChild.Data)
		}
	}
	return all
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func TestRender(t *testing.T) {
	t.Parallel()
	const offer, news = "https://example.com/offer", "https://example.com/news"
	both := []Link{{offer, "Our offer", 60}, {news, "News", 30}, {offer, "Again", 10}, {"https://example.com/gone", "", 0}}
	for _, c := range []struct {
		name, mail string
		links      []Link
		want       []string
	}{
		{"as registered", `<a href="` + offer + `">Our offer</a> <a href="` + news + `">News</a> <a href="` + offer + `">Again</a>`, both, []string{"5 60.0 %", "3 30.0 %", "1 10.0 %"}},
		{"another label: the first of its URL", `<a href="` + offer + `">Something else</a>`, both, []string{"5 60.0 %"}},
		{"nothing clicked", `<a href="` + offer + `">x</a>`, []Link{{offer, "x", 0}}, []string{"0 0 %"}},
		{"not registered", `<a href="https://example.com/other">x</a>`, both, nil},
		{"left alone", `<a href="` + offer + `" data-mailbeacon="off">Our offer</a><a href="mailto:a@example.com">x</a>`, both, nil},
		{"an image", `<a href="` + news + `"><img src="https://example.com/i.png" alt="News" width=120 height="40px"></a>`, both, []string{"3 30.0 %"}},
		{"no links at all", `<p>Hello`, nil, nil},
		{"a mail that knows the trick", `<a href="https://link.invalid/0">x</a>`, both, nil},
	} {
		if got := drawn(t, render(t, c.mail, c.links...)); strings.Join(got, ",") != strings.Join(c.want, ",") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLooksAsTheMail(t *testing.T) {
	t.Parallel()
	page := render(t, `<!doctype html><html><head><style>p{color:red}</style></head><body bgcolor="#fff"><table width="600"><tr><td style="padding:4px">
		Hällo <img src="https://example.com/a.png" alt="A & B" width="200" height="99999999"></td></tr></table></body></html>`)
	for _, want := range []string{"<!DOCTYPE html>", "p{color:red}", `bgcolor="#fff"`, `width="600"`, `style="padding:4px"`, "Hällo", "A &amp; B", "width:200px;"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	if strings.Contains(page, "example.com") {
		t.Errorf("something would be loaded: %s", page)
	}
}

// hostile is mail of somebody who means harm to whoever looks at the heat map.
var hostile = []string{
	`<script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)><math><mi xlink:href="javascript:alert(1)">`,
	`<a href="javascript:alert(1)">x</a><a href=" jav&#x09;ascript:alert(1)">x</a><a href="https://e.example/" onclick="alert(1)" target=_top>x</a>`,
	`<iframe srcdoc="<script>alert(1)</script>"></iframe><object data=x></object><embed src=x><applet code=x></applet>`,
	`<form action="https://e.example/"><input name=q autofocus onfocus=alert(1)><button formaction=javascript:alert(1)>x</button></form>`,
	`<base href="https://e.example/"><meta http-equiv=refresh content="0;url=https://e.example/"><link rel=stylesheet href="https://e.example/a.css">`,
	`<style></style><script>alert(1)</script></style><style><!--</style><img title="--><script>alert(1)</script>">`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript><template><script>alert(1)</script></template>`,
	`<body background="https://e.example/i.png"><table background="https://e.example/"><td background=x><video poster=x src=y></video><audio src=x>`,
	`<p data-heat="5">forged<span data-heat-share>100 %</span></p><details open ontoggle=alert(1)><summary>x</summary></details>`,
	`<svg><style><img src=x onerror=alert(1)></style></svg><math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
	"<a href=\"https://e.example/\x00\">x\x00</a><img \x00 src=x>", strings.Repeat("<div>", 300), "<!--", "<![CDATA[<script>]]>", "</p></body><script>",
}

// harmless says what is left that should not be.
func harmless(t testing.TB, page []byte) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return // what a browser makes of it is bounded by the policy
	}
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			t.Errorf("a comment: %q", n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		if n.DataAtom == atom.Img || !elements[n.DataAtom] || n.Namespace != "" {
			t.Errorf("<%s> in %.300s", n.Data, page)
		}
		for _, a := range n.Attr {
			if !attributes[a.Key] && !strings.HasPrefix(a.Key, "data-heat") {
				t.Errorf("%s=%q in %.300s", a.Key, a.Val, page)
			}
		}
	}
}

func TestHostileMail(t *testing.T) {
	t.Parallel()
	for _, mail := range hostile {
		page := render(t, mail, Link{"https://e.example/", "x", 5})
		harmless(t, []byte(page))
		if strings.Contains(mail, "forged") && len(drawn(t, page)) != 0 {
			t.Errorf("a share that nobody counted: %s", page)
		}
	}
	if _, err := Render([]byte(strings.Repeat("<div>", 100_000)), nil); err == nil {
		t.Error("no bound")
	}
}

func FuzzRender(f *testing.F) {
	for _, mail := range hostile {
		f.Add([]byte(mail))
	}
	f.Fuzz(func(t *testing.T, mail []byte) {
		if page, err := Render(mail, []Link{{"https://e.example/", "x", 5}}); err == nil {
			harmless(t, page)
		}
	})
}
