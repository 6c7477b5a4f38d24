package preferences

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"github.com/valyala/fasthttp"
)

//go:embed page.html
var source string

// page renders the page in one language, and holds the one for addresses that lead nowhere.
type page struct {
	texts    texts
	lang     []byte
	version  string
	template *template.Template
	logo     template.URL
	policy   []byte
	lost     lost
}

// view is what the template sees; README.md beside documents it for those who write another one.
type view struct {
	T      texts
	Title  string
	Notice string
	Wrong  bool         // the notice tells of something that did not work
	Nobody bool         // there is no person, and nothing to choose
	GPC    bool         // the browser asks not to be tracked
	Logo   template.URL // "" for none
	S      state
	// Receipt is what was recorded, signed; "" where nothing was.
	Receipt string
}

func newPage(t texts, source string, logo template.URL) (*page, error) {
	parsed, err := template.New(templateFile).Parse(source)
	if err != nil {
		return nil, err
	}
	p := &page{texts: t, lang: []byte(t.Lang), version: t.version(), template: parsed, logo: logo}
	styles, err := p.inspect()
	if err != nil {
		return nil, err
	}
	p.policy = policy(styles, logo != "", "'self'")
	return p, nil
}

func (p *page) render(o Outcome, s state, gpc bool, receipt string) ([]byte, error) {
	v := view{
		T: p.texts, Title: p.texts.Title, Notice: p.texts.Notices[o], GPC: gpc && o != Nobody, Logo: p.logo,
		Wrong: status(o) >= fasthttp.StatusBadRequest, Nobody: o == Nobody, S: s, Receipt: receipt,
	}
	if o == Saved || o == Soon {
		v.Title = p.texts.SavedTitle
	}
	var b bytes.Buffer
	if err := p.template.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("preference page: %w", err)
	}
	return b.Bytes(), nil
}

// status is the code of an answer with an outcome.
func status(o Outcome) int {
	switch o {
	case Invalid:
		return fasthttp.StatusBadRequest
	case Limited:
		return fasthttp.StatusTooManyRequests
	case Failed:
		return fasthttp.StatusServiceUnavailable
	}
	return fasthttp.StatusOK
}

// write answers with the page, and the receipt of what was recorded.
func (p *page) write(ctx *fasthttp.RequestCtx, o Outcome, s state, receipt string) Outcome {
	body, err := p.render(o, s, string(ctx.Request.Header.PeekCanonical(secGPC)) == "1", receipt)
	if err != nil {
		// The template was executed at the start in every state; it can't fail on others.
		panic(err)
	}
	p.head(ctx, o, htmlType)
	ctx.Response.Header.SetCanonical(contentPolicy, p.policy)
	ctx.Response.SetBodyRaw(body)
	return o
}

// writePlain answers a mail program, which shows nobody a page, with a line and the receipt.
func (p *page) writePlain(ctx *fasthttp.RequestCtx, o Outcome, receipt string) Outcome {
	p.head(ctx, o, textType)
	body := p.texts.Notices[o] + "\n"
	if receipt != "" {
		body += "\n" + receipt
	}
	ctx.Response.SetBodyString(body)
	return o
}

func (p *page) head(ctx *fasthttp.RequestCtx, o Outcome, contentType []byte) {
	ctx.Response.SetStatusCode(status(o))
	p.common(ctx, contentType)
	if o == Limited || o == Failed {
		ctx.Response.Header.SetCanonical(retryAfter, aMinute)
	}
}

// common are the headers of every answer.
func (p *page) common(ctx *fasthttp.RequestCtx, contentType []byte) {
	header := &ctx.Response.Header
	header.SetContentTypeBytes(contentType)
	header.SetCanonical(contentLanguage, p.lang)
	for i := range headers {
		header.SetCanonical(headers[i].name, headers[i].value)
	}
}

var (
	htmlType       = []byte("text/html; charset=utf-8")
	textType       = []byte("text/plain; charset=utf-8")
	contentPolicy  = []byte("Content-Security-Policy")
	retryAfter     = []byte("Retry-After")
	aMinute        = []byte("60")
	secGPC         = []byte("Sec-Gpc")
	acceptLanguage = []byte("Accept-Language")

	contentLanguage = []byte("Content-Language")
)

// headers go with every answer. The address is a key: it may not be kept, indexed or passed on.
var headers = [...]struct{ name, value []byte }{
	{[]byte("Cache-Control"), []byte("no-store")},
	{[]byte("Referrer-Policy"), []byte("no-referrer")},
	{[]byte("X-Content-Type-Options"), []byte("nosniff")},
	{[]byte("X-Frame-Options"), []byte("DENY")},
	{[]byte("X-Robots-Tag"), []byte("noindex, nofollow")},
}
