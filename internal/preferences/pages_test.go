package preferences

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/token"
)

func TestLanguageIsChosen(t *testing.T) {
	t.Parallel()
	p, err := LoadPages(folder(t, map[string]string{"pt-BR.yaml": builtinFile(t, "en")}))
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{
		"": "en", "de": "de", "DE": "de", "de-AT": "de", "de-CH-1996": "de", "en": "en", "en-GB": "en",
		"en;q=0.3, de;q=0.9": "de", "en, de": "en", "de, en": "de", "de;q=0.5, en": "en", "fr, de;q=0.2": "de",
		"fr": "en", "*": "en", "ja, *;q=0.1": "en", "de;q=0, en": "en", "de;q=0": "en", "fr, en;q=0.9, de;q=0.8": "en",
		"pt": "pt-BR", "pt-PT": "pt-BR", "pt-BR, de;q=0.9": "pt-BR",
		"lb": "de", "de;q=2": "de", "de;q=x": "en", ",,,": "en", ";": "en", "de-": "en", "\x00\xff": "en",
		"fr-FR, fr;q=0.9, de;q=0.8, " + strings.Repeat("x", 5000):     "de",
		strings.Repeat("fr,", 60) + "de" + strings.Repeat(",es", 500): "de",
		strings.Repeat("x", 5000):                                     "en",
	} {
		if got := p.choose([]byte(accept)).texts.Lang; got != want {
			t.Errorf("%.60q is shown %s, want %s", accept, got, want)
		}
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	for _, s := range []string{"", "de", "de-AT,en;q=0.5", "*", "en;q=0.3, de;q=0.9", ";q=", "x-klingon", strings.Repeat("a-", 300)} {
		f.Add(s)
	}
	p, err := LoadPages("")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got := p.choose([]byte(accept))
		if !slices.Contains(p.all, got) {
			t.Fatalf("%q is shown no page", accept)
		}
		// What is asked for first, and there, is shown.
		if only := "en, " + accept; p.choose([]byte(only)).texts.Lang != "en" && !strings.Contains(accept, ";") && len(accept) < 100 {
			t.Fatalf("%q is not shown English, which comes first", only)
		}
	})
}

// TestBothLanguages looks for every text of a language in what people are shown.
func TestBothLanguages(t *testing.T) {
	t.Parallel()
	for _, lang := range builtinLanguages {
		words, err := textsOf(lang)
		if err != nil {
			t.Fatal(err)
		}
		s := newSite(t, consent.BasisSubject)
		s.language = lang + ", en;q=0.5"
		shown := s.get(t, "Sec-GPC", "1")
		for _, want := range []string{`<html lang="` + lang + `" dir="ltr">`, words.Title, words.Intro, words.GPC, words.OpensText, words.ClicksNo, words.FormatNow, words.MailText, words.Unsubscribe} {
			if !bytes.Contains(shown.Response.Body(), []byte(want)) {
				t.Errorf("%s: the page does not say %q", lang, want)
			}
		}
		if got := string(shown.Response.Header.Peek("Content-Language")); got != lang {
			t.Errorf("Content-Language is %q, want %q", got, lang)
		}
		if plain := s.get(t); bytes.Contains(plain.Response.Body(), []byte(words.GPC)) {
			t.Errorf("%s: the page speaks of GPC to a browser that does not", lang)
		}
		saved := s.post(t, urlencoded, "opens=refused")
		for _, want := range []string{words.Notices[Saved], words.SavedTitle, words.NotCounted} {
			if !bytes.Contains(saved.Response.Body(), []byte(want)) {
				t.Errorf("%s: the answer does not say %q", lang, want)
			}
		}
		es, err := s.log.Read(t.Context(), 0, 10)
		if err != nil || len(es) != 1 || !bytes.Contains(es[0].Body, []byte(words.version())) {
			t.Errorf("%s: the ledger does not say which text was read: %v, %v", lang, es, err)
		}
		once := s.post(t, urlencoded, "List-Unsubscribe=One-Click")
		if got := string(once.Response.Body()); !strings.HasPrefix(got, words.Notices[OneClick]+"\n\nmailbeacon consent receipt ") {
			t.Errorf("%s: one click answers %q", lang, got)
		}
	}
}

func TestCountedWithoutName(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisAggregate)
	if n := bytes.Count(s.get(t).Response.Body(), []byte(english.CountedUnnamed)); n != 2 {
		t.Errorf("the page says %d times that one is counted without a name, want twice", n)
	}
	body := s.post(t, urlencoded, "opens=granted").Response.Body()
	if bytes.Count(body, []byte(english.CountedUnnamed)) != 1 || bytes.Count(body, []byte(english.Counted)) != 1 {
		t.Errorf("after granting opens alone:\n%s", body)
	}
}

// Somebody of whom dates alone are kept is told so, and never that something is counted; a refusal is stronger. What is
// recorded and not yet in effect is shown in the same way.
func TestDateOnlyShows(t *testing.T) {
	t.Parallel()
	for basis, unsaid := range map[consent.Basis]string{
		consent.BasisSubject: english.CountedDate, consent.BasisNone: english.NotCounted, consent.BasisAggregate: english.NotCounted,
	} {
		s := newSite(t, basis)
		if _, _, err := s.o.Writer.Record(t.Context(), consent.Change{Subject: 9, Tracking: consent.DateOnly}); err != nil {
			t.Fatal(err)
		}
		date, not := english.CountedDate, english.NotCounted
		for _, step := range []struct{ body, opens, clicks string }{
			{"", unsaid, unsaid},
			{"opens=granted", date, unsaid},
			{"opens=refused&clicks=granted", not, date},
			{"format=plain", not, not},
			{"format=html&opens=granted&clicks=granted", date, date},
			{"mail=unsubscribed", not, not},
		} {
			form, err := parseForm([]byte(urlencoded), []byte(step.body))
			if err != nil {
				t.Fatal(err)
			}
			soon, err := s.o.Pages.choose(nil).render(Soon, s.state(9).after(form.change(token.Claims{Campaign: 7, Subject: 9}, "")), false, "")
			if err != nil {
				t.Fatal(err)
			}
			for name, body := range map[string][]byte{"answer": s.post(t, urlencoded, step.body).Response.Body(), "reload": s.get(t).Response.Body(), "soon": soon} {
				if got := []string{textOf(t, body, "opens-now"), textOf(t, body, "clicks-now")}; !strings.HasPrefix(got[0], step.opens) || !strings.HasPrefix(got[1], step.clicks) {
					t.Errorf("basis %v, %s, %s: %q", basis, step.body, name, got)
				}
			}
		}
	}
}

// textOf is the text of the element with an id.
func textOf(t *testing.T, page []byte, id string) string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "id" && a.Val == id && n.FirstChild != nil {
				return n.FirstChild.Data
			}
		}
	}
	t.Fatalf("there is no %s", id)
	return ""
}

func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func builtinFile(t testing.TB, lang string) string {
	t.Helper()
	b, err := builtin.ReadFile("texts/" + lang + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><circle cx="4" cy="4" r="4"/></svg>`

func TestOperatorsOwn(t *testing.T) {
	t.Parallel()
	own := strings.Replace(source, "<h1>", "<p>Greetings from <em>us</em></p><h1>", 1)
	pages, err := LoadPages(folder(t, map[string]string{
		"en.yaml":   "title: Ann & Sons <news>\nnotices: {saved: \"Noted, <b>thank you</b>.\"}\n",
		"ar.yaml":   strings.Replace(builtinFile(t, "en"), "\ntitle: ", "\ndir: rtl\ntitle: ", 1),
		"page.html": own, "logo.svg": svg, ".hidden": "x",
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, consent.BasisSubject)
	s.o.Pages = pages
	ctx := s.post(t, urlencoded, "opens=refused")
	for _, want := range []string{
		"Greetings from <em>us</em>", "<h1>Ann &amp; Sons &lt;news&gt;</h1>", "Noted, &lt;b&gt;thank you&lt;/b&gt;.", english.OpensText,
		`<img class="logo" src="data:image/svg&#43;xml;base64,`,
	} {
		if !bytes.Contains(ctx.Response.Body(), []byte(want)) {
			t.Errorf("the page does not have %q:\n%s", want, ctx.Response.Body())
		}
	}
	if policy := string(ctx.Response.Header.Peek("Content-Security-Policy")); !strings.Contains(policy, "; img-src data:; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy is %q", policy)
	}
	s.language = "ar"
	if body := s.get(t).Response.Body(); !bytes.Contains(body, []byte(`<html lang="ar" dir="rtl">`)) {
		t.Errorf("Arabic is shown as\n%.200s", body)
	}
	s.language = "de"
	if body := s.get(t).Response.Body(); !bytes.Contains(body, []byte("Abbestellen")) {
		t.Error("German is gone")
	}
}

func TestOperatorsMistakes(t *testing.T) {
	t.Parallel()
	with := func(old, changed string) map[string]string {
		if !strings.Contains(source, old) {
			t.Fatalf("the template has no %q", old)
		}
		return map[string]string{"page.html": strings.Replace(source, old, changed, 1)}
	}
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"unknown file":         {map[string]string{"logo.bmp": "x"}, []string{"logo.bmp", "logo.svg"}},
		"no language":          {map[string]string{"english.yaml": "title: x"}, []string{"english.yaml", "named after a language"}},
		"not canonical":        {map[string]string{"DE.yaml": "title: x"}, []string{"DE.yaml", "named after a language"}},
		"unknown text":         {map[string]string{"en.yaml": "titel: x"}, []string{"en.yaml", "line 1", "titel"}},
		"unknown notice":       {map[string]string{"en.yaml": "notices: {saved!: x}"}, []string{"en.yaml", "saved!"}},
		"empty text":           {map[string]string{"en.yaml": `title: ""`}, []string{"en.yaml", "title is missing or empty"}},
		"language in part":     {map[string]string{"fr.yaml": "title: Bonjour"}, []string{"fr.yaml", "is missing or empty"}},
		"direction":            {map[string]string{"en.yaml": "dir: up"}, []string{"en.yaml", "ltr or rtl"}},
		"not YAML":             {map[string]string{"en.yaml": "\t{"}, []string{"en.yaml"}},
		"empty file":           {map[string]string{"en.yaml": ""}, []string{"en.yaml", "0 bytes"}},
		"long text":            {map[string]string{"en.yaml": "title: " + strings.Repeat("x", 5000)}, []string{"en.yaml", "title has 5000 bytes"}},
		"large logo":           {map[string]string{"logo.png": strings.Repeat("x", mostLogo+1)}, []string{"logo.png", "right would be 1 to 49152"}},
		"two logos":            {map[string]string{"logo.png": "x", "logo.svg": "x"}, []string{"logo.svg", "second logo"}},
		"template's syntax":    {with("{{.T.Intro}}", "{{.T.Intro"), []string{"page.html"}},
		"template's field":     {with("{{.T.Intro}}", "{{.T.Entry}}"), []string{"page.html", "Entry"}},
		"field in a branch":    {with("{{.T.Subscribe}}", "{{.T.Nothing}}"), []string{"page.html", "Nothing"}},
		"script":               {with("<h1>", "<script>1</script><h1>"), []string{"page.html", "<script>"}},
		"handler":              {with("<h1>", "<h1 onclick=x()>"), []string{"page.html", "onclick"}},
		"inline style":         {with("<h1>", "<h1 style=\"color: red\">"), []string{"page.html", "style of <h1>"}},
		"third party":          {with("<h1>", "<img src=\"https://cdn.example/x.png\"><h1>"), []string{"page.html", "load nothing"}},
		"picture in a picture": {with("<h1>", "<svg><image xlink:href=\"https://cdn.example/x.png\"/></svg><h1>"), []string{"page.html", "load nothing"}},
		"still of a film":      {with("<h1>", "<video poster=\"https://cdn.example/x.png\"></video><h1>"), []string{"page.html", "load nothing"}},
		"other address":        {with(`<form method="post">`, `<form method="post" action="/elsewhere">`), []string{"page.html", "no action"}},
		"changing style":       {with("<style>", "<style>{{if .S.Unsubscribed}} {{end}}"), []string{"page.html", "differs"}},
		"form of GET":          {with(`<form method="post">`, `<form>`), []string{"page.html", "method=\"post\""}},
		"no form":              {with(`<form method="post">`, `<form method="post"></form><div>`), []string{"page.html", "method=\"post\""}},
		"button elsewhere":     {with(`name="mail" value="unsubscribed"`, `name="mail" value="unsubscribed" formaction="https://cdn.example/"`), []string{"page.html", "formaction"}},
		"button of GET":        {with(`name="mail" value="unsubscribed"`, `name="mail" value="unsubscribed" formmethod="get"`), []string{"page.html", "formmethod"}},
		"form as text":         {with(`<form method="post">`, `<form method="post" enctype="text/plain">`), []string{"page.html", "enctype"}},
		"refresh":              {with("<title>", `<meta http-equiv="Refresh" content="0;url=https://cdn.example/"><title>`), []string{"page.html", "leads away"}},
		"control of theirs":    {with("<fieldset>", `<input type="hidden" name="list" value="7"><fieldset>`), []string{"page.html", "named list"}},
		"no refusing":          {with(`name="opens" value="refused"`, `name="opens" value="no"`), []string{"page.html", "opens", "refused"}},
		"no coming back":       {with(`name="mail" value="subscribed"`, `name="mail" value="back"`), []string{"page.html", "mail", "subscribed"}},
		"no unsubscribing":     {with(`name="mail" value="unsubscribed"`, `name="nothing"`), []string{"page.html", "mail"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := LoadPages(folder(t, tc.files))
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := LoadPages(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a folder that is not there: %v", err)
	}
}
