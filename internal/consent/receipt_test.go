package consent

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func receiptKeys() (ed25519.PrivateKey, map[uint8]ed25519.PublicKey) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))
	return private, map[uint8]ed25519.PublicKey{3: private.Public().(ed25519.PublicKey)}
}

func signer(k ed25519.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte { return ed25519.Sign(k, text) }
}

var decided = Recorded{
	Position: 1234, Time: time.Date(2026, 11, 25, 1, 46, 15, 123e6, time.UTC),
	Change: Change{Subject: 0x2fac6c464dec6c0d, Opens: Refused, Unsubscribed: new(true), Source: "preferences", TextVersion: "2026-11", By: "key:mailer"},
}

// The form is a promise to whoever keeps a receipt: it may never change.
func TestReceiptOfVersion1(t *testing.T) {
	t.Parallel()
	private, keys := receiptKeys()
	const want = `mailbeacon consent receipt 1
subject: 2fac6c464dec6c0d
position: 1234
time: 2026-11-25T01:46:15.123Z
opens: refused
clicks:
format:
mail: unsubscribed
source: preferences
text: 2026-11
by: key:mailer
key: 3
signature: `
	text := decided.Receipt(3, signer(private))
	if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "\n") {
		t.Fatalf("%s", text)
	}
	got, err := VerifyReceipt(text, keys)
	if err != nil || got.Subject != decided.Subject || got.Position != 1234 || !got.Time.Equal(decided.Time) || got.Opens != Refused || !*got.Unsubscribed || got.By != "key:mailer" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A decision on tracking has the second form; no other has, and neither passes for the other.
func TestReceiptOfVersion2(t *testing.T) {
	t.Parallel()
	private, keys := receiptKeys()
	r := Recorded{Position: 9, Time: decided.Time, Change: Change{Subject: 7, Tracking: DateOnly, Opens: Granted}}
	text := r.Receipt(3, signer(private))
	const want = "mailbeacon consent receipt 2\nsubject: 0000000000000007\nposition: 9\ntime: 2026-11-25T01:46:15.123Z\nopens: granted\n" +
		"clicks:\nformat:\nmail:\ntracking: date-only\nsource:\ntext:\nby:\nkey: 3\nsignature: "
	got, err := VerifyReceipt(text, keys)
	if !strings.HasPrefix(text, want) || err != nil || got.Tracking != DateOnly || got.Opens != Granted {
		t.Errorf("%+v, %v\n%s", got, err, text)
	}
	for _, changed := range []string{
		strings.Replace(text, "date-only", "full", 1), strings.Replace(text, "receipt 2", "receipt 1", 1), strings.Replace(text, "tracking: date-only\n", "", 1),
		strings.Replace(text, "receipt 2", "receipt 3", 1), strings.Replace(decided.Receipt(3, signer(private)), "receipt 1", "receipt 2", 1),
		strings.Replace(strings.Replace(text, "receipt 2", "receipt 1", 1), "tracking: date-only\n", "", 1),
		strings.Replace(strings.Replace(decided.Receipt(3, signer(private)), "receipt 1", "receipt 2", 1), "source:", "tracking:\nsource:", 1),
	} {
		if _, err := VerifyReceipt(changed, keys); err == nil {
			t.Errorf("still good:\n%s", changed)
		}
	}
}

// TestTamperedReceipt flips every bit, takes every byte away, and puts one in everywhere.
func TestTamperedReceipt(t *testing.T) {
	t.Parallel()
	private, keys := receiptKeys()
	text := decided.Receipt(3, signer(private))
	refused := func(what, changed string) {
		if _, err := VerifyReceipt(changed, keys); err == nil {
			t.Errorf("%s: still good:\n%s", what, changed)
		}
	}
	for i := range text {
		for bit := range 8 {
			refused("changed", text[:i]+string([]byte{text[i] ^ 1<<bit})+text[i+1:])
		}
		for _, b := range "0a9fZ =" {
			if byte(b) != text[i] {
				refused("changed", text[:i]+string(b)+text[i+1:])
			}
		}
		refused("cut out", text[:i]+text[i+1:])
		refused("cut off", text[:i])
		for _, more := range []string{" ", "\n", "0", "\r", "=", "a"} {
			refused("put in", text[:i]+more+text[i:])
		}
	}
	refused("more after the end", text+"\n")
	refused("nothing", "")
	refused("long", text+strings.Repeat("x", maxReceipt))
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", ed25519.SeedSize)))
	if _, err := VerifyReceipt(decided.Receipt(3, signer(other)), keys); !errors.Is(err, ErrBadReceipt) {
		t.Errorf("by another key: %v", err)
	}
	if _, err := VerifyReceipt(decided.Receipt(4, signer(private)), keys); !errors.Is(err, ErrOtherKey) {
		t.Errorf("by a key that is not known: %v", err)
	}
}

func drawChange(t *rapid.T) Change {
	c := Change{
		Subject: rapid.Uint64Range(1, 1<<64-1).Draw(t, "subject"),
		Opens:   State(rapid.IntRange(0, 2).Draw(t, "opens")),
		Clicks:  State(rapid.IntRange(0, 2).Draw(t, "clicks")),
		Format:  Format(rapid.IntRange(0, 2).Draw(t, "format")),
		Source:  rapid.SampledFrom([]string{"", "a", " b", "ü: x", "-"}).Draw(t, "source"),
	}
	c.TextVersion = rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "text")
	c.Tracking = Tracking(rapid.IntRange(0, 2).Draw(t, "tracking"))
	switch rapid.IntRange(0, 2).Draw(t, "mail") {
	case 1:
		c.Unsubscribed = new(true)
	case 2:
		c.Unsubscribed = new(false)
	}
	return c
}

func TestEveryReceiptIsGood(t *testing.T) {
	t.Parallel()
	private, keys := receiptKeys()
	rapid.Check(t, func(t *rapid.T) {
		r := Recorded{Position: 7, Time: time.UnixMilli(rapid.Int64Range(0, 1e13).Draw(t, "time")).UTC(), Change: drawChange(t)}
		if r.Check() != nil {
			return
		}
		text := r.Receipt(3, signer(private))
		got, err := VerifyReceipt(text, keys)
		if err != nil || got.Receipt(3, signer(private)) != text {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func FuzzVerifyReceipt(f *testing.F) {
	private, keys := receiptKeys()
	good := decided.Receipt(3, signer(private))
	f.Add(good)
	f.Add(receiptTitle)
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := VerifyReceipt(text, keys); err == nil && r.Receipt(3, signer(private)) != text {
			t.Fatalf("%q was taken", text)
		}
	})
}
