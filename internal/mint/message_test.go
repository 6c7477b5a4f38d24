package mint_test

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
	"mailbeacon/internal/rewrite"
	"mailbeacon/internal/subject"
)

const page = `<html><body><p><a href="https://example.com/1">one</a> <a href="https://example.com/2">two</a> <a href="mailto:x@example.com">write</a></p></body></html>`

var ours = regexp.MustCompile(`https://t\.example/([ocu])/([A-Za-z0-9_-]{42})`)

func (h *house) message(t *testing.T, r mint.Request) *mint.Message {
	t.Helper()
	m, err := h.Message(t.Context(), "spring", r)
	must(t, err)
	return m
}

func TestMessageIsMeasuredAndRegistersItsLinks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	m := h.message(t, mint.Request{To: "anna@example.com", HTML: page, Text: "see https://example.com/1"})
	anna, err := h.Subject("anna@example.com")
	must(t, err)

	var kinds string
	for _, found := range ours.FindAllStringSubmatch(m.HTML, -1) {
		kinds += found[1]
		if _, claims := h.open(t, found[0]); claims.Subject != anna || claims.Campaign != h.number {
			t.Errorf("%s carries %+v", found[0], claims)
		}
	}
	if kinds != "occ" || m.Links != 2 || !m.Tracking.Opens || !m.Tracking.Clicks || m.Tracking.Reason != "" {
		t.Errorf("kinds %q, %+v", kinds, m)
	}
	if m.Text != "see https://example.com/1" {
		t.Errorf("text %q", m.Text)
	}
	if !strings.Contains(m.HTML, "mailto:x@example.com") {
		t.Errorf("html %s", m.HTML)
	}
	if m.Headers["List-Unsubscribe"] != "<"+m.Unsubscribe+">" || m.Headers["List-Unsubscribe-Post"] != "List-Unsubscribe=One-Click" || len(m.Headers) != 2 {
		t.Errorf("headers %v", m.Headers)
	}
	links := h.registry.Links(h.number)
	if len(links) != 2 || links[0].URL != "https://example.com/1" || links[0].Label != "one" || links[1].Label != "two" {
		t.Errorf("registered %+v", links)
	}
	if again := h.message(t, mint.Request{To: "anna@example.com", HTML: page}); again.HTML != m.HTML || len(h.registry.Links(h.number)) != 2 {
		t.Error("the same mail again is another")
	}
	if h.crowd.size(event.Counted, event.Counted) != 1 {
		t.Errorf("population %v", h.crowd.sets)
	}
}

func TestMessageToWhoRefusedIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]consent.Change{
		"refused": {Opens: consent.Refused, Clicks: consent.Refused}, "plain": {Format: consent.Plain}, "left": {Unsubscribed: new(true)},
	} {
		h := newHouse(t, consent.BasisSubject)
		h.decide(t, "anna@example.com", c)
		m := h.message(t, mint.Request{To: "anna@example.com", HTML: page, Text: "see https://example.com/1", TextLinks: true})
		if m.HTML != page || m.Text != "see https://example.com/1" || m.Tracking.Opens || m.Tracking.Clicks || m.Tracking.Reason == "" || m.Links != 0 {
			t.Errorf("%s: %+v", name, m)
		}
		if m.Headers["List-Unsubscribe"] == "" {
			t.Errorf("%s: no way out", name)
		}
		if n := len(h.registry.Links(h.number)); n != 0 {
			t.Errorf("%s: %d links registered for mail that carries none", name, n)
		}
	}
}

func TestAggregateMailNamesNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisAggregate)
	a := h.message(t, mint.Request{To: "anna@example.com", HTML: page})
	b := h.message(t, mint.Request{To: "bob@example.com", HTML: page})
	if a.HTML != b.HTML || a.HTML == page {
		t.Error("mail that should name nobody differs from person to person")
	}
	if a.Unsubscribe == b.Unsubscribe {
		t.Error("the way out does not know whose it is")
	}
}

func TestEMLGetsPixelLinksAndHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	eml := "From: shop@example.com\r\nTo: anna@example.com\r\nSubject: News\r\nList-Unsubscribe: <mailto:old@example.com>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
	m := h.message(t, mint.Request{To: "anna@example.com", EML: []byte(eml)})
	got := strings.ReplaceAll(string(m.EML), "\r\n ", " ")
	for _, want := range []string{"/o/", "/c/", "<" + m.Unsubscribe + ">", "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", "Subject: News\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, m.EML)
		}
	}
	if want := "List-Unsubscribe: <" + m.Unsubscribe + ">, <mailto:old@example.com>\r\n"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, m.EML)
	}
}

// The mail's own way out is not counted and not registered, however the two places write it; of its
// addresses in the header the one to write to stays, behind ours.
func TestTheMailsOwnWayOutStays(t *testing.T) {
	t.Parallel()
	const own = "https://old.example/u?a=1&copy=anna"
	for name, c := range map[string]struct {
		header, href string
		kept         bool
	}{
		"same":                    {own, own, true},
		"entities in the body":    {own, "https://old.example/u?a=1&amp;copy=anna", true},
		"number in the body":      {own, "https://old.example/u?a=1&#38;copy=anna", true},
		"entities in the header":  {"https://old.example/u?a=1&amp;copy=anna", own, true},
		"encoded twice":           {own, "https://old.example/u?a=1&amp;amp;copy=anna", true},
		"percent-encoding":        {own, "https://old.example/%75?a=1&amp;copy=anna", true},
		"scheme, case, fragment":  {own, "HTTP://OLD.example/u?a=1&amp;copy=anna#bye", true},
		"no path":                 {"https://old.example", "https://old.example/", true},
		"another person's":        {own, "https://old.example/u?a=1&amp;copy=bob", false},
		"case of the path counts": {own, "https://old.example/U?a=1&amp;copy=anna", false},
	} {
		h := newHouse(t, consent.BasisSubject)
		eml := "From: shop@example.com\r\nList-Unsubscribe: <" + c.header + ">,\r\n <mailto:u@old.example>\r\n" +
			"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
			"--b\r\nContent-Type: text/plain\r\n\r\nleave: " + strings.ReplaceAll(c.href, "&amp;copy", "&copy") + "\r\n" +
			"--b\r\nContent-Type: text/html\r\n\r\n<body><a href=\"" + c.href + "\">leave</a> <a href=\"https://example.com/\">x</a></body>\r\n--b--\r\n"
		m := h.message(t, mint.Request{To: "anna@example.com", EML: []byte(eml), TextLinks: true})
		links := h.registry.Links(h.number)
		if kept := strings.Contains(string(m.EML), `href="`+c.href+`"`); kept != c.kept || kept && (len(links) != 1 || m.Kept["excluded"] != 2) {
			t.Errorf("%s: kept %v, registered %+v, %v\n%s", name, kept, links, m.Kept, m.EML)
		}
		want := "<" + m.Unsubscribe + ">, <mailto:u@old.example>"
		got := strings.ReplaceAll(string(m.EML), "\r\n ", " ")
		if !strings.Contains(got, "List-Unsubscribe: "+want+"\r\n") || m.Headers["List-Unsubscribe"] != want || strings.Count(got, "List-Unsubscribe-Post:") != 1 {
			t.Errorf("%s: headers %v of\n%s", name, m.Headers, m.EML)
		}
		if !slices.Equal(m.Warnings, []mint.Warning{mint.WarnUnsubscribe}) || m.Warnings[0].Explain() == "" {
			t.Errorf("%s: warnings %q", name, m.Warnings)
		}
	}
}

// A mail that was made before keeps no trace of that: one address of ours, and no warning.
func TestAMailMadeTwiceHasOneWayOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	eml := "List-Unsubscribe: <mailto:u@old.example>, <mailto:" + strings.Repeat("x", 1000) + "@old.example>, <mailto:\u00fc@old.example>\r\n\r\nhello\r\n"
	first := h.message(t, mint.Request{To: "anna@example.com", EML: []byte(eml)})
	again := h.message(t, mint.Request{To: "anna@example.com", EML: first.EML})
	if want := "<" + first.Unsubscribe + ">, <mailto:u@old.example>"; string(again.EML) != string(first.EML) || again.Headers["List-Unsubscribe"] != want {
		t.Errorf("%q\n%s", again.Headers, again.EML)
	}
	if slices.Contains(again.Warnings, mint.WarnUnsubscribe) {
		t.Errorf("%q", again.Warnings)
	}
}

func TestNothingMadeOfNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	if m := h.message(t, mint.Request{To: "anna@example.com"}); m.HTML != "" || m.Text != "" || m.EML != nil || m.Unsubscribe == "" {
		t.Errorf("%+v", m)
	}
}

func TestOwnAddressesAreNotRewritten(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	first := h.message(t, mint.Request{To: "anna@example.com"})
	html := `<body><a href="` + first.Unsubscribe + `">leave</a></body>`
	m := h.message(t, mint.Request{To: "anna@example.com", HTML: html})
	if !strings.Contains(m.HTML, `href="`+first.Unsubscribe+`"`) || m.Links != 0 || m.Kept["excluded"] != 1 {
		t.Errorf("%+v", m)
	}
}

// What is registered is kept and shown: it must not hold whom the mail was for.
func TestAddressesAreNotRegistered(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	for _, link := range []string{
		"https://example.com/?to=anna@example.com", "https://example.com/?to=Anna%40Example.com",
		"https://example.com/?to=%61nna%40example.com", "https://example.com/?to=anna%2540example.com",
		"https://example.com/100%/anna%40example.com", "https://example.com/" + url.QueryEscape("ANNA@example.com"),
		// in base64 behind nothing, one byte and two, with and without an end, escaped, of URLs; in hex; as MD5, SHA-1 and SHA-256
		"https://example.com/?u=YW5uYUBleGFtcGxlLmNvbQ==", "https://example.com/?u=YW5uYUBFeGFtcGxlLmNvbQ", "https://example.com/?u=PGFubmFAZXhhbXBsZS5jb20%2B",
		"https://example.com/?u=dTphbm5hQGV4YW1wbGUuY29tOjE%253D", "https://example.com/616E6E61406578616D706C652E636F6D/x",
		"https://example.com/a/6b56db1f84a3997b902509d3fbf0a306", "https://example.com/a/46864313fa6d54ca75d20f478c80edfa75d92a16", "https://example.com/a/F7D54C22DDA5B1780276601CD005909B70543FC4A6BA72D735B4CB9BBB611F01",
	} {
		m := h.message(t, mint.Request{To: " anna@Example.com", HTML: `<body><a href="` + link + `">x</a></body>`})
		if !strings.Contains(m.HTML, link) || m.Links != 0 || m.Kept["declined"] != 1 {
			t.Errorf("%s: %+v", link, m)
		}
	}
	h.message(t, mint.Request{To: "anna@example.com", HTML: `<body><a href="https://example.com/">for anna@example.com</a></body>`})
	links := h.registry.Links(h.number)
	if len(links) != 1 || links[0].Label != "" {
		t.Errorf("registered %+v", links)
	}
}

func TestPersonalLabelsDoNotFillTheRegistry(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	for i := range 30 {
		m := h.message(t, mint.Request{To: "anna@example.com", HTML: fmt.Sprintf(`<body><a href="https://example.com/">Name%d, read on</a></body>`, i)})
		if m.Links != 1 {
			t.Errorf("%d: %+v", i, m)
		}
	}
	if n := len(h.registry.Links(h.number)); n != 8 {
		t.Errorf("%d links", n)
	}
}

func TestLinksThatCannotBeRegisteredStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	html := `<body><a href="https://user:secret@example.com/">x</a><a href="javascript:alert(1)">y</a><a href="https://example.com/ok">` + strings.Repeat("é", 400) + `</a></body>`
	m := h.message(t, mint.Request{To: "anna@example.com", HTML: html})
	if m.Links != 1 || !strings.Contains(m.HTML, "https://user:secret@example.com/") || !strings.Contains(m.HTML, "javascript:alert(1)") {
		t.Errorf("%+v", m)
	}
}

func TestBadRequestsNameNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	_, err := h.Message(t.Context(), "spring", mint.Request{To: "Anna <anna@example.com>"})
	var bad *mint.BadAddressError
	var why *subject.InvalidError
	if !errors.As(err, &bad) || !errors.As(err, &why) || strings.Contains(err.Error(), "anna") {
		t.Errorf("%v", err)
	}
	h.crowd.fail = errDisk
	if _, err := h.Message(t.Context(), "spring", mint.Request{To: "anna@example.com", HTML: page}); !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
}

func TestOptionsAreAllNeeded(t *testing.T) {
	t.Parallel()
	if _, err := mint.New(mint.Options{}); err == nil {
		t.Error("a minter of nothing")
	}
}

// fill registers links without a label, each for one person.
func (h *house) fill(t *testing.T, from, to int) {
	t.Helper()
	links := make([]campaign.Link, 0, to-from)
	for i := from; i < to; i++ {
		links = append(links, campaign.Link{URL: fmt.Sprintf("https://example.com/for/%d", i)})
	}
	_, err := h.writer.AddLinks(t.Context(), "spring", links)
	must(t, err)
}

func TestLinksThatDifferPerPersonAreWarnedOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	h.fill(t, 0, 998)
	link := func(i int) mint.Request {
		return mint.Request{To: "anna@example.com", HTML: fmt.Sprintf(`<body><a href="https://example.com/for/%d">x</a></body>`, i)}
	}
	if m := h.message(t, link(998)); m.Links != 1 || len(m.Warnings) != 0 {
		t.Errorf("999 links: %+v", m)
	}
	if m := h.message(t, link(999)); m.Links != 1 || !slices.Equal(m.Warnings, []mint.Warning{mint.WarnManyLinks}) {
		t.Errorf("1,000 links: %+v", m)
	}
	if m := h.message(t, mint.Request{To: "anna@example.com", HTML: "<body>no link</body>"}); len(m.Warnings) != 0 {
		t.Errorf("no link: %q", m.Warnings)
	}
}

// A campaign whose numbers have run out still sends mail: what has a number counts, the rest stays.
func TestLinksWithoutANumberStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	// All numbers but one are gone; to the writer, those below the highest are.
	_, err := h.log.Append(t.Context(), control.Record{
		Kind: control.KindLink, Key: fmt.Sprintf("spring/%d", campaign.MaxLinks-1), Body: []byte(`{"id":"x","url":"https://example.com/for/7"}`),
	})
	must(t, err)
	must(t, h.writer.Deliver(t.Context(), "spring", campaign.Delivery{ID: "b1"})) // it waits for what stands before it
	const html = `<body><a href="https://example.com/for/7"></a> <a href="https://example.com/new/1">fits</a> <a href="https://example.com/new/2">does not</a></body>`
	for range 2 {
		m := h.message(t, mint.Request{To: "anna@example.com", HTML: html})
		if m.Links != 2 || m.Kept["declined"] != 1 || !strings.Contains(m.HTML, `href="https://example.com/new/2"`) || strings.Count(m.HTML, "/c/") != 2 {
			t.Errorf("%+v", m)
		}
		if !slices.Equal(m.Warnings, []mint.Warning{mint.WarnNoNumber}) {
			t.Errorf("warnings %q", m.Warnings)
		}
	}
	if n := len(h.registry.Links(h.number)); n != 2 {
		t.Errorf("%d links", n)
	}
	if n := h.crowd.size(event.Counted, event.Counted); n != 1 {
		t.Errorf("%d people", n)
	}
}

func TestEveryWarningIsExplained(t *testing.T) {
	t.Parallel()
	for _, w := range []mint.Warning{mint.WarnUnsubscribe, mint.WarnNoNumber, mint.WarnManyLinks, mint.Warning(rewrite.WarnDKIM)} {
		if w.Explain() == "" {
			t.Errorf("%s says nothing", w)
		}
	}
}
