package consent

import (
	"errors"
	"strings"
	"testing"
)

func TestFindReceipt(t *testing.T) {
	t.Parallel()
	const receipt = "mailbeacon consent receipt 1\nsubject: 1\nclicks:\nsource: a \nsignature: AA==\n"
	for name, text := range map[string]string{
		"alone": receipt, "without its last line end": strings.TrimSuffix(receipt, "\n"), "with other line ends": strings.ReplaceAll(receipt, "\n", "\r\n"),
		"in an answer": "You are unsubscribed.\n\n" + receipt, "in a mail": "Dear Ann,\r\n\r\n" + strings.ReplaceAll(receipt, "\n", "\r\n") + "\r\nYours\r\n", "behind a byte order mark": "\ufeff" + receipt, "before blanks": receipt + "\n\n  ",
	} {
		if got, err := FindReceipt(text); err != nil || got != receipt {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := FindReceipt(receipt + "\n" + strings.Replace(receipt, "subject: 1", "subject: 2", 1)); !errors.Is(err, ErrManyReceipts) {
		t.Errorf("two receipts: %v", err)
	}
	// What was changed within stays so.
	for _, text := range []string{"", "no receipt", "mailbeacon consent receipt\n", strings.Replace(receipt, "clicks:", "clicks: ", 1), strings.Replace(receipt, "subject", " subject", 1), strings.TrimSuffix(receipt, "signature: AA==\n")} {
		if got, err := FindReceipt(text); err != nil || got != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// FuzzFindReceipt: what is found is found again, and is a part of what it was found in.
func FuzzFindReceipt(f *testing.F) {
	f.Add("Hello\r\nmailbeacon consent receipt 1\r\nsignature: x\r\nbye")
	f.Add("mailbeacon consent receipt 1\nmailbeacon consent receipt 1\n")
	f.Add("\r\r\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := FindReceipt(text)
		if err != nil {
			return
		}
		if again, err := FindReceipt(got); err != nil || again != got {
			t.Fatalf("%q, and again %q, %v", got, again, err)
		}
		for line := range strings.Lines(got) {
			if !strings.Contains(text, strings.TrimRight(line, "\n")) {
				t.Fatalf("%q is not in %q", line, text)
			}
		}
	})
}

func TestUnwrapReceipts(t *testing.T) {
	t.Parallel()
	const receipt = "mailbeacon consent receipt 1\nsubject: 1\nsource: R&D <us>\nsignature: a+b=\n"
	const escaped = "mailbeacon consent receipt 1\nsubject: 1\nsource: R&amp;D &lt;us&gt;\nsignature: a&#43;b=\n"
	line := strings.ReplaceAll(receipt, "\n", `\n`)
	for _, text := range []string{
		receipt,
		`{"position":1,"receipt":"` + line + `"}`,
		`{"format":"mailbeacon consent export 1","history":[{"position":1,"receipt":"` + line + `"}]}`,
		"<!doctype html>\n<textarea id=\"receipt\">" + escaped + "</textarea>\n",
	} {
		if got, err := FindReceipt(UnwrapReceipts(text)); err != nil || got != receipt {
			t.Errorf("%q gives %q, %v", text, got, err)
		}
	}
	if _, err := FindReceipt(UnwrapReceipts(`{"history":[{"receipt":"` + line + `"},{"receipt":"` + line + `"}]}`)); !errors.Is(err, ErrManyReceipts) {
		t.Errorf("an export of two: %v", err)
	}
	if broken := `{"receipt":"` + line; UnwrapReceipts(broken) != broken {
		t.Error("what is no JSON does not come back as it is")
	}
}
