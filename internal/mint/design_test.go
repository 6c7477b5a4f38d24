package mint_test

import (
	"errors"
	"strings"
	"testing"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/mint"
)

// TestDesign: a campaign's mail is kept as it is, and its links have the numbers that mail made of it carries.
func TestDesign(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	const mail = `<p>Hello {{name}} <a href="https://example.com/a?x=1&amp;y=2">One</a> <a href="https://example.com/b">Two</a>
		<a href="https://example.com/b">Two</a> <a href="mailto:us@example.com">Write</a> <a href="{{unsubscribe}}">Leave</a></p>`
	d, err := h.Design(t.Context(), "spring", []byte(mail))
	must(t, err)
	if d.Links != 2 {
		t.Errorf("%d links", d.Links)
	}
	kept, err := h.mails.Mail(t.Context(), h.number)
	must(t, err)
	if string(kept) != mail {
		t.Errorf("kept %q", kept)
	}
	before := h.registry.Links(h.number)
	m, err := h.Message(t.Context(), "spring", mint.Request{To: "anna@example.com", HTML: strings.Replace(mail, "{{name}}", "Anna", 1)})
	must(t, err)
	if after := h.registry.Links(h.number); len(before) != 2 || len(after) != 2 {
		t.Errorf("%d links, %d after a mail was made of it", len(before), len(after))
	}
	if _, err := h.Design(t.Context(), "spring", []byte(m.HTML)); !invalid(err, "made for somebody") {
		t.Errorf("a person's own mail: %v", err)
	}
	if people, _ := h.mails.Populations(t.Context(), h.number); len(people) != 0 {
		t.Errorf("a design was sent to %v", people)
	}
	_, err = h.Design(t.Context(), "spring", nil)
	must(t, err)
	if kept, _ := h.mails.Mail(t.Context(), h.number); len(kept) != 0 {
		t.Errorf("%q is left", kept)
	}
}

func invalid(err error, says string) bool {
	var i *control.InvalidError
	return errors.As(err, &i) && strings.Contains(err.Error(), says)
}

func TestDesignRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, consent.BasisSubject)
	for _, c := range []struct{ name, html, says string }{
		{"too long", strings.Repeat("x", aggregate.MaxMail+1), "longer than"},
		{"not UTF-8", "<p>\xff", "UTF-8"},
		{"a pixel", `<img src="` + publicURL + `/o/abc.gif">`, publicURL + "/o/"},
		{"a way out", `<a href="` + publicURL + `/u/abc">`, publicURL + "/u/"},
	} {
		if _, err := h.Design(t.Context(), "spring", []byte(c.html)); !invalid(err, c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := h.Design(t.Context(), "autumn", nil); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("%v", err)
	}
	must(t, h.mails.Close())
	if _, err := h.Design(t.Context(), "spring", []byte("<p>")); err == nil || !strings.Contains(err.Error(), "keep the mail of campaign spring") {
		t.Errorf("the store's error: %v", err)
	}
}
