package preferences

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"mailbeacon/internal/consent"
)

// receiptOf is the text of the page's one text field, "" where there is none.
func receiptOf(t testing.TB, page []byte) string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "textarea" {
			return n.FirstChild.Data
		}
	}
	return ""
}

// TestReceiptsAreGiven: every answer that says that something is recorded holds its receipt, the same for a repetition,
// and no other answer does.
func TestReceiptsAreGiven(t *testing.T) {
	t.Parallel()
	keys := map[uint8]ed25519.PublicKey{3: signer.Public().(ed25519.PublicKey)}
	s := newSite(t, consent.BasisSubject)
	for _, tc := range []struct{ body, want string }{
		{"opens=refused&format=plain", "\nopens: refused\nclicks:\nformat: plain\nmail:\nsource: preferences\ntext: preferences/en/"},
		{"mail=unsubscribed", "\nmail: unsubscribed\nsource: preferences\n"}, {"mail=subscribed", "\nmail: subscribed\n"},
		{"List-Unsubscribe=One-Click", "\nmail: unsubscribed\nsource: one-click\ntext:\n"},
	} {
		var first string
		for range 2 {
			body := s.post(t, urlencoded, tc.body).Response.Body()
			text := receiptOf(t, body)
			if strings.HasPrefix(tc.body, "List-") {
				text = string(body)
			}
			receipt, err := consent.FindReceipt(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := consent.VerifyReceipt(receipt, keys)
			if err != nil || got.Subject != 9 || got.Position == 0 || !strings.Contains(receipt, tc.want) {
				t.Errorf("%s: %v\n%s", tc.body, err, text)
			}
			if first == "" {
				first = receipt
			}
			if receipt != first {
				t.Errorf("%s: the receipt of a repetition is\n%s\nwas\n%s", tc.body, receipt, first)
			}
		}
	}
	for _, body := range []string{"", "opens=x", "x=y", "List-Unsubscribe=Two-Click"} {
		if got := s.post(t, urlencoded, body).Response.Body(); bytes.Contains(got, []byte("consent receipt")) {
			t.Errorf("%q is given a receipt:\n%s", body, got)
		}
	}
	if got := s.get(t).Response.Body(); bytes.Contains(got, []byte("consent receipt")) {
		t.Error("whoever looks is given a receipt")
	}
}

func TestReceiptWithoutEffect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want bool
	}{{nil, true}, {errors.New("the log is gone"), false}} {
		h, err := New(Options{Tokens: tokens{}, Choices: consent.NewTable(consent.BasisSubject), Receipts: receipts,
			Writer: stuck(func(context.Context) (bool, error) { return false, tc.err })})
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"opens=refused", "List-Unsubscribe=One-Click"} {
			ctx, _ := ask(h, "POST", "person", urlencoded, body)
			if got := bytes.Contains(ctx.Response.Body(), []byte("mailbeacon consent receipt 1\n")); got != tc.want {
				t.Errorf("%s, log's error %v: a receipt is given: %v", body, tc.err, got)
			}
		}
	}
}
