package proctest

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"mailbeacon/internal/api"
)

// verifier checks receipts by the command, with a file of keys and no server.
type verifier struct {
	t    *testing.T
	keys string
}

func newVerifier(t *testing.T, keyring string) verifier {
	t.Helper()
	out, stderr, code := mailbeacon(t.Context(), t, "", "keyring", "public", "--file", keyring)
	if code != 0 {
		t.Fatalf("keyring public: %s", stderr)
	}
	v := verifier{t, filepath.Join(t.TempDir(), "receipts.pub")}
	must(t, os.WriteFile(v.keys, []byte(out), 0o600))
	return v
}

// verify wants the command to say that a text holds a good receipt, of a decision; wrong wants it to refuse the text.
func (v verifier) verify(what, text, decided string) {
	v.t.Helper()
	out, stderr, code := mailbeacon(v.t.Context(), v.t, text, "consent", "verify", "-", "--public-key", v.keys)
	if code != 0 || !strings.HasPrefix(out, "verified: subject ") || !strings.Contains(out, decided) {
		v.t.Errorf("%s: exit code %d, %s%s\n%s", what, code, out, stderr, text)
	}
}

func (v verifier) wrong(what, text string) {
	v.t.Helper()
	if out, _, code := mailbeacon(v.t.Context(), v.t, text, "consent", "verify", "-", "--public-key", v.keys); code != 1 {
		v.t.Errorf("%s: exit code %d, %s\n%s", what, code, out, text)
	}
}

// textField is the content of a page's one text field.
func textField(t *testing.T, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "textarea" {
			return n.FirstChild.Data
		}
	}
	t.Fatalf("the page has no text field:\n%s", page)
	return ""
}

// TestReceiptsFromAnswers takes the receipt out of every answer that says something is recorded, and verifies it by the
// command, once the server is gone.
func TestReceiptsFromAnswers(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := start(t, data, quick...)
	c := s.client()
	newLane(t.Context(), t, c, "spring")
	m := mint(t.Context(), t, c, "spring", "cy.reader@example.com")
	post := func(form url.Values) string {
		t.Helper()
		resp, err := http.PostForm("http://"+s.public+pathOf(t, m.UnsubscribeURL), form)
		must(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v: status %d, %v", form, resp.StatusCode, err)
		}
		return string(b)
	}
	page := textField(t, post(url.Values{"opens": {"refused"}, "format": {"plain"}}))
	gone := textField(t, post(url.Values{"mail": {"unsubscribed"}}))
	click := post(url.Values{"List-Unsubscribe": {"One-Click"}})
	set, err := c.SetConsent(t.Context(), api.Decision{Subject: "cy.reader@example.com", Clicks: "refused"})
	must(t, err)
	sum, err := c.ImportConsent(t.Context(), strings.NewReader("subject,opens\ndi@example.com,refused\nbad,refused\n"), true, func(api.Imported) {})
	if err != nil || sum.Receipts != 1 {
		t.Errorf("an import answers %+v, %v; want one receipt", sum, err)
	}
	imported, err := c.ConsentReceipts(t.Context(), "di@example.com")
	must(t, err)
	all, err := c.ConsentReceipts(t.Context(), "cy.reader@example.com")
	must(t, err)
	if len(all.History) != 4 || all.History[0].Receipt != page || all.History[0].Campaign != "spring" || all.History[3].Campaign != "" {
		t.Errorf("the history is %+v, and does not begin with the page's receipt\n%s", all.History, page)
	}
	s.stop()

	v := newVerifier(t, filepath.Join(data, "keyring.json"))
	v.verify("page", page, "\n  opens: refused\n  format: plain\n  source: preferences\n")
	v.verify("page's button", gone, "\n  mail: unsubscribed\n  source: preferences\n")
	v.verify("one click, the whole answer", click, "\n  mail: unsubscribed\n  source: one-click\n")
	v.verify("API", set.Receipt, "\n  clicks: refused\n")
	v.verify("import", imported.History[0].Receipt, "\n  opens: refused\n")
	v.verify("pasted where lines end otherwise", "Hello,\r\n"+strings.ReplaceAll(page, "\n", "\r\n"), "opens: refused")
	v.wrong("changed", strings.Replace(page, "refused", "granted", 1))
	v.wrong("somebody else's", strings.Replace(page, "subject: ", "subject: 0", 1))
	v.wrong("cut off", page[:len(page)-3])
	if strings.Contains(page+gone+click, "@") {
		t.Error("a receipt holds an address")
	}
}
