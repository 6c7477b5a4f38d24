package consent

import (
	"encoding/json"
	"errors"
	"html"
	"strings"
)

// ErrManyReceipts is returned for a text that holds more than one receipt: one is verified at a time.
var ErrManyReceipts = errors.New("it holds more than one receipt; right would be one at a time")

// FindReceipt returns the receipt in a text that it was copied or sent in: the answer to a one-click request, a
// mail, a page as it is copied. What is around it goes, and so do the line ends of other systems; within its lines
// nothing is mended.
// A text without a receipt comes back as it is, for VerifyReceipt to refuse.
func FindReceipt(text string) (string, error) {
	var found strings.Builder
	text = strings.TrimPrefix(text, "\ufeff") // editors put it before all else
	within := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, receiptBegins) {
			if found.Len() > 0 {
				return "", ErrManyReceipts
			}
			within = true
		}
		if within {
			found.WriteString(line + "\n")
			within = !strings.HasPrefix(line, "signature:")
		}
	}
	if found.Len() == 0 {
		return text, nil
	}
	return found.String(), nil
}

// UnwrapReceipts returns the receipts of an answer or an export in JSON, and of a page saved as HTML, with their lines
// and signs as they were signed, for FindReceipt. Any other text comes back as it is.
func UnwrapReceipts(text string) string {
	switch start := strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")); {
	case strings.HasPrefix(start, "{"):
		type signed struct {
			Receipt string `json:"receipt"`
		}
		var answer struct {
			signed
			History []signed `json:"history"`
		}
		if json.Unmarshal([]byte(start), &answer) != nil {
			return text
		}
		var receipts strings.Builder
		for _, one := range append(answer.History, answer.signed) {
			if one.Receipt != "" {
				receipts.WriteString(strings.TrimRight(one.Receipt, "\n") + "\n")
			}
		}
		return receipts.String()
	case strings.HasPrefix(start, "<"):
		// The receipt's first line stands behind its element's tag.
		return html.UnescapeString(strings.ReplaceAll(text, ">"+receiptBegins, ">\n"+receiptBegins))
	default:
		return text
	}
}
