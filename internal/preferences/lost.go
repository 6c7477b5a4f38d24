package preferences

import (
	"bytes"
	_ "embed"
	"html/template"

	"github.com/valyala/fasthttp"
)

//go:embed not-found.html
var lostSource string

// lost is the page for addresses that lead nowhere, in one language. It is made once: there is nothing in it of
// what was asked for, and it is the same for every reason.
type lost struct {
	body   []byte
	policy []byte
}

// lostView is what its template sees.
type lostView struct {
	T    texts
	Logo template.URL // "" for none
}

func newLost(t texts, source string, logo template.URL) (lost, error) {
	parsed, err := template.New(lostFile).Parse(source)
	if err != nil {
		return lost{}, err
	}
	var b bytes.Buffer
	if err := parsed.Execute(&b, lostView{T: t, Logo: logo}); err != nil {
		return lost{}, err
	}
	styles, err := look(b.Bytes(), nil)
	if err != nil {
		return lost{}, err
	}
	return lost{body: b.Bytes(), policy: policy(styles, logo != "", "'none'")}, nil
}

// NotFound answers 404 with a page in a language of the reader's. It may be called concurrently.
func (p *Pages) NotFound(ctx *fasthttp.RequestCtx) {
	page := p.choose(ctx.Request.Header.PeekCanonical(acceptLanguage))
	ctx.Response.SetStatusCode(fasthttp.StatusNotFound)
	page.common(ctx, htmlType)
	ctx.Response.Header.SetCanonical(contentPolicy, page.lost.policy)
	ctx.Response.SetBodyRaw(page.lost.body)
}
