package rewrite

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const testPixel = "https://t.example/o/AbC.gif"

var pixelHTML = pixelTag(testPixel)

// numbered gives every link an address that names it.
func numbered(l Link) (string, bool, error) {
	return fmt.Sprintf("https://t.example/c/%d", l.Position), true, nil
}

func TestLinks(t *testing.T) {
	t.Parallel()
	const to = "https://t.example/c/1"
	for _, tt := range []struct {
		name, in, want string
		url, label     string // "" for a link that is not asked for
		kept           Kept
	}{
		{"double quotes", `<a href="https://e.org/">Go</a>`, `<a href="` + to + `">Go</a>`, "https://e.org/", "Go", ""},
		{"single quotes", `<a href='https://e.org/'>Go</a>`, `<a href='` + to + `'>Go</a>`, "https://e.org/", "Go", ""},
		{"no quotes", `<a href=https://e.org/>Go</a>`, `<a href=` + to + `>Go</a>`, "https://e.org/", "Go", ""},
		{"no quotes, more behind", `<a href=https://e.org/a/ id=x>Go</a>`, `<a href=` + to + ` id=x>Go</a>`, "https://e.org/a/", "Go", ""},
		{"upper case", `<A HREF="HTTPS://E.org/X">Go</A>`, `<A HREF="` + to + `">Go</A>`, "HTTPS://E.org/X", "Go", ""},
		{"amp", `<a href="http://e.org/?a=1&amp;b=2&#38;c=3&#x26;d">x</a>`, `<a href="` + to + `">x</a>`, "http://e.org/?a=1&b=2&c=3&d", "x", ""},
		{"bare amp", `<a href="http://e.org/?a=1&copy=2&lt=3&amp=4">x</a>`, `<a href="` + to + `">x</a>`, "http://e.org/?a=1&copy=2&lt=3&amp=4", "x", ""},
		{"spaces", "<a href = \"\n https://e.org/ \t\">x</a>", "<a href = \"\n " + to + " \t\">x</a>", "https://e.org/", "x", ""},
		{"line break within", "<a href=\"https://e.\r\n\torg/a b\">x</a>", "<a href=\"" + to + "\">x</a>", "https://e.org/a%20b", "x", ""},
		{"not ASCII", `<a href="https://bücher.example/ä?ö=ü#ß">x</a>`, `<a href="` + to + `">x</a>`, "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%BC#%C3%9F", "x", ""},
		{"twice", `<a href="https://e.org/1" href="https://e.org/2">x</a>`, `<a href="` + to + `" href="https://e.org/2">x</a>`, "https://e.org/1", "x", ""},
		{"area", `<map><area alt="North" href="https://e.org/n"></map>`, `<map><area alt="North" href="` + to + `"></map>`, "https://e.org/n", "North", ""},
		{"vml", `<!--[if mso]><v:roundrect href="https://e.org/b" arcsize="8%"><center>Buy &amp; go</center></v:roundrect><![endif]-->`,
			`<!--[if mso]><v:roundrect href="` + to + `" arcsize="8%"><center>Buy &amp; go</center></v:roundrect><![endif]-->`, "https://e.org/b", "Buy & go", ""},
		{"revealed", `<!--[if !mso]><!--><a href="https://e.org/">x</a><!--<![endif]-->`, `<!--[if !mso]><!--><a href="` + to + `">x</a><!--<![endif]-->`, "https://e.org/", "x", ""},
		{"revealed, short", `<![if !mso]><a href="https://e.org/">x</a><![endif]>`, `<![if !mso]><a href="` + to + `">x</a><![endif]>`, "https://e.org/", "x", ""},
		{"base behind", `<a href="p?q">x</a><base href="https://e.org/d/">`, `<a href="` + to + `">x</a><base href="https://e.org/d/">`, "https://e.org/d/p?q", "x", ""},
		{"base and //", `<base href="http://e.org/d/"><a href="//f.org/p">x</a>`, `<base href="http://e.org/d/"><a href="` + to + `">x</a>`, "http://f.org/p", "x", ""},
		{"label", `<a data-mailbeacon-label=" The &quot;top&quot;  one " href="https://e.org/">x</a>`,
			`<a data-mailbeacon-label=" The &quot;top&quot;  one " href="` + to + `">x</a>`, "https://e.org/", `The "top" one`, ""},
		{"label of an image", `<a href="https://e.org/"><img src=x alt="A&ouml;"></a>`, `<a href="` + to + `"><img src=x alt="A&ouml;"></a>`, "https://e.org/", "Aö", ""},
		{"label over blocks", `<a href="https://e.org/"><b>F</b>oo<br>bar<div> b<!-- c -->az</div></a> not`, `<a href="` + to + `"><b>F</b>oo<br>bar<div> b<!-- c -->az</div></a> not`, "https://e.org/", "Foo bar baz", ""},
		{"noscript", `<noscript><a href="https://e.org/">x</a></noscript>`, `<noscript><a href="` + to + `">x</a></noscript>`, "https://e.org/", "x", ""},
		{"svg title", `<svg><title/><style/></svg><a href="https://e.org/">x</a>`, `<svg><title/><style/></svg><a href="` + to + `">x</a>`, "https://e.org/", "x", ""},

		{"relative", `<a href="//e.org/x">x</a>`, "", "", "", KeptRelative},
		{"relative path", `<a href="www.e.org">x</a>`, "", "", "", KeptRelative},
		{"base in a comment", `<!-- <base href="https://e.org/"> --><a href="x">x</a>`, "", "", "", KeptRelative},
		{"fragment", `<base href="https://e.org/"><a href="#top">x</a>`, "", "", "", KeptFragment},
		{"mailto", `<a href="mailto:a@b.example">x</a>`, "", "", "", KeptScheme},
		{"tel", `<a href="tel:+491">x</a>`, "", "", "", KeptScheme},
		{"javascript", `<a href=" java&#10;script:alert(1)">x</a>`, "", "", "", KeptScheme},
		{"cid", `<a href="cid:1@x">x</a>`, "", "", "", KeptScheme},
		{"data", `<a href="data:text/html,x">x</a>`, "", "", "", KeptScheme},
		{"empty", `<a href>x</a>`, "", "", "", KeptEmpty},
		{"white", `<a href=" &#32; ">x</a>`, "", "", "", KeptEmpty},
		{"no host", `<a href="http:///x">x</a>`, "", "", "", KeptInvalid},
		{"host too long", `<a href="https://` + strings.Repeat("ü", 600) + `.example/">x</a>`, "", "", "", KeptInvalid},
		{"one slash", `<a href="https:/e.org">x</a>`, "", "", "", KeptInvalid},
		{"braces", `<a href="https://e.org/{{ id }}">x</a>`, "", "", "", KeptPlaceholder},
		{"braces only", `<a href="{{ url }}">x</a>`, "", "", "", KeptPlaceholder},
		{"braces, encoded", `<a href="https://e.org/%7B%7Bid%7D%7D">x</a>`, "", "", "", KeptPlaceholder},
		{"jinja", `<a href="{% if a %}https://e.org{% endif %}">x</a>`, "", "", "", KeptPlaceholder},
		{"mailchimp", `<a href="*|UNSUB|*">x</a>`, "", "", "", KeptPlaceholder},
		{"percent", `<a href="https://e.org/?e=%%EMAIL%%">x</a>`, "", "", "", KeptPlaceholder},
		{"brackets", `<a href="[[URL]]">x</a>`, "", "", "", KeptPlaceholder},
		{"dollar", `<a href="${url}">x</a>`, "", "", "", KeptPlaceholder},
		{"one bracket and a base", `<base href="https://e.org/d/"><a href="[UNSUBSCRIBE]">x</a>`, "", "", "", KeptPlaceholder},
		{"one brace", `<a href="https://e.org/?n={name}">x</a>`, "", "", "", KeptPlaceholder},
		{"one percent", `<a href="https://e.org/?n=%FNAME%&amp;x=1">x</a>`, "", "", "", KeptPlaceholder},
		{"off", `<a href="https://e.org/" data-mailbeacon="OFF">x</a>`, "", "", "", KeptOff},
		{"off around", `<div data-mailbeacon=off><br><p>a<p><a href="https://e.org/">x</a></div>`, "", "", "", KeptOff},
		{"off around mso", `<td data-mailbeacon=off><!--[if mso]></td><a href="https://e.org/">x</a><![endif]-->`, "", "", "", KeptOff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked []Link
			got, res, err := HTML(nil, []byte(tt.in), Options{Href: func(l Link) (string, bool, error) {
				asked = append(asked, l)
				return numbered(l)
			}})
			if err != nil {
				t.Fatal(err)
			}
			if tt.kept != "" {
				if string(got) != tt.in || len(asked) != 0 || res.Kept[tt.kept] != 1 || res.Rewritten != 0 {
					t.Errorf("%s\nasked %+v, %+v; want it kept: %s", got, asked, res, tt.kept)
				}
				return
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if want := (Link{tt.url, tt.label, 1}); len(asked) != 1 || asked[0] != want {
				t.Errorf("asked %+v, want %+v", asked, want)
			}
		})
	}
}

// What is no link: nothing is asked, nothing changes.
func TestNoLinks(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "<", "<a", "<a href", "<a href=", `<a href="https://e.org/"`, `<a href="https://e.org/>x</a>`, "<!--", "<!-- <a href=https://e.org/>",
		`<!-- <a href="https://e.org/">x</a> -->`, `<!-->--><!-- <a href="https://e.org/"> --!>`,
		`<!--[if mso]><a href="https://e.org/">x</a>-->`, // never closed: Outlook would not read it so either
		`<!-- [if mso]><a href="https://e.org/">x</a><![endif]-->`,
		`<!--[iframe]><a href="https://e.org/">x</a><![endif]-->`,
		`<style>a:before{content:"<a href='https://e.org/'>"}</style>`,
		`<script>"<a href='https://e.org/'>"</script>`, `<script><!--<script></script><a href=https://e.org/>--></script>`,
		`<title><a href="https://e.org/"></title>`, `<textarea><a href="https://e.org/"></textarea>`, `<xmp><a href="https://e.org/"></xmp>`,
		`<plaintext><a href="https://e.org/">`, `<title>x <a href="https://e.org/">`,
		`<p title='<a href="https://e.org/">'>`, `</a href="https://e.org/">`, `<? <a href=https://e.org/?>`,
		`<link href="https://e.org/"><form action="https://e.org/"><b href="https://e.org/"><img src="https://e.org/">`,
		`<ahref="https://e.org/">`, `<a x="href=https://e.org/">`, `<svg><style><![CDATA[<a href="https://e.org/">]]></style></svg>`,
	} {
		got, res, err := HTML(nil, []byte(in), Options{Href: numbered})
		if err != nil || string(got) != in || res.Rewritten != 0 {
			t.Errorf("%s\nbecame %s: %+v, %v", in, got, res, err)
		}
	}
}

// The reach of data-mailbeacon="off": ✗ is a link that is kept, ✓ one that is rewritten.
func TestOff(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("<div>", 600)
	up := strings.Repeat("</div>", 600)
	for _, in := range []string{
		"✓<div off>✗</div>✓", "✓<div off>✗<div>✗</div>✗</div>✓", "<table off><tr><td>✗<td>✗<tr><td>✗</table>✓",
		"<table><tr><td off>✗<td>✓<tr><td>✓</table>", "<table><tr off><td>✗</td><td>✗</td><tr><td>✓</table>✓",
		"<p off>✗<p>✓", "<p off>✗<div>✓</div>", "<ul><li off>✗<ul><li>✗</ul>✗<li>✓</ul>✓", "<dl><dt off>✗<dd>✓</dl>",
		"<span off>✗<br>✗<img>✗</span>✓", "<br off>✓", "<img off>✓<input off>✓", "<div off/>✗", "<o:p off/>✓", "<o:p off>✗</o:p>✓",
		"<DIV OFF>✗</div>✓", "<b off><p>✗</b>✗", "<td off>✗</p></div></span>✗</td>✓", "<div off><table><td></div>✗</table>✗</div>✓",
		"<div><span off>✗</div>✓", "<h1 off>✗</h2>✓", "<h1 off>✗<h2>✓</h2>", "<body off>✗</body>✗", "<div off>✗</body></html>✗",
		"<svg off><path/><g></g></svg>✓", "<svg off><p>✓", "<center off>✗<!-- </center> -->✗</center>✓",
		"<div off>✗<style></div></style>✗</div>✓", "<div off>✗<table><tr></div><td>✗</td></tr></table>✗</div>✓",
		"<x-y off>✗<x-z>✗</x-y>✓", "<a off>x<a>✓", "<template off>✗</template>✓", "<select off>✗</select>✓",
		deep + "<div off>✗" + "</div>✓" + up + "✓", "<div off>" + deep + "✗" + up + "✗</div>✓", deep + up + "<i off>✗</i>✓",
		strings.Repeat("<div>", 511) + "<div off><div off>✗</div>✗</div>✓",
	} {
		src := strings.NewReplacer("✗", `<i><a href="https://kept.example">_</a></i>`, "✓", `<i><a href="https://asked.example">_</a></i>`,
			" off", ` data-mailbeacon="off"`, " OFF", ` DATA-MAILBEACON=' Off'`).Replace(in)
		asked := 0
		_, res, err := HTML(nil, []byte(src), Options{Href: func(l Link) (string, bool, error) {
			if l.URL != "https://asked.example" {
				t.Errorf("%s: asked for a link that is off", in)
			}
			asked++
			return numbered(l)
		}})
		if err != nil || res.Kept[KeptOff] != strings.Count(src, "kept.example") || asked != strings.Count(src, "asked.example") {
			t.Errorf("%s: asked %d, %+v, %v", in, asked, res, err)
		}
	}
}

// Where the pixel goes: at the "@".
func TestPixelPlace(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"<html><head><title>x</title></head><body class=a>@Hello", "<BODY\nBGCOLOR='>'>@x", "<body/>@x", "@Hello", "  \n@Hello",
		"\xef\xbb\xbf@Hello", "\xef\xbb\xbf <!doctype html>\n@<p>", "@", "<!doctype html>@", "<html><head></head>@</html>",
		"<!-- <body> --><body>@", "<!--[if mso]><body class=mso><![endif]-->@<p>x",
		"<!--[if mso]><body class=mso><![endif]--><!--[if !mso]><!--><body><!--<![endif]-->@<p>x",
		"<!--[if !mso]><!--><body><!--<![endif]--> <!--[if mso]><body class=mso><![endif]-->@<p>x",
		"<![if !mso]><body><![endif]>@<p>x", "<!--[if !mso]><!--><body>@<p>x<!--<![endif]-->",
		"<!--[if !mso]><!--><style></style><!--<![endif]--><body>@<!-- preheader -->x",
		"<script>'<body>'</script><body>@x", "<style><body></style><title><body></title><textarea></textarea><body>@",
		"<p title='<body>'>x<body>@y", "<p>a<body>@b<body>c", "<template><body>x</template><body>@y", "<template>x</template>@y",
		"<head><meta charset=utf-8><link href=x><base href=y><style>a</style></head>\n @<table>", "<style>a</style>@<div>",
		"<title>x</title>\n<!-- c -->\n@Hi", "<html><head><noscript><style>x</style></noscript></head>@<p>",
		"<head>@<noscript><img src=x></noscript></head>", "<?xml version='1.0'?><!DOCTYPE html><html><head/>@<p>", "</p></div>@</br>x",
		"<head><title>x</title></head>@</body>", "@<p>x</p><!-- open", "@1 < 2", "<html>@<form>", "@&nbsp;", "@\x00<p>",
		"<body data-x=\"a>b\">@", "<body onload='x'>@<script>y</script>",
	} {
		src := strings.Replace(in, "@", "", 1)
		got, res, err := HTML(nil, []byte(src), Options{Pixel: testPixel})
		if want := strings.Replace(in, "@", pixelHTML, 1); err != nil || string(got) != want || !res.Pixel {
			t.Errorf("got  %s\nwant %s\n%+v, %v", got, want, res, err)
		}
	}
	for _, src := range []string{
		"<!-- open", "<html><head><title>open", "<head><style>x", "<html lang=", "<frameset><frame src=x></frameset><noframes><body>x</noframes>",
		"<!doctype", "<script>x</script", "<title>", "<style>", "<script>", "<template><p>x",
	} {
		got, res, err := HTML(nil, []byte(src), Options{Pixel: testPixel})
		if err != nil || string(got) != src || res.Pixel || len(res.Warnings) != 1 || res.Warnings[0] != WarnNoPlace {
			t.Errorf("%s\nbecame %s: %+v, %v", src, got, res, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	doc := []byte(`<body><a href="https://e.org/">x</a>`)
	dst := []byte("kept")
	failed := errors.New("failed")
	for _, bad := range []string{"x", "//t.example/o", "javascript:alert(1)", "https://", "https://t.example/ x", "https://t.example/\n", "https://é.example/",
		"https://t.example/" + strings.Repeat("x", MaxURL)} {
		if got, _, err := HTML(dst, doc, Options{Pixel: bad}); !errors.Is(err, ErrURL) || string(got) != "kept" {
			t.Errorf("pixel %.30q: %s, %v", bad, got, err)
		}
		if got, _, err := HTML(dst, doc, Options{Href: func(Link) (string, bool, error) { return bad, true, nil }}); !errors.Is(err, ErrURL) || string(got) != "kept" {
			t.Errorf("link %.30q: %s, %v", bad, got, err)
		} else if strings.Contains(err.Error(), "javascript") {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
	if got, _, err := HTML(dst, doc, Options{Href: func(Link) (string, bool, error) { return "", false, failed }}); !errors.Is(err, failed) || string(got) != "kept" {
		t.Errorf("%s, %v", got, err)
	}
	big := make([]byte, MaxSize+1)
	for name, f := range map[string]func(dst, src []byte, o Options) ([]byte, Result, error){"HTML": HTML, "Text": Text, "Message": Message} {
		if got, _, err := f(dst, big, Options{}); !errors.Is(err, ErrTooLarge) || string(got) != "kept" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if Links(big) != nil {
		t.Error("links of what is too large")
	}
}

// A new address is escaped as its quotes need it.
func TestQuoting(t *testing.T) {
	t.Parallel()
	const url = `https://t.example/?a=1&b='"<>` + "`"
	for in, want := range map[string]string{
		`<a href="https://e.org/">`: `<a href="https://t.example/?a=1&amp;b=&#39;&quot;&lt;&gt;` + "`" + `">`,
		`<a href='https://e.org/'>`: `<a href='https://t.example/?a=1&amp;b=&#39;&quot;&lt;&gt;` + "`" + `'>`,
		`<a href=https://e.org/>`:   `<a href="https://t.example/?a=1&amp;b=&#39;&quot;&lt;&gt;` + "`" + `">`,
		`<a href=https://e.org/ x>`: `<a href="https://t.example/?a=1&amp;b=&#39;&quot;&lt;&gt;` + "`" + `" x>`,
	} {
		got, _, err := HTML([]byte("0"), []byte(in), Options{Href: func(Link) (string, bool, error) { return url, true, nil }})
		if err != nil || string(got) != "0"+want {
			t.Errorf("got  %s\nwant 0%s (%v)", got, want, err)
		}
	}
	for _, end := range []string{"/", "-", "--"} {
		got, _, _ := HTML(nil, []byte(`<!--[if mso]><a href=https://e.org/><![endif]-->`),
			Options{Href: func(Link) (string, bool, error) { return "https://t.example" + end, true, nil }})
		if want := `<!--[if mso]><a href="https://t.example` + end + `"><![endif]-->`; string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	src := `<a href="https://t.example/u/1?x=1&amp;y=2">u</a><a href="https://e.org/">e</a><a href="https://e.org/no">e</a>`
	got, res, err := HTML(nil, []byte(src), Options{
		Keep: func(url string) bool { return url == "https://t.example/u/1?x=1&y=2" },
		Href: func(l Link) (string, bool, error) {
			return "https://t.example/c/1", !strings.HasSuffix(l.URL, "no"), nil
		},
	})
	if err != nil || string(got) != strings.Replace(src, "https://e.org/\"", "https://t.example/c/1\"", 1) ||
		res.Rewritten != 1 || res.Kept[KeptExcluded] != 1 || res.Kept[KeptDeclined] != 1 {
		t.Errorf("%s: %+v, %v", got, res, err)
	}
	got, res, err = HTML(nil, []byte(src), Options{})
	if err != nil || string(got) != src || res.Kept[KeptUnasked] != 3 || res.Pixel {
		t.Errorf("%s: %+v, %v", got, res, err)
	}
}

func TestAMP(t *testing.T) {
	t.Parallel()
	for _, src := range []string{`<!doctype html><html ⚡4email><body><a href="https://e.org/">x</a>`, `<html amp4email data-css-strict><body><a href="https://e.org/">`} {
		got, res, err := HTML(nil, []byte(src), Options{Pixel: testPixel, Href: numbered})
		if err != nil || string(got) != src || len(res.Warnings) != 1 || res.Warnings[0] != WarnAMP {
			t.Errorf("%s: %+v, %v", got, res, err)
		}
	}
}

func TestClipped(t *testing.T) {
	t.Parallel()
	_, res, _ := HTML(nil, []byte(strings.Repeat("x", clipSize)), Options{})
	if len(res.Warnings) != 0 {
		t.Error(res.Warnings)
	}
	_, res, _ = HTML(nil, []byte(strings.Repeat("x", clipSize)), Options{Pixel: testPixel})
	if len(res.Warnings) != 1 || res.Warnings[0] != WarnClipped || res.Warnings[0].Explain() == "" {
		t.Error(res.Warnings)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, url string }{
		{"See @.", "https://e.org/a"}, {"(@)", "https://e.org/a"}, {"<@>", "https://e.org/a,b;c"}, {"@", "http://e.org/wiki/A_(b)"}, {"\"@\"", "https://e.org/?a=1&amp;b=2"},
		{"x @! y", "HTTPS://E.org"}, {"a\r\n@\r\nb", "https://e.org/tok_"}, {"*@*", "https://e.org/x"}, {"[a](@)", "https://e.org/"}, {"@,", "https://e.org:8080/a?b[]=1"},
	} {
		in := strings.Replace(tt.in, "@", tt.url, 1)
		var asked []Link
		got, res, err := Text(nil, []byte(in), Options{TextLinks: true, Href: func(l Link) (string, bool, error) {
			asked = append(asked, l)
			return numbered(l)
		}})
		if want := strings.Replace(tt.in, "@", "https://t.example/c/1", 1); err != nil || string(got) != want || res.Rewritten != 1 ||
			len(asked) != 1 || asked[0] != (Link{tt.url, "", 1}) {
			t.Errorf("%s became %s, asked %+v (%v)", in, got, asked, err)
		}
		if got, _, err := Text(nil, []byte(in), Options{Href: numbered}); err != nil || string(got) != in {
			t.Errorf("changed unasked: %s, %v", got, err)
		}
	}
	for _, in := range []string{"https://e.org/{{ a b }}/c", "https://e.org/*|A|*", "xhttps://e.org/", "ftp://e.org/", "mailto:a@b.example", "https://", "://x", "http://.", "https://*|HOST|*/"} {
		got, res, err := Text(nil, []byte(in), Options{TextLinks: true, Href: numbered})
		if err != nil || string(got) != in || res.Rewritten != 0 {
			t.Errorf("%s became %s, %+v, %v", in, got, res, err)
		}
	}
}
