package preferences

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

func lostFor(p *Pages, accept string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	if accept != "" {
		ctx.Request.Header.Set("Accept-Language", accept)
	}
	ctx.Request.SetRequestURI("/c/needle?to=needle")
	p.NotFound(ctx)
	return ctx
}

// TestNotFoundInEachLanguage looks for the words of a language in the page, and for nothing from elsewhere.
func TestNotFoundInEachLanguage(t *testing.T) {
	t.Parallel()
	p, err := LoadPages("")
	if err != nil {
		t.Fatal(err)
	}
	for accept, lang := range map[string]string{"": "en", "en": "en", "de-CH, fr;q=0.9": "de", "fr": "en", "de;q=0.5, en;q=0.4": "de", "\xff": "en"} {
		words, err := textsOf(lang)
		if err != nil {
			t.Fatal(err)
		}
		ctx := lostFor(p, accept)
		body, header := ctx.Response.Body(), &ctx.Response.Header
		for _, want := range []string{`<html lang="` + lang + `" dir="ltr">`, "<title>" + words.NotFoundTitle + "</title>", "<h1>" + words.NotFoundTitle + "</h1>", words.NotFoundText, words.NotFoundHelp} {
			if !bytes.Contains(body, []byte(want)) {
				t.Errorf("%q: the page does not say %q", accept, want)
			}
		}
		for key, want := range map[string]string{
			"Content-Language": lang, "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex, nofollow",
		} {
			if got := string(header.Peek(key)); got != want {
				t.Errorf("%q: %s is %q, want %q", accept, key, got, want)
			}
		}
		if policy := string(header.Peek("Content-Security-Policy")); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || !strings.Contains(policy, "form-action 'none'") {
			t.Errorf("policy is %q", policy)
		}
		if ctx.Response.StatusCode() != 404 || bytes.Contains(body, []byte("needle")) || bytes.Contains(body, []byte("<form")) || len(header.Peek("Set-Cookie")) > 0 {
			t.Errorf("%q: %d %s", accept, ctx.Response.StatusCode(), body)
		}
	}
}

func TestOperatorsNotFound(t *testing.T) {
	t.Parallel()
	p, err := LoadPages(folder(t, map[string]string{
		"not-found.html": strings.Replace(lostSource, "<h1>", "<p>Call <em>us</em></p><h1>", 1), "logo.svg": svg,
		"de.yaml": "not_found_title: Hier ist <nichts>\n", "fr.yaml": strings.Replace(builtinFile(t, "en"), "not_found_title: ", "not_found_title: Perdu, ", 1),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string][]string{
		"de": {"Call <em>us</em>", "<h1>Hier ist &lt;nichts&gt;</h1>", `<img class="logo" src="data:image/svg`}, "fr-CA": {"<h1>Perdu, This link"}, "en": {"<h1>This link leads nowhere</h1>"},
	} {
		ctx := lostFor(p, accept)
		for _, text := range want {
			if !bytes.Contains(ctx.Response.Body(), []byte(text)) {
				t.Errorf("%s: the page does not have %q:\n%s", accept, text, ctx.Response.Body())
			}
		}
		if policy := string(ctx.Response.Header.Peek("Content-Security-Policy")); !strings.Contains(policy, "img-src data:") {
			t.Errorf("%s: policy is %q", accept, policy)
		}
	}
	for name, tc := range map[string][2]string{
		"syntax": {"{{.T.NotFoundText}}", "{{.T.NotFoundText"}, "unknown text": {"{{.T.NotFoundText}}", "{{.T.Nothing}}"}, "what it does not see": {"{{.T.NotFoundText}}", "{{.S.Opens}}"},
		"script": {"<h1>", "<script>1</script><h1>"}, "third party": {"<h1>", `<img src="https://cdn.example/x"><h1>`}, "inline style": {"<h1>", `<h1 style="x">`},
	} {
		_, err := LoadPages(folder(t, map[string]string{"not-found.html": strings.Replace(lostSource, tc[0], tc[1], 1)}))
		if err == nil || !strings.Contains(err.Error(), "not-found.html") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChoiceIsRemembered: whatever was asked for before, by however many at once, the page is the right one.
func TestChoiceIsRemembered(t *testing.T) {
	t.Parallel()
	p, err := LoadPages("")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 4 * chosenPlaces {
				lang := builtinLanguages[i%2]
				if got := p.choose(fmt.Appendf(nil, "%s, x-%d", lang, i)).texts.Lang; got != lang {
					t.Errorf("%s is shown %s", lang, got)
				}
			}
		})
	}
	all.Wait()
}
