package preferences

import (
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"

	"mailbeacon/internal/consent"
)

func TestAnswerIsStrict(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	for name, ctx := range map[string]*fasthttp.RequestCtx{
		"page":     first(ask(s.Handler, "GET", "person", "", "")),
		"saved":    s.post(t, urlencoded, "opens=refused"),
		"refused":  s.post(t, urlencoded, "x=y"),
		"oneclick": s.post(t, urlencoded, "List-Unsubscribe=One-Click"),
	} {
		header := &ctx.Response.Header
		for key, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "X-Robots-Tag": "noindex, nofollow",
		} {
			if got := string(header.Peek(key)); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		if len(header.Peek("Set-Cookie")) > 0 || len(header.Peek("Etag")) > 0 {
			t.Errorf("%s: %s", name, header)
		}
		policy := string(header.Peek("Content-Security-Policy"))
		if isPage := strings.HasPrefix(string(header.ContentType()), "text/html"); isPage &&
			(!strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || !strings.Contains(policy, "frame-ancestors 'none'")) {
			t.Errorf("%s: policy is %q", name, policy)
		}
	}
}

func first(ctx *fasthttp.RequestCtx, _ bool) *fasthttp.RequestCtx { return ctx }

// TestPageIsAccessibleAndSelfContained holds what can be held without a browser: every control has
// a label, every reference leads somewhere, no script, no inline style, nothing from elsewhere.
func TestPageIsAccessibleAndSelfContained(t *testing.T) {
	t.Parallel()
	s := newSite(t, consent.BasisSubject)
	for _, body := range []string{"opens=refused", "mail=unsubscribed", "nonsense=1"} {
		root, err := html.Parse(bytes.NewReader(s.post(t, urlencoded, body).Response.Body()))
		if err != nil {
			t.Fatal(err)
		}
		ids, refs, elements := map[string]bool{}, []string{}, map[string]int{}
		for n := range root.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if attribute(n, "type") == "hidden" {
				continue
			}
			elements[n.Data]++
			if n.Data == "input" && n.Parent.Data != "label" {
				t.Errorf("an input outside of a label")
			}
			for _, a := range n.Attr {
				switch {
				case a.Key == "id":
					if ids[a.Val] {
						t.Errorf("id %s twice", a.Val)
					}
					ids[a.Val] = true
				case a.Key == "aria-describedby" || a.Key == "aria-labelledby":
					refs = append(refs, strings.Fields(a.Val)...)
				case a.Key == "style" || a.Key == "src" || a.Key == "href" || a.Key == "action" || strings.HasPrefix(a.Key, "on"):
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		}
		for _, ref := range refs {
			if !ids[ref] {
				t.Errorf("nothing has the id %s", ref)
			}
		}
		want := map[string]int{"html": 1, "title": 1, "h1": 1, "main": 1, "fieldset": 3, "legend": 3, "input": 6, "button": 2, "form": 2, "script": 0, "style": 1}
		for name, n := range want {
			if elements[name] != n {
				t.Errorf("after %s: %d <%s>, want %d", body, elements[name], name, n)
			}
		}
	}
}

func TestVersionFollowsTheWords(t *testing.T) {
	t.Parallel()
	changed := english
	changed.OpensNo += "."
	if same := english; english.version() == changed.version() || english.version() != same.version() {
		t.Error("the version does not follow the words")
	}
	if c := (consent.Change{Subject: 1, Opens: consent.Granted, Source: "preferences", TextVersion: english.version()}); c.Check() != nil {
		t.Errorf("the ledger does not take %q: %v", english.version(), c.Check())
	}
	for o := range Outcome(outcomes) {
		if o.String() == "" {
			t.Errorf("outcome %d has no word", o)
		}
		if english.Notices[o] == "" && o != Shown && o != NotFound {
			t.Errorf("%v has no notice", o)
		}
	}
}
